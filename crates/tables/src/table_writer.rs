//! Writes the rows of an input with added columns, in the format of the input.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::Error;
use crate::format::Format;
use crate::output_file::{PartialFile, not_written};
use crate::rows::{Chunk, NewColumn, RowWriter};
use crate::table_file::TableFile;
use crate::{csv, json_lines, parquet};

/// An output being written.
pub struct TableWriter {
    inner: Box<dyn RowWriter>,
    path: PathBuf,
}

impl TableFile {
    /// Checks that an output with this name can have the format of this file.
    ///
    /// # Errors
    /// `OutputFormat` if the name is that of another format.
    pub fn check_output(&self, output: &Path) -> Result<(), Error> {
        self.layout.for_output(output).map(|_| ())
    }

    /// Creates a writer for the rows of this file with new columns. Columns that the file already
    /// has get new values.
    ///
    /// # Errors
    /// `OutputFormat`, `NotWritten`.
    pub fn writer(
        &self,
        output: &Path,
        partial: &PartialFile<'_>,
        new_columns: Vec<NewColumn>,
    ) -> Result<TableWriter, Error> {
        let layout = self.layout.for_output(output)?;
        let create = || -> io::Result<Box<dyn RowWriter>> {
            let file = partial.file()?;
            Ok(match (layout.format, &self.parquet) {
                (Format::Parquet, Some(description)) => {
                    Box::new(parquet::Writer::new(file, self.file(), description, new_columns)?)
                }
                (Format::Csv(dialect), _) => {
                    let file = layout.compression.encoder(file)?;
                    Box::new(csv::Writer::new(file, dialect, &self.header, &new_columns)?)
                }
                (Format::JsonLines | Format::Text(_) | Format::Parquet, _) => {
                    Box::new(json_lines::Writer::new(layout.compression.encoder(file)?, new_columns))
                }
            })
        };
        let inner = create().map_err(|error| not_written(output, &error))?;
        Ok(TableWriter { inner, path: output.to_owned() })
    }
}

impl TableWriter {
    /// Writes the rows of a chunk, each with one value for every new column. `Null` keeps the row's
    /// existing value, if any. Chunks must come in the order of the file.
    ///
    /// # Errors
    /// `NotWritten`.
    pub fn write(&mut self, chunk: Chunk, values: Vec<Vec<Value>>) -> Result<(), Error> {
        self.inner.write(chunk, values).map_err(|error| not_written(&self.path, &error))
    }

    /// Writes what is still buffered.
    ///
    /// # Errors
    /// `NotWritten`.
    pub fn finish(self) -> Result<(), Error> {
        self.inner.finish().map_err(|error| not_written(&self.path, &error))
    }
}

//! One open file: what it is, its columns, and its rows from the start as often as they are wanted. Whatever is done with
//! it is done with the file that was opened, whoever puts another one under its name meanwhile.

use std::fs::{File, Permissions};
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use arrow_schema::SchemaRef;
use serde_json::Value;

use crate::Error;
use crate::columns::{guess, guess_labels, listed, position, read_as_text};
use crate::compression::Compression;
use crate::csv::Dialect;
pub use crate::format::CsvOptions;
use crate::format::{Format, Layout};
use crate::output_file::{PartialFile, not_written};
use crate::path_policy::{Location, PathPolicy};
use crate::{CellKind, Chunk, ColumnRef, NewColumn, Reader, Writer, csv, jsonl, parquet, text};

#[derive(Debug)]
pub struct TableFile {
    file: File,
    path: PathBuf,
    layout: Layout,
    columns: Vec<String>,
    /// Of Parquet: the columns' types, and how they are compressed.
    parquet: Option<(SchemaRef, ::parquet::basic::Compression)>,
}

/// Which of a row's columns are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Projection {
    /// Those that are wanted, where the format can read them alone.
    Selected,
    /// All, to be written again.
    All,
}

impl TableFile {
    /// Opens a file and finds out what it is.
    ///
    /// # Errors
    /// A place that is not allowed, something that is no file, a format that is not known, no rows.
    pub fn open(path: &Path, policy: &PathPolicy, options: CsvOptions) -> Result<Self, Error> {
        Self::open_at(&policy.locate(path)?, options)
    }

    /// Opens the file at a location.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_at(location: &Location, options: CsvOptions) -> Result<Self, Error> {
        let mut file = location.open()?;
        let path = location.path().to_owned();
        let layout = Layout::of(&mut file, &path, options)?;
        let mut table = Self { file, path, layout, columns: Vec::new(), parquet: None };
        let place = table.path.clone();
        let broken = |error: io::Error| broken(&place, 0, &error);
        match layout.format {
            Format::Csv(dialect) => {
                table.columns = csv::Reader::new(table.stream().map_err(broken)?, dialect).map_err(broken)?.header;
            }
            Format::JsonLines => {
                let mut reader = jsonl::Reader::new(table.stream().map_err(broken)?, Vec::new());
                table.columns = reader.names().map_err(broken)?.unwrap_or_default();
            }
            Format::Text => table.columns = vec!["text".into()],
            Format::Parquet => {
                let described = parquet::describe(table.file.try_clone().map_err(broken)?).map_err(broken)?;
                table.columns = described.0.fields().iter().map(|field| field.name().clone()).collect();
                table.parquet = Some(described);
            }
        }
        Ok(table)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The extension that an output of the same kind has.
    pub(crate) fn extension(&self) -> String {
        self.layout.extension()
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Those of the file, with the right to change it: an output is worked on further.
    pub(crate) fn permissions(&self) -> io::Result<Permissions> {
        let own = self.file.metadata()?.permissions();
        #[cfg(unix)]
        let own = {
            use std::os::unix::fs::PermissionsExt;
            Permissions::from_mode(own.mode() & 0o666 | 0o600)
        };
        Ok(own)
    }

    /// A column by its name or number.
    ///
    /// # Errors
    /// `ColumnUnknown`, `ColumnAmbiguous`; `ColumnNotText` where text is wanted and the column can hold none.
    pub fn column(&self, name: &str, reads: CellKind) -> Result<ColumnRef, Error> {
        let json = self.layout.format == Format::JsonLines;
        let path = name.split_once('.').filter(|(first, _)| json && self.columns.iter().any(|column| column == first));
        if path.is_some() {
            return Ok(ColumnRef { column: name.to_owned(), position: 0, reads });
        }
        let position = position(&self.columns, name)?;
        let wanted = ColumnRef { column: self.columns[position].clone(), position, reads };
        match &self.parquet {
            Some((schema, _)) if reads == CellKind::Text && !parquet::is_text(schema.field(position).data_type()) => {
                let found = format!("{}", schema.field(position).data_type());
                Err(Error::ColumnNotText { name: wanted.column, found, columns: listed(&self.columns) })
            }
            _ => Ok(wanted),
        }
    }

    /// A column by its exact name, where the file has it; in JSON lines any row may have any field.
    pub fn optional(&self, name: &str) -> Option<ColumnRef> {
        let position = self.columns.iter().position(|column| column == name);
        let position = position.or((self.layout.format == Format::JsonLines).then_some(0))?;
        Some(ColumnRef { column: name.to_owned(), position, reads: CellKind::Value })
    }

    /// The column that holds the right answers, where only one is called like it.
    ///
    /// # Errors
    /// `LabelColumnUnclear`.
    pub fn label_column(&self) -> Result<ColumnRef, Error> {
        let position = guess_labels(&self.columns)?;
        Ok(ColumnRef { column: self.columns[position].clone(), position, reads: CellKind::List })
    }

    /// The column that holds the texts, where only one can be it; `except` are columns that cannot.
    ///
    /// # Errors
    /// `ColumnUnclear`, or what keeps the file from being read.
    pub fn text_column(&mut self, except: &[&str]) -> Result<ColumnRef, Error> {
        let names: Vec<String> =
            self.columns.iter().filter(|column| !except.contains(&column.as_str())).cloned().collect();
        let fits = |name: &String| match &self.parquet {
            Some((schema, _)) => schema.field_with_name(name).is_ok_and(|field| parquet::is_text(field.data_type())),
            None => true,
        };
        let names: Vec<String> = names.into_iter().filter(fits).collect();
        let wanted: Vec<ColumnRef> = names.iter().filter_map(|name| self.column(name, CellKind::Text).ok()).collect();
        if wanted.len() < names.len() || names.is_empty() {
            return Err(Error::ColumnUnclear { columns: listed(&self.columns) });
        }
        let first = self.rows(&wanted, Projection::Selected)?.next().transpose()?;
        let sample = first.map(|chunk| chunk.rows).unwrap_or_default();
        let cells = |number: usize| sample.iter().filter_map(move |row| row.cells[number].as_deref().ok());
        let read: Vec<bool> = (0..names.len()).map(|number| read_as_text(cells(number))).collect();
        let position = guess(&names, &read).map_err(|_| Error::ColumnUnclear { columns: listed(&self.columns) })?;
        Ok(wanted[position].clone())
    }

    /// The rows from the first on.
    ///
    /// # Errors
    /// `FileBroken`.
    pub fn rows(&mut self, wanted: &[ColumnRef], extent: Projection) -> Result<Rows, Error> {
        let inner = self.reader(wanted.to_vec(), extent).map_err(|error| broken(&self.path, 0, &error))?;
        Ok(Rows { inner, path: self.path.clone(), rows: 0 })
    }

    fn reader(&mut self, wanted: Vec<ColumnRef>, extent: Projection) -> io::Result<Box<dyn Reader>> {
        Ok(match self.layout.format {
            Format::Csv(dialect) => Box::new(csv::Reader::new(self.stream()?, dialect)?.want(wanted)),
            Format::JsonLines => Box::new(jsonl::Reader::new(self.stream()?, wanted)),
            Format::Text => Box::new(text::Reader::new(self.stream()?)),
            Format::Parquet => {
                Box::new(parquet::Reader::new(self.file.try_clone()?, wanted, extent == Projection::All)?)
            }
        })
    }

    fn stream(&mut self) -> io::Result<Box<dyn io::Read + Send>> {
        self.file.rewind()?;
        self.layout.compression.decoder(self.file.try_clone()?)
    }

    /// A writer of these rows and some more columns, as the name of the output wants it.
    ///
    /// # Errors
    /// `OutputFormat` where the name is that of another format; `NotWritten`.
    pub fn writer(
        &self,
        output: &Path,
        partial: &PartialFile<'_>,
        added: Vec<NewColumn>,
    ) -> Result<TableWriter, Error> {
        let layout = self.output_layout(output)?;
        let failed = |error: io::Error| not_written(output, &error);
        let file = partial.file().map_err(failed)?;
        let inner: Box<dyn Writer> = match (layout.format, &self.parquet) {
            (Format::Parquet, Some((schema, codec))) => {
                Box::new(parquet::Writer::new(file, schema, *codec, added).map_err(failed)?)
            }
            (Format::Csv(dialect), _) => {
                let file = layout.compression.encoder(file).map_err(failed)?;
                Box::new(csv::Writer::new(file, dialect, &self.columns, &added).map_err(failed)?)
            }
            (Format::JsonLines | Format::Text | Format::Parquet, _) => {
                let file = layout.compression.encoder(file).map_err(failed)?;
                Box::new(jsonl::Writer::new(file, added))
            }
        };
        Ok(TableWriter { inner, path: output.to_owned() })
    }

    /// How an output of this name is written.
    ///
    /// # Errors
    /// `OutputFormat` where the name is that of another format.
    pub fn check_output(&self, output: &Path) -> Result<(), Error> {
        self.output_layout(output).map(|_| ())
    }

    fn output_layout(&self, output: &Path) -> Result<Layout, Error> {
        let name = output.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let (compression, name) = Compression::from_name(&name);
        let extension = Path::new(name).extension().map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
        let (found, fits) = match extension.as_str() {
            "csv" => ("CSV", matches!(self.layout.format, Format::Csv(_) | Format::Text)),
            "tsv" | "tab" => ("TSV", matches!(self.layout.format, Format::Csv(_) | Format::Text)),
            "jsonl" | "ndjson" | "json" => ("JSON lines", self.layout.format == Format::JsonLines),
            "parquet" | "pq" => ("Parquet", self.layout.format == Format::Parquet),
            _ => ("another kind of file", self.layout.format != Format::Parquet),
        };
        if !fits || compression != Compression::None && self.layout.format == Format::Parquet {
            let path = output.to_owned();
            return Err(Error::OutputFormat { path, found, expected: format!("`…{}`", self.layout.extension()) });
        }
        let plain = Dialect { delimiter: b',', header: true, bom: false, crlf: false };
        let format = match (self.layout.format, extension.as_str()) {
            (Format::Csv(dialect), "tsv" | "tab") => Format::Csv(Dialect { delimiter: b'\t', ..dialect }),
            (Format::Csv(dialect), "csv") if dialect.delimiter == b'\t' => {
                Format::Csv(Dialect { delimiter: b',', ..dialect })
            }
            (Format::Text, "tsv" | "tab") => Format::Csv(Dialect { delimiter: b'\t', ..plain }),
            (Format::Text, _) => Format::Csv(plain),
            (format, _) => format,
        };
        Ok(Layout { format, compression })
    }
}

fn broken(path: &Path, rows: u64, error: &io::Error) -> Error {
    Error::FileBroken { path: path.to_owned(), rows, message: error.to_string() }
}

/// Rows of a file, a piece at a time.
pub struct Rows {
    inner: Box<dyn Reader>,
    path: PathBuf,
    rows: u64,
}

impl Iterator for Rows {
    type Item = Result<Chunk, Error>;

    fn next(&mut self) -> Option<Result<Chunk, Error>> {
        let outcome = self.inner.next().map_err(|error| broken(&self.path, self.rows, &error)).transpose()?;
        if let Ok(chunk) = &outcome {
            self.rows += chunk.rows.len() as u64;
        }
        Some(outcome)
    }
}

/// An output in the making.
pub struct TableWriter {
    inner: Box<dyn Writer>,
    path: PathBuf,
}

impl TableWriter {
    /// Writes the chunk's rows with a value for each added column; `Null` leaves what was there, or nothing.
    ///
    /// # Errors
    /// `NotWritten`.
    pub fn write(&mut self, chunk: Chunk, values: Vec<Vec<Value>>) -> Result<(), Error> {
        self.inner.write(chunk, values).map_err(|error| not_written(&self.path, &error))
    }

    /// Writes all that is left.
    ///
    /// # Errors
    /// `NotWritten`.
    pub fn finish(self) -> Result<(), Error> {
        self.inner.finish().map_err(|error| not_written(&self.path, &error))
    }
}

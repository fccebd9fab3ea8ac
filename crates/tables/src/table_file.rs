//! An open input file: its format and columns, and its rows, which can be read any number of times.
//!
//! Everything is read from the file that was opened, even if another file takes its name.

use std::fs::{File, Permissions};
use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::columns::{listed, look_like_text, only, position, usual_labels, usual_text};
use crate::csv::Header;
use crate::error::Error;
use crate::format::{CsvOptions, Format, Layout};
use crate::json_object::MAX_PATH_PARTS;
use crate::limits::OverLimit;
use crate::location::Location;
use crate::path_policy::PathPolicy;
use crate::rows::{CellKind, Chunk, ColumnRef, RowReader};
use crate::{csv, json_lines, parquet, text};

/// An open file of rows.
#[derive(Debug)]
pub struct TableFile {
    file: File,
    path: PathBuf,
    pub(crate) layout: Layout,
    pub(crate) header: Header,
    /// Set for Parquet files only.
    pub(crate) parquet: Option<Arc<parquet::Description>>,
    /// The limit for unpacked bytes.
    max_bytes: Option<u64>,
}

impl TableFile {
    /// Opens a file, and detects its format and its columns.
    ///
    /// # Errors
    /// `PathNotAllowed`, `FileNotOpened`, `NotAFile`, `FileTooLarge`, `FormatUnknown`, `FileBroken`
    /// or `NoRows`.
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
        let layout = Layout::detect(&mut file, &path, options)?;
        let max_bytes = location.max_file_bytes;
        let mut table = Self { file, path, layout, header: Header::default(), parquet: None, max_bytes };
        table.read_header().map_err(|error| table.broken(0, &error))?;
        Ok(table)
    }

    fn read_header(&mut self) -> io::Result<()> {
        self.header = match self.layout.format {
            Format::Csv(dialect) => csv::Reader::new(self.stream()?, dialect, Vec::new())?.header,
            Format::JsonLines => Header::from_names(json_lines::Reader::new(self.stream()?, Vec::new()).names()?),
            Format::Text(_) => Header::from_names(vec!["text".into()]),
            Format::Parquet => {
                let description = parquet::Description::read(&self.file)?;
                if self.max_bytes.is_some_and(|limit| description.unpacked_bytes > limit) {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                let names = description.names();
                self.parquet = Some(Arc::new(description));
                Header::from_names(names)
            }
        };
        Ok(())
    }

    fn broken(&self, rows: u64, error: &io::Error) -> Error {
        broken(&self.path, rows, self.max_bytes, error)
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the names of the columns. In JSON lines, those of the first rows.
    pub fn columns(&self) -> &[String] {
        &self.header.names
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Returns the permissions for an output: those of this file, plus write permission for the
    /// owner.
    pub(crate) fn permissions(&self) -> io::Result<Permissions> {
        let own = self.file.metadata()?.permissions();
        #[cfg(unix)]
        let own = {
            use std::os::unix::fs::PermissionsExt;
            Permissions::from_mode(own.mode() & 0o666 | 0o600)
        };
        Ok(own)
    }

    /// Returns a column by its name or its number.
    ///
    /// # Errors
    /// `ColumnUnknown`, `ColumnAmbiguous`; `ColumnNotText` if text is requested and the column has
    /// another type.
    pub fn column(&self, name: &str, kind: CellKind) -> Result<ColumnRef, Error> {
        let columns = self.columns();
        let is_path = self.layout.format == Format::JsonLines
            && name.split('.').count() <= MAX_PATH_PARTS
            && name.split_once('.').is_some_and(|(first, _)| columns.iter().any(|column| column == first));
        if is_path {
            return Ok(ColumnRef { column: name.to_owned(), position: 0, kind });
        }
        let column = self.column_at(position(columns, name)?, kind);
        match self.parquet.as_ref().and_then(|parquet| parquet.unreadable(column.position, kind)) {
            Some(found) => Err(Error::ColumnNotText { name: column.column, found, columns: listed(columns) }),
            None => Ok(column),
        }
    }

    fn column_at(&self, position: usize, kind: CellKind) -> ColumnRef {
        ColumnRef { column: self.header.names[position].clone(), position, kind }
    }

    /// Returns a column by its exact name if the file has it. In JSON lines any row may have any
    /// field.
    pub fn optional(&self, name: &str) -> Option<ColumnRef> {
        let position = self.columns().iter().position(|column| column == name);
        let position = position.or((self.layout.format == Format::JsonLines).then_some(0))?;
        let readable = |parquet: &Arc<parquet::Description>| parquet.unreadable(position, CellKind::List).is_none();
        self.parquet.as_ref().is_none_or(readable).then_some(())?;
        Some(ColumnRef { column: name.to_owned(), position, kind: CellKind::Value })
    }

    /// Returns the column that holds the labels, if only one has a usual name for them.
    ///
    /// # Errors
    /// `LabelColumnUnclear`.
    pub fn label_column(&self) -> Result<ColumnRef, Error> {
        let position = usual_labels(self.columns());
        let unclear = || Error::LabelColumnUnclear { columns: listed(self.columns()) };
        Ok(self.column_at(position.ok_or_else(unclear)?, CellKind::List))
    }

    /// Returns the column that holds the texts: the only one that can, else the only one with a
    /// usual name, else the only one whose first rows look like text. The columns in `except` are
    /// ignored.
    ///
    /// # Errors
    /// `ColumnUnclear`, or `FileBroken`.
    pub fn text_column(&mut self, except: &[&str]) -> Result<ColumnRef, Error> {
        let fits = |&position: &usize| {
            !except.contains(&self.header.names[position].as_str())
                && self.parquet.as_ref().is_none_or(|parquet| parquet.is_text(position))
        };
        let candidates: Vec<usize> = (0..self.columns().len()).filter(fits).collect();
        let position = match only(&candidates, |_| true).or_else(|| usual_text(self.columns(), &candidates)) {
            Some(position) => Some(position),
            None => self.only_text_like(&candidates)?,
        };
        let unclear = || Error::ColumnUnclear { columns: listed(self.columns()) };
        Ok(self.column_at(position.ok_or_else(unclear)?, CellKind::Text))
    }

    fn only_text_like(&mut self, candidates: &[usize]) -> Result<Option<usize>, Error> {
        let columns: Vec<ColumnRef> =
            candidates.iter().map(|&position| self.column_at(position, CellKind::Text)).collect();
        let Some(sample) = self.rows(&columns)?.next().transpose()? else { return Ok(None) };
        let cells = |number: usize| sample.rows.iter().filter_map(move |row| row.cells[number].as_deref().ok());
        let text_like: Vec<usize> = (0..columns.len())
            .filter(|&number| look_like_text(cells(number)))
            .map(|number| candidates[number])
            .collect();
        Ok(only(&text_like, |_| true))
    }

    /// Reads the rows from the beginning.
    ///
    /// # Errors
    /// `FileBroken`.
    pub fn rows(&mut self, columns: &[ColumnRef]) -> Result<Rows, Error> {
        let inner = self.reader(columns.to_vec()).map_err(|error| self.broken(0, &error))?;
        Ok(Rows { inner, path: self.path.clone(), max_bytes: self.max_bytes, rows: 0 })
    }

    fn reader(&mut self, columns: Vec<ColumnRef>) -> io::Result<Box<dyn RowReader>> {
        Ok(match (self.layout.format, &self.parquet) {
            (Format::Csv(dialect), _) => Box::new(csv::Reader::new(self.stream()?, dialect, columns)?),
            (Format::Parquet, Some(description)) => Box::new(parquet::Reader::new(&self.file, description, columns)?),
            (Format::Text(line_end), _) => Box::new(text::Reader::new(self.stream()?, line_end)),
            (Format::JsonLines | Format::Parquet, _) => Box::new(json_lines::Reader::new(self.stream()?, columns)),
        })
    }

    fn stream(&mut self) -> io::Result<Box<dyn io::Read + Send>> {
        self.file.rewind()?;
        self.layout.compression.decoder(self.file.try_clone()?, self.max_bytes)
    }
}

fn broken(path: &Path, rows: u64, max_bytes: Option<u64>, error: &io::Error) -> Error {
    let path = path.to_owned();
    if let Some(&OverLimit { found, things, limit, remedy }) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        return Error::OverLimit { path, found, things, limit, remedy };
    }
    match (max_bytes, error.kind()) {
        (Some(limit), io::ErrorKind::FileTooLarge) => Error::UnpackedTooLarge { path, limit },
        (_, io::ErrorKind::Unsupported) => {
            Error::FormatUnknown { path, found: error.to_string(), remedy: "write it without encryption".into() }
        }
        _ => Error::FileBroken { path, rows, message: error.to_string() },
    }
}

/// The rows of a file, in chunks.
pub struct Rows {
    inner: Box<dyn RowReader>,
    path: PathBuf,
    max_bytes: Option<u64>,
    rows: u64,
}

impl Iterator for Rows {
    type Item = Result<Chunk, Error>;

    fn next(&mut self) -> Option<Result<Chunk, Error>> {
        let chunk = self.inner.next_chunk().transpose()?;
        if let Ok(chunk) = &chunk {
            self.rows += chunk.rows.len() as u64;
        }
        Some(chunk.map_err(|error| broken(&self.path, self.rows, self.max_bytes, &error)))
    }
}

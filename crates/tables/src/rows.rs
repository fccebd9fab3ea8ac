//! Rows in chunks of bounded size, which readers produce and writers take.

use std::io;

use serde_json::Value;

use crate::csv_records::Record;
use crate::error::Error;

/// The value of a row in one of the selected columns, or the reason why there is none.
pub type Cell = Result<String, Error>;

/// A column to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnRef {
    pub column: String,
    /// Its position among the columns of the file, which may have the same names. Unused
    /// in JSON lines.
    pub position: usize,
    pub kind: CellKind,
}

impl ColumnRef {
    /// A field of JSON lines that holds text.
    pub fn text_field(name: impl Into<String>) -> Self {
        Self { column: name.into(), position: 0, kind: CellKind::Text }
    }
}

/// The values accepted in a column, in formats that have types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// Strings only.
    Text,
    /// Also numbers and booleans, as they are written.
    Value,
    /// Also lists, as JSON.
    List,
}

/// A row: one cell for each selected column, in that order.
#[derive(Debug)]
pub struct Row {
    pub cells: Vec<Cell>,
}

/// Consecutive rows, with everything that a writer needs to write them again.
#[derive(Debug)]
pub struct Chunk {
    pub rows: Vec<Row>,
    pub(crate) raw: RawRows,
}

/// The rows of a chunk, verbatim.
#[derive(Debug)]
pub(crate) enum RawRows {
    Records(Vec<Record>),
    Lines(Vec<Vec<u8>>),
    /// The writer copies them from the file.
    InFile,
}

/// The values of a column in an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    Text,
    Number,
    Flag,
    /// Any JSON value; written as text in formats without JSON values.
    Json,
}

/// A column to write: a new one, or one of the file that gets new values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewColumn {
    pub name: String,
    pub kind: ValueKind,
}

/// Reads the rows of one format. Errors are those of the stream; a bad row is a row with an error
/// in its cells.
pub(crate) trait RowReader: Send {
    fn next_chunk(&mut self) -> io::Result<Option<Chunk>>;
}

/// Writes the rows of one format.
pub(crate) trait RowWriter {
    /// Writes the chunk's rows with a value for each new column. `Null` keeps the row's existing
    /// value, if any.
    fn write(&mut self, chunk: Chunk, values: Vec<Vec<Value>>) -> io::Result<()>;

    /// Writes what is still buffered.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// The error of a writer that receives rows of another format, which would be a bug.
pub(crate) fn other_format() -> io::Error {
    io::Error::other("rows of another format")
}

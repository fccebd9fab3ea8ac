//! Rows of files: CSV, JSON lines, plain lines and Parquet, compressed or not, read and written a piece at a time.
//!
//! Nothing here knows models or predictions; `job` puts those between a reader and a writer. Nothing outside this folder
//! may name `csv`, `flate2`, `zstd`, `parquet` or `arrow`.

mod columns;
mod compression;
mod csv;
mod error;
mod format;
mod jsonl;
mod lines;
mod output_file;
mod parquet;
mod path_policy;
mod records;
mod table_file;
mod text;

use serde_json::Value;

pub use error::Error;
pub use jsonl::Object;
pub use lines::{Line, Lines};
pub use output_file::{IfExists, OutputFile, PartialFile, ProgressFile, output_location};
pub use path_policy::{Location, PathPolicy};
pub use table_file::{CsvOptions, Projection, Rows, TableFile, TableWriter};

// The old names, until all users have the new ones.
pub use self::{CellKind as Reads, ColumnRef as Wanted, NewColumn as Added, ValueKind as Kind};
pub use output_file::IfExists as Existing;
pub use path_policy::PathPolicy as Places;
pub use table_file::{CsvOptions as Reading, Projection as Extent, TableFile as Source, TableWriter as Output};

/// Doors for `fuzz/`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    use std::io::Cursor;

    use super::records::Records;
    use super::{CellKind, ColumnRef, Line, Lines, Object, Reader, jsonl};

    /// CellKind to the end, in no more records than there are bytes.
    pub fn csv(bytes: &[u8]) {
        for delimiter in *b",\t;" {
            let mut records = Records::new(Box::new(Cursor::new(bytes.to_vec())), delimiter);
            let count = std::iter::from_fn(|| records.next().expect("memory can be read")).count();
            assert!(count <= bytes.len());
        }
    }

    /// CellKind to the end; an object that is written again is the same.
    pub fn jsonl(bytes: &[u8]) {
        let wanted =
            ["text", "in.text"].map(|column| ColumnRef { column: column.into(), position: 0, reads: CellKind::Text });
        let mut reader = jsonl::Reader::new(Box::new(Cursor::new(bytes.to_vec())), wanted.to_vec());
        let mut rows = 0;
        while let Some(chunk) = reader.next().expect("memory can be read") {
            rows += chunk.rows.len();
        }
        let lines: Vec<Line> = Lines::new(bytes).map(|line| line.expect("memory can be read")).collect();
        assert_eq!(rows, lines.len());
        for object in lines.iter().filter_map(|line| Object::parse(line).ok()) {
            let line = object.line();
            let again = Object::parse(&Line::Whole(line.clone().into_bytes())).expect("what was written can be read");
            assert_eq!(again.line(), line);
        }
    }
}

/// Longest row that is read. A longer one is reported and passed over, so that a file without line ends, or with a quote
/// that is never closed, fills no memory. Texts are bounded far below it by `--max-text-bytes`.
pub const MAX_ROW_BYTES: usize = 16 << 20;
/// Rows are handed over in pieces of this many, or fewer where they are large.
const CHUNK_ROWS: usize = 256;
const CHUNK_BYTES: usize = 1 << 20;

/// What a row has in one of the columns that were asked for: text, or why there is none.
pub type Cell = Result<String, Error>;

/// One of the columns to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnRef {
    pub column: String,
    /// Where it stands among the columns; several may have one name.
    pub position: usize,
    pub reads: CellKind,
}

/// What a column may hold where the format tells kinds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// A number is a mistake there.
    Text,
    /// Numbers and truth values are read as they are written.
    Value,
    /// Lists as well, as JSON.
    List,
}

/// One row: a cell for each column that was asked for, in that order.
#[derive(Debug)]
pub struct Row {
    pub cells: Vec<Cell>,
}

/// Some rows in a piece, with all that a writer needs to write them again.
#[derive(Debug)]
pub struct Chunk {
    pub rows: Vec<Row>,
    kept: RawRows,
}

#[derive(Debug)]
enum RawRows {
    Records(Vec<::csv::ByteRecord>),
    Lines(Vec<Vec<u8>>),
    Batch(arrow_array::RecordBatch),
}

/// What a column added to an output holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    Text,
    Number,
    Flag,
    /// Any JSON; its text in formats that have none.
    Json,
}

/// A column to be put into an output: a new one, or one that is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewColumn {
    pub name: String,
    pub kind: ValueKind,
}

/// A file format's way of reading. Errors are those of the stream itself; a bad row is a row.
trait Reader: Send {
    fn next(&mut self) -> std::io::Result<Option<Chunk>>;
}

/// A file format's way of writing.
trait Writer {
    /// Writes the chunk's rows with a value for each added column; `Null` leaves what was there, or nothing.
    fn write(&mut self, chunk: Chunk, values: Vec<Vec<Value>>) -> std::io::Result<()>;
    /// Everything into the file.
    fn finish(self: Box<Self>) -> std::io::Result<()>;
}

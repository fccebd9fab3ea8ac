//! Tables in files: CSV, TSV, JSON lines, plain text and Parquet, plain or compressed, in chunks of
//! bounded size.
//!
//! [`TableFile`] reads the rows of a file, and [`TableWriter`] writes them with added columns and
//! everything else unchanged. [`PathPolicy`] restricts which paths may be used. [`OutputFile`]
//! makes an output appear complete or not at all. This crate knows nothing of models or
//! predictions.

mod columns;
mod compression;
mod csv;
mod csv_records;
mod error;
mod format;
mod json_lines;
mod json_object;
mod limits;
mod lines;
mod location;
mod output_file;
mod parquet;
mod path_policy;
mod rows;
mod table_file;
mod table_writer;
mod text;

pub use error::Error;
pub use format::CsvOptions;
pub use json_object::JsonObject;
pub use limits::MAX_ROW_BYTES;
pub use lines::{Line, Lines};
pub use location::Location;
pub use output_file::{IfExists, OutputFile, PartialFile, ProgressFile, output_location};
pub use path_policy::{AllowedDir, PathPolicy};
pub use rows::{Cell, CellKind, Chunk, ColumnRef, NewColumn, Row, ValueKind};
pub use table_file::{Rows, TableFile};
pub use table_writer::TableWriter;

/// Entry points for the fuzz targets.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    use std::io::Cursor;

    use crate::csv_records::Records;
    use crate::rows::RowReader;
    use crate::{ColumnRef, JsonObject, Line, Lines, json_lines};

    /// Reads to the end. There are at most as many records as bytes.
    pub fn csv(bytes: &[u8]) {
        for (delimiter, line_end) in [(b',', b'\n'), (b'\t', b'\n'), (b';', b'\r')] {
            let records = Records::new(Box::new(Cursor::new(bytes.to_vec())), delimiter, line_end);
            let mut records = records.expect("memory can be read");
            let count = std::iter::from_fn(|| records.next().expect("memory can be read")).count();
            assert!(count <= bytes.len());
        }
    }

    /// Reads to the end. Rewriting an object leaves it unchanged.
    pub fn jsonl(bytes: &[u8]) {
        let columns = ["text", "in.text"].map(ColumnRef::text_field);
        let mut reader = json_lines::Reader::new(Box::new(Cursor::new(bytes.to_vec())), columns.to_vec());
        let mut rows = 0;
        while let Some(chunk) = reader.next_chunk().expect("memory can be read") {
            rows += chunk.rows.len();
        }
        let lines: Vec<Line> = Lines::new(bytes).map(|line| line.expect("memory can be read")).collect();
        assert_eq!(rows, lines.len());
        for object in lines.iter().filter_map(|line| JsonObject::parse(line).ok()) {
            let again = JsonObject::parse(&Line::Whole(object.line().into()));
            assert_eq!(again.expect("what was written can be read").line(), object.line());
        }
    }
}

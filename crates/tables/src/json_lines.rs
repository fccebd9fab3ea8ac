//! JSON lines: one object per line. `json_object` reads and changes an object.

use std::io::{self, BufReader, Read, Write};

use indexmap::IndexSet;
use serde_json::Value;

use crate::compression::Encoder;
use crate::json_object::JsonObject;
use crate::limits::MAX_COLUMNS;
use crate::lines::{Line, Lines};
use crate::rows::{Chunk, ColumnRef, NewColumn, RawRows, Row, RowReader, RowWriter, other_format};

pub(crate) struct Reader {
    lines: Lines<BufReader<Box<dyn Read + Send>>>,
    columns: Vec<ColumnRef>,
}

impl Reader {
    pub(crate) fn new(stream: Box<dyn Read + Send>, columns: Vec<ColumnRef>) -> Self {
        Self { lines: Lines::new(BufReader::new(stream)), columns }
    }

    /// Returns the names of the fields in the next rows, in the order of their first appearance, as
    /// many as there may be columns.
    pub(crate) fn names(&mut self) -> io::Result<Vec<String>> {
        let mut names = IndexSet::new();
        self.lines.chunk(|line| {
            let object = JsonObject::parse(line).unwrap_or_default();
            let left = MAX_COLUMNS - names.len();
            names.extend(object.values.into_keys().take(left));
            Row { cells: Vec::new() }
        })?;
        Ok(names.into_iter().collect())
    }
}

impl RowReader for Reader {
    fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let (rows, raw) = self.lines.chunk(|line| {
            let object = JsonObject::parse(line);
            let cell = |column| object.as_ref().map_err(Clone::clone).and_then(|object| object.cell(column));
            Row { cells: self.columns.iter().map(cell).collect() }
        })?;
        Ok((!rows.is_empty()).then_some(Chunk { rows, raw: RawRows::Lines(raw) }))
    }
}

pub(crate) struct Writer {
    file: Encoder,
    new_columns: Vec<NewColumn>,
}

impl Writer {
    pub(crate) fn new(file: Encoder, new_columns: Vec<NewColumn>) -> Self {
        Self { file, new_columns }
    }
}

impl RowWriter for Writer {
    fn write(&mut self, chunk: Chunk, values: Vec<Vec<Value>>) -> io::Result<()> {
        let RawRows::Lines(lines) = chunk.raw else { return Err(other_format()) };
        for (line, values) in lines.into_iter().zip(values) {
            let line = Line::Whole(line);
            // A line that is not an object becomes a string, so that the output is always valid
            // JSON lines.
            let mut object = JsonObject::parse(&line).unwrap_or_else(|_| match &line {
                Line::Whole(line) => JsonObject::with_text("line", &String::from_utf8_lossy(line)),
                Line::TooLong(_) => JsonObject::default(),
            });
            for (column, value) in self.new_columns.iter().zip(values).filter(|(_, value)| !value.is_null()) {
                object.set(&column.name, &value);
            }
            writeln!(self.file, "{}", object.line())?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.file.finish()
    }
}

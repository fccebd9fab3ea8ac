//! CSV and TSV, with columns named by the header. Fields are passed on verbatim.

use std::io::{self, Read, Write};

use serde_json::Value;

use crate::columns::elided;
use crate::compression::Encoder;
use crate::csv_records::{Record, Records, decode, encode, rewrite};
use crate::error::Error;
use crate::limits::{BOM, CHUNK_BYTES, CHUNK_ROWS, check_columns};
use crate::rows::{Cell, Chunk, ColumnRef, NewColumn, RawRows, Row, RowReader, RowWriter, other_format};

/// The dialect of a CSV file, which its output uses too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub delimiter: u8,
    pub header: bool,
    pub bom: bool,
    /// Whether the first line is `sep=` and the delimiter, for Excel.
    pub sep_line: bool,
    pub line_end: LineEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineEnd {
    Lf,
    CrLf,
    Cr,
}

impl LineEnd {
    fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
            Self::Cr => b"\r",
        }
    }

    pub(crate) fn last_byte(self) -> u8 {
        if self == Self::Cr { b'\r' } else { b'\n' }
    }
}

/// The names of the columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Header {
    pub names: Vec<String>,
    /// Verbatim.
    fields: Vec<Vec<u8>>,
}

impl Header {
    fn new(record: &Record) -> Self {
        let name = |field: &[u8]| String::from_utf8_lossy(&decode(field)).trim().to_owned();
        Self { names: record.iter().map(name).collect(), fields: record.iter().map(<[u8]>::to_vec).collect() }
    }

    /// Columns without names.
    pub(crate) fn from_names(names: Vec<String>) -> Self {
        Self { fields: names.iter().map(|name| name.as_bytes().to_vec()).collect(), names }
    }
}

pub(crate) struct Reader {
    records: Records,
    /// The first record of a file without a header.
    first: Option<(Record, Option<Error>)>,
    pub header: Header,
    delimiter: u8,
    columns: Vec<ColumnRef>,
}

impl Reader {
    /// Opens the rows below the header. A file without one has columns called 1, 2, 3 and so on.
    pub(crate) fn new(stream: Box<dyn Read + Send>, dialect: Dialect, columns: Vec<ColumnRef>) -> io::Result<Self> {
        let mut records = Records::new(stream, dialect.delimiter, dialect.line_end.last_byte())?;
        if dialect.sep_line {
            records.next()?;
        }
        let mut first = records.next()?;
        let record = first.as_ref().map(|(record, _)| record);
        let width = record.map_or(0, Record::width);
        let header = if dialect.header {
            let header = record.map(Header::new);
            first = None;
            header.unwrap_or_default()
        } else {
            Header::from_names((1..=record.map_or(0, Record::len)).map(|number| number.to_string()).collect())
        };
        check_columns(width)?;
        // Polars and DuckDB write a missing value of the only column as an empty line.
        records.has_empty_lines = header.names.len() == 1;
        Ok(Self { records, first, header, delimiter: dialect.delimiter, columns })
    }

    fn row(&self, record: &Record, problem: Option<&Error>) -> Row {
        let cell = |column: &ColumnRef| match problem {
            Some(problem) => Err(problem.clone()),
            None => text(record.get(column.position).unwrap_or_default(), &column.column),
        };
        Row { cells: self.columns.iter().map(cell).collect() }
    }

    /// Makes a record as wide as the header: adds empty fields, and joins surplus ones into the
    /// last.
    fn fitted(&self, record: &Record) -> Record {
        let last = self.header.names.len().saturating_sub(1);
        let mut fitted = Record::default();
        (0..last).for_each(|position| fitted.push(record.get(position).unwrap_or_default()));
        match (last..record.len()).filter_map(|position| record.get(position)).collect::<Vec<_>>().as_slice() {
            [] => fitted.push(b""),
            [field] => fitted.push(field),
            rest => {
                let text: Vec<_> = rest.iter().map(|field| decode(field)).collect();
                fitted.push(&encode(&text.join(&self.delimiter), self.delimiter));
            }
        }
        fitted
    }
}

fn text(field: &[u8], column: &str) -> Cell {
    String::from_utf8(decode(field).into_owned()).map_err(|error| Error::BadCell {
        column: elided(column),
        found: format!("not UTF-8 from byte {} on", error.utf8_error().valid_up_to() + 1),
        expected: "UTF-8; convert the file, for example with `iconv`",
    })
}

impl RowReader for Reader {
    fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let (mut rows, mut raw, mut bytes) = (Vec::new(), Vec::new(), 0);
        let width = self.header.names.len();
        while rows.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
            let next = match self.first.take() {
                Some(first) => Some(first),
                None => self.records.next()?,
            };
            let Some((mut record, mut problem)) = next else { break };
            if record.len() != width {
                let found = match record.width() {
                    1 => "has 1 field".to_owned(),
                    count => format!("has {count} fields"),
                };
                let expected = format!("{width} as in the header; put fields that hold the delimiter into quotes");
                problem.get_or_insert(Error::BadRow { found, expected });
                record = self.fitted(&record);
            }
            bytes += record.memory();
            rows.push(self.row(&record, problem.as_ref()));
            raw.push(record);
        }
        Ok((!rows.is_empty()).then_some(Chunk { rows, raw: RawRows::Records(raw) }))
    }
}

pub(crate) struct Writer {
    file: Encoder,
    dialect: Dialect,
    /// The position of each new column.
    positions: Vec<usize>,
    width: usize,
}

impl Writer {
    pub(crate) fn new(file: Encoder, dialect: Dialect, header: &Header, new_columns: &[NewColumn]) -> io::Result<Self> {
        let mut fields = header.fields.clone();
        let mut positions = Vec::new();
        for column in new_columns {
            let known = header.names.iter().position(|name| *name == column.name);
            positions.push(known.unwrap_or(fields.len()));
            if known.is_none() {
                fields.push(encode(column.name.as_bytes(), dialect.delimiter).into_owned());
            }
        }
        let mut writer = Self { file, dialect, positions, width: fields.len() };
        if dialect.bom {
            writer.file.write_all(BOM)?;
        }
        if dialect.sep_line {
            writer.file.write_all(&[b"sep=".as_slice(), &[dialect.delimiter], dialect.line_end.as_bytes()].concat())?;
        }
        writer.write_record(&fields)?;
        Ok(writer)
    }

    fn write_record(&mut self, fields: &[Vec<u8>]) -> io::Result<()> {
        for (number, field) in fields.iter().enumerate() {
            if number > 0 {
                self.file.write_all(&[self.dialect.delimiter])?;
            }
            self.file.write_all(&rewrite(field, self.dialect.delimiter))?;
        }
        self.file.write_all(self.dialect.line_end.as_bytes())
    }
}

impl RowWriter for Writer {
    fn write(&mut self, chunk: Chunk, values: Vec<Vec<Value>>) -> io::Result<()> {
        let RawRows::Records(records) = chunk.raw else { return Err(other_format()) };
        for (record, values) in records.iter().zip(values) {
            let mut fields: Vec<Vec<u8>> = record.iter().map(<[u8]>::to_vec).collect();
            fields.resize(self.width, Vec::new());
            for (position, value) in self.positions.iter().zip(values) {
                let text = match value {
                    Value::Null => continue,
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                fields[*position] = encode(text.as_bytes(), self.dialect.delimiter).into_owned();
            }
            self.write_record(&fields)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.file.finish()
    }
}

//! CSV and TSV: rows with a header, a column by its name; every row comes out as wide as the header.

use std::io::{self, Read, Write};

use csv::{ByteRecord, QuoteStyle, Terminator, WriterBuilder};
use serde_json::Value;

use crate::Error;
use crate::compression::Encoder;
use crate::records::{Record, Records};
use crate::{CHUNK_BYTES, CHUNK_ROWS, Cell, Chunk, ColumnRef, NewColumn, RawRows, Row};

pub(crate) const BOM: &[u8] = b"\xEF\xBB\xBF";

/// How a CSV file is written, so that its output is written alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub delimiter: u8,
    pub header: bool,
    pub bom: bool,
    pub crlf: bool,
}

pub(crate) struct Reader {
    records: Records,
    /// The first record of a file without a header.
    first: Option<Record>,
    pub header: Vec<String>,
    delimiter: u8,
    wanted: Vec<ColumnRef>,
}

impl Reader {
    /// Opens the rows below the header; a file without one has columns called 1, 2, 3 and so on.
    pub(crate) fn new(stream: Box<dyn Read + Send>, dialect: Dialect) -> io::Result<Self> {
        let mut records = Records::new(stream, dialect.delimiter);
        let first = records.next()?;
        let names = |record: &Record| {
            let named =
                |field: &[u8]| String::from_utf8_lossy(field.strip_prefix(BOM).unwrap_or(field)).trim().to_owned();
            record.fields.iter().map(named).collect::<Vec<_>>()
        };
        let header = first.as_ref().map(names).unwrap_or_default();
        let (header, first) = if dialect.header {
            (header, None)
        } else {
            let first = first.map(|record| Record { fields: without_bom(&record.fields), ..record });
            ((1..=header.len()).map(|number| number.to_string()).collect(), first)
        };
        Ok(Self { records, first, header, delimiter: dialect.delimiter, wanted: Vec::new() })
    }

    pub(crate) fn want(mut self, wanted: Vec<ColumnRef>) -> Self {
        self.wanted = wanted;
        self
    }

    fn row(&self, fields: &ByteRecord, problem: Option<Error>) -> Row {
        let cell = |wanted: &ColumnRef| -> Cell {
            match &problem {
                Some(problem) => Err(problem.clone()),
                None => text(fields.get(wanted.position).unwrap_or_default(), &wanted.column),
            }
        };
        Row { cells: self.wanted.iter().map(cell).collect() }
    }

    /// Makes the record as wide as the header: blank fields are added, and surplus ones joined into the last.
    fn fitted(&self, fields: &ByteRecord) -> ByteRecord {
        let width = self.header.len();
        let mut fitted: ByteRecord = fields.iter().take(width.saturating_sub(1)).collect();
        while fitted.len() + 1 < width {
            fitted.push_field(b"");
        }
        let rest: Vec<&[u8]> = fields.iter().skip(width.saturating_sub(1)).collect();
        fitted.push_field(&rest.join(&self.delimiter));
        fitted
    }
}

fn without_bom(fields: &ByteRecord) -> ByteRecord {
    let strip = |(number, field)| match number {
        0 => <[u8]>::strip_prefix(field, BOM).unwrap_or(field),
        _ => field,
    };
    fields.iter().enumerate().map(strip).collect()
}

fn text(field: &[u8], column: &str) -> Cell {
    std::str::from_utf8(field).map(str::to_owned).map_err(|error| Error::BadCell {
        column: column.to_owned(),
        found: format!("not UTF-8 from byte {} on", error.valid_up_to() + 1),
        expected: "UTF-8; convert the file, with `iconv` for example",
    })
}

impl super::Reader for Reader {
    fn next(&mut self) -> io::Result<Option<Chunk>> {
        let (mut rows, mut kept, mut bytes) = (Vec::new(), Vec::new(), 0);
        while rows.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
            let record = match self.first.take() {
                Some(first) => Some(first),
                None => self.records.next()?,
            };
            let Some(Record { mut fields, mut problem, .. }) = record else { break };
            if fields.len() != self.header.len() {
                problem = problem.or_else(|| {
                    Some(Error::BadRow {
                        found: format!("has {} fields", fields.len()),
                        expected: format!(
                            "{} as in the header; put fields that hold the delimiter into quotes",
                            self.header.len()
                        ),
                    })
                });
                fields = self.fitted(&fields);
            }
            bytes += fields.as_slice().len();
            rows.push(self.row(&fields, problem));
            kept.push(fields);
        }
        Ok((!rows.is_empty()).then_some(Chunk { rows, kept: RawRows::Records(kept) }))
    }
}

pub(crate) struct Writer {
    inner: csv::Writer<Encoder>,
    /// Where each added column goes.
    positions: Vec<usize>,
    width: usize,
}

impl Writer {
    pub(crate) fn new(mut file: Encoder, dialect: Dialect, header: &[String], added: &[NewColumn]) -> io::Result<Self> {
        if dialect.bom {
            file.write_all(BOM)?;
        }
        let mut names = header.to_vec();
        let mut positions = Vec::new();
        for column in added {
            positions.push(names.iter().position(|name| *name == column.name).unwrap_or(names.len()));
            if positions.last() == Some(&names.len()) {
                names.push(column.name.clone());
            }
        }
        let terminator = if dialect.crlf { Terminator::CRLF } else { Terminator::Any(b'\n') };
        let mut inner = WriterBuilder::new()
            .delimiter(dialect.delimiter)
            .terminator(terminator)
            .quote_style(QuoteStyle::Necessary)
            .from_writer(file);
        inner.write_record(&names)?;
        Ok(Self { inner, positions, width: names.len() })
    }
}

impl super::Writer for Writer {
    fn write(&mut self, chunk: Chunk, values: Vec<Vec<Value>>) -> io::Result<()> {
        let RawRows::Records(records) = chunk.kept else { return Err(io::Error::other("rows of another format")) };
        for (record, values) in records.iter().zip(values) {
            let mut fields: Vec<Vec<u8>> = record.iter().map(<[u8]>::to_vec).collect();
            fields.resize(self.width, Vec::new());
            for (position, value) in self.positions.iter().zip(values) {
                match value {
                    Value::Null => {}
                    Value::String(text) => fields[*position] = text.into_bytes(),
                    other => fields[*position] = other.to_string().into_bytes(),
                }
            }
            self.inner.write_record(&fields)?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.inner.into_inner().map_err(|error| io::Error::other(error.to_string()))?.finish()
    }
}

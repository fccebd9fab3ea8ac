//! Plain text, one row per line. The output is CSV, because a line cannot hold a second column.

use std::io::{self, BufReader, Read};

use crate::csv::LineEnd;
use crate::csv_records::{Record, encode};
use crate::lines::Lines;
use crate::rows::{Chunk, RawRows, Row, RowReader};

pub(crate) struct Reader {
    lines: Lines<BufReader<Box<dyn Read + Send>>>,
}

impl Reader {
    pub(crate) fn new(stream: Box<dyn Read + Send>, line_end: LineEnd) -> Self {
        Self { lines: Lines::ending_with(BufReader::new(stream), line_end.last_byte()) }
    }
}

impl RowReader for Reader {
    fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let (rows, raw) = self.lines.chunk(|line| Row { cells: vec![line.text().map(str::to_owned)] })?;
        let record = |line: &Vec<u8>| {
            let mut record = Record::default();
            record.push(&encode(line, b','));
            record
        };
        let raw = RawRows::Records(raw.iter().map(record).collect());
        Ok((!rows.is_empty()).then_some(Chunk { rows, raw }))
    }
}

//! Plain lines: a row is a line. Written, they are CSV, which `source` sees to.

use std::io::{self, BufReader, Read};

use csv::ByteRecord;

use crate::lines::{Line, Lines};
use crate::{CHUNK_BYTES, CHUNK_ROWS, Chunk, RawRows, Row};

pub(crate) struct Reader {
    lines: Lines<BufReader<Box<dyn Read + Send>>>,
}

impl Reader {
    pub(crate) fn new(stream: Box<dyn Read + Send>) -> Self {
        Self { lines: Lines::new(BufReader::new(stream)) }
    }
}

impl super::Reader for Reader {
    fn next(&mut self) -> io::Result<Option<Chunk>> {
        let (mut rows, mut kept, mut bytes) = (Vec::new(), Vec::new(), 0);
        while rows.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
            let Some(line) = self.lines.next() else { break };
            let line = line?;
            rows.push(Row { cells: vec![line.text().map(str::to_owned)] });
            let line = match line {
                Line::Whole(line) => line,
                Line::TooLong(_) => Vec::new(),
            };
            bytes += line.len();
            kept.push(ByteRecord::from(vec![line]));
        }
        Ok((!rows.is_empty()).then_some(Chunk { rows, kept: RawRows::Records(kept) }))
    }
}

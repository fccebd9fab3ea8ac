//! Plain lines: a row is a line. Written, they are CSV, which `source` sees to.

use std::io::{self, BufReader, Read};

use csv::ByteRecord;

use crate::files::csv::BOM;
use crate::files::lines::{Line, Lines};
use crate::files::{CHUNK_BYTES, CHUNK_ROWS, Chunk, Kept, Row};

pub(super) struct Reader {
    lines: Lines<BufReader<Box<dyn Read + Send>>>,
    first: bool,
}

impl Reader {
    pub(super) fn new(stream: Box<dyn Read + Send>) -> Self {
        Self { lines: Lines::new(BufReader::new(stream)), first: true }
    }
}

impl super::Reader for Reader {
    fn next(&mut self) -> io::Result<Option<Chunk>> {
        let (mut rows, mut kept, mut bytes) = (Vec::new(), Vec::new(), 0);
        while rows.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
            let Some(line) = self.lines.next() else { break };
            let mut line = line?;
            if let (true, Line::Whole(line)) = (self.first, &mut line)
                && line.starts_with(BOM)
            {
                line.drain(..BOM.len());
            }
            self.first = false;
            rows.push(Row { cells: vec![line.text().map(str::to_owned)] });
            let line = match line {
                Line::Whole(line) => line,
                Line::TooLong(_) => Vec::new(),
            };
            bytes += line.len();
            kept.push(ByteRecord::from(vec![line]));
        }
        Ok((!rows.is_empty()).then_some(Chunk { rows, kept: Kept::Records(kept) }))
    }
}

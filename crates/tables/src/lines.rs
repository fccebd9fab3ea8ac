//! Reads lines of bounded length from files and stdin.

use std::io::{self, BufRead, BufReader, Read};

use crate::error::Error;
use crate::limits::{BOM, CHUNK_BYTES, CHUNK_ROWS, MAX_ROW_BYTES, too_long};
use crate::rows::Row;

/// A line without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Whole(Vec<u8>),
    /// A line that was skipped, and its length in bytes.
    TooLong(u64),
}

impl Line {
    /// Returns the line as text.
    ///
    /// # Errors
    /// `BadRow` if it is too long or not UTF-8.
    pub fn text(&self) -> Result<&str, Error> {
        match self {
            Self::Whole(bytes) => std::str::from_utf8(bytes).map_err(|error| Error::BadRow {
                found: format!("is not UTF-8 from byte {} on", error.valid_up_to() + 1),
                expected: "UTF-8; convert it, for example with `iconv`".into(),
            }),
            Self::TooLong(bytes) => Err(too_long(*bytes)),
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Whole(bytes) => bytes,
            Self::TooLong(_) => Vec::new(),
        }
    }
}

/// Reads lines that end with a line feed, with or without a carriage return before it. A byte order
/// mark at the beginning is dropped.
pub struct Lines<R> {
    inner: R,
    /// The last byte of a line.
    line_end: u8,
    first: bool,
}

impl Lines<BufReader<Box<dyn Read + Send>>> {
    /// Reads lines until they fill a chunk. `make_row` reads one line.
    pub(crate) fn chunk(&mut self, mut make_row: impl FnMut(&Line) -> Row) -> io::Result<(Vec<Row>, Vec<Vec<u8>>)> {
        let (mut rows, mut raw, mut bytes) = (Vec::new(), Vec::new(), 0);
        while rows.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
            let Some(line) = self.next_line()? else { break };
            rows.push(make_row(&line));
            raw.push(line.into_bytes());
            bytes += raw.last().map_or(0, Vec::len);
        }
        Ok((rows, raw))
    }
}

impl<R: BufRead> Lines<R> {
    pub fn new(inner: R) -> Self {
        Self::ending_with(inner, b'\n')
    }

    /// Reads lines that end with this byte.
    pub(crate) fn ending_with(inner: R, line_end: u8) -> Self {
        Self { inner, line_end, first: true }
    }

    fn next_line(&mut self) -> io::Result<Option<Line>> {
        let mut line = Vec::new();
        if self.inner.by_ref().take(MAX_ROW_BYTES as u64 + 1).read_until(self.line_end, &mut line)? == 0 {
            return Ok(None);
        }
        if line.last() == Some(&self.line_end) {
            line.pop();
        } else if line.len() > MAX_ROW_BYTES {
            let rest = self.inner.skip_until(self.line_end)?;
            return Ok(Some(Line::TooLong((line.len() + rest.saturating_sub(1)) as u64)));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if std::mem::take(&mut self.first) && line.starts_with(BOM) {
            line.drain(..BOM.len());
        }
        Ok(Some(Line::Whole(line)))
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<io::Result<Line>> {
        self.next_line().transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Line> {
        // A tiny buffer, so that lines cross its edges.
        Lines::new(io::BufReader::with_capacity(3, bytes)).map(Result::unwrap).collect()
    }

    #[test]
    fn lines_end_with_or_without_a_carriage_return_and_the_last_one_may_have_no_end() {
        let whole = |line: &str| Line::Whole(line.as_bytes().to_vec());
        assert_eq!(lines(b"one\r\n\ntwo\nthree"), [whole("one"), whole(""), whole("two"), whole("three")]);
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"\n"), [whole("")]);
        assert_eq!(lines(b"abc\n"), [whole("abc")]);
        assert_eq!(lines(b"\xEF\xBB\xBFone\n\xEF\xBB\xBFtwo"), [whole("one"), whole("\u{FEFF}two")]);
    }

    #[test]
    fn a_line_over_the_limit_is_skipped_and_the_next_one_is_read() {
        let mut bytes = vec![b'x'; MAX_ROW_BYTES + 1];
        bytes.extend_from_slice(b"\nafter\n");
        let found: Vec<Line> = Lines::new(io::BufReader::new(&bytes[..])).map(Result::unwrap).collect();
        assert_eq!(found, [Line::TooLong(MAX_ROW_BYTES as u64 + 1), Line::Whole(b"after".to_vec())]);
    }

    proptest! {
        #[test]
        fn lines_are_the_text_between_line_ends(text in "[ab\\r\\n\u{feff}]{0,40}", room in 1usize..9) {
            let found: Vec<Line> = Lines::new(io::BufReader::with_capacity(room, text.as_bytes())).map(Result::unwrap).collect();
            let marked = text.strip_prefix('\u{feff}').unwrap_or(&text);
            let mut expected: Vec<&str> = marked.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
            // Anything after the last line end is a line, unless it is empty.
            if text.is_empty() || text.ends_with('\n') {
                expected.pop();
            }
            prop_assert_eq!(found, expected.iter().map(|line| Line::Whole(line.as_bytes().to_vec())).collect::<Vec<_>>());
        }
    }
}

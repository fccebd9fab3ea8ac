//! Lines of bounded length, from files and from stdin; what they mean is up to whoever reads them.

use std::io::{self, BufRead};

use crate::Error;
use crate::MAX_ROW_BYTES;
use crate::csv::BOM;

/// One line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Whole(Vec<u8>),
    /// It was passed over; this many bytes.
    TooLong(u64),
}

impl Line {
    /// The line as text.
    ///
    /// # Errors
    /// What is wrong with it, to be reported in its place.
    pub fn text(&self) -> Result<&str, Error> {
        match self {
            Self::Whole(bytes) => std::str::from_utf8(bytes).map_err(|error| Error::BadRow {
                found: format!("is not UTF-8 from byte {} on", error.valid_up_to() + 1),
                expected: "UTF-8; convert it, with `iconv` for example".into(),
            }),
            Self::TooLong(bytes) => Err(too_long(*bytes)),
        }
    }
}

pub(crate) fn too_long(bytes: u64) -> Error {
    Error::BadRow {
        found: format!("has {bytes} bytes and was passed over"),
        expected: format!("at most {MAX_ROW_BYTES}; split it"),
    }
}

/// Lines of a stream, ends of either kind taken off, and a byte order mark before the first.
pub struct Lines<R> {
    inner: R,
    first: bool,
}

impl<R: BufRead> Lines<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, first: true }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = io::Result<Line>;

    fn next(&mut self) -> Option<io::Result<Line>> {
        let first = std::mem::take(&mut self.first);
        let mut line = Vec::new();
        let mut bytes = 0u64;
        loop {
            let available = match self.inner.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Some(Err(error)),
            };
            if available.is_empty() && bytes == 0 {
                return None;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(available.len());
            bytes += taken as u64;
            if bytes <= MAX_ROW_BYTES as u64 {
                line.extend_from_slice(&available[..taken]);
            } else {
                line = Vec::new();
            }
            let ended = end.is_some() || available.is_empty();
            self.inner.consume(taken + usize::from(end.is_some()));
            if end.is_some() && bytes == 0 {
                return Some(Ok(Line::Whole(line)));
            }
            if ended {
                break;
            }
        }
        if bytes > MAX_ROW_BYTES as u64 {
            return Some(Ok(Line::TooLong(bytes)));
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if first && line.starts_with(BOM) {
            line.drain(..BOM.len());
        }
        Some(Ok(Line::Whole(line)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Line> {
        // A tiny buffer, so that lines go over its edges.
        Lines::new(io::BufReader::with_capacity(3, bytes)).map(Result::unwrap).collect()
    }

    #[test]
    fn line_ends_of_both_kinds_and_none_at_the_end() {
        let whole = |line: &str| Line::Whole(line.as_bytes().to_vec());
        assert_eq!(lines(b"one\r\n\ntwo\nthree"), [whole("one"), whole(""), whole("two"), whole("three")]);
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"\n"), [whole("")]);
        assert_eq!(lines(b"abc\n"), [whole("abc")]);
        assert_eq!(lines(b"\xEF\xBB\xBFone\n\xEF\xBB\xBFtwo"), [whole("one"), whole("\u{FEFF}two")]);
    }

    #[test]
    fn a_line_over_the_limit_is_passed_over_and_the_next_one_read() {
        let mut bytes = vec![b'x'; MAX_ROW_BYTES + 1];
        bytes.extend_from_slice(b"\nafter\n");
        assert_eq!(lines(&bytes), [Line::TooLong(MAX_ROW_BYTES as u64 + 1), Line::Whole(b"after".to_vec())]);
    }

    proptest! {
        #[test]
        fn lines_are_what_stands_between_line_ends(text in "[ab\\r\\n\u{feff}]{0,40}", room in 1usize..9) {
            let found: Vec<Line> = Lines::new(io::BufReader::with_capacity(room, text.as_bytes())).map(Result::unwrap).collect();
            let marked = text.strip_prefix('\u{feff}').unwrap_or(&text);
            let mut expected: Vec<&str> = marked.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
            // What follows the last line end is a line only if there is something.
            if text.is_empty() || text.ends_with('\n') {
                expected.pop();
            }
            prop_assert_eq!(found, expected.iter().map(|line| Line::Whole(line.as_bytes().to_vec())).collect::<Vec<_>>());
        }
    }
}

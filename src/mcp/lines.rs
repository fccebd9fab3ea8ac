//! Splits a client's bytes into lines of bounded length.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::mcp::duplex::Reader;
use crate::mcp::envelope::EnvelopeScanner;

/// Longest line that is read, so that a client cannot fill the memory with one. The largest text
/// (256 KiB by default) fits even if every byte of it is escaped; a batch has to fit as a whole.
pub(super) const MAX_LINE_BYTES: usize = 4 << 20;

/// Splits a stream into lines.
pub(super) struct Lines {
    reader: BufReader<Reader>,
    line: Vec<u8>,
    /// Reads the rest of a line that is too long.
    skipping: Option<EnvelopeScanner>,
}

pub(super) enum Line {
    Whole(Vec<u8>),
    TooLong(EnvelopeScanner),
}

impl Lines {
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader: BufReader::new(reader), line: Vec::new(), skipping: None }
    }

    /// Returns the next line, or `None` at the end of the input. The last line needs no newline.
    ///
    /// Cancel safe: bytes that were already read are kept for the next call.
    pub(super) async fn next(&mut self) -> Option<Line> {
        loop {
            let left = (MAX_LINE_BYTES + 1 - self.line.len()) as u64;
            let read = (&mut self.reader).take(left).read_until(b'\n', &mut self.line).await;
            // A broken connection counts as the end of the input.
            let at_end = read.unwrap_or_default() == 0;
            let complete = at_end || self.line.ends_with(b"\n");
            if self.skipping.is_some() || !complete && self.line.len() > MAX_LINE_BYTES {
                self.skipping.get_or_insert_default().read(&self.line);
                self.line.clear();
                if complete {
                    return self.skipping.take().map(Line::TooLong);
                }
            } else if complete {
                let line = std::mem::take(&mut self.line);
                return (!at_end || !line.is_empty()).then_some(Line::Whole(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_end_at_newlines_and_at_the_end_of_input() {
        let mut lines = Lines::new(Box::new(&b"a\n\nb\r\nc"[..]));
        let mut found = Vec::new();
        while let Some(Line::Whole(line)) = lines.next().await {
            found.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(found, ["a\n", "\n", "b\r\n", "c"]);
    }

    #[tokio::test]
    async fn a_line_over_the_limit_is_skipped_and_its_id_is_found() {
        let input = format!("{{\"text\":\"{}\",\"id\":9}}\nnext\n", "x".repeat(MAX_LINE_BYTES));
        let mut lines = Lines::new(Box::new(std::io::Cursor::new(input)));
        let Some(Line::TooLong(scanner)) = lines.next().await else { panic!("expected a line over the limit") };
        assert_eq!(scanner.request_id().unwrap(), "9");
        let Some(Line::Whole(line)) = lines.next().await else { panic!("expected another line") };
        assert_eq!(line, b"next\n");
        assert!(lines.next().await.is_none());
    }
}

//! Lines of bounded length from what the client sends, and what can be told of a line that nobody can parse.
//!
//! What is answered to such a line is `refusal`'s business.

use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Longest message accepted: a batch of the largest texts fits, and a client that never ends a line fills no memory.
pub(super) const MAX_LINE_BYTES: usize = 16 << 20;
/// Memory that is kept for the next line.
const KEPT_BYTES: usize = 64 << 10;
/// Identifiers are short; whatever is longer is not taken for one.
const MAX_ID_BYTES: usize = 1024;

pub(super) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    /// Reads along while the rest of a line that is too long is passed over.
    passing: Option<Outline>,
    /// Whether the line was handed out, and the next one begins.
    taken: bool,
}

pub(super) enum Line<'a> {
    Whole(&'a [u8]),
    TooLong(Outline),
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader: BufReader::new(reader), line: Vec::new(), passing: None, taken: false }
    }

    /// The next line without its end, or `None` at the end of input; a last line needs no end.
    ///
    /// May be dropped at any point: what was read stays for the next call.
    pub(super) async fn next(&mut self) -> Option<Line<'_>> {
        if std::mem::take(&mut self.taken) {
            self.line.clear();
            self.line.shrink_to(KEPT_BYTES);
        }
        loop {
            // A connection that breaks has ended.
            let available = self.reader.fill_buf().await.unwrap_or_default();
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..end.unwrap_or(available.len())];
            let ended = end.is_some() || available.is_empty();
            if let Some(outline) = &mut self.passing {
                outline.read(part);
            } else if self.line.len() + part.len() > MAX_LINE_BYTES {
                let mut outline = Outline::default();
                outline.read(&self.line);
                outline.read(part);
                self.line = Vec::new();
                self.passing = Some(outline);
            } else {
                self.line.extend_from_slice(part);
            }
            let (over, consumed) = (available.is_empty(), part.len() + usize::from(end.is_some()));
            self.reader.consume(consumed);
            if !ended {
                continue;
            }
            if let Some(outline) = self.passing.take() {
                return Some(Line::TooLong(outline));
            }
            if over && self.line.is_empty() {
                return None;
            }
            self.taken = true;
            return Some(Line::Whole(&self.line));
        }
    }
}

/// What a message is about, told by its outermost keys without parsing it, so that it may be broken, endless, or nested
/// without end.
#[derive(Default)]
pub(super) struct Outline {
    pub has_method: bool,
    /// Whether it is an answer, to which nothing is answered.
    pub has_outcome: bool,
    pub has_id: bool,
    id: Option<Vec<u8>>,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The key or value at hand, of the outermost object.
    token: Vec<u8>,
    after_id: bool,
}

impl Outline {
    pub(super) fn of(line: &[u8]) -> Self {
        let mut outline = Self::default();
        outline.read(line);
        outline
    }

    fn read(&mut self, part: &[u8]) {
        for &byte in part {
            if self.in_string {
                self.keep(byte);
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => {
                    self.in_string = true;
                    self.keep(byte);
                }
                b'{' | b'[' => {
                    self.depth += 1;
                    self.token.clear();
                }
                b'}' | b']' => {
                    self.end_value();
                    self.depth = self.depth.saturating_sub(1);
                }
                b':' if self.depth == 1 => self.end_key(),
                b',' => self.end_value(),
                _ => self.keep(byte),
            }
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.depth == 1 && self.token.len() <= MAX_ID_BYTES {
            self.token.push(byte);
        }
    }

    fn end_key(&mut self) {
        match self.token.trim_ascii() {
            b"\"method\"" => self.has_method = true,
            b"\"result\"" | b"\"error\"" => self.has_outcome = true,
            b"\"id\"" => self.has_id = true,
            _ => {}
        }
        self.after_id = self.token.trim_ascii() == b"\"id\"";
        self.token.clear();
    }

    fn end_value(&mut self) {
        if self.depth != 1 {
            return;
        }
        let token = std::mem::take(&mut self.token);
        if std::mem::take(&mut self.after_id) && self.id.is_none() && token.len() <= MAX_ID_BYTES {
            self.id = Some(token);
        }
    }

    /// The message's `id`, as it was written, where a client may look for it in an answer.
    pub(super) fn id(&self) -> Option<Box<RawValue>> {
        let token = std::str::from_utf8(self.id.as_deref()?).ok()?.trim_ascii();
        let known = token.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit());
        RawValue::from_string(token.to_owned()).ok().filter(|_| known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn id(line: &str) -> Option<String> {
        Outline::of(line.as_bytes()).id().map(|id| id.get().to_owned())
    }

    #[test]
    fn an_id_is_found_in_what_nobody_can_parse() {
        let deep = format!(r#"{{"params":{}{},"id":3}}"#, "[".repeat(100_000), "]".repeat(100_000));
        for (line, expected) in [
            (r#"{"jsonrpc":"2.0","id":7,"method":"x"}"#, Some("7")),
            (r#"{ "id" : "a\"b" , "params" : "#, Some(r#""a\"b""#)),
            (r#"{"params":{"id":1,"s":"\"id\":2,"},"id":-3.5}"#, Some("-3.5")),
            (r#"{"params":["\ud83d"],"id":"\ud83d"}"#, Some(r#""\ud83d""#)),
            (&deep, Some("3")),
            // A number that is cut off may be another one.
            (r#"{"method":"x","id":7"#, None),
            (r#"{"id":null}"#, None),
            (r#"{"id":{"id":4}}"#, None),
            (r#"{"id":1 2}"#, None),
            (r#"{"id":--}"#, None),
            (r#"{"text":"{\"id\":5}"}"#, None),
        ] {
            assert_eq!(id(line).as_deref(), expected, "{line:.80}");
        }
    }

    #[test]
    fn an_id_as_long_as_a_text_is_none() {
        assert_eq!(id(&format!(r#"{{"id":"{}"}}"#, "x".repeat(2000))), None);
    }

    #[tokio::test]
    async fn lines_end_at_their_ends_and_at_the_end_of_input() {
        let mut lines = Lines::new(&b"a\n\nb\r\nc"[..]);
        let mut found = Vec::new();
        while let Some(Line::Whole(line)) = lines.next().await {
            found.push(String::from_utf8_lossy(line).into_owned());
        }
        assert_eq!(found, ["a", "", "b\r", "c"]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_passed_over_and_its_id_is_known() {
        let input = format!("{{\"text\":\"{}\",\"id\":9}}\nnext\n", "x".repeat(MAX_LINE_BYTES));
        let mut lines = Lines::new(input.as_bytes());
        let Some(Line::TooLong(outline)) = lines.next().await else { panic!("it is too long") };
        assert_eq!(outline.id().unwrap().get(), "9");
        let Some(Line::Whole(line)) = lines.next().await else { panic!("there is another") };
        assert_eq!(line, b"next");
        assert!(lines.next().await.is_none());
    }
}

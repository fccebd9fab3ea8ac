//! Answers to lines that cannot become requests. The `id` is found without parsing the message.

use rmcp::model::ErrorCode;
use serde::de::IgnoredAny;

use crate::mcp::lines::MAX_LINE_BYTES;
use crate::mcp::stdio::MAX_VALUES;

/// The longest `id` that is sent back for a line that cannot be parsed.
const MAX_ID_BYTES: usize = 1024;

/// Finds the `id` of a JSON-RPC message without parsing it. The message may be broken, nested
/// without limit, or too long to keep.
#[derive(Default)]
pub(super) struct EnvelopeScanner {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The current key or value of the outermost object, and the key before it.
    token: Vec<u8>,
    key: Vec<u8>,
    id: Option<Vec<u8>>,
    is_answer: bool,
}

impl EnvelopeScanner {
    pub(super) fn read(&mut self, part: &[u8]) {
        for &byte in part {
            let escaped = std::mem::take(&mut self.escaped);
            match byte {
                b'"' if !escaped => self.in_string = !self.in_string,
                b'\\' if self.in_string => self.escaped = !escaped,
                b'{' | b'[' if !self.in_string => {
                    self.depth += 1;
                    self.token.clear();
                    continue;
                }
                b':' | b',' | b'}' | b']' if !self.in_string => {
                    if self.depth == 1 {
                        self.end_token(byte == b':');
                    }
                    self.depth = self.depth.saturating_sub(usize::from(matches!(byte, b'}' | b']')));
                    continue;
                }
                _ => {}
            }
            if self.depth == 1 && self.token.len() <= MAX_ID_BYTES {
                self.token.push(byte);
            }
        }
    }

    fn end_token(&mut self, is_key: bool) {
        let token = std::mem::take(&mut self.token).trim_ascii().to_vec();
        if is_key {
            self.is_answer |= token == b"\"result\"" || token == b"\"error\"";
            self.key = token;
        } else if self.key == b"\"id\"" && self.id.is_none() && token.len() <= MAX_ID_BYTES {
            self.id = Some(token);
        }
    }

    /// Returns the `id` as it was written, if it is a string or a number. Responses have no `id` to
    /// reply to.
    pub(super) fn request_id(&self) -> Option<&str> {
        let id = std::str::from_utf8(self.id.as_deref()?).ok()?;
        let starts_well = id.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
        (starts_well && !self.is_answer && serde_json::from_str::<IgnoredAny>(id).is_ok()).then_some(id)
    }

    /// Returns the answer to a line that was too long, if its `id` was found.
    pub(super) fn too_long(&self) -> Option<Vec<u8>> {
        let text = format!(
            "the line is longer than {MAX_LINE_BYTES} bytes; expected less text in one call; put the texts into a \
             file and use local_model_predict_file"
        );
        Some(error(self.request_id()?, ErrorCode::INVALID_REQUEST, &text))
    }
}

/// Returns the answer to a line that is not a message, if its `id` can be recovered. Without one
/// the line gets no answer, as in the official SDKs: an answer without an `id` helps no client, and
/// two programs that answer each other's garbage never stop.
pub(super) fn refuse(line: &[u8], problem: &serde_json::Error) -> Option<Vec<u8>> {
    let mut scanner = EnvelopeScanner::default();
    scanner.read(line);
    let (code, text) = if problem.is_data() {
        let text = "the line is not a JSON-RPC request; expected an object with `jsonrpc` \"2.0\", a `method`, and an \
                    `id` that is a string or a 64-bit integer";
        (ErrorCode::INVALID_REQUEST, text.to_owned())
    } else {
        let text = "expected one JSON-RPC message per line in UTF-8; cut texts between characters, not inside a \
                    surrogate pair";
        (ErrorCode::PARSE_ERROR, format!("the line is not JSON: {problem}; {text}"))
    };
    Some(error(scanner.request_id()?, code, &text))
}

/// Counts the values of a line, and its lists and objects, without parsing it.
pub(super) fn values(line: &[u8]) -> usize {
    let (mut count, mut in_string, mut escaped) = (1, false, false);
    for byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' | b',' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// Returns the answer to a line of too many values, if its `id` can be recovered.
pub(super) fn too_many_values(line: &[u8]) -> Option<Vec<u8>> {
    let mut scanner = EnvelopeScanner::default();
    scanner.read(line);
    let text = format!(
        "the line has more than {MAX_VALUES} values; expected fewer list items and fields; put many texts into a file \
         and use local_model_predict_file"
    );
    Some(error(scanner.request_id()?, ErrorCode::INVALID_REQUEST, &text))
}

/// Returns an error as the answer to a request. `id` is JSON.
pub(super) fn error(id: &str, code: ErrorCode, message: &str) -> Vec<u8> {
    let (code, message) = (code.0, serde_json::json!(message));
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}}}}}"#).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn id(line: &str) -> Option<String> {
        let mut scanner = EnvelopeScanner::default();
        scanner.read(line.as_bytes());
        scanner.request_id().map(str::to_owned)
    }

    #[test]
    fn the_id_of_a_broken_line_is_found() {
        let deep = format!(r#"{{"params":{}{},"id":3}}"#, "[".repeat(100_000), "]".repeat(100_000));
        for (line, expected) in [
            (r#"{"jsonrpc":"2.0","id":7,"method":"x"}"#, Some("7")),
            (r#"{ "id" : "a\"b" , "params" : "#, Some(r#""a\"b""#)),
            (r#"{"params":{"id":1,"s":"\"id\":2,"},"id":-3.5}"#, Some("-3.5")),
            (r#"{"params":["\ud83d"],"id":"\ud83d"}"#, Some(r#""\ud83d""#)),
            (&deep, Some("3")),
            // A truncated number may stand for another one.
            (r#"{"method":"x","id":7"#, None),
            (r#"{"id":null}"#, None),
            (r#"{"id":{"id":4}}"#, None),
            (r#"{"id":1 2}"#, None),
            (r#"{"id":--}"#, None),
            (r#"{"text":"{\"id\":5}"}"#, None),
            (r#"{"id":6,"result":7}"#, None),
        ] {
            assert_eq!(id(line).as_deref(), expected, "{line:.80}");
        }
    }

    #[test]
    fn values_are_counted_outside_of_strings() {
        for (line, expected) in [("7", 1), (r#"{"a":[1,2,"b,c[{"],"d\",":{}}"#, 7), ("[[],[]]", 5)] {
            assert!(values(line.as_bytes()) == expected, "{line}: {}", values(line.as_bytes()));
        }
    }

    #[test]
    fn an_id_as_long_as_a_text_is_not_sent_back() {
        assert_eq!(id(&format!(r#"{{"id":"{}"}}"#, "x".repeat(2000))), None);
    }
}

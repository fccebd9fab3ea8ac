//! The rows that `predict` classifies: arguments, and lines of stdin.

use std::io::{self, BufReader};
use std::thread::{self, JoinHandle};

use batch::PAIR_COLUMN;
use futures_util::stream::{self, Stream};
use tables::{ColumnRef, JsonObject, Line, Lines};
use tokio::sync::mpsc;

use super::PredictArgs;
use crate::error::Error;

/// Lines read ahead of the rows that are in flight.
const READ_AHEAD: usize = 64;

/// The fields to read if the lines of stdin are JSON objects.
pub(super) struct JsonFields {
    text: ColumnRef,
    pair: Option<ColumnRef>,
    /// Whether a second text may be there that nothing reads: no field was named.
    may_miss_pair: bool,
}

impl JsonFields {
    pub(super) fn new(arguments: &PredictArgs) -> Option<Self> {
        let PredictArgs { text_column, pair_column, text_pair, jsonl, .. } = arguments;
        let is_json = *jsonl || pair_column.is_some();
        let text = text_column.clone().or_else(|| is_json.then(|| "text".to_owned()))?;
        let may_miss_pair = text_column.is_none() && pair_column.is_none() && text_pair.is_none();
        let pair = pair_column.clone().map(ColumnRef::text_field);
        Some(Self { text: ColumnRef::text_field(text), pair, may_miss_pair })
    }

    /// Returns the text and the second text of an object.
    fn read(&self, object: &JsonObject) -> Result<(String, Option<String>), Error> {
        if self.may_miss_pair && object.names().any(|name| name == PAIR_COLUMN) {
            return Err(batch::Error::PairUnread { column: PAIR_COLUMN }.into());
        }
        let pair = self.pair.as_ref().map(|pair| object.cell(pair)).transpose()?;
        Ok((object.cell(&self.text)?, pair.filter(|pair| !pair.is_empty())))
    }
}

/// One text, perhaps with a second one, and the object that its answer is added to.
pub(super) struct Row {
    pub(super) texts: Result<(String, Option<String>), Error>,
    pub(super) object: JsonObject,
}

impl Row {
    pub(super) fn from_text(text: String) -> Self {
        Self { object: JsonObject::with_text("text", &text), texts: Ok((text, None)) }
    }

    fn from_line(line: &Line) -> Self {
        match line.text() {
            Ok(text) => Self::from_text(text.to_owned()),
            Err(error) => Self { texts: Err(error.into()), object: unusable("text", line) },
        }
    }

    fn from_json(line: &Line, fields: &JsonFields) -> Self {
        match JsonObject::parse_shallow(line) {
            Ok(object) => Self { texts: fields.read(&object), object },
            Err(error) => Self { texts: Err(error.into()), object: unusable("line", line) },
        }
    }
}

/// Returns an object with the readable part of a line that cannot be used.
fn unusable(name: &str, line: &Line) -> JsonObject {
    match line {
        Line::Whole(bytes) => JsonObject::with_text(name, &String::from_utf8_lossy(bytes)),
        Line::TooLong(_) => JsonObject::default(),
    }
}

/// Reads lines on a separate thread, because reading blocks and must not delay the answers. The
/// thread returns the error that ended the input early.
pub(super) fn read_stdin(
    fields: Option<JsonFields>,
) -> io::Result<(impl Stream<Item = Row>, JoinHandle<io::Result<()>>)> {
    let (sender, mut rows) = mpsc::channel(READ_AHEAD);
    let read = move || {
        for line in Lines::new(BufReader::with_capacity(1 << 16, io::stdin())) {
            let line = line?;
            let row = match &fields {
                Some(fields) => Row::from_json(&line, fields),
                None => Row::from_line(&line),
            };
            if sender.blocking_send(row).is_err() {
                break;
            }
        }
        Ok(())
    };
    let reader = thread::Builder::new().name("stdin".into()).spawn(read)?;
    Ok((stream::poll_fn(move |context| rows.poll_recv(context)), reader))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(text: &str, pair: Option<&str>, may_miss_pair: bool) -> JsonFields {
        JsonFields { text: ColumnRef::text_field(text), pair: pair.map(ColumnRef::text_field), may_miss_pair }
    }

    fn row(line: &str, column: &str) -> Row {
        Row::from_json(&Line::Whole(line.as_bytes().to_vec()), &fields(column, None, false))
    }

    #[test]
    fn a_text_may_be_in_a_field_of_a_field() {
        assert_eq!(row(r#"{"body":{"text":"hi"}}"#, "body.text").texts, Ok(("hi".into(), None)));
    }

    #[test]
    fn a_second_text_is_read_or_told() {
        let line = Line::Whole(br#"{"text":"a","text_pair":"b"}"#.to_vec());
        let texts = |fields: JsonFields| Row::from_json(&line, &fields).texts;
        assert_eq!(texts(fields("text", Some("text_pair"), false)), Ok(("a".into(), Some("b".into()))));
        assert_eq!(texts(fields("text", None, false)), Ok(("a".into(), None)));
        let error = texts(fields("text", None, true)).unwrap_err().to_string();
        let expected = "the column `text_pair` would not be read; name the column with second texts, or the one with \
                        texts alone (`pair_column` or `text_column`; `--pair-column`, `--text-column`)";
        assert_eq!(error, expected);
    }

    #[test]
    fn a_line_that_other_readers_could_not_read_is_passed_on_as_text() {
        let line = format!("{{\"text\":\"good\",\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
        let row = row(&line, "text");
        assert_eq!(row.object.line(), json!({ "line": line }).to_string());
        let expected = "the row is nested more than 128 levels deep; expected a flatter object";
        assert_eq!(row.texts.unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_line_that_is_not_an_object_is_passed_on() {
        let row = Row::from_json(&Line::Whole(b"not json \xFF".to_vec()), &fields("text", None, false));
        assert_eq!(row.object.line(), "{\"line\":\"not json \u{FFFD}\"}");
        assert!(row.texts.is_err());
    }
}

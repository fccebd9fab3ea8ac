//! JSON lines: one object per line. All fields but ours are passed on verbatim, digit for digit.

use std::io::{self, BufReader, Read, Write};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::compression::Encoder;
use crate::error::Error;
use crate::lines::{Line, Lines};
use crate::rows::{Cell, CellKind, Chunk, ColumnRef, NewColumn, RawRows, Row, RowReader, RowWriter, other_format};

const EXPECTED_LINE: &str = "one JSON object a line, such as {\"text\": \"…\"}";

/// An object whose fields keep their order and spelling. If several fields have the same name, the
/// last one counts, as in Python and JavaScript.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub struct JsonObject(IndexMap<String, Box<RawValue>>);

impl JsonObject {
    /// Returns an object with one field, which holds text.
    pub fn with_text(name: &str, text: &str) -> Self {
        let mut object = Self::default();
        object.set(name, &Value::from(text));
        object
    }

    /// Reads one line.
    ///
    /// # Errors
    /// `BadRow` if the line is not an object.
    pub fn parse(line: &Line) -> Result<Self, Error> {
        let text = line.text()?;
        let problem = |found: &str| Error::BadRow { found: found.into(), expected: EXPECTED_LINE.into() };
        if text.trim().is_empty() {
            return Err(problem("is empty"));
        }
        serde_json::from_str(text).map_err(|_| problem("is not a JSON object"))
    }

    /// Returns the names of the fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns a field by its name, or by its path with dots between the names.
    fn raw(&self, column: &str) -> Option<String> {
        if let Some(value) = self.0.get(column) {
            return Some(value.get().to_owned());
        }
        let (first, rest) = column.split_once('.')?;
        let inner: Self = serde_json::from_str(self.0.get(first)?.get()).ok()?;
        inner.raw(rest)
    }

    /// Returns the value of a field.
    ///
    /// # Errors
    /// `BadCell` if it is missing or not of the requested kind.
    pub fn cell(&self, column: &ColumnRef) -> Cell {
        let bad = |found: &str, expected| {
            Err(Error::BadCell { column: column.column.clone(), found: found.to_owned(), expected })
        };
        let expected = "a string";
        let Some(raw) = self.raw(&column.column) else { return bad("not in the row", expected) };
        match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str(&raw).or_else(|_| bad("half a character (a lone surrogate)", expected)),
            Some(b'n') => bad("null", expected),
            Some(b'{') => bad("an object", "a string; name a field inside it with a dot, such as `a.b`"),
            Some(b'[') if column.kind != CellKind::List => bad("a list", expected),
            _ if column.kind != CellKind::Text => Ok(raw),
            Some(b't' | b'f') => bad("true or false", expected),
            _ => bad("a number", expected),
        }
    }

    /// Sets a field. An existing field keeps its place.
    pub fn set(&mut self, name: &str, value: &Value) {
        if let Ok(value) = serde_json::value::to_raw_value(value) {
            self.0.insert(name.to_owned(), value);
        }
    }

    /// Returns the object as one line.
    pub fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

pub(crate) struct Reader {
    lines: Lines<BufReader<Box<dyn Read + Send>>>,
    columns: Vec<ColumnRef>,
}

impl Reader {
    pub(crate) fn new(stream: Box<dyn Read + Send>, columns: Vec<ColumnRef>) -> Self {
        Self { lines: Lines::new(BufReader::new(stream)), columns }
    }

    /// Returns the names of the fields in the next rows, in the order of their first appearance.
    pub(crate) fn names(&mut self) -> io::Result<Vec<String>> {
        let mut names = indexmap::IndexSet::new();
        self.lines.chunk(|line| {
            names.extend(JsonObject::parse(line).unwrap_or_default().0.into_keys());
            Row { cells: Vec::new() }
        })?;
        Ok(names.into_iter().collect())
    }
}

impl RowReader for Reader {
    fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let (rows, raw) = self.lines.chunk(|line| {
            let object = JsonObject::parse(line);
            let cell = |column| object.as_ref().map_err(Clone::clone).and_then(|object| object.cell(column));
            Row { cells: self.columns.iter().map(cell).collect() }
        })?;
        Ok((!rows.is_empty()).then_some(Chunk { rows, raw: RawRows::Lines(raw) }))
    }
}

pub(crate) struct Writer {
    file: Encoder,
    new_columns: Vec<NewColumn>,
}

impl Writer {
    pub(crate) fn new(file: Encoder, new_columns: Vec<NewColumn>) -> Self {
        Self { file, new_columns }
    }
}

impl RowWriter for Writer {
    fn write(&mut self, chunk: Chunk, values: Vec<Vec<Value>>) -> io::Result<()> {
        let RawRows::Lines(lines) = chunk.raw else { return Err(other_format()) };
        for (line, values) in lines.into_iter().zip(values) {
            let line = Line::Whole(line);
            // A line that is not an object becomes a string, so that the output is always valid
            // JSON lines.
            let mut object = JsonObject::parse(&line).unwrap_or_else(|_| match &line {
                Line::Whole(line) => JsonObject::with_text("line", &String::from_utf8_lossy(line)),
                Line::TooLong(_) => JsonObject::default(),
            });
            for (column, value) in self.new_columns.iter().zip(values).filter(|(_, value)| !value.is_null()) {
                object.set(&column.name, &value);
            }
            writeln!(self.file, "{}", object.line())?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.file.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;

    fn parse(line: &str) -> Result<JsonObject, Error> {
        JsonObject::parse(&Line::Whole(line.as_bytes().to_vec()))
    }

    #[test]
    fn the_last_of_several_fields_with_one_name_counts() {
        let object = parse("{\"text\":\"first\",\"id\":1,\"text\":\"last\"}").unwrap();
        assert_eq!(object.cell(&ColumnRef::text_field("text")), Ok("last".into()));
        assert_eq!(object.line(), "{\"text\":\"last\",\"id\":1}");
    }

    proptest! {
        #[test]
        fn fields_come_out_as_they_went_in(fields in prop::collection::btree_map(any::<String>(), any::<(String, i64)>(), 0..6), ours in any::<String>()) {
            let map = fields.iter().map(|(name, (text, number))| (name.clone(), serde_json::json!([text, number])));
            let mut expected: serde_json::Map<String, Value> = map.collect();
            let mut object = parse(&Value::Object(expected.clone()).to_string()).unwrap();
            object.set("prediction", &Value::from(&*ours));
            expected.insert("prediction".into(), Value::from(&*ours));
            prop_assert_eq!(serde_json::from_str::<Value>(&object.line()).unwrap(), Value::Object(expected));
        }

        #[test]
        fn any_line_is_an_object_or_refused(line in any::<Vec<u8>>(), column in "[a.]{0,6}") {
            if let Ok(object) = JsonObject::parse(&Line::Whole(line)) {
                let _ = object.cell(&ColumnRef::text_field(column));
            }
        }
    }
}

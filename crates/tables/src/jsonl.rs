//! JSON lines: one object a line, of which every field but ours is passed on as it is written, digit for digit.

use std::fmt;
use std::io::{self, BufReader, Read, Write};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::Error;
use crate::compression::Encoder;
use crate::lines::{Line, Lines};
use crate::{CHUNK_BYTES, CHUNK_ROWS, Cell, CellKind, Chunk, ColumnRef, NewColumn, RawRows, Row};

/// An object whose fields keep their order and their spelling.
#[derive(Debug, Default)]
pub struct Object {
    fields: Vec<(String, Box<RawValue>)>,
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Object { fields })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Object {
    /// An object with one field.
    pub fn of(name: &str, text: &str) -> Self {
        let mut object = Self::default();
        object.set(name, &Value::from(text));
        object
    }

    /// CellKind one line.
    ///
    /// # Errors
    /// What is wrong with the line, to be reported in its place.
    pub fn parse(line: &Line) -> Result<Self, Error> {
        let text = line.text()?;
        let expected = || "one JSON object a line, such as {\"text\": \"…\"}".to_owned();
        if text.trim().is_empty() {
            return Err(Error::BadRow { found: "is empty".into(), expected: expected() });
        }
        let broken = |_| Error::BadRow { found: "is not a JSON object".into(), expected: expected() };
        serde_json::from_str(text).map_err(broken)
    }

    /// Returns the names of the fields in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// A field by its name, or by the path to it, dots between.
    fn raw(&self, column: &str) -> Option<String> {
        let own = |name: &str| self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.get());
        if let Some(value) = own(column) {
            return Some(value.to_owned());
        }
        let (first, rest) = column.split_once('.')?;
        let inner: Self = serde_json::from_str(own(first)?).ok()?;
        inner.raw(rest)
    }

    pub fn cell(&self, wanted: &ColumnRef) -> Cell {
        let bad = |found: &str, expected| {
            Err(Error::BadCell { column: wanted.column.clone(), found: found.to_owned(), expected })
        };
        let expected = "a string";
        let Some(raw) = self.raw(&wanted.column) else { return bad("not in the row", expected) };
        match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str(&raw).or_else(|_| bad("half a character (a lone surrogate)", expected)),
            Some(b'n') => bad("null", expected),
            Some(b'{') => bad("an object", "a string; name a field inside it with a dot, such as `a.b`"),
            Some(b'[') if wanted.reads != CellKind::List => bad("a list", expected),
            _ if wanted.reads != CellKind::Text => Ok(raw),
            Some(b't' | b'f') => bad("true or false", expected),
            _ => bad("a number", expected),
        }
    }

    /// Puts a value under a name, in its old place if there is one.
    pub fn set(&mut self, name: &str, value: &Value) {
        let Ok(value) = serde_json::value::to_raw_value(value) else { return };
        match self.fields.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => *old = value,
            None => self.fields.push((name.to_owned(), value)),
        }
    }

    /// The object on one line.
    pub fn line(&self) -> String {
        let fields: Vec<String> =
            self.fields.iter().map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), value.get())).collect();
        format!("{{{}}}", fields.join(","))
    }
}

pub(crate) struct Reader {
    lines: Lines<BufReader<Box<dyn Read + Send>>>,
    wanted: Vec<ColumnRef>,
}

impl Reader {
    pub(crate) fn new(stream: Box<dyn Read + Send>, wanted: Vec<ColumnRef>) -> Self {
        Self { lines: Lines::new(BufReader::new(stream)), wanted }
    }

    /// Names of the fields in the next rows, in the order of their first appearance; none at the end of the file.
    pub(crate) fn names(&mut self) -> io::Result<Option<Vec<String>>> {
        let Some(chunk) = super::Reader::next(self)? else { return Ok(None) };
        let RawRows::Lines(lines) = chunk.kept else { return Ok(None) };
        let mut names: Vec<String> = Vec::new();
        for object in lines.into_iter().filter_map(|line| Object::parse(&Line::Whole(line)).ok()) {
            for name in object.names() {
                if names.iter().all(|known| known != name) {
                    names.push(name.to_owned());
                }
            }
        }
        Ok(Some(names))
    }
}

impl super::Reader for Reader {
    fn next(&mut self) -> io::Result<Option<Chunk>> {
        let (mut rows, mut kept, mut bytes) = (Vec::new(), Vec::new(), 0);
        while rows.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
            let Some(line) = self.lines.next() else { break };
            let line = line?;
            let object = Object::parse(&line);
            let cell =
                |wanted: &ColumnRef| object.as_ref().map_err(Clone::clone).and_then(|object| object.cell(wanted));
            rows.push(Row { cells: self.wanted.iter().map(cell).collect() });
            let line = match line {
                Line::Whole(line) => line,
                Line::TooLong(_) => Vec::new(),
            };
            bytes += line.len();
            kept.push(line);
        }
        Ok((!rows.is_empty()).then_some(Chunk { rows, kept: RawRows::Lines(kept) }))
    }
}

pub(crate) struct Writer {
    file: Encoder,
    added: Vec<NewColumn>,
}

impl Writer {
    pub(crate) fn new(file: Encoder, added: Vec<NewColumn>) -> Self {
        Self { file, added }
    }
}

impl super::Writer for Writer {
    fn write(&mut self, chunk: Chunk, values: Vec<Vec<Value>>) -> io::Result<()> {
        let RawRows::Lines(lines) = chunk.kept else { return Err(io::Error::other("rows of another format")) };
        for (line, values) in lines.into_iter().zip(values) {
            let line = Line::Whole(line);
            // What is no object is kept as a string, so that the output is JSON lines whatever the input was.
            let mut object = Object::parse(&line).unwrap_or_else(|_| match &line {
                Line::Whole(line) => Object::of("line", &String::from_utf8_lossy(line)),
                Line::TooLong(_) => Object::default(),
            });
            for (column, value) in self.added.iter().zip(values).filter(|(_, value)| !value.is_null()) {
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

    fn parse(line: &str) -> Result<Object, Error> {
        Object::parse(&Line::Whole(line.as_bytes().to_vec()))
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
            if let Ok(object) = Object::parse(&Line::Whole(line)) {
                let _ = object.cell(&ColumnRef { column, position: 0, reads: CellKind::Text });
            }
        }
    }
}

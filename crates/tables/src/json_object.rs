//! One object of JSON lines. All fields but ours are passed on verbatim, digit for digit.

use std::fmt;
use std::ops::Range;

use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::columns::elided;
use crate::error::{ABSENT, Error, NULL};
use crate::limits::MAX_COLUMNS;
use crate::lines::Line;
use crate::rows::{Cell, CellKind, ColumnRef};

const EXPECTED_LINE: &str = "one JSON object a line, such as {\"text\": \"…\"}";

/// Levels of nesting that most JSON readers follow.
const MAX_LEVELS: usize = 128;
/// Parts of a path such as `a.b`.
pub(crate) const MAX_PATH_PARTS: usize = 32;

/// An object as it is written, with some fields set.
///
/// If several fields have the same name, the last one counts, as in Python and JavaScript. All of
/// them are kept, because other readers take the first one.
#[derive(Debug)]
pub struct JsonObject {
    text: String,
    /// Where the value of each field is in the text.
    pub(crate) values: IndexMap<String, Range<usize>>,
}

impl Default for JsonObject {
    fn default() -> Self {
        Self { text: "{}".into(), values: IndexMap::new() }
    }
}

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
    /// `BadRow` if the line is not an object, or has more than 16,384 fields.
    pub fn parse(line: &Line) -> Result<Self, Error> {
        let text = line.text()?.trim();
        let problem = |found: &str| Error::BadRow { found: found.into(), expected: EXPECTED_LINE.into() };
        if text.is_empty() {
            return Err(problem("is empty"));
        }
        let fields: Fields<'_> = serde_json::from_str(text).map_err(|_| problem("is not a JSON object"))?;
        if fields.count > MAX_COLUMNS {
            let found = format!("has {} fields", fields.count);
            return Err(Error::BadRow { found, expected: format!("at most {MAX_COLUMNS}") });
        }
        // All values are slices of the text.
        let range = |value: &str| {
            let start = value.as_ptr() as usize - text.as_ptr() as usize;
            start..start + value.len()
        };
        let values = fields.values.into_iter().map(|(name, value)| (name, range(value))).collect();
        Ok(Self { text: text.to_owned(), values })
    }

    /// Reads one line that other programs will read again.
    ///
    /// # Errors
    /// `BadRow` as [`Self::parse`], or if the line is nested more than 128 levels deep.
    pub fn parse_shallow(line: &Line) -> Result<Self, Error> {
        let object = Self::parse(line)?;
        if levels(&object.text) > MAX_LEVELS {
            let found = format!("is nested more than {MAX_LEVELS} levels deep");
            return Err(Error::BadRow { found, expected: "a flatter object".into() });
        }
        Ok(object)
    }

    /// Returns the names of the fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Returns a field by its name, or by its path with dots between the names.
    fn raw(&self, column: &str) -> Option<&str> {
        let value = |name: &str| Some(&self.text[self.values.get(name)?.clone()]);
        if let Some(value) = value(column) {
            return Some(value);
        }
        let (first, mut rest) = column.split_once('.')?;
        let mut inside = value(first)?;
        for _ in 1..MAX_PATH_PARTS {
            let fields: Fields<'_> = serde_json::from_str(inside).ok()?;
            if let Some(value) = fields.values.get(rest) {
                return Some(value);
            }
            let (next, later) = rest.split_once('.')?;
            (inside, rest) = (fields.values.get(next)?, later);
        }
        None
    }

    /// Returns the value of a field.
    ///
    /// # Errors
    /// `BadCell` if it is missing or not of the requested kind.
    pub fn cell(&self, column: &ColumnRef) -> Cell {
        let bad = |found: &str, expected| {
            Err(Error::BadCell { column: elided(&column.column), found: found.to_owned(), expected })
        };
        let expected = "a string";
        let Some(raw) = self.raw(&column.column) else { return bad(ABSENT, expected) };
        match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str(raw).or_else(|_| bad("half a character (a lone surrogate)", expected)),
            Some(b'n') => bad(NULL, expected),
            Some(b'{') => bad("an object", "a string; name a field inside it with a dot, such as `a.b`"),
            Some(b'[') if column.kind != CellKind::List => bad("a list", expected),
            _ if column.kind != CellKind::Text => Ok(raw.to_owned()),
            Some(b't' | b'f') => bad("true or false", expected),
            _ => bad("a number", expected),
        }
    }

    /// Sets a field. An existing field keeps its place.
    pub fn set(&mut self, name: &str, value: &Value) {
        let value = value.to_string();
        let Some(old) = self.values.get(name).cloned() else {
            self.text.pop();
            self.text.truncate(self.text.trim_end().len());
            let comma = if self.values.is_empty() { "" } else { "," };
            self.text += &format!("{comma}{}:", Value::from(name));
            let start = self.text.len();
            self.text += &value;
            self.values.insert(name.to_owned(), start..self.text.len());
            self.text.push('}');
            return;
        };
        self.text.replace_range(old.clone(), &value);
        for range in self.values.values_mut().filter(|range| range.start >= old.start) {
            let moved = |position: usize| position + value.len() - old.len();
            *range = if range.start == old.start { old.start } else { moved(range.start) }..moved(range.end);
        }
    }

    /// Returns the object as one line.
    pub fn line(&self) -> &str {
        &self.text
    }
}

/// Fields with their values as they are written.
struct Fields<'a> {
    values: IndexMap<String, &'a str>,
    /// Also counts fields that have the name of another, and those over the limit.
    count: usize,
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields { values: IndexMap::new(), count: 0 };
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            fields.count += 1;
            if fields.count <= MAX_COLUMNS {
                fields.values.insert(name, value.get());
            }
        }
        Ok(fields)
    }
}

/// Returns how deeply valid JSON is nested.
fn levels(text: &str) -> usize {
    let (mut deepest, mut depth, mut in_string, mut escaped) = (0, 0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
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
        assert_eq!(object.line(), "{\"text\":\"first\",\"id\":1,\"text\":\"last\"}");
    }

    #[test]
    fn a_line_stays_as_it_is_written_next_to_the_fields_that_are_set() {
        let mut object = parse(" { \"a\": {} , \"b\":[ 1e400 ], \"c\":\"\\u00e9\" }\r").unwrap();
        object.set("new", &Value::from("x"));
        object.set("b", &Value::from("longer than before"));
        object.set("new", &Value::from(7));
        object.set("b", &Value::from(1));
        assert_eq!(object.line(), "{ \"a\": {} , \"b\":1, \"c\":\"\\u00e9\",\"new\":7}");
        assert_eq!(object.cell(&ColumnRef::text_field("c")), Ok("é".into()));
        assert_eq!(JsonObject::with_text("a", "b").line(), "{\"a\":\"b\"}");
    }

    #[test]
    fn a_long_name_is_elided_in_the_error_of_each_row() {
        let problem = parse("{\"a\":1}").unwrap().cell(&ColumnRef::text_field("b".repeat(1 << 20))).unwrap_err();
        assert!(problem.to_string().len() < 100);
    }

    #[test]
    fn a_path_leads_through_at_most_32_objects() {
        let nested = |levels: usize| parse(&format!("{}\"x\"{}", "{\"a\":".repeat(levels), "}".repeat(levels)));
        let path = |parts: usize| ColumnRef::text_field(vec!["a"; parts].join("."));
        assert_eq!(nested(3).unwrap().cell(&path(3)), Ok("x".into()));
        assert_eq!(nested(32).unwrap().cell(&path(32)), Ok("x".into()));
        assert!(nested(33).unwrap().cell(&path(33)).is_err());
        assert!(nested(100_000).unwrap().cell(&path(100_000)).is_err());
        assert_eq!(parse("{\"a\":{\"b.c\":\"x\"}}").unwrap().cell(&ColumnRef::text_field("a.b.c")), Ok("x".into()));
    }

    #[test]
    fn lines_for_other_programs_have_few_levels_and_all_lines_few_fields() {
        let line =
            |levels: usize| Line::Whole(format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels)).into());
        assert!(JsonObject::parse_shallow(&line(127)).is_ok());
        let error = JsonObject::parse_shallow(&line(128)).unwrap_err().to_string();
        assert_eq!(error, "the row is nested more than 128 levels deep; expected a flatter object");
        assert!(JsonObject::parse(&line(100_000)).is_ok());
        assert_eq!(levels("{\"[[\\\"[\":[]}"), 2);
        let fields: Vec<String> = (0..=MAX_COLUMNS).map(|number| format!("\"{number}\":0")).collect();
        let error = parse(&format!("{{{}}}", fields.join(","))).unwrap_err().to_string();
        assert_eq!(error, "the row has 16385 fields; expected at most 16384");
        assert!(parse(&format!("{{{}}}", fields[1..].join(","))).is_ok());
    }

    proptest! {
        #[test]
        fn fields_come_out_as_they_went_in(fields in prop::collection::btree_map(any::<String>(), any::<(String, i64)>(), 0..6), ours in any::<String>()) {
            let map = fields.iter().map(|(name, (text, number))| (name.clone(), serde_json::json!([text, number])));
            let mut expected: serde_json::Map<String, Value> = map.collect();
            let mut object = parse(&Value::Object(expected.clone()).to_string()).unwrap();
            object.set("prediction", &Value::from(&*ours));
            expected.insert("prediction".into(), Value::from(&*ours));
            prop_assert_eq!(serde_json::from_str::<Value>(object.line()).unwrap(), Value::Object(expected));
        }

        #[test]
        fn any_line_is_an_object_or_refused(line in any::<Vec<u8>>(), column in "[a.]{0,6}") {
            if let Ok(object) = JsonObject::parse(&Line::Whole(line)) {
                let _ = object.cell(&ColumnRef::text_field(column));
            }
        }
    }
}

//! The schemas that other programs keep in the metadata of a Parquet file, with new columns added.
//!
//! A reader that finds such a schema believes it. Without the new columns in it, Spark would not
//! see them, and Arrow would mistake one column for another.

use arrow_schema::{DataType, FieldRef, Fields};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema};
use parquet::file::metadata::KeyValue;
use serde_json::{Value, json};

const SPARK_SCHEMA: &str = "org.apache.spark.sql.parquet.row.metadata";
/// Before the length of a message.
const CONTINUES: [u8; 4] = [0xFF; 4];

/// Returns the metadata of an output. `places` has, for each of its columns, the new column that it
/// is. All other entries stay as they are.
pub(super) fn extended(pairs: &[KeyValue], places: &[Option<usize>], added: &[FieldRef]) -> Vec<KeyValue> {
    let extended = pairs.iter().filter_map(|pair| {
        let value = match (pair.key.as_str(), &pair.value) {
            // An unreadable schema is left out, because it no longer fits.
            (ARROW_SCHEMA_META_KEY, Some(value)) => Some(arrow_schema(value, places, added)?),
            (SPARK_SCHEMA, Some(value)) => Some(spark_schema(value, places, added)?),
            (_, value) => value.clone(),
        };
        Some(KeyValue { key: pair.key.clone(), value })
    });
    extended.collect()
}

fn arrow_schema(encoded: &str, places: &[Option<usize>], added: &[FieldRef]) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(encoded).ok()?;
    let message = if bytes.starts_with(&CONTINUES) { bytes.get(8..)? } else { &bytes };
    let message = arrow_ipc::root_as_message(message).ok()?;
    let mut schema = arrow_ipc::convert::try_fb_to_schema(message.header_as_schema()?).ok()?;
    let fields = with_added(schema.fields(), places, added)?;
    schema.fields = Fields::from(fields);
    Some(encode_arrow_schema(&schema))
}

fn spark_schema(text: &str, places: &[Option<usize>], added: &[FieldRef]) -> Option<String> {
    let mut schema: Value = serde_json::from_str(text).ok()?;
    let field = |field: &FieldRef| {
        let kind = match field.data_type() {
            DataType::Float64 => "double",
            DataType::Boolean => "boolean",
            _ => "string",
        };
        json!({ "name": field.name(), "type": kind, "nullable": true, "metadata": {} })
    };
    let added: Vec<Value> = added.iter().map(field).collect();
    let fields = with_added(schema.get("fields")?.as_array()?, places, &added)?;
    schema["fields"] = fields.into();
    Some(schema.to_string())
}

/// Puts new fields in their places among the old ones. `None` if the old ones are not those of the
/// file.
fn with_added<T: Clone>(old: &[T], places: &[Option<usize>], added: &[T]) -> Option<Vec<T>> {
    let known = places.len() - places.iter().skip(old.len()).filter(|place| place.is_some()).count();
    if known != old.len() {
        return None;
    }
    let field = |(position, place): (usize, &Option<usize>)| match place {
        Some(number) => added.get(*number).cloned(),
        None => old.get(position).cloned(),
    };
    places.iter().enumerate().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_replaced_in_their_place_and_others_added() {
        let places = [None, Some(1), Some(0)];
        assert_eq!(with_added(&["a", "b"], &places, &["x", "y"]), Some(vec!["a", "y", "x"]));
        assert_eq!(with_added(&["a"], &[None, None, Some(0)], &["x"]), None);
    }

    #[test]
    fn spark_finds_new_columns_in_its_schema() {
        let text = r#"{"type":"struct","fields":[{"name":"t","type":"string","nullable":true,"metadata":{}}]}"#;
        let added = FieldRef::new(arrow_schema::Field::new("confidence", DataType::Float64, true));
        let found: Value = serde_json::from_str(&spark_schema(text, &[None, Some(0)], &[added]).unwrap()).unwrap();
        assert_eq!(found["fields"][0]["name"], "t");
        let expected = json!({ "name": "confidence", "type": "double", "nullable": true, "metadata": {} });
        assert_eq!(found["fields"][1], expected);
    }
}

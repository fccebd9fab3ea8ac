//! The schemas that other programs keep in the metadata of a Parquet file, with new columns added.
//!
//! A reader that finds such a schema believes it. Without the new columns in it, Spark would not
//! see them, and Arrow would mistake one column for another.

use arrow_ipc::convert::IpcSchemaEncoder;
use arrow_ipc::{Message, MessageArgs, MessageHeader, SchemaArgs};
use arrow_schema::{DataType, FieldRef, Schema};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flatbuffers::{FlatBufferBuilder, Table, WIPOffset};
use parquet::arrow::ARROW_SCHEMA_META_KEY;
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

/// Old fields are copied as bytes, so that types which this version of Arrow does not know stay.
fn arrow_schema(encoded: &str, places: &[Option<usize>], added: &[FieldRef]) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(encoded).ok()?;
    let bytes = if bytes.starts_with(&CONTINUES) { bytes.get(8..)? } else { &bytes };
    let message = arrow_ipc::root_as_message(bytes).ok()?;
    let schema = message.header_as_schema()?;
    let added = IpcSchemaEncoder::new().schema_to_fb(&Schema::new(added.to_vec()));
    let added_schema = arrow_ipc::root_as_schema(added.finished_data()).ok()?;

    let mut builder = FlatBufferBuilder::new();
    let old_start = copy(&mut builder, bytes);
    let added_start = copy(&mut builder, added.finished_data());
    let fields = with_added(
        &copied_tables(old_start, schema.fields()?.iter().map(|field| field._tab)),
        places,
        &copied_tables(added_start, added_schema.fields()?.iter().map(|field| field._tab)),
    )?;
    let pairs = schema.custom_metadata().map(|pairs| copied_tables(old_start, pairs.iter().map(|pair| pair._tab)));
    let features: Option<Vec<_>> = schema.features().map(|features| features.iter().collect());
    let content = SchemaArgs {
        endianness: schema.endianness(),
        fields: Some(builder.create_vector(&fields)),
        custom_metadata: pairs.map(|pairs| builder.create_vector(&pairs)),
        features: features.map(|features| builder.create_vector(&features)),
    };
    let header = arrow_ipc::Schema::create(&mut builder, &content).as_union_value();
    let content = MessageArgs {
        version: message.version(),
        header_type: MessageHeader::Schema,
        header: Some(header),
        ..MessageArgs::default()
    };
    let root = Message::create(&mut builder, &content);
    builder.finish(root, None);

    let body = builder.finished_data();
    let length = u32::try_from(body.len()).ok()?.to_le_bytes();
    Some(BASE64_STANDARD.encode([&CONTINUES, &length, body].concat()))
}

/// Puts a whole flatbuffer into another one. Returns where it starts, counted from the end of the
/// other. It is a multiple of 8, the largest alignment of a schema's values.
fn copy(builder: &mut FlatBufferBuilder, bytes: &[u8]) -> usize {
    let word = |chunk: &[u8]| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    };
    let words: Vec<u64> = bytes.chunks(8).map(word).collect();
    builder.create_vector(&words).value() as usize - size_of::<u32>()
}

/// Returns the places of tables in a copied flatbuffer, which starts at `start`.
fn copied_tables<'a, T>(start: usize, tables: impl Iterator<Item = Table<'a>>) -> Vec<WIPOffset<T>> {
    tables.map(|table| WIPOffset::new((start - table.loc()) as u32)).collect()
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
    use arrow_ipc::FieldArgs;
    use arrow_schema::Field;

    use super::*;

    #[test]
    fn fields_are_replaced_in_their_place_and_others_added() {
        let places = [None, Some(1), Some(0)];
        assert_eq!(with_added(&["a", "b"], &places, &["x", "y"]), Some(vec!["a", "y", "x"]));
        assert_eq!(with_added(&["a"], &[None, None, Some(0)], &["x"]), None);
    }

    fn encoded(schema: &Schema) -> String {
        parquet::arrow::encode_arrow_schema(schema)
    }

    /// Calls `check` with the schema of an entry.
    fn with_schema(entry: &str, check: impl FnOnce(arrow_ipc::Schema)) {
        let bytes = BASE64_STANDARD.decode(entry).unwrap();
        let length = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
        assert_eq!((&bytes[..4], length as usize), (&CONTINUES[..], bytes.len() - 8));
        check(arrow_ipc::root_as_message(&bytes[8..]).unwrap().header_as_schema().unwrap());
    }

    #[test]
    fn arrow_finds_new_columns_in_its_schema() {
        let zone = DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, Some("America/Lima".into()));
        let inside = Field::new("a", DataType::FixedSizeList(Field::new("item", DataType::Int8, true).into(), 2), true);
        let old = Schema::new(vec![
            Field::new("text", DataType::LargeUtf8, false).with_metadata([("unit".to_owned(), "words".to_owned())]),
            Field::new_dictionary("kind", DataType::Int16, DataType::Utf8, true),
            Field::new("object", DataType::Struct(vec![inside].into()), true),
            Field::new("at", zone, true),
        ])
        .with_metadata([("mine".to_owned(), "kept".to_owned())]);
        let added = Field::new("confidence", DataType::Float64, true);
        let found = arrow_schema(&encoded(&old), &[None, None, None, None, Some(0)], &[added.clone().into()]).unwrap();
        with_schema(&found, |schema| {
            let mut expected: Vec<_> = old.fields().iter().map(|field| field.as_ref().clone()).collect();
            expected.push(added);
            let expected = Schema::new(expected).with_metadata(old.metadata().clone());
            assert_eq!(arrow_ipc::convert::try_fb_to_schema(schema).unwrap(), expected);
        });
    }

    #[test]
    fn types_that_are_unknown_here_stay() {
        let mut builder = FlatBufferBuilder::new();
        let content = arrow_ipc::IntArgs { bitWidth: 128, is_signed: true };
        let kind = arrow_ipc::Int::create(&mut builder, &content).as_union_value();
        let name = builder.create_string("huge");
        let content =
            FieldArgs { name: Some(name), type_type: arrow_ipc::Type::Int, type_: Some(kind), ..FieldArgs::default() };
        let field = arrow_ipc::Field::create(&mut builder, &content);
        let fields = builder.create_vector(&[field]);
        let content = SchemaArgs { fields: Some(fields), ..SchemaArgs::default() };
        let schema = arrow_ipc::Schema::create(&mut builder, &content).as_union_value();
        let content =
            MessageArgs { header_type: MessageHeader::Schema, header: Some(schema), ..MessageArgs::default() };
        let message = Message::create(&mut builder, &content);
        builder.finish(message, None);

        let added = FieldRef::new(Field::new("prediction", DataType::Utf8, true));
        let entry = BASE64_STANDARD.encode(builder.finished_data());
        let found = arrow_schema(&entry, &[None, Some(0)], &[added]).unwrap();
        with_schema(&found, |schema| {
            let fields = schema.fields().unwrap();
            assert_eq!(fields.get(0).type_as_int().map(|kind| kind.bitWidth()), Some(128));
            assert_eq!(fields.get(1).name(), Some("prediction"));
        });
    }

    #[test]
    fn spark_finds_new_columns_in_its_schema() {
        let text = r#"{"type":"struct","fields":[{"name":"t","type":"string","nullable":true,"metadata":{}}]}"#;
        let added = FieldRef::new(Field::new("confidence", DataType::Float64, true));
        let found: Value = serde_json::from_str(&spark_schema(text, &[None, Some(0)], &[added]).unwrap()).unwrap();
        assert_eq!(found["fields"][0]["name"], "t");
        let expected = json!({ "name": "confidence", "type": "double", "nullable": true, "metadata": {} });
        assert_eq!(found["fields"][1], expected);
    }
}

//! JSON Schemas of arguments and results, in the plain form that every client reads.

use rmcp::model::JsonObject;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use serde_path_to_error::{Path, Segment};

/// Returns the schema of a tool's arguments.
pub(super) fn input<T: JsonSchema>() -> JsonObject {
    object(SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>())
}

/// Returns the schema of a tool's result.
pub(super) fn output<T: JsonSchema>() -> JsonObject {
    object(SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>())
}

/// Lists the arguments that a tool accepts, for error texts.
pub(super) fn arguments<T: JsonSchema>() -> String {
    let schema = input::<T>();
    let is_required =
        |name: &str| schema.get("required").is_some_and(|all| all.as_array().unwrap_or(&vec![]).contains(&json!(name)));
    let names = |required: bool| {
        let names =
            schema["properties"].as_object().into_iter().flatten().filter(|(name, _)| is_required(name) == required);
        names.map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    match (names(true), names(false)) {
        (required, optional) if required.is_empty() && optional.is_empty() => "no arguments".into(),
        (required, optional) if optional.is_empty() => required,
        (required, optional) => format!("{required}, and optionally {optional}"),
    }
}

/// Says what an argument, or a part of it, must be. Returns `None` if the path leads to no argument.
pub(super) fn kind<T: JsonSchema>(path: &Path) -> Option<String> {
    let root = Value::Object(input::<T>());
    let found = path.iter().try_fold(&root, |schema, segment| match segment {
        Segment::Map { key } => schema["properties"].get(key).or_else(|| schema.get("additionalProperties")),
        Segment::Seq { .. } => schema.get("items"),
        Segment::Enum { .. } | Segment::Unknown => None,
    })?;
    if let Some(values) = found["enum"].as_array() {
        return Some(
            values
                .iter()
                .map(|value| format!("`{}`", value.as_str().unwrap_or_default()))
                .collect::<Vec<_>>()
                .join(" or "),
        );
    }
    // The arguments themselves are an object as well, but its fields are listed instead.
    let kind = match found["type"].as_str().filter(|_| path.iter().len() > 0)? {
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "an array",
        _ => "an object",
    };
    Some(kind.to_owned())
}

fn object(schema: schemars::Schema) -> JsonObject {
    let Value::Object(mut schema) = schema.to_value() else { unreachable!("every argument and result is an object") };
    simplify(&mut schema);
    // The name of a Rust type and the default dialect tell the assistant nothing.
    for key in ["title", "description", "$schema"] {
        schema.remove(key);
    }
    schema.insert("additionalProperties".to_owned(), false.into());
    // Some clients require the list of properties even if it is empty.
    schema.entry("properties").or_insert_with(|| json!({}));
    schema
}

/// Removes keywords that are not JSON Schema or tell the assistant nothing: formats such as
/// `uint64` with their bound of 0, which make clients warn; defaults; and null, since absent fields
/// are omitted. Returns whether the schema allowed null.
fn simplify(schema: &mut JsonObject) -> bool {
    let unsigned = schema.remove("format").is_some() && !schema.contains_key("maximum");
    if unsigned && schema.get("minimum") == Some(&json!(0)) {
        schema.remove("minimum");
    }
    schema.remove("default");
    let mut is_nullable = false;
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        let kind = kinds.pop().unwrap_or_default();
        schema.insert("type".to_owned(), kind);
        is_nullable = true;
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    // An optional object is a choice between the object and null.
    if let Some(Value::Array(choices)) = schema.remove("anyOf") {
        is_nullable = true;
        let fields = choices.into_iter().filter(|choice| choice["type"] != "null").filter_map(|choice| match choice {
            Value::Object(fields) => Some(fields),
            _ => None,
        });
        for (name, value) in fields.flatten() {
            schema.entry(name).or_insert(value);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(Value::Object(inner)) = schema.get_mut(key) {
            simplify(inner);
            inner.remove("description");
        }
    }
    let mut optional = Vec::new();
    for (name, property) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        if property.as_object_mut().is_some_and(simplify) {
            optional.push(json!(name));
        }
    }
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|name| !optional.contains(name));
        if required.is_empty() {
            schema.remove("required");
        }
    }
    is_nullable
}

//! Parses labels in a file: by name or by number, several in one cell, or a 0 or 1 for each.

use std::sync::Arc;

use serde_json::Value;

/// Returns the label with this name. Ignores case if that leaves only one match.
pub(super) fn label_by_name(labels: &[Arc<str>], name: &str) -> Option<usize> {
    let name = name.trim();
    let exact = labels.iter().position(|label| **label == *name);
    exact.or_else(|| {
        let mut matching = (0..labels.len()).filter(|&index| labels[index].eq_ignore_ascii_case(name));
        matching.next().filter(|_| matching.next().is_none())
    })
}

/// Returns the label with this number, counted from 0. Accepts `1.0` as well: pandas writes it for
/// integers in a column that also has missing values.
pub(super) fn label_by_number(label_count: usize, number: &str) -> Option<usize> {
    let number = number.trim();
    number.strip_suffix(".0").unwrap_or(number).parse().ok().filter(|number| *number < label_count)
}

/// Splits a cell that holds several labels: a JSON list, or separated by `,`, `;` or `|`. A cell
/// that is itself the name of a label is not split.
pub(super) fn split_labels(cell: &str, labels: &[Arc<str>]) -> Vec<String> {
    if let Some(list) = parse_list(cell) {
        return list;
    }
    if label_by_name(labels, cell).is_some() {
        return vec![cell.trim().to_owned()];
    }
    let parts = cell.split([',', ';', '|']).map(str::trim);
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Parses a cell with a 0 or 1 for each label, the form of most training data.
pub(super) fn parse_multi_hot(cell: &str, labels: &[Arc<str>]) -> Option<Vec<usize>> {
    let list = parse_list(cell).unwrap_or_else(|| vec![cell.trim().to_owned()]);
    let parse_bit = |part: &String| match part.as_str() {
        "0" | "0.0" | "false" => Some(false),
        "1" | "1.0" | "true" => Some(true),
        _ => None,
    };
    let bits: Vec<bool> = list.iter().map(parse_bit).collect::<Option<_>>()?;
    (bits.len() == labels.len()).then(|| (0..bits.len()).filter(|&index| bits[index]).collect())
}

/// Parses a JSON list of strings, numbers or booleans.
pub(super) fn parse_list(cell: &str) -> Option<Vec<String>> {
    let list: Vec<Value> = serde_json::from_str(cell).ok()?;
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    list.into_iter().map(text).collect()
}

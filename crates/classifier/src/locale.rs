//! Graphs that normalize text under the locale of an exporter's machine.
//!
//! ONNX Runtime on Linux lowers case with the C library, under the locale that the graph names:
//! `en_US.UTF-8` unless its exporter said otherwise. Few containers have that locale, and the
//! runtime refuses the graph there. `C.UTF-8` comes with the C library and knows the same letters.

use onnx_facts::GraphFacts;
use onnx_facts::protobuf::{Value, field, raw_fields};
use onnx_facts::writer::{bytes, number};

const OPERATOR: &str = "StringNormalizer";
const LOCALE: &str = "C.UTF-8";

/// Returns whether a graph needs another locale before it is loaded.
pub(crate) fn is_needed(facts: &GraphFacts) -> bool {
    cfg!(target_os = "linux") && facts.operators.contains(OPERATOR) && facts.external_files.is_empty()
}

/// Returns an ONNX file whose normalizers use a locale that this system has.
///
/// # Errors
/// Part of a sentence, if the file is no ONNX model.
pub(crate) fn replace(model: &[u8]) -> Result<Vec<u8>, String> {
    rewrite(model, 7, &|graph| rewrite(graph, 1, &with_locale))
}

/// Returns a message that replaces another.
type Rewrite<'a> = dyn Fn(&[u8]) -> Result<Vec<u8>, String> + 'a;

/// Copies a message, with every field of one number rewritten.
fn rewrite(message: &[u8], wanted: u8, with: &Rewrite<'_>) -> Result<Vec<u8>, String> {
    let mut copy = Vec::with_capacity(message.len());
    for part in raw_fields(message) {
        match part? {
            (number, Value::Bytes(inner), _) if number == u32::from(wanted) => copy.extend(bytes(wanted, with(inner)?)),
            (_, _, raw) => copy.extend(raw),
        }
    }
    Ok(copy)
}

fn with_locale(node: &[u8]) -> Result<Vec<u8>, String> {
    if field(node, 4)? != Some(OPERATOR.as_bytes()) {
        return Ok(node.to_vec());
    }
    let mut copy = Vec::new();
    for part in raw_fields(node) {
        match part? {
            (5, Value::Bytes(attribute), _) if field(attribute, 1)? == Some(b"locale") => {}
            (_, _, raw) => copy.extend(raw),
        }
    }
    // An attribute of type 3 is a string.
    copy.extend(bytes(5, [bytes(1, "locale"), bytes(4, LOCALE), number(20, 3)].concat()));
    Ok(copy)
}

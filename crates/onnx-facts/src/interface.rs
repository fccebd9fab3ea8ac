//! Reads what the main graph says about its inputs, its outputs and its labels.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::protobuf::{self, Fields, Value, packed, text};
use crate::writer::{INT32, INT64, STRING};

/// Limits that keep memory small for any content. No classifier has as many.
const MAX_OUTPUTS: usize = 64;
const MAX_CONSTANTS: usize = 1 << 16;
const MAX_LABELS_BYTES: usize = 1 << 20;
const MAX_LABELS: usize = 1 << 16;
/// Classifiers have two outputs, and the operators to look through have one.
const MAX_NODE_OUTPUTS: usize = 2;
/// Longest chain of operators to look through.
const MAX_STEPS: usize = 16;
/// Operators that change at most the type or the shape of their first input.
const TRANSPARENT: [&str; 6] = ["Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten"];

/// The main graph as its callers see it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The operator that computes each output. Those that only change type or shape are skipped.
    pub producers: BTreeMap<String, String>,
    /// Whether an input takes strings.
    pub takes_text: bool,
    /// The labels that the classifier in the graph names, in the order of its scores. Empty if it
    /// names none.
    pub labels: Vec<String>,
    /// The patterns by which the graph finds words.
    pub word_patterns: BTreeSet<String>,
}

/// What is collected from the fields of a graph.
#[derive(Default)]
pub(crate) struct Reader<'a> {
    outputs: Vec<&'a str>,
    makers: HashMap<&'a str, Maker<'a>>,
    /// Constants that may hold labels, by name.
    constants: HashMap<&'a str, &'a [u8]>,
    takes_text: bool,
    word_patterns: BTreeSet<String>,
}

/// Where labels stand.
#[derive(PartialEq)]
enum Names<'a> {
    Attribute(&'a [u8]),
    Tensor(&'a [u8]),
}

/// The node that makes a value.
#[derive(Clone, Copy, Default)]
struct Maker<'a> {
    operator: &'a str,
    /// Its first input.
    input: &'a str,
    /// The attribute that names labels.
    labels: Option<&'a [u8]>,
}

impl<'a> Reader<'a> {
    /// Reads a graph, or a part of one: a file may have it in several pieces.
    pub(crate) fn read(&mut self, graph: &'a [u8]) -> Result<(), String> {
        for field in Fields(graph) {
            match field? {
                (1, Value::Bytes(node)) => self.read_node(node)?,
                (5, Value::Bytes(tensor)) => self.read_constant(tensor)?,
                (11, Value::Bytes(input)) => self.takes_text |= is_text(input)?,
                (12, Value::Bytes(output)) if self.outputs.len() < MAX_OUTPUTS => {
                    self.outputs.push(first_name(output, 1)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn read_constant(&mut self, tensor: &'a [u8]) -> Result<(), String> {
        let is_small = tensor.len() <= MAX_LABELS_BYTES && self.constants.len() < MAX_CONSTANTS;
        if is_small && matches!(data_type(tensor, 2)?, INT32 | INT64 | STRING) {
            self.constants.insert(first_name(tensor, 8)?, tensor);
        }
        Ok(())
    }

    fn read_node(&mut self, node: &'a [u8]) -> Result<(), String> {
        let (mut maker, mut input, mut outputs) = (Maker::default(), None, Vec::new());
        for field in Fields(node) {
            match field? {
                (1, Value::Bytes(name)) if input.is_none() => input = Some(text(name)?),
                (2, Value::Bytes(name)) if outputs.len() < MAX_NODE_OUTPUTS => outputs.push(text(name)?),
                (4, Value::Bytes(name)) => maker.operator = text(name)?,
                (5, Value::Bytes(attribute)) if attribute.len() <= MAX_LABELS_BYTES => {
                    match first_name(attribute, 1)? {
                        "classlabels_strings" | "classlabels_ints" | "classlabels_int64s" => {
                            maker.labels = Some(attribute);
                        }
                        "tokenexp" if self.word_patterns.len() < MAX_OUTPUTS => {
                            self.word_patterns.insert(first_name(attribute, 4)?.to_owned());
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        maker.input = input.unwrap_or_default();
        self.makers.extend(outputs.into_iter().map(|output| (output, maker)));
        Ok(())
    }

    pub(crate) fn finish(&self) -> Result<Interface, String> {
        let word_patterns = self.word_patterns.clone();
        let mut interface = Interface { takes_text: self.takes_text, word_patterns, ..Interface::default() };
        let mut found: Vec<Names<'_>> = Vec::new();
        for output in &self.outputs {
            let Some(maker) = self.maker(output) else { continue };
            interface.producers.insert((*output).to_owned(), maker.operator.to_owned());
            if let Some(attribute) = maker.labels {
                found.push(Names::Attribute(attribute));
            } else if let ("ArrayFeatureExtractor", Some(tensor)) = (maker.operator, self.constants.get(maker.input)) {
                found.push(Names::Tensor(tensor));
            }
        }
        interface.labels = only(&found)?;
        Ok(interface)
    }

    fn maker(&self, value: &str) -> Option<Maker<'a>> {
        let mut maker = *self.makers.get(value)?;
        for _ in 0..MAX_STEPS {
            if !TRANSPARENT.contains(&maker.operator) {
                return Some(maker);
            }
            maker = *self.makers.get(maker.input)?;
        }
        None
    }
}

/// Returns the labels if all places name the same ones. One list is in memory besides the first.
fn only(places: &[Names<'_>]) -> Result<Vec<String>, String> {
    let mut only: Option<Vec<String>> = None;
    // Outputs of one node have one place.
    for same in places.chunk_by(|left, right| left == right) {
        let labels = match same[0] {
            Names::Attribute(attribute) => attribute_labels(attribute)?,
            Names::Tensor(tensor) => tensor_labels(tensor)?,
        };
        if labels.len() > MAX_LABELS {
            return Err(format!("the graph names {} labels, expected at most {MAX_LABELS}", labels.len()));
        }
        match &only {
            Some(known) if *known != labels => return Ok(Vec::new()),
            Some(_) => {}
            None => only = Some(labels),
        }
    }
    Ok(only.unwrap_or_default())
}

/// Returns the first string in a field, or an empty one.
fn first_name(message: &[u8], wanted: u32) -> Result<&str, String> {
    for field in Fields(message) {
        if let (number, Value::Bytes(name)) = field?
            && number == wanted
        {
            return text(name);
        }
    }
    Ok("")
}

/// Returns the data type in this field of a message.
fn data_type(message: &[u8], number: u32) -> Result<i64, String> {
    Ok(protobuf::integer(message, number)?.unwrap_or(0).cast_signed())
}

/// Returns whether an input is a tensor of strings. Its type is nested three messages deep.
fn is_text(input: &[u8]) -> Result<bool, String> {
    for field in Fields(input) {
        let (2, Value::Bytes(kind)) = field? else { continue };
        for field in Fields(kind) {
            let (1, Value::Bytes(tensor)) = field? else { continue };
            return Ok(data_type(tensor, 1)? == STRING);
        }
    }
    Ok(false)
}

/// Returns the labels in an attribute: strings or integers.
fn attribute_labels(attribute: &[u8]) -> Result<Vec<String>, String> {
    let mut labels = Vec::new();
    for field in Fields(attribute) {
        match field? {
            (9, Value::Bytes(label)) => labels.push(text(label)?.to_owned()),
            (8, Value::Number(label)) => labels.push(integer(label)),
            (8, Value::Bytes(numbers)) => labels.extend(packed(numbers)?.into_iter().map(integer)),
            _ => {}
        }
    }
    Ok(labels)
}

/// Returns the labels in a constant: strings, or integers in any of the places that hold them.
fn tensor_labels(tensor: &[u8]) -> Result<Vec<String>, String> {
    let is_wide = data_type(tensor, 2)? == INT64;
    let mut labels = Vec::new();
    for field in Fields(tensor) {
        match field? {
            (6, Value::Bytes(label)) => labels.push(text(label)?.to_owned()),
            (5 | 7, Value::Number(label)) => labels.push(integer(label)),
            (5 | 7, Value::Bytes(numbers)) => labels.extend(packed(numbers)?.into_iter().map(integer)),
            (9, Value::Bytes(raw)) if is_wide => {
                labels.extend(raw.as_chunks().0.iter().map(|label| i64::from_le_bytes(*label).to_string()));
            }
            (9, Value::Bytes(raw)) => {
                labels.extend(raw.as_chunks().0.iter().map(|label| i32::from_le_bytes(*label).to_string()));
            }
            _ => {}
        }
    }
    Ok(labels)
}

/// Protobuf encodes a negative integer as its two's complement.
fn integer(label: u64) -> String {
    label.cast_signed().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(field: u8, content: impl AsRef<[u8]>) -> Vec<u8> {
        let content = content.as_ref();
        [&[field << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn node(operator: &str, input: &str, outputs: &[&str], attribute: &[u8]) -> Vec<u8> {
        let outputs: Vec<u8> = outputs.iter().flat_map(|name| bytes(2, name)).collect();
        bytes(1, [bytes(1, input), outputs, bytes(4, operator), attribute.to_vec()].concat())
    }

    fn read(parts: &[Vec<u8>]) -> Interface {
        let graph = parts.concat();
        let mut reader = Reader::default();
        reader.read(&graph).unwrap();
        reader.finish().unwrap()
    }

    #[test]
    fn producers_are_found_behind_operators_that_only_change_the_shape() {
        let found = read(&[
            node("Softmax", "x", &["a"], &[]),
            node("Reshape", "a", &["b"], &[]),
            node("Cast", "b", &["c"], &[]),
            bytes(12, bytes(1, "c")),
            node("Identity", "loop", &["loop"], &[]),
            bytes(12, bytes(1, "loop")),
        ]);
        assert_eq!(found.producers, BTreeMap::from([("c".into(), "Softmax".into())]));
    }

    #[test]
    fn labels_are_read_from_the_classifier_that_makes_an_output() {
        let names = bytes(5, [bytes(1, "classlabels_strings"), bytes(9, "no"), bytes(9, "yes")].concat());
        let inner = bytes(5, [bytes(1, "classlabels_ints"), vec![8 << 3, 7]].concat());
        let outputs = [bytes(12, bytes(1, "l")), bytes(12, bytes(1, "p"))].concat();
        let nodes =
            [node("LinearClassifier", "x", &["a", "b"], &inner), node("LinearClassifier", "b", &["l", "p"], &names)];
        assert_eq!(read(&[nodes.concat(), outputs.clone()]).labels, ["no", "yes"]);
        let ambiguous = [node("LinearClassifier", "x", &["l", "q"], &names), node("ZipMap", "q", &["p"], &inner)];
        assert!(read(&[ambiguous.concat(), outputs]).labels.is_empty());
    }

    #[test]
    fn labels_are_read_from_the_constant_that_an_output_selects_from() {
        let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        for (tensor, expected) in [
            ([vec![16, 8], bytes(8, "c"), bytes(6, "a"), bytes(6, "b")].concat(), ["a", "b"]),
            ([vec![16, 7], bytes(8, "c"), bytes(7, [&minus_one[..], &[3]].concat())].concat(), ["-1", "3"]),
            ([vec![16, 6], bytes(8, "c"), bytes(9, [4, 0, 0, 0, 5, 0, 0, 0])].concat(), ["4", "5"]),
            (
                [vec![16, 7], bytes(8, "c"), bytes(9, [[2, 0, 0, 0, 0, 0, 0, 0], [255; 8]].concat())].concat(),
                ["2", "-1"],
            ),
        ] {
            let graph = [bytes(5, tensor), node("ArrayFeatureExtractor", "c", &["l"], &[]), bytes(12, bytes(1, "l"))];
            assert_eq!(read(&graph).labels, expected);
        }
    }

    #[test]
    fn an_input_of_strings_takes_text() {
        let input = |kind| bytes(11, [bytes(1, "x"), bytes(2, bytes(1, [8, kind]))].concat());
        assert!(read(&[input(7), input(8)]).takes_text);
        assert!(!read(&[input(7)]).takes_text);
    }
}

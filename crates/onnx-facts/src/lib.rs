//! What an ONNX file says of itself, read before the runtime opens it: versions, operators, and files beside it.
//!
//! A walk over the protobuf fields that matter (numbers from onnx.proto3, ONNX 1.19), everything else skipped unread; so a
//! file that names paths outside its folder is refused before anything follows them. Running the graph is `session`'s.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

/// Sub-graphs nest in real models two or three deep; a file that nests deeper than this was made to hurt.
const MAX_DEPTH: usize = 32;
/// The largest transformers have some ten thousand; each costs the runtime kilobytes, and time that no deadline ends.
const MAX_NODES: u64 = 1 << 17;
const FLOAT16: u64 = 10;

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphFacts {
    pub ir_version: u64,
    /// Version of the standard operator set.
    pub opset: u64,
    /// Names of all operators used, sub-graphs included.
    pub operators: BTreeSet<String>,
    /// Files that hold weights, as the graph names them.
    pub external_files: BTreeSet<String>,
    /// Whether any weight is fp16.
    pub half_weights: bool,
}

impl GraphFacts {
    /// `int8`, `fp16` or `fp32`, by operators and weights that only such graphs contain.
    pub fn precision(&self) -> &'static str {
        let integer = ["DynamicQuantizeLinear", "MatMulInteger", "QLinearMatMul", "DynamicQuantizeMatMul"];
        if integer.iter().any(|name| self.operators.contains(*name)) {
            "int8"
        } else if self.half_weights {
            "fp16"
        } else {
            "fp32"
        }
    }
}

/// Reads a whole ONNX file.
///
/// # Errors
/// What is wrong with the file, as part of a sentence, where it is no ONNX model.
pub fn read(bytes: &[u8]) -> Result<GraphFacts, String> {
    let mut facts = GraphFacts::default();
    let mut has_graph = false;
    let mut nodes = Nodes::new();
    let mut functions = HashMap::new();
    for field in Fields(bytes) {
        match field? {
            (1, Value::Number(version)) => facts.ir_version = version,
            (7, Value::Bytes(graph)) => {
                has_graph = true;
                walk(graph, Kind::Graph, &mut facts, &mut nodes, 0)?;
            }
            (8, Value::Bytes(import)) => opset(import, &mut facts)?,
            (25, Value::Bytes(function)) => {
                let mut own = Nodes::new();
                let name = walk(function, Kind::Function, &mut facts, &mut own, 0)?;
                functions.insert(name, Function { nodes: own, expanded: None });
            }
            _ => {}
        }
    }
    if expanded(&nodes, &mut functions, 0)? > MAX_NODES {
        return Err(format!("it has more than {MAX_NODES} nodes, its functions written out"));
    }
    if has_graph && facts.ir_version > 0 { Ok(facts) } else { Err("it is no ONNX model".into()) }
}

/// The messages that can contain nodes or tensors, and in which of their fields.
#[derive(Clone, Copy)]
enum Kind {
    Graph,
    Function,
    Node,
    Attribute,
    SparseTensor,
    Tensor,
}

/// Operators by name, and how often each stands there. A function is called like an operator, so that its domain may be
/// left out: at worst a graph is taken for larger than it is.
type Nodes<'a> = HashMap<&'a str, u64>;

struct Function<'a> {
    nodes: Nodes<'a>,
    expanded: Option<u64>,
}

/// Number of nodes once every call of a function is replaced by what it holds, as the runtime does it. A few functions that
/// each call the one before twice make billions.
fn expanded<'a>(
    nodes: &Nodes<'a>,
    functions: &mut HashMap<&'a str, Function<'a>>,
    depth: usize,
) -> Result<u64, String> {
    if depth > MAX_DEPTH {
        return Err(format!("its functions call each other more than {MAX_DEPTH} deep"));
    }
    let mut sum = 0u64;
    for (name, count) in nodes {
        let each = match functions.get_mut(name) {
            None => 1,
            Some(Function { expanded: Some(known), .. }) => *known,
            Some(function) => {
                let own = std::mem::take(&mut function.nodes);
                let size = expanded(&own, functions, depth + 1)?;
                if let Some(function) = functions.get_mut(name) {
                    *function = Function { nodes: own, expanded: Some(size) };
                }
                size
            }
        };
        sum = sum.saturating_add(count.saturating_mul(each));
    }
    Ok(sum)
}

/// Returns the name, of a function, or the operator, of a node.
fn walk<'a>(
    message: &'a [u8],
    kind: Kind,
    facts: &mut GraphFacts,
    nodes: &mut Nodes<'a>,
    depth: usize,
) -> Result<&'a str, String> {
    if depth > MAX_DEPTH {
        return Err(format!("its sub-graphs nest deeper than {MAX_DEPTH}"));
    }
    let mut name = "";
    for field in Fields(message) {
        match (kind, field?) {
            (Kind::Graph, (1, Value::Bytes(part))) | (Kind::Function, (7, Value::Bytes(part))) => {
                walk(part, Kind::Node, facts, nodes, depth + 1)?;
            }
            (Kind::Graph, (5, Value::Bytes(part)))
            | (Kind::Attribute, (5 | 10, Value::Bytes(part)))
            | (Kind::SparseTensor, (1 | 2, Value::Bytes(part))) => {
                walk(part, Kind::Tensor, facts, nodes, depth + 1)?;
            }
            (Kind::Graph, (15, Value::Bytes(part))) | (Kind::Attribute, (22 | 23, Value::Bytes(part))) => {
                walk(part, Kind::SparseTensor, facts, nodes, depth + 1)?;
            }
            (Kind::Node, (4, Value::Bytes(operator))) => name = text(operator)?,
            (Kind::Function, (1, Value::Bytes(own))) => name = text(own)?,
            (Kind::Node, (5, Value::Bytes(part))) | (Kind::Function, (11, Value::Bytes(part))) => {
                walk(part, Kind::Attribute, facts, nodes, depth + 1)?;
            }
            (Kind::Attribute, (6 | 11, Value::Bytes(part))) => {
                walk(part, Kind::Graph, facts, nodes, depth + 1)?;
            }
            (Kind::Tensor, (2, Value::Number(FLOAT16))) => facts.half_weights = true,
            (Kind::Tensor, (13, Value::Bytes(entry))) => external(entry, facts)?,
            _ => {}
        }
    }
    if matches!(kind, Kind::Node) {
        *nodes.entry(name).or_default() += 1;
        if !facts.operators.contains(name) {
            facts.operators.insert(name.to_owned());
        }
    }
    Ok(name)
}

fn opset(import: &[u8], facts: &mut GraphFacts) -> Result<(), String> {
    let (mut domain, mut version) = ("", 0);
    for field in Fields(import) {
        match field? {
            (1, Value::Bytes(name)) => domain = text(name)?,
            (2, Value::Number(number)) => version = number,
            _ => {}
        }
    }
    if matches!(domain, "" | "ai.onnx") {
        facts.opset = version;
    }
    Ok(())
}

/// One key and value of a tensor's external data; `location` is a path.
fn external(entry: &[u8], facts: &mut GraphFacts) -> Result<(), String> {
    let (mut key, mut value) = ("", "");
    for field in Fields(entry) {
        match field? {
            (1, Value::Bytes(bytes)) => key = text(bytes)?,
            (2, Value::Bytes(bytes)) => value = text(bytes)?,
            _ => {}
        }
    }
    if key == "location" && !facts.external_files.contains(value) {
        facts.external_files.insert(value.to_owned());
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "a name in it is not UTF-8".into())
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Fixed 32 or 64 bits, which no field of interest has.
    Other,
}

/// The fields of one protobuf message, in order; ends after the first error.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Other)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| "it is truncated, or no ONNX model".into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn bytes(field: u8, content: &[u8]) -> Vec<u8> {
        [&[field << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn model(graph: &[u8]) -> Vec<u8> {
        [vec![8, 8], bytes(7, graph), bytes(8, &[16, 17])].concat()
    }

    #[test]
    fn versions_operators_and_files_are_found_in_sub_graphs_too() {
        let entry = bytes(13, &[bytes(1, b"location"), bytes(2, b"../weights")].concat());
        let tensor = bytes(5, &[vec![16, 10], entry].concat());
        let inner = bytes(1, &[bytes(4, b"MatMulInteger"), bytes(5, &tensor)].concat());
        let outer = bytes(1, &[bytes(4, b"If"), bytes(5, &bytes(6, &inner))].concat());
        let facts = read(&model(&outer)).unwrap();
        assert_eq!((facts.ir_version, facts.opset, facts.precision()), (8, 17, "int8"));
        assert!(facts.half_weights);
        assert_eq!(facts.operators, ["If", "MatMulInteger"].map(str::to_owned).into());
        assert_eq!(facts.external_files, ["../weights".to_owned()].into());
    }

    #[test]
    fn what_is_no_model_is_refused() {
        for content in [&b""[..], b"<html>", b"\x08\x08", b"\x3a\x7f\x01", &[0xff; 32]] {
            assert!(read(content).is_err(), "{content:?}");
        }
    }

    #[test]
    fn bottomless_nesting_is_refused() {
        let mut graph = Vec::new();
        for _ in 0..40 {
            let mut wrapped = Vec::new();
            for field in [6, 5, 1] {
                let content = if field == 6 { &graph } else { &wrapped };
                let mut header = vec![field << 3 | 2];
                let mut length = content.len();
                while length >= 0x80 {
                    header.push(length as u8 | 0x80);
                    length >>= 7;
                }
                header.push(length as u8);
                wrapped = [&header[..], content].concat();
            }
            graph = wrapped;
        }
        let mut file = vec![8, 8, 7 << 3 | 2];
        file.extend([graph.len() as u8 | 0x80, (graph.len() >> 7) as u8]);
        file.extend(graph);
        assert_eq!(read(&file).unwrap_err(), "its sub-graphs nest deeper than 32");
    }

    /// Messages as they nest: a few fields, of numbers, bytes and messages.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let field = |number: u8, content: Vec<u8>| bytes(number, &content[..content.len().min(127)]);
        let leaf = prop_oneof![any::<Vec<u8>>(), Just(b"location".to_vec()), Just(vec![16, 10])];
        leaf.prop_recursive(6, 48, 4, move |inner| {
            prop::collection::vec((1u8..16, inner), 0..4).prop_map(move |fields| {
                fields.into_iter().flat_map(|(number, content)| field(number, content)).collect()
            })
        })
    }

    proptest! {
        #[test]
        fn no_bytes_crash_it(graph in message(), function in message(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut file = [vec![8, 8], bytes(7, &graph[..graph.len().min(127)])].concat();
            // Field 25, whose tag has two bytes.
            file.extend([25 << 3 & 0x7f | 0x82, 1, function.len().min(127) as u8]);
            file.extend(&function[..function.len().min(127)]);
            let _ = read(&file);
            let place = at.index(file.len());
            file[place] = byte;
            let _ = read(&file);
        }

        #[test]
        fn all_operators_are_found_and_no_others(names in prop::collection::btree_set("[A-Za-z]{1,8}", 0..9)) {
            let nodes: Vec<u8> = names.iter().flat_map(|name| bytes(1, &bytes(4, name.as_bytes()))).collect();
            prop_assert_eq!(read(&model(&nodes)).unwrap().operators, names);
        }
    }
}

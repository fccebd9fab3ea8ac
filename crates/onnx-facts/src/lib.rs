//! Reads the declarations of an ONNX file: opset, operators, external files, precision, labels.
//!
//! The file is read before ONNX Runtime opens it, so that paths outside the model's folder and
//! graphs of absurd size are refused first. Only the protobuf fields that matter are read (numbers
//! from onnx.proto3, ONNX 1.19); memory use stays small for any content. The classifier runs the
//! graph.

mod functions;
mod interface;
pub mod protobuf;
pub mod writer;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use functions::{Functions, Key, Nodes, key};
pub use interface::Interface;
use protobuf::{Fields, Value, text};

/// Sub-graphs of real models nest two or three levels deep.
const MAX_DEPTH: usize = 32;
/// The largest transformers have some ten thousand nodes. Each costs the runtime kilobytes, and
/// load time that no deadline interrupts.
const MAX_NODES: u64 = 1 << 17;
/// `TensorProto.DataType.FLOAT16`.
const FLOAT16: u32 = 10;

/// The facts that an ONNX file declares about itself.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GraphFacts {
    pub ir_version: u64,
    /// Version of the default operator set.
    pub opset: u64,
    /// Names of all operators used, sub-graphs included.
    pub operators: BTreeSet<String>,
    /// Files of weights, as the graph names them.
    pub external_files: BTreeSet<String>,
    /// Whether any weight is fp16.
    pub half_weights: bool,
    pub interface: Interface,
}

/// The messages that can contain nodes or tensors.
#[derive(Clone, Copy)]
enum Kind {
    Training,
    Graph,
    Function,
    Node,
    Attribute,
    SparseTensor,
    Tensor,
}

impl GraphFacts {
    /// Reads a whole ONNX file.
    ///
    /// # Errors
    /// Says what is wrong with the file, as part of a sentence: not an ONNX model, nested too deep,
    /// or too large.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut facts = Self::default();
        let mut graphs = Vec::new();
        let mut nodes = Nodes::new();
        let mut functions = Functions::default();
        for field in Fields(bytes) {
            match field? {
                (1, Value::Number(version)) => facts.ir_version = version,
                (7, Value::Bytes(graph)) => {
                    graphs.push(graph);
                    facts.walk(graph, Kind::Graph, &mut nodes, 0)?;
                }
                (8, Value::Bytes(import)) => facts.read_opset(import)?,
                // Graphs of a training run. They could name files as well.
                (20, Value::Bytes(training)) => {
                    facts.walk(training, Kind::Training, &mut nodes, 0)?;
                }
                (25, Value::Bytes(function)) => {
                    let mut body = Nodes::new();
                    let key = facts.walk(function, Kind::Function, &mut body, 0)?;
                    functions.add(key, body);
                }
                _ => {}
            }
        }
        if functions.count(&nodes)? > MAX_NODES {
            return Err(format!("it has more than {MAX_NODES} nodes, with functions inlined"));
        }
        if graphs.is_empty() || facts.ir_version == 0 {
            return Err("it is not an ONNX model".into());
        }
        let mut interface = interface::Reader::default();
        for graph in graphs {
            interface.read(graph)?;
        }
        facts.interface = interface.finish()?;
        Ok(facts)
    }

    /// Returns `int8`, `fp16` or `fp32`, judged by operators and weights that only such graphs
    /// have.
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

    /// Collects the facts of a message and of all messages in it, and counts the nodes.
    ///
    /// Returns the key of a node's operator or of a function; an empty key for other messages.
    fn walk<'a>(
        &mut self,
        message: &'a [u8],
        kind: Kind,
        nodes: &mut Nodes<'a>,
        depth: usize,
    ) -> Result<Key<'a>, String> {
        if depth > MAX_DEPTH {
            return Err(format!("its sub-graphs nest deeper than {MAX_DEPTH}"));
        }
        let (mut name, mut domain) = ("", "");
        for field in Fields(message) {
            let (number, value) = field?;
            let part = match value {
                Value::Bytes(part) => part,
                // An enum: of a longer number, only the low 32 bits are read.
                Value::Number(data_type) if matches!((kind, number), (Kind::Tensor, 2)) => {
                    self.half_weights |= data_type as u32 == FLOAT16;
                    continue;
                }
                Value::Number(_) | Value::Fixed(_) => continue,
            };
            let inner = match (kind, number) {
                (Kind::Graph, 1) | (Kind::Function, 7) => Kind::Node,
                (Kind::Graph, 5) | (Kind::Attribute, 5 | 10) | (Kind::SparseTensor, 1 | 2) => Kind::Tensor,
                (Kind::Graph, 15) | (Kind::Attribute, 22 | 23) => Kind::SparseTensor,
                (Kind::Node, 5) | (Kind::Function, 11) => Kind::Attribute,
                (Kind::Attribute, 6 | 11) | (Kind::Training, 1 | 2) => Kind::Graph,
                (Kind::Node, 4) | (Kind::Function, 1) => {
                    name = text(part)?;
                    continue;
                }
                (Kind::Node, 7) | (Kind::Function, 10) => {
                    domain = text(part)?;
                    continue;
                }
                (Kind::Tensor, 13) => {
                    self.read_external(part)?;
                    continue;
                }
                _ => continue,
            };
            self.walk(part, inner, nodes, depth + 1)?;
        }
        let key = key(domain, name);
        if matches!(kind, Kind::Node) {
            *nodes.entry(key).or_default() += 1;
            if !self.operators.contains(name) {
                self.operators.insert(name.to_owned());
            }
        }
        Ok(key)
    }

    fn read_opset(&mut self, import: &[u8]) -> Result<(), String> {
        let (mut domain, mut version) = ("", 0);
        for field in Fields(import) {
            match field? {
                (1, Value::Bytes(name)) => domain = text(name)?,
                (2, Value::Number(number)) => version = number,
                _ => {}
            }
        }
        if matches!(domain, "" | "ai.onnx") {
            self.opset = version;
        }
        Ok(())
    }

    /// Reads one key and value of a tensor's external data. The value of `location` is a path.
    fn read_external(&mut self, entry: &[u8]) -> Result<(), String> {
        let (mut key, mut value) = ("", "");
        for field in Fields(entry) {
            match field? {
                (1, Value::Bytes(bytes)) => key = text(bytes)?,
                (2, Value::Bytes(bytes)) => value = text(bytes)?,
                _ => {}
            }
        }
        if key == "location" && !self.external_files.contains(value) {
            self.external_files.insert(value.to_owned());
        }
        Ok(())
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
    fn facts_are_found_in_sub_graphs_too() {
        let entry = bytes(13, &[bytes(1, b"location"), bytes(2, b"../weights")].concat());
        let tensor = bytes(5, &[vec![16, 10], entry].concat());
        let inner = bytes(1, &[bytes(4, b"MatMulInteger"), bytes(5, &tensor)].concat());
        let outer = bytes(1, &[bytes(4, b"If"), bytes(5, &bytes(6, &inner))].concat());
        let facts = GraphFacts::parse(&model(&outer)).unwrap();
        assert_eq!((facts.ir_version, facts.opset, facts.precision()), (8, 17, "int8"));
        assert!(facts.half_weights);
        assert_eq!(facts.operators, ["If", "MatMulInteger"].map(str::to_owned).into());
        assert_eq!(facts.external_files, ["../weights".to_owned()].into());
    }

    #[test]
    fn graphs_of_a_training_run_and_numbers_beyond_32_bits_are_read() {
        let entry = bytes(13, &[bytes(1, b"location"), bytes(2, b"w")].concat());
        // The data type 10, with bit 32 set.
        let tensor = bytes(5, &[vec![16, 0x8a, 0x80, 0x80, 0x80, 0x10], entry].concat());
        let training = bytes(2, &tensor);
        // The tag of field 20 has two bytes.
        let field = [&[0xa2, 1, u8::try_from(training.len()).unwrap()], &training[..]].concat();
        let facts = GraphFacts::parse(&[model(&[]), field].concat()).unwrap();
        assert_eq!((facts.external_files, facts.half_weights), (["w".to_owned()].into(), true));
    }

    #[test]
    fn other_files_are_refused() {
        for content in [&b""[..], b"<html>", b"\x08\x08", b"\x3a\x7f\x01", &[0xff; 32]] {
            assert!(GraphFacts::parse(content).is_err(), "{content:?}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
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
        assert_eq!(GraphFacts::parse(&file).unwrap_err(), "its sub-graphs nest deeper than 32");
    }

    /// Nested messages with a few fields of numbers, bytes and messages.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let field = |number: u8, content: Vec<u8>| bytes(number, &content[..content.len().min(127)]);
        let leaf = prop_oneof![any::<Vec<u8>>(), Just(b"location".to_vec()), Just(vec![16, 10])];
        leaf.prop_recursive(6, 48, 4, move |inner| {
            prop::collection::vec((1u8..16, inner), 0..4).prop_map(move |fields| {
                fields.into_iter().flat_map(|(number, content)| field(number, content)).collect()
            })
        })
    }

    /// The decoys have the names of the doubling functions, in another domain, and come after them.
    #[test]
    fn decoys_in_another_domain_do_not_hide_functions_that_double() {
        let node = |name: &str| bytes(7, &[bytes(4, name.as_bytes()), bytes(7, b"f")].concat());
        let function = |name: &str, domain: &str, body: &[u8]| {
            let content = [&bytes(1, name.as_bytes())[..], body, &bytes(10, domain.as_bytes())].concat();
            // The tag of field 25 has two bytes.
            [&[0xca, 1, u8::try_from(content.len()).unwrap()][..], &content].concat()
        };
        let mut file = model(&bytes(1, &[bytes(4, b"f29"), bytes(7, b"f")].concat()));
        for level in 1..30 {
            let inner = node(&format!("f{}", level - 1));
            file.extend(function(&format!("f{level}"), "f", &[&inner[..], &inner].concat()));
        }
        for level in 1..30 {
            file.extend(function(&format!("f{level}"), "g", &[]));
        }
        let error = GraphFacts::parse(&file).unwrap_err();
        assert_eq!(error, "it has more than 131072 nodes, with functions inlined");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(graph in message(), function in message(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut file = [vec![8, 8], bytes(7, &graph[..graph.len().min(127)])].concat();
            // The tag of field 25 has two bytes.
            file.extend([25 << 3 & 0x7f | 0x82, 1, function.len().min(127) as u8]);
            file.extend(&function[..function.len().min(127)]);
            let _ = GraphFacts::parse(&file);
            let place = at.index(file.len());
            file[place] = byte;
            let _ = GraphFacts::parse(&file);
        }

        #[test]
        fn exactly_the_operators_used_are_found(names in prop::collection::btree_set("[A-Za-z]{1,8}", 0..9)) {
            let nodes: Vec<u8> = names.iter().flat_map(|name| bytes(1, &bytes(4, name.as_bytes()))).collect();
            prop_assert_eq!(GraphFacts::parse(&model(&nodes)).unwrap().operators, names);
        }
    }
}

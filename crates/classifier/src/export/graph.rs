//! Joins the graphs of encoders and a linear head into one graph with the output `logits`.
//!
//! Messages are copied field by field (numbers from onnx.proto3), so that everything that this file
//! does not know stays as it is.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use onnx_facts::protobuf::{Value, field, raw_fields as fields, text};
use onnx_facts::writer::{FLOAT, INT32, bytes, floats, integer_attribute, integers, node, number, value};

use crate::pooling::Pooling;
use crate::signature::{INPUTS, Output};

/// The domain of ONNX Runtime's own operators.
const MICROSOFT: &str = "com.microsoft";
const MASK: &str = "attention_mask";
/// The output of the graph.
const LOGITS: &str = "logits";

/// The graph of an encoder, and how its output becomes a vector.
pub(crate) struct EncoderGraph<'a> {
    /// The ONNX file.
    pub model: &'a [u8],
    pub output: Output,
    pub pooling: Pooling,
    /// Precedes all names but those of the inputs, so that two graphs have none in common.
    pub prefix: &'a str,
    /// Whether attention ignores the mask. Exported graphs are run with padding.
    pub add_mask: bool,
}

/// Returns an ONNX file that computes `logits` from token ids. `weights` has one row per label, as
/// wide as the vectors of all encoders, one after the other.
///
/// # Errors
/// Says what is wrong with the graphs, as part of a sentence.
pub(crate) fn join(encoders: &[EncoderGraph<'_>], weights: &[Vec<f32>], bias: &[f32]) -> Result<Vec<u8>, String> {
    let mut model = ModelWriter::default();
    let mut vectors = Vec::new();
    for encoder in encoders {
        model.add_graph(encoder)?;
        vectors.push(model.add_vector(encoder)?);
    }
    let features = match vectors.as_slice() {
        [only] => only.clone(),
        several => {
            let several: Vec<&str> = several.iter().map(String::as_str).collect();
            model.add_node("Concat", &several, "head/features", integer_attribute("axis", 1))
        }
    };
    model.add_head(&features, weights, bias);
    Ok(model.finish())
}

/// A model in the making.
#[derive(Default)]
struct ModelWriter {
    ir_version: u64,
    /// Domains and versions of the operators.
    opsets: BTreeMap<String, u64>,
    /// Fields of the model: functions.
    functions: Vec<u8>,
    /// Fields of the graph: nodes in the order of their computation, then everything else.
    nodes: Vec<u8>,
    others: Vec<u8>,
    inputs: BTreeSet<String>,
    outputs: Vec<u8>,
    has_mask: bool,
}

impl ModelWriter {
    /// Adds the graph of an encoder without its outputs.
    fn add_graph(&mut self, encoder: &EncoderGraph<'_>) -> Result<(), String> {
        if encoder.add_mask {
            self.add_opset(MICROSOFT, 1)?;
        }
        for field in fields(encoder.model) {
            match field? {
                (1, Value::Number(version), _) => self.ir_version = self.ir_version.max(version),
                (7, Value::Bytes(graph), _) => self.add_graph_fields(graph, encoder)?,
                (8, Value::Bytes(import), _) => {
                    let (mut domain, mut version) = ("", 0);
                    for field in fields(import) {
                        match field? {
                            (1, Value::Bytes(name), _) => domain = text(name)?,
                            (2, Value::Number(number), _) => version = number,
                            _ => {}
                        }
                    }
                    self.add_opset(if domain == "ai.onnx" { "" } else { domain }, version)?;
                }
                (25, _, raw) => self.functions.extend(raw),
                _ => {}
            }
        }
        Ok(())
    }

    fn add_opset(&mut self, domain: &str, version: u64) -> Result<(), String> {
        let known = *self.opsets.entry(domain.to_owned()).or_insert(version);
        if known == version {
            return Ok(());
        }
        let domain = if domain.is_empty() { "ai.onnx" } else { domain };
        Err(format!("they use the versions {known} and {version} of the operators `{domain}`"))
    }

    fn add_graph_fields(&mut self, graph: &[u8], encoder: &EncoderGraph<'_>) -> Result<(), String> {
        let prefix = encoder.prefix;
        for field in fields(graph) {
            match field? {
                (1, Value::Bytes(node), _) => self.add_encoder_node(node, encoder)?,
                (5, Value::Bytes(tensor), _) if !prefix.is_empty() => {
                    self.others.extend(bytes(5, renamed(tensor, prefix, &[8])?));
                }
                (11, Value::Bytes(input), raw) => {
                    if self.inputs.insert(name(input)?.to_owned()) {
                        self.others.extend(raw);
                    }
                }
                // Outputs are replaced; the names of the graph and of shapes are only for people.
                (2 | 10 | 12 | 13 | 14, ..) => {}
                (_, _, raw) => self.others.extend(raw),
            }
        }
        Ok(())
    }

    fn add_encoder_node(&mut self, node: &[u8], encoder: &EncoderGraph<'_>) -> Result<(), String> {
        let mut node = renamed(node, encoder.prefix, &[1, 2, 3])?;
        if encoder.add_mask && field(&node, 4)? == Some(b"MultiHeadAttention") {
            let mask = self.integer_mask();
            // Its inputs are query, key, value, bias and mask.
            node.extend([bytes(1, ""), bytes(1, mask)].concat());
        }
        self.nodes.extend(bytes(1, node));
        Ok(())
    }

    /// Returns the mask as the integers that attention takes.
    fn integer_mask(&mut self) -> String {
        let mask = "head/integer_mask".to_owned();
        if !std::mem::replace(&mut self.has_mask, true) {
            self.add_node("Cast", &[MASK], &mask, integer_attribute("to", INT32));
        }
        mask
    }

    /// Adds nodes that make a vector of length 1 of an encoder's output. Returns its name.
    ///
    /// These operators have the same attributes in all versions.
    fn add_vector(&mut self, encoder: &EncoderGraph<'_>) -> Result<String, String> {
        let named = |name: &str| format!("head/{}{name}", encoder.prefix);
        let output = new_name(&encoder.output.name, encoder.prefix);
        let floats = self.add_node("Cast", &[&output], &named("floats"), integer_attribute("to", FLOAT));
        let vector = match (encoder.output.rank, encoder.pooling) {
            (3, Pooling::Mean) if !self.inputs.contains(MASK) => return Err(format!("it has no input `{MASK}`")),
            (3, Pooling::Mean) => {
                // A sum is as good as a mean, because the length becomes 1.
                let mask = self.add_node("Cast", &[MASK], &named("mask"), integer_attribute("to", FLOAT));
                let (row, flat) =
                    (self.add_integers(&named("row"), &[0, 1, -1]), self.add_integers(&named("flat"), &[0, -1]));
                let mask = self.add_node("Reshape", &[&mask, &row], &named("mask/row"), vec![]);
                let sums = self.add_node("MatMul", &[&mask, &floats], &named("sums"), vec![]);
                self.add_node("Reshape", &[&sums, &flat], &named("sums/flat"), vec![])
            }
            (3, Pooling::First) => {
                let first = self.add_integers(&named("first"), &[0]);
                let row =
                    self.add_node("Gather", &[&floats, &first], &named("first/row"), integer_attribute("axis", 1));
                let flat = self.add_integers(&named("flat"), &[0, -1]);
                self.add_node("Reshape", &[&row, &flat], &named("first/flat"), vec![])
            }
            _ => floats,
        };
        let attributes = [integer_attribute("axis", 1), integer_attribute("p", 2)].concat();
        Ok(self.add_node("LpNormalization", &[&vector], &named("vector"), attributes))
    }

    /// Adds the head, whose output is the output of the graph.
    fn add_head(&mut self, features: &str, weights: &[Vec<f32>], bias: &[f32]) {
        let width = weights.first().map_or(0, Vec::len);
        // One column per label.
        let columns: Vec<f32> = (0..width).flat_map(|row| weights.iter().map(move |label| label[row])).collect();
        let [labels, width] = [weights.len(), width].map(|size| size.cast_signed() as i64);
        self.others.extend(bytes(5, floats("head/weights", &[width, labels], &columns)));
        self.others.extend(bytes(5, floats("head/bias", &[labels], bias)));
        let product = self.add_node("MatMul", &[features, "head/weights"], "head/product", vec![]);
        self.add_node("Add", &[&product, "head/bias"], LOGITS, vec![]);
        self.outputs = bytes(12, value(LOGITS, FLOAT, &[-1, labels]));
    }

    /// Adds a node with one output, and returns the name of that.
    fn add_node(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: Vec<u8>) -> String {
        let name = bytes(3, output);
        self.nodes.extend(bytes(1, node(operator, inputs, &[output], [name, attributes].concat())));
        output.to_owned()
    }

    fn add_integers(&mut self, name: &str, values: &[i64]) -> String {
        self.others.extend(bytes(5, integers(name, values)));
        name.to_owned()
    }

    fn finish(self) -> Vec<u8> {
        let graph = [self.nodes, bytes(2, "classifier"), self.others, self.outputs].concat();
        let opsets = self
            .opsets
            .iter()
            .flat_map(|(domain, &version)| bytes(8, [bytes(1, domain), number(2, version.cast_signed())].concat()));
        let producer = bytes(2, "local-model-mcp");
        [number(1, self.ir_version.cast_signed()), producer, bytes(7, graph), opsets.collect(), self.functions].concat()
    }
}

/// Returns the name of an input.
fn name(input: &[u8]) -> Result<&str, String> {
    field(input, 1)?.map_or(Ok(""), text)
}

/// Renames the tensors and nodes that these fields name.
fn renamed(message: &[u8], prefix: &str, names: &[u32]) -> Result<Vec<u8>, String> {
    let mut renamed = Vec::with_capacity(message.len());
    for field in fields(message) {
        let (number, value, raw) = field?;
        match value {
            Value::Bytes(name) if names.contains(&number) => {
                renamed.extend(bytes(number as u8, new_name(text(name)?, prefix).as_bytes()));
            }
            _ => renamed.extend(raw),
        }
    }
    Ok(renamed)
}

/// Puts `prefix` before a name, except for the inputs of the model and for the empty name of an
/// optional input. Without a prefix, only the name of the new output is taken from its tensor.
fn new_name<'a>(name: &'a str, prefix: &str) -> Cow<'a, str> {
    match (name, prefix) {
        (LOGITS, "") => Cow::Owned(format!("encoder/{name}")),
        (name, "") => Cow::Borrowed(name),
        (name, _) if name.is_empty() || INPUTS.contains(&name) => Cow::Borrowed(name),
        (name, prefix) => Cow::Owned(format!("{prefix}{name}")),
    }
}

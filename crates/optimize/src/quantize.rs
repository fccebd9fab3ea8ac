//! Products and tables in int8, with the operators that ONNX Runtime's quantizer writes.
//!
//! A product's input is quantized at each run, with the range of its numbers. Everything between
//! products stays in fp32.

use std::collections::{BTreeMap, HashMap};

use onnx_facts::writer::{FLOAT, INT8, UINT8, integer_attribute};

use crate::constants::Constants;
use crate::graph::{Graph, Names, Node};
use crate::integers::{Columns, columns, table};
use crate::tensors::{WeightFiles, encode};

/// Matrices with fewer columns stay in fp32: mostly the head of a classifier, which takes no time,
/// and whose errors show in every score.
const MIN_COLUMNS: usize = 16;

/// The number of weights in int8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub matrices: usize,
    pub tables: usize,
}

/// The names of a quantized value, its scale and its zero point.
#[derive(Clone)]
struct Quantized([String; 3]);

/// Replaces products and look-ups with constant weights.
pub(crate) fn quantize(graph: &mut Graph<'_>, files: &WeightFiles) -> Result<Counts, String> {
    let mut rewriter = Rewriter {
        constants: Constants::new(graph, files),
        names: graph.names(),
        values: HashMap::new(),
        tensors: BTreeMap::new(),
        nodes: Vec::new(),
        counts: Counts::default(),
    };
    for node in &graph.nodes {
        if !(rewriter.product(node)? || rewriter.look_up(node)?) {
            rewriter.nodes.push(node.clone());
        }
    }
    let Rewriter { nodes, tensors, counts, .. } = rewriter;
    graph.nodes = nodes;
    graph.tensors.extend(tensors.into_iter().map(|(name, tensor)| (name, tensor.into())));
    graph.remove_unused()?;
    Ok(counts)
}

struct Rewriter<'g, 'a> {
    constants: Constants<'g, 'a>,
    names: Names,
    /// Values that have been quantized. Several products read the same input.
    values: HashMap<String, Quantized>,
    tensors: BTreeMap<String, Vec<u8>>,
    nodes: Vec<Node<'a>>,
    counts: Counts,
}

impl<'a> Rewriter<'_, 'a> {
    /// Replaces `MatMul`, or `Gemm` without factors. Returns whether it did.
    fn product(&mut self, node: &Node<'a>) -> Result<bool, String> {
        let is_gemm = node.is("Gemm");
        if !is_gemm && !node.is("MatMul") {
            return Ok(false);
        }
        let ([input, weight, bias @ ..], [output]) = (node.inputs.as_slice(), node.outputs.as_slice()) else {
            return Ok(false);
        };
        let is_plain = node.float("alpha", 1.0)? == 1.0 && node.float("beta", 1.0)? == 1.0;
        if !is_plain || node.integer("transA", 0)? != 0 || self.constants.weight(input)?.is_some() {
            return Ok(false);
        }
        let Some(weight) = self.matrix(weight, node.integer("transB", 0)? != 0)? else { return Ok(false) };
        let Quantized([integers, scale, zero]) = self.activation(input);
        let Quantized([weights, scales, zeros]) = weight;
        let product = self.names.fresh(format!("{output}_quantized"));
        let cast = self.names.fresh(format!("{output}_cast"));
        let factors = self.names.fresh(format!("{output}_scales"));
        let bias = bias.first().filter(|bias| !bias.is_empty());
        let sum = if bias.is_some() { self.names.fresh(format!("{output}_MatMul")) } else { output.clone() };
        let to_float = integer_attribute("to", FLOAT);
        self.nodes.extend([
            Node::new("MatMulInteger", &[&integers, &weights, &zero, &zeros], &[&product]),
            Node::new("Cast", &[&product], &[&cast]).with_attribute(to_float),
            Node::new("Mul", &[&scale, &scales], &[&factors]),
            Node::new("Mul", &[&cast, &factors], &[&sum]),
        ]);
        self.nodes.extend(bias.map(|bias| Node::new("Add", &[&sum, bias], &[output])));
        Ok(true)
    }

    /// Replaces `Gather` from a table. Returns whether it did.
    fn look_up(&mut self, node: &Node<'a>) -> Result<bool, String> {
        let ([name, _], [output]) = (node.inputs.as_slice(), node.outputs.as_slice()) else { return Ok(false) };
        if !node.is("Gather") {
            return Ok(false);
        }
        let Some(quantized) = self.table(name)? else { return Ok(false) };
        let Quantized([integers, scale, zero]) = quantized;
        let rows = self.names.fresh(format!("{output}_quantized"));
        let mut gather = node.clone();
        (gather.inputs[0], gather.outputs[0]) = (integers, rows.clone());
        self.nodes.extend([gather, Node::new("DequantizeLinear", &[&rows, &scale, &zero], &[output])]);
        Ok(true)
    }

    /// Quantizes a constant matrix by columns, once.
    fn matrix(&mut self, name: &str, is_transposed: bool) -> Result<Option<Quantized>, String> {
        let key = format!("{name}{}", if is_transposed { " transposed" } else { "" });
        if let Some(known) = self.values.get(&key) {
            return Ok(Some(known.clone()));
        }
        let Some(weight) = self.constants.weight(name)? else { return Ok(None) };
        let weight = if is_transposed { weight.transposed() } else { weight };
        let Some((_, width)) = weight.matrix().filter(|(_, width)| *width >= MIN_COLUMNS) else { return Ok(None) };
        let Columns { values, scales } = columns(&weight.values, width);
        let names = self.named(name);
        let Quantized([integers, scale, zero]) = &names;
        let values: Vec<u8> = values.into_iter().map(i8::cast_unsigned).collect();
        let scales: Vec<u8> = scales.into_iter().flat_map(f32::to_le_bytes).collect();
        self.add(integers, INT8, &weight.dims, &values);
        self.add(scale, FLOAT, &[width], &scales);
        self.add(zero, INT8, &[width], &vec![0; width]);
        self.counts.matrices += 1;
        self.values.insert(key, names.clone());
        Ok(Some(names))
    }

    /// Quantizes a constant table with one scale, once.
    fn table(&mut self, name: &str) -> Result<Option<Quantized>, String> {
        let key = format!("{name} table");
        if let Some(known) = self.values.get(&key) {
            return Ok(Some(known.clone()));
        }
        let weight = self.constants.weight(name)?;
        let Some(weight) = weight.filter(|weight| weight.matrix().is_some()) else { return Ok(None) };
        let quantized = table(&weight.values);
        let names = self.named(name);
        let Quantized([integers, scale, zero]) = &names;
        self.add(integers, UINT8, &weight.dims, &quantized.values);
        self.add(scale, FLOAT, &[], &quantized.scale.to_le_bytes());
        self.add(zero, UINT8, &[], &[quantized.zero]);
        self.counts.tables += 1;
        self.values.insert(key, names.clone());
        Ok(Some(names))
    }

    /// Quantizes a value that is known only in a run, once.
    fn activation(&mut self, name: &str) -> Quantized {
        let key = format!("{name} value");
        if let Some(known) = self.values.get(&key) {
            return known.clone();
        }
        let names = self.named(name);
        let Quantized([integers, scale, zero]) = &names;
        self.nodes.push(Node::new("DynamicQuantizeLinear", &[name], &[integers, scale, zero]));
        self.values.insert(key, names.clone());
        names
    }

    fn named(&mut self, name: &str) -> Quantized {
        Quantized(["quantized", "scale", "zero_point"].map(|part| self.names.fresh(format!("{name}_{part}"))))
    }

    fn add(&mut self, name: &str, data_type: i64, dims: &[usize], content: &[u8]) {
        self.tensors.insert(name.to_owned(), encode(name, data_type, dims, content));
    }
}

//! Attention as one operator, `MultiHeadAttention` of ONNX Runtime.
//!
//! Recognized is what Hugging Face's models become with either exporter of torch: scores of queries
//! and keys, a bias that masks padding, softmax, weighted values. The operator's fast kernel takes
//! no bias. Texts that run without padding have a bias of zeros, so each layer chooses at each run:
//! without the bias if it is zero, otherwise with it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use onnx_facts::writer::{FLOAT, bytes, floats, integer_attribute, integers, number};

use crate::constants::Constants;
use crate::graph::{Graph, Names, Node};
use crate::shapes::Shapes;
use crate::tensors::WeightFiles;

/// The domain of ONNX Runtime's own operators.
pub(crate) const MICROSOFT: &str = "com.microsoft";

/// A layer's attention in a graph.
#[derive(Debug)]
struct Attention {
    /// Queries, keys and values, each [batch, tokens, width].
    projections: [String; 3],
    heads: i64,
    /// The factor of the scores.
    scale: f32,
    /// Added to the scores.
    bias: Option<String>,
}

/// Replaces each layer's attention. Returns how many.
pub(crate) fn fuse(graph: &mut Graph<'_>, files: &WeightFiles) -> Result<usize, String> {
    let (mut nodes, mut tensors, mut biases, mut count) = (Vec::new(), BTreeMap::new(), HashMap::new(), 0);
    let mut names = graph.names();
    let constants = Constants::new(graph, files);
    let finder = Finder { shapes: Shapes::new(&constants), constants: &constants };
    for node in &graph.nodes {
        let Some(attention) = finder.find(node)? else {
            nodes.push(node.clone());
            continue;
        };
        count += 1;
        let output = &node.outputs[0];
        let Some(bias) = &attention.bias else {
            nodes.push(attention.node("", output));
            continue;
        };
        let [expanded, is_zero] = match biases.get(bias) {
            Some(known) => known,
            None => {
                let made = add_bias(bias, &attention.projections[0], &mut names, &mut nodes, &mut tensors);
                biases.entry(bias.clone()).or_insert(made)
            }
        };
        let branch = |name: &str, bias: &str| {
            let result = format!("{output}/{name}");
            let kind = bytes(2, bytes(1, number(1, FLOAT)));
            let graph = [
                bytes(1, attention.node(bias, &result).encode()),
                bytes(2, &result),
                bytes(12, [bytes(1, &result), kind].concat()),
            ];
            bytes(5, [bytes(1, name), bytes(6, graph.concat()), number(20, 5)].concat())
        };
        let choice = Node::new("If", &[is_zero], &[output]);
        nodes.push(choice.with_attribute(branch("then_branch", "")).with_attribute(branch("else_branch", expanded)));
    }
    if count > 0 {
        graph.nodes = nodes;
        graph.tensors.extend(tensors);
        graph.remove_unused()?;
    }
    Ok(count)
}

/// Adds the nodes that give a bias the shape that the operator takes, and that tell whether it is
/// zero. Returns the names of both.
fn add_bias<'a>(
    bias: &str,
    query: &str,
    names: &mut Names,
    nodes: &mut Vec<Node<'a>>,
    tensors: &mut BTreeMap<String, Cow<'a, [u8]>>,
) -> [String; 2] {
    let [shape, tokens, sizes, expanded, sign, largest, is_zero, one, second, nothing] =
        ["shape", "tokens", "sizes", "expanded", "abs", "max", "is_zero", "one", "second", "nothing"]
            .map(|part| names.fresh(format!("{bias}/{part}")));
    let mut add = |name: &String, tensor: Vec<u8>| drop(tensors.insert(name.clone(), tensor.into()));
    add(&one, integers(&one, &[1]));
    add(&second, integers(&second, &[1]));
    add(&nothing, floats(&nothing, &[], &[0.0]));
    nodes.extend([
        Node::new("Shape", &[query], &[&shape]),
        Node::new("Gather", &[&shape, &second], &[&tokens]),
        Node::new("Concat", &[&one, &one, &tokens, &tokens], &[&sizes]).with_attribute(integer_attribute("axis", 0)),
        Node::new("Expand", &[bias, &sizes], &[&expanded]),
        Node::new("Abs", &[bias], &[&sign]),
        Node::new("ReduceMax", &[&sign], &[&largest]).with_attribute(integer_attribute("keepdims", 0)),
        Node::new("Equal", &[&largest, &nothing], &[&is_zero]),
    ]);
    [expanded, is_zero]
}

impl Attention {
    fn node<'a>(&self, bias: &str, output: &str) -> Node<'a> {
        let [query, key, value] = &self.projections;
        let mut inputs = vec![query.as_str(), key, value];
        if !bias.is_empty() {
            inputs.extend(["", "", bias]);
        }
        let scale = [bytes(1, "scale"), [&[2 << 3 | 5][..], &self.scale.to_le_bytes()].concat(), number(20, 1)];
        let mut node = Node::new("MultiHeadAttention", &inputs, &[output])
            .with_attribute(integer_attribute("num_heads", self.heads))
            .with_attribute(bytes(5, scale.concat()));
        node.domain = MICROSOFT.into();
        node
    }
}

/// Recognizes attention.
struct Finder<'c, 'g, 'a> {
    constants: &'c Constants<'g, 'a>,
    shapes: Shapes<'c, 'g, 'a>,
}

impl<'g, 'a> Finder<'_, 'g, 'a> {
    /// Returns the attention that ends in this node.
    fn find(&self, end: &Node<'a>) -> Result<Option<Attention>, String> {
        if !end.is("Reshape") || end.inputs.len() != 2 || end.outputs.len() != 1 {
            return Ok(None);
        }
        // The result has three dimensions.
        if self.shapes.elements(&end.inputs[1])?.is_none_or(|sizes| sizes.len() != 3) {
            return Ok(None);
        }
        let Some(merged) = self.transposed(&end.inputs[0], &[0, 2, 1, 3])? else { return Ok(None) };
        let Some([weights, values]) = self.maker(merged, "MatMul") else { return Ok(None) };
        let Some(softmax) = self.constants.maker(weights).filter(|node| node.is("Softmax")) else { return Ok(None) };
        if !matches!(softmax.integer("axis", 0)?, -1 | 3) || softmax.inputs.is_empty() {
            return Ok(None);
        }
        let sum = &softmax.inputs[0];
        let candidates = match self.maker(sum, "Add") {
            Some([a, b]) => vec![(a, Some(b)), (b, Some(a))],
            None => vec![(sum.as_str(), None)],
        };
        for (scores, bias) in candidates {
            if let Some(found) = self.scores(scores, values)? {
                return Ok(Some(Attention { bias: bias.map(str::to_owned), ..found }));
            }
        }
        Ok(None)
    }

    /// Recognizes the scores and the values of one attention.
    fn scores(&self, scores: &str, values: &str) -> Result<Option<Attention>, String> {
        let (product, mut scale) = self.unscaled(scores, None)?;
        let Some([query, key]) = self.maker(product, "MatMul") else { return Ok(None) };
        let size = self.head_size(query)?.or(self.head_size(key)?);
        let (query, by) = self.unscaled(query, size)?;
        scale *= by;
        let (key, by) = self.unscaled(key, size)?;
        scale *= by;
        let split = [0, 2, 1, 3];
        let swapped = match self.transposed(key, &[0, 1, 3, 2])? {
            None => self.transposed_as_matrices(key)?,
            swapped => swapped,
        };
        let key = match swapped {
            Some(key) => self.transposed(key, &split)?,
            None => self.transposed(key, &[0, 2, 3, 1])?,
        };
        let reshaped = [self.transposed(query, &split)?, key, self.transposed(values, &split)?];
        let [Some(query), Some(key), Some(value)] = reshaped else { return Ok(None) };
        let mut found: Vec<(&str, &str, i64, i64)> = Vec::new();
        for name in [query, key, value] {
            let Some([projection, shape]) = self.maker(name, "Reshape") else { return Ok(None) };
            let Some((source, width)) = self.projection(projection)? else { return Ok(None) };
            let Some(&[_, _, heads, size]) = self.shapes.elements(shape)?.as_deref() else { return Ok(None) };
            let (heads, size) = match (heads.filter(|heads| *heads > 0), size.filter(|size| *size > 0)) {
                (Some(heads), Some(size)) => (heads, size),
                (Some(heads), None) => (heads, width / heads),
                (None, Some(size)) => (width / size, size),
                (None, None) => return Ok(None),
            };
            if heads.checked_mul(size) != Some(width) {
                return Ok(None);
            }
            found.push((projection, source, heads, size));
        }
        let (_, source, heads, size) = found[0];
        let is_one_layer = found.iter().all(|other| (other.1, other.2, other.3) == (source, heads, size));
        let projections = [found[0].0, found[1].0, found[2].0].map(str::to_owned);
        Ok((is_one_layer && scale.is_finite()).then_some(Attention { projections, heads, scale, bias: None }))
    }

    /// Returns the two inputs of the node that makes a value, if it is this operator.
    fn maker(&self, name: &str, operator: &str) -> Option<[&'g str; 2]> {
        let node = self.constants.maker(name).filter(|node| node.is(operator))?;
        match node.inputs.as_slice() {
            [first, second] => Some([first, second]),
            _ => None,
        }
    }

    /// Returns what a value is the transposition of, in this order.
    fn transposed(&self, name: &str, order: &[i64]) -> Result<Option<&'g str>, String> {
        let Some(node) = self.constants.maker(name).filter(|node| node.is("Transpose")) else { return Ok(None) };
        let is_order = node.integers("perm")? == order;
        Ok(node.inputs.first().filter(|_| is_order).map(String::as_str))
    }

    /// Returns what a value is the transposition of in its last two dimensions, if the first two are
    /// joined meanwhile, as the dynamo exporter does.
    fn transposed_as_matrices(&self, name: &str) -> Result<Option<&'g str>, String> {
        let Some([turned, _]) = self.maker(name, "Reshape") else { return Ok(None) };
        let Some(joined) = self.transposed(turned, &[0, 2, 1])? else { return Ok(None) };
        let Some([keys, sizes]) = self.maker(joined, "Reshape") else { return Ok(None) };
        let sizes = self.constants.maker(sizes).filter(|node| node.is("Concat") && node.inputs.len() == 3);
        let first = sizes.map(|node| self.constants.integers(&node.inputs[0])).transpose()?.flatten();
        Ok((first.as_deref() == Some(&[-1])).then_some(keys))
    }

    /// Returns a value without its factor, and the factor. `size` is the last dimension.
    fn unscaled<'n>(&self, name: &'n str, size: Option<i64>) -> Result<(&'n str, f32), String>
    where
        'g: 'n,
    {
        for (operator, invert) in [("Mul", false), ("Div", true)] {
            if let Some([value, factor]) = self.maker(name, operator)
                && let Some(factor) = self.shapes.scalar(factor, size)?
            {
                return Ok((value, if invert { 1.0 / factor } else { factor }));
            }
        }
        Ok((name, 1.0))
    }

    /// Returns the size of a head, if a value or what it is a multiple of states it.
    fn head_size(&self, name: &str) -> Result<Option<i64>, String> {
        let value = self.maker(name, "Mul").or_else(|| self.maker(name, "Div")).map_or(name, |[value, _]| value);
        let Some(node) = self.constants.maker(value).filter(|node| node.is("Transpose")) else { return Ok(None) };
        let Some([_, shape]) = node.inputs.first().and_then(|name| self.maker(name, "Reshape")) else {
            return Ok(None);
        };
        let sizes = self.shapes.elements(shape)?.unwrap_or_default();
        Ok(sizes.get(3).copied().flatten().filter(|size| *size > 0))
    }

    /// Returns the input and the width of a linear layer with a bias or without.
    fn projection(&self, name: &str) -> Result<Option<(&'g str, i64)>, String> {
        let candidates = match self.maker(name, "Add") {
            Some([a, b]) => vec![a, b],
            None => vec![name],
        };
        for candidate in candidates {
            if let Some([source, weight]) = self.maker(candidate, "MatMul")
                && let Some(&[_, width]) = self.constants.dims(weight)?.as_deref()
            {
                return Ok(i64::try_from(width).ok().map(|width| (source, width)));
            }
        }
        Ok(None)
    }
}

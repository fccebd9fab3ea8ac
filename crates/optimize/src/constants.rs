//! Finds the constant behind a value: a tensor of the graph or of a `Constant` node, also through
//! `Identity` and the transposition of a matrix.

use std::collections::HashMap;

use onnx_facts::protobuf::field;

use crate::graph::{Graph, Node};
use crate::tensors::{self, Weight, WeightFiles};

/// Exporters put at most two such nodes between a weight and its use.
const MAX_STEPS: usize = 8;

/// The constants of a graph.
pub(crate) struct Constants<'g, 'a> {
    graph: &'g Graph<'a>,
    makers: HashMap<&'g str, &'g Node<'a>>,
    files: &'g WeightFiles,
}

impl<'g, 'a> Constants<'g, 'a> {
    pub(crate) fn new(graph: &'g Graph<'a>, files: &'g WeightFiles) -> Self {
        let of_node = |node: &'g Node<'a>| node.outputs.iter().map(move |output| (output.as_str(), node));
        Self { makers: graph.nodes.iter().flat_map(of_node).collect(), graph, files }
    }

    /// Returns the node that makes a value.
    pub(crate) fn maker(&self, name: &str) -> Option<&'g Node<'a>> {
        self.makers.get(name).copied()
    }

    /// Returns the message of the tensor behind a value, and whether it is used transposed.
    fn find(&self, name: &str) -> Result<Option<(&'g [u8], bool)>, String> {
        let (mut name, mut is_transposed) = (name, false);
        for _ in 0..MAX_STEPS {
            // A tensor that is an input as well is only a default.
            if let Some(tensor) = self.graph.tensors.get(name).filter(|_| !self.graph.inputs.contains(name)) {
                return Ok(Some((tensor, is_transposed)));
            }
            let Some(node) = self.maker(name) else { return Ok(None) };
            if node.is("Constant") {
                let value = node.attribute("value").map(|attribute| field(attribute, 5)).transpose()?;
                return Ok(value.flatten().map(|tensor| (tensor, is_transposed)));
            }
            let transposes = node.is("Transpose") && swaps(node)?;
            match node.inputs.first() {
                Some(input) if transposes || node.is("Identity") => name = input,
                _ => return Ok(None),
            }
            is_transposed ^= transposes;
        }
        Ok(None)
    }

    /// Returns the fp32 numbers behind a value; `None` if it is no constant, or another type.
    pub(crate) fn weight(&self, name: &str) -> Result<Option<Weight>, String> {
        let Some((tensor, is_transposed)) = self.find(name)? else { return Ok(None) };
        let weight = tensors::read(tensor, self.files)?;
        Ok(weight.map(|weight| if is_transposed { weight.transposed() } else { weight }))
    }

    /// Returns the whole numbers behind a value; `None` if it is no constant, or another type.
    pub(crate) fn integers(&self, name: &str) -> Result<Option<Vec<i64>>, String> {
        match self.find(name)? {
            Some((tensor, false)) => tensors::read_integers(tensor, self.files),
            _ => Ok(None),
        }
    }

    /// Returns the sizes of the constant behind a value.
    pub(crate) fn dims(&self, name: &str) -> Result<Option<Vec<usize>>, String> {
        let Some((tensor, is_transposed)) = self.find(name)? else { return Ok(None) };
        let mut dims = tensors::dims(tensor)?;
        if is_transposed {
            dims.reverse();
        }
        Ok(Some(dims))
    }
}

/// Returns whether a node swaps the two dimensions of a matrix.
fn swaps(node: &Node<'_>) -> Result<bool, String> {
    Ok(matches!(*node.integers("perm")?, [] | [1, 0]))
}

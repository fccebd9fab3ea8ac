//! An ONNX model whose main graph can be edited: nodes by their parts, everything else as bytes.
//!
//! Fields that this crate does not know are copied as they are. Numbers of fields are those of
//! onnx.proto3.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use onnx_facts::protobuf::{Value, field, integer, integers, raw_fields, text};
use onnx_facts::writer::{bytes, number};

use crate::tensors::{self, WeightFiles};

/// A model. Weights stay where they were read from.
pub struct Model<'a> {
    pub graph: Graph<'a>,
    /// Domains of operators.
    domains: BTreeSet<String>,
    rest: Vec<Cow<'a, [u8]>>,
}

/// The main graph.
#[derive(Default)]
pub struct Graph<'a> {
    /// In an order in which each value is made before it is used.
    pub nodes: Vec<Node<'a>>,
    /// The messages of the tensors, by name.
    pub tensors: BTreeMap<String, Cow<'a, [u8]>>,
    pub inputs: BTreeSet<String>,
    outputs: BTreeSet<String>,
    rest: Vec<&'a [u8]>,
}

/// A node. Attributes and other fields are kept as bytes.
#[derive(Clone, Default)]
pub struct Node<'a> {
    pub operator: String,
    pub domain: String,
    pub name: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub rest: Vec<Cow<'a, [u8]>>,
}

impl<'a> Model<'a> {
    /// Reads a whole ONNX file, which `GraphFacts::parse` accepted.
    pub fn parse(model: &'a [u8]) -> Result<Self, String> {
        let (mut graph, mut domains, mut rest) = (None, BTreeSet::new(), Vec::new());
        for part in raw_fields(model) {
            match part? {
                // Parsers would merge several.
                (7, Value::Bytes(_), _) if graph.is_some() => return Err("it has two graphs".into()),
                (7, Value::Bytes(content), _) => graph = Some(Graph::parse(content)?),
                (number, value, raw) => {
                    if let (8, Value::Bytes(import)) = (number, value) {
                        domains.insert(name_of(import, 1)?);
                    }
                    rest.push(Cow::Borrowed(raw));
                }
            }
        }
        Ok(Self { graph: graph.ok_or("it has no graph")?, domains, rest })
    }

    /// Declares the first version of a domain, unless the model declares one.
    pub fn import(&mut self, domain: &str) {
        if self.domains.insert(domain.to_owned()) {
            self.rest.push(Cow::Owned(bytes(8, [bytes(1, domain), number(2, 1)].concat())));
        }
    }

    /// Encodes the model.
    pub fn encode(&self) -> Vec<u8> {
        let mut model = self.rest.concat();
        model.extend(bytes(7, self.graph.encode()));
        model
    }
}

impl<'a> Graph<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, String> {
        let mut graph = Self::default();
        for part in raw_fields(message) {
            let (number, value, raw) = part?;
            match (number, value) {
                (1, Value::Bytes(node)) => graph.nodes.push(Node::parse(node)?),
                (5, Value::Bytes(tensor)) => {
                    graph.tensors.insert(name_of(tensor, 8)?, Cow::Borrowed(tensor));
                }
                // Shapes of values between. Without them, ONNX Runtime 1.31 keeps sums and layer
                // norms apart, which is faster than its operator for both.
                (13, Value::Bytes(_)) => {}
                (_, value) => {
                    if let (11 | 12, Value::Bytes(declared)) = (number, value) {
                        let names = if number == 11 { &mut graph.inputs } else { &mut graph.outputs };
                        names.insert(name_of(declared, 1)?);
                    }
                    graph.rest.push(raw);
                }
            }
        }
        Ok(graph)
    }

    fn encode(&self) -> Vec<u8> {
        let nodes = self.nodes.iter().map(|node| bytes(1, node.encode()));
        let tensors = self.tensors.values().map(|tensor| bytes(5, tensor));
        let mut graph = self.rest.concat();
        nodes.chain(tensors).for_each(|part| graph.extend(part));
        graph
    }

    /// Returns the names of all values.
    pub fn names(&self) -> Names {
        let made = self.nodes.iter().flat_map(|node| node.outputs.iter());
        Names(made.chain(&self.inputs).chain(self.tensors.keys()).cloned().collect())
    }

    /// Moves the content of tensors from other files into the graph.
    pub fn include(&mut self, files: &WeightFiles) -> Result<(), String> {
        for tensor in self.tensors.values_mut() {
            if let Some(complete) = tensors::with_content(tensor, files)? {
                *tensor = Cow::Owned(complete);
            }
        }
        Ok(())
    }

    /// Removes nodes and tensors that no output needs.
    pub fn remove_unused(&mut self) -> Result<(), String> {
        let mut used = self.outputs.clone();
        let mut kept = Vec::with_capacity(self.nodes.len());
        for node in std::mem::take(&mut self.nodes).into_iter().rev() {
            if node.outputs.iter().any(|output| used.contains(output)) {
                used.extend(node.inputs.iter().cloned());
                for attribute in node.attributes() {
                    names_in(attribute, &mut used)?;
                }
                kept.push(node);
            }
        }
        kept.reverse();
        self.nodes = kept;
        self.tensors.retain(|name, _| used.contains(name));
        Ok(())
    }
}

/// Names of values.
pub struct Names(BTreeSet<String>);

impl Names {
    /// Returns a name like `wanted` that no value has, and takes it.
    pub fn fresh(&mut self, wanted: String) -> String {
        let mut name = wanted;
        while !self.0.insert(name.clone()) {
            name.push('_');
        }
        name
    }
}

impl<'a> Node<'a> {
    /// Returns a node without attributes.
    pub fn new(operator: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let name = outputs.first().map_or_else(String::new, |output| format!("{output}/{operator}"));
        Self { operator: operator.into(), inputs: owned(inputs), outputs: owned(outputs), name, ..Self::default() }
    }

    fn parse(message: &'a [u8]) -> Result<Self, String> {
        let mut node = Self::default();
        for part in raw_fields(message) {
            match part? {
                (1, Value::Bytes(name), _) => node.inputs.push(text(name)?.into()),
                (2, Value::Bytes(name), _) => node.outputs.push(text(name)?.into()),
                (3, Value::Bytes(name), _) => node.name = text(name)?.into(),
                (4, Value::Bytes(name), _) => node.operator = text(name)?.into(),
                (7, Value::Bytes(name), _) => node.domain = text(name)?.into(),
                (_, _, raw) => node.rest.push(Cow::Borrowed(raw)),
            }
        }
        Ok(node)
    }

    pub fn encode(&self) -> Vec<u8> {
        let inputs = self.inputs.iter().flat_map(|name| bytes(1, name));
        let mut node: Vec<u8> = inputs.chain(self.outputs.iter().flat_map(|name| bytes(2, name))).collect();
        for (number, name) in [(3, &self.name), (4, &self.operator), (7, &self.domain)] {
            if !name.is_empty() {
                node.extend(bytes(number, name));
            }
        }
        self.rest.iter().for_each(|raw| node.extend_from_slice(raw));
        node
    }

    /// Returns whether this is a standard operator of that name.
    pub fn is(&self, operator: &str) -> bool {
        self.operator == operator && matches!(self.domain.as_str(), "" | "ai.onnx")
    }

    /// Returns the messages of the attributes.
    pub fn attributes(&self) -> impl Iterator<Item = &[u8]> {
        self.rest.iter().filter_map(|raw| match raw_fields(raw).next()?.ok()? {
            (5, Value::Bytes(attribute), _) => Some(attribute),
            _ => None,
        })
    }

    /// Returns the message of the attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&[u8]> {
        self.attributes().find(|attribute| field(attribute, 1) == Ok(Some(name.as_bytes())))
    }

    /// Returns the number of an attribute, or `default` if there is none.
    pub fn integer(&self, name: &str, default: i64) -> Result<i64, String> {
        let found = self.attribute(name).map(|attribute| integer(attribute, 3)).transpose()?;
        Ok(found.flatten().map_or(default, u64::cast_signed))
    }

    /// Returns the number of an attribute, or `default` if there is none.
    pub fn float(&self, name: &str, default: f32) -> Result<f32, String> {
        let mut found = default;
        for part in self.attribute(name).into_iter().flat_map(raw_fields) {
            if let (2, Value::Fixed(content), _) = part? {
                found = content.try_into().map_or(found, f32::from_le_bytes);
            }
        }
        Ok(found)
    }

    /// Returns the numbers of an attribute; none if there is no such attribute.
    pub fn integers(&self, name: &str) -> Result<Vec<i64>, String> {
        let numbers = self.attribute(name).map_or(Ok(Vec::new()), |attribute| integers(attribute, 8))?;
        Ok(numbers.into_iter().map(u64::cast_signed).collect())
    }

    pub fn with_attribute(mut self, attribute: Vec<u8>) -> Self {
        self.rest.push(Cow::Owned(attribute));
        self
    }
}

fn name_of(message: &[u8], number: u32) -> Result<String, String> {
    Ok(text(field(message, number)?.unwrap_or_default())?.to_owned())
}

/// Collects the names that the graphs in an attribute read. `GraphFacts::parse` limits the depth.
fn names_in(attribute: &[u8], names: &mut BTreeSet<String>) -> Result<(), String> {
    for part in raw_fields(attribute) {
        let (6 | 11, Value::Bytes(graph), _) = part? else { continue };
        for part in raw_fields(graph) {
            match part? {
                (1, Value::Bytes(node), _) => {
                    let node = Node::parse(node)?;
                    names.extend(node.inputs.iter().cloned());
                    node.attributes().try_for_each(|attribute| names_in(attribute, names))?;
                }
                (12, Value::Bytes(output), _) => drop(names.insert(name_of(output, 1)?)),
                _ => {}
            }
        }
    }
    Ok(())
}

//! Finds the weights of an encoder in an ONNX graph by their names.
//!
//! The exporters of Hugging Face keep the names of biases and norms, such as
//! `encoder.layer.0.output.dense.bias`. The weight of a linear layer is found through the node that
//! adds its bias. Both fp32 graphs and dynamic int8 ones (`MatMulInteger`) are read.

use std::collections::BTreeMap;
use std::ops::Range;

use onnx_facts::writer::{INT8, UINT8};
use optimize::graph::{Model, Node};
use optimize::tensors::{self, Weight, WeightFiles};

use super::{Layer, Linear, Norm, Table, Tensor};
use crate::error::Error;
use crate::kept::unrounded;

/// The least number in front of a square root, where the graph does not say.
const EPSILON: f32 = 1e-12;

/// Finds weights by name.
pub(super) struct Reader<'a> {
    model: &'a Model<'a>,
    files: &'a WeightFiles,
    /// What exporters put in front of all names, such as `bert.`.
    prefix: String,
    /// The node that makes each value.
    makers: BTreeMap<&'a str, &'a Node<'a>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(model: &'a Model<'a>, files: &'a WeightFiles) -> Result<Self, Error> {
        const FIRST: &str = "embeddings.LayerNorm.weight";
        let mut names = model.graph.tensors.keys();
        let prefix = names.find_map(|name| name.strip_suffix(FIRST)).map(str::to_owned);
        let prefix = prefix.ok_or_else(|| Error::NotBert(format!("it has no `{FIRST}`")))?;
        let nodes = model.graph.nodes.iter();
        let makers = nodes.flat_map(|node| node.outputs.iter().map(move |name| (name.as_str(), node))).collect();
        Ok(Self { model, files, prefix, makers })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.model.graph.tensors.contains_key(&format!("{}{name}", self.prefix))
    }

    fn message(&self, name: &str) -> Result<&[u8], Error> {
        let found = self.model.graph.tensors.get(name);
        found.map(AsRef::as_ref).ok_or_else(|| Error::NotBert(format!("it has no `{name}`")))
    }

    fn float(&self, name: &str) -> Result<Weight, Error> {
        let read = tensors::read(self.message(name)?, self.files).map_err(Error::NotBert)?;
        read.ok_or_else(|| Error::NotBert(format!("`{name}` is not fp32")))
    }

    /// Returns the numbers of a vector, named without the prefix.
    pub(super) fn vector(&self, name: &str) -> Result<Vec<f32>, Error> {
        Ok(self.float(&format!("{}{name}", self.prefix))?.values)
    }

    pub(super) fn layer(&self, number: usize, values: &mut Vec<f32>) -> Result<Layer, Error> {
        let name = |part: &str| format!("encoder.layer.{number}.{part}");
        let layer = Layer {
            queries: self.linear(&name("attention.self.query"), values)?,
            keys: self.linear(&name("attention.self.key"), values)?,
            values: self.linear(&name("attention.self.value"), values)?,
            read: self.linear(&name("attention.output.dense"), values)?,
            read_norm: self.norm(&name("attention.output.LayerNorm"), values)?,
            inner: self.linear(&name("intermediate.dense"), values)?,
            outer: self.linear(&name("output.dense"), values)?,
            outer_norm: self.norm(&name("output.LayerNorm"), values)?,
        };
        let (width, inner) = (layer.outer.bias.len(), layer.inner.bias.len());
        let square = [&layer.queries, &layer.keys, &layer.values, &layer.read];
        let fits = square.iter().all(|linear| linear.bias.len() == width && linear.weight.len() == width * width)
            && [&layer.inner, &layer.outer].iter().all(|linear| linear.weight.len() == width * inner)
            && [&layer.read_norm, &layer.outer_norm]
                .iter()
                .all(|norm| norm.weight.len() == width && norm.bias.len() == width);
        if fits { Ok(layer) } else { Err(Error::NotBert(format!("the shapes of its layer {number} do not fit"))) }
    }

    fn norm(&self, name: &str, values: &mut Vec<f32>) -> Result<Norm, Error> {
        let names = ["weight", "bias"].map(|part| format!("{}{name}.{part}", self.prefix));
        let weight = push(values, self.float(&names[0])?.values);
        let bias = push(values, self.float(&names[1])?.values);
        Ok(Norm { weight, bias, names })
    }

    fn linear(&self, name: &str, values: &mut Vec<f32>) -> Result<Linear, Error> {
        let bias_name = format!("{}{name}.bias", self.prefix);
        let bias = self.float(&bias_name)?.values;
        let unknown = || Error::NotBert(format!("the matrix of `{name}` was not found"));
        let (tensor, weight) = self.matrix(&bias_name, bias.len())?.ok_or_else(unknown)?;
        Ok(Linear { weight: push(values, weight), bias: push(values, bias), tensor, bias_name })
    }

    /// Returns the matrix whose product is added to a bias.
    fn matrix(&self, bias: &str, columns: usize) -> Result<Option<(Tensor, Vec<f32>)>, Error> {
        let nodes = self.model.graph.nodes.iter();
        let Some(add) = nodes.into_iter().find(|node| node.is("Add") && node.inputs.iter().any(|input| input == bias))
        else {
            return Ok(None);
        };
        let Some(product) = add.inputs.iter().find(|input| *input != bias).and_then(|input| self.maker(input)) else {
            return Ok(None);
        };
        if product.is("MatMul") {
            let Some(name) = product.inputs.get(1) else { return Ok(None) };
            return Ok(Some((Tensor::Float(name.clone()), self.float(name)?.values)));
        }
        // Product of the integers, as fp32, times the scales of both sides.
        let [integers, scales] = product.inputs.as_slice() else { return Ok(None) };
        let product = self.maker(integers).and_then(|cast| self.maker(cast.inputs.first()?));
        let scales = self.maker(scales).and_then(|scales| scales.inputs.get(1));
        let (Some(product), Some(scales)) = (product.filter(|node| node.is("MatMulInteger")), scales) else {
            return Ok(None);
        };
        let Some(name) = product.inputs.get(1) else { return Ok(None) };
        let (kind, numbers) = self.bytes(name)?;
        let factors = self.float(scales)?.values;
        if kind != INT8 || factors.len() != columns {
            return Ok(None);
        }
        Ok(Some((Tensor::Integer(name.clone(), scales.clone()), unrounded(numbers, &factors))))
    }

    fn maker(&self, value: &str) -> Option<&'a Node<'a>> {
        self.makers.get(value).copied()
    }

    /// Returns type and content of a tensor of bytes.
    fn bytes(&self, name: &str) -> Result<(i64, &[u8]), Error> {
        let message = self.message(name)?;
        let content = tensors::content(message, self.files).map_err(Error::NotBert)?;
        Ok((tensors::data_type(message).map_err(Error::NotBert)?, content))
    }

    pub(super) fn table(&self, kind: &str) -> Result<Table, Error> {
        let name = format!("{}embeddings.{kind}_embeddings.weight", self.prefix);
        if self.model.graph.tensors.contains_key(&name) {
            return Ok(Table::Float(self.float(&name)?.values));
        }
        let scale = self.float(&format!("{name}_scale"))?.values;
        let zero = tensors::read_byte(self.message(&format!("{name}_zero_point"))?).map_err(Error::NotBert)?;
        let (data_type, numbers) = self.bytes(&format!("{name}_quantized"))?;
        match (scale.as_slice(), zero) {
            (&[scale], Some(zero)) if data_type == UINT8 => {
                Ok(Table::Integer { numbers: numbers.to_vec(), scale, zero })
            }
            _ => Err(Error::NotBert(format!("`{name}` is not fp32 or uint8"))),
        }
    }

    pub(super) fn epsilon(&self) -> Result<f32, Error> {
        let norm = self.model.graph.nodes.iter().find(|node| node.is("LayerNormalization"));
        norm.map_or(Ok(EPSILON), |norm| norm.float("epsilon", 1e-5)).map_err(Error::NotBert)
    }
}

fn push(values: &mut Vec<f32>, new: Vec<f32>) -> Range<usize> {
    let start = values.len();
    values.extend(new);
    start..values.len()
}

//! The weights of an encoder, and where they are in its ONNX graph. `reader` finds them there.

mod reader;

use std::ops::Range;

use optimize::graph::Model;
use optimize::tensors::WeightFiles;

use crate::error::Error;
use reader::Reader;

/// Where the numbers of a linear layer are, and its matrix in the graph.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    /// Row-major, `[inputs, outputs]`.
    pub weight: Range<usize>,
    pub bias: Range<usize>,
    pub tensor: Tensor,
    pub bias_name: String,
}

/// A matrix of the graph.
#[derive(Clone, Debug)]
pub(crate) enum Tensor {
    Float(String),
    /// Numbers and scales.
    Integer(String, String),
}

/// Where the numbers of a layer norm are.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    pub weight: Range<usize>,
    pub bias: Range<usize>,
    pub names: [String; 2],
}

/// One layer of the encoder.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub queries: Linear,
    pub keys: Linear,
    pub values: Linear,
    pub read: Linear,
    pub read_norm: Norm,
    pub inner: Linear,
    pub outer: Linear,
    pub outer_norm: Norm,
}

/// A table of embeddings; a value is `scale * (number - zero)` if the table is rounded.
#[derive(Clone, Debug)]
enum Table {
    Float(Vec<f32>),
    Integer { numbers: Vec<u8>, scale: f32, zero: u8 },
}

/// A sentence encoder of BERT's kind, whose layers can be tuned.
#[derive(Clone, Debug)]
pub struct Encoder {
    pub(crate) layers: Vec<Layer>,
    /// The numbers of all layers.
    pub(crate) values: Vec<f32>,
    pub(crate) heads: usize,
    pub(crate) width: usize,
    pub(crate) epsilon: f32,
    words: Table,
    positions: Table,
    types: Table,
    pub(crate) embedding_norm: (Vec<f32>, Vec<f32>),
}

impl Encoder {
    /// Reads the encoder of an ONNX graph whose layers have `heads` heads.
    ///
    /// # Errors
    /// `NotBert` if names or shapes are not those of BERT, or weights are in other files.
    pub fn read(model: &[u8], heads: usize) -> Result<Self, Error> {
        let model = Model::parse(model).map_err(Error::NotBert)?;
        let files = WeightFiles::new();
        let reader = Reader::new(&model, &files)?;
        let mut values = Vec::new();
        let mut layers = Vec::new();
        while reader.has(&format!("encoder.layer.{}.output.dense.bias", layers.len())) {
            layers.push(reader.layer(layers.len(), &mut values)?);
        }
        let Some(first) = layers.first() else {
            return Err(Error::NotBert("it has no `encoder.layer.0.output.dense.bias`".into()));
        };
        let width = first.outer.bias.len();
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(Error::NotBert(format!("its {width} dimensions are no multiple of {heads} heads")));
        }
        let norm = |part: &str| reader.vector(&format!("embeddings.LayerNorm.{part}"));
        Ok(Self {
            layers,
            values,
            heads,
            width,
            epsilon: reader.epsilon()?,
            words: reader.table("word")?,
            positions: reader.table("position")?,
            types: reader.table("token_type")?,
            embedding_norm: (norm("weight")?, norm("bias")?),
        })
    }

    /// Writes the sum of the embeddings of a token into `row`. Unknown numbers get the first token.
    pub(crate) fn embed(&self, token: u32, position: usize, row: &mut [f32]) {
        row.fill(0.0);
        for (table, index) in [(&self.words, token as usize), (&self.positions, position), (&self.types, 0)] {
            table.add(if index < table.rows(self.width) { index } else { 0 }, row);
        }
    }
}

impl Layer {
    pub(crate) fn linears(&self) -> [&Linear; 6] {
        [&self.queries, &self.keys, &self.values, &self.read, &self.inner, &self.outer]
    }

    pub(crate) fn norms(&self) -> [&Norm; 2] {
        [&self.read_norm, &self.outer_norm]
    }
}

impl Table {
    fn rows(&self, width: usize) -> usize {
        match self {
            Self::Float(values) => values.len() / width,
            Self::Integer { numbers, .. } => numbers.len() / width,
        }
    }

    fn add(&self, index: usize, row: &mut [f32]) {
        let place = index * row.len()..(index + 1) * row.len();
        match self {
            Self::Float(values) => row.iter_mut().zip(&values[place]).for_each(|(sum, value)| *sum += value),
            Self::Integer { numbers, scale, zero } => {
                let value = |number: u8| scale * (f32::from(number) - f32::from(*zero));
                row.iter_mut().zip(&numbers[place]).for_each(|(sum, &number)| *sum += value(number));
            }
        }
    }
}

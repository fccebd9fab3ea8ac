//! What a run of a graph takes and gives: tokens or a text, and rows of numbers.
//!
//! The inputs and outputs of a graph are read in `signature`; `session` runs it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Debug;

use ort::session::{SessionInputValue, SessionOutputs};
use ort::value::{DynMapValueType, DynValue, PrimitiveTensorElementType, Tensor, TensorElementType};

use crate::signature::{Inputs, Label, Numbers, Output, Role, SCORES, Width};
use crate::special_tokens::TokenIds;

const OTHER_INPUTS: &str = "its inputs are of another kind";

/// What one run reads.
#[derive(Clone, Copy)]
pub(crate) enum Feed<'a> {
    /// Tokens, and the token that fills inputs of fixed length.
    Tokens(&'a TokenIds, i64),
    Text(&'a str),
    Named(&'a [Named<'a>]),
}

/// A tensor for the input of this name.
pub(crate) struct Named<'a> {
    pub name: &'static str,
    pub shape: Vec<usize>,
    pub content: Content<'a>,
}

pub(crate) enum Content<'a> {
    Integers(Cow<'a, [i64]>),
    Numbers(Cow<'a, [f32]>),
}

/// The output of one run: rows of equal width. A classifier gives one row of scores, a tagger one
/// for each token, an encoder the numbers of a text or of its tokens.
pub(crate) struct Rows {
    pub values: Vec<f32>,
    pub width: usize,
    /// The label that the graph itself chooses, if it has such an output; zeros and ones if any
    /// number of labels may apply.
    pub labels: Vec<String>,
}

impl Rows {
    pub(crate) fn row(&self, number: usize) -> &[f32] {
        &self.values[number * self.width..(number + 1) * self.width]
    }
}

/// Returns the inputs of one run, in the order of the graph. Rows of tokens are padded to `length`.
pub(crate) fn input_values(
    inputs: &Inputs,
    feed: Feed<'_>,
    length: usize,
) -> ort::Result<Vec<SessionInputValue<'static>>> {
    match (inputs, feed) {
        (Inputs::Tokens(inputs), Feed::Tokens(tokens, pad)) => {
            let row = |(role, width): &(Role, Width)| {
                let (shape, row) = (vec![1, length], padded(*role, tokens, pad, length));
                match width {
                    Width::Int64 => tensor(shape, row),
                    Width::Int32 => tensor(shape, row.into_iter().map(|id| id as i32).collect()),
                    Width::Float32 => tensor(shape, row.into_iter().map(|id| id as f32).collect()),
                }
            };
            inputs.iter().map(row).collect()
        }
        (Inputs::Text { rank }, Feed::Text(text)) => {
            let shape = vec![1usize; *rank];
            Ok(vec![Tensor::from_string_array((shape, &[text.to_owned()][..]))?.into()])
        }
        (Inputs::Named(inputs), Feed::Named(given)) => {
            let value = |(name, ty): &(String, TensorElementType)| {
                let tensor = given.iter().find(|tensor| tensor.name == name);
                tensor.and_then(|tensor| tensor.value(*ty)).unwrap_or_else(|| Err(ort::Error::new(OTHER_INPUTS)))
            };
            inputs.iter().map(value).collect()
        }
        _ => Err(ort::Error::new(OTHER_INPUTS)),
    }
}

fn tensor<T: PrimitiveTensorElementType + Debug + Clone + 'static>(
    shape: Vec<usize>,
    values: Vec<T>,
) -> ort::Result<SessionInputValue<'static>> {
    Ok(Tensor::from_array((shape, values))?.into())
}

impl Named<'_> {
    /// Returns the tensor with elements of this type, or `None` if its content is of another kind.
    fn value(&self, ty: TensorElementType) -> Option<ort::Result<SessionInputValue<'static>>> {
        let shape = self.shape.clone();
        match (&self.content, ty) {
            (Content::Integers(values), TensorElementType::Int64) => Some(tensor(shape, values.to_vec())),
            (Content::Integers(values), TensorElementType::Bool) => {
                Some(tensor(shape, values.iter().map(|value| *value != 0).collect()))
            }
            (Content::Numbers(values), TensorElementType::Float32) => Some(tensor(shape, values.to_vec())),
            _ => None,
        }
    }
}

/// Returns the content of one input, padded to `length`.
fn padded(role: Role, tokens: &TokenIds, pad: i64, length: usize) -> Vec<i64> {
    let fill = |row: &[i64], with: i64| -> Vec<i64> {
        row.iter().copied().chain(std::iter::repeat(with)).take(length).collect()
    };
    match role {
        Role::Ids => fill(&tokens.ids, pad),
        Role::Mask => fill(&vec![1; tokens.ids.len()], 0),
        Role::TypeIds => fill(&tokens.type_ids, 0),
        Role::Positions => (0..).take(length).collect(),
    }
}

/// Reads the rows of an output: one, or `length` of them for one row per token.
///
/// # Errors
/// Says what is wrong with the output: graphs do not always give what they declare.
pub(crate) fn read_rows(
    outputs: &SessionOutputs<'_>,
    wanted: &Output,
    label: Option<&Label>,
    length: usize,
) -> ort::Result<Rows> {
    let output = &outputs[wanted.name.as_str()];
    let (shape, values) = match &wanted.numbers {
        Numbers::Single => {
            let (shape, values) = output.try_extract_tensor::<f32>()?;
            (sizes(shape), values.to_vec())
        }
        // Scores are computed in f32 for fp16 graphs too, as in transformers.
        Numbers::Half => {
            let (shape, values) = output.try_extract_tensor::<half::f16>()?;
            (sizes(shape), values.iter().map(|value| value.to_f32()).collect())
        }
        Numbers::Scored => return read_scored(outputs, wanted),
        Numbers::Maps { labels, integers } => {
            let values = read_maps(output, labels, *integers)?;
            (vec![values.len() / labels.len(), labels.len()], values)
        }
    };
    let width = shape.last().copied().unwrap_or(0);
    let rows = if wanted.rank == 3 { length } else { 1 };
    if width == 0 || shape.len() != wanted.rank || values.len() != rows * width {
        let expected = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
        return Err(ort::Error::new(format!("its output has the shape {shape:?}, expected {expected}")));
    }
    let labels = label.map(|label| read_labels(&outputs[label.name.as_str()], label)).transpose()?;
    Ok(Rows { values, width, labels: labels.unwrap_or_default() })
}

/// Reads rows of numbers, each after its score.
fn read_scored(outputs: &SessionOutputs<'_>, wanted: &Output) -> ort::Result<Rows> {
    let (shape, numbers) = outputs[wanted.name.as_str()].try_extract_tensor::<f32>()?;
    let (_, scores) = outputs[SCORES].try_extract_tensor::<f32>()?;
    let [rows, width] = sizes(shape)[..] else { return Err(ort::Error::new("its output `z` has no rows")) };
    if width == 0 || scores.len() != rows || numbers.len() != rows * width {
        return Err(ort::Error::new(format!("it gives {} scores for {rows} rows", scores.len())));
    }
    let row = |(score, row): (&f32, &[f32])| std::iter::once(*score).chain(row.to_vec()).collect::<Vec<_>>();
    let values = scores.iter().zip(numbers.chunks(width)).flat_map(row).collect();
    Ok(Rows { values, width: width + 1, labels: Vec::new() })
}

fn sizes(shape: &[i64]) -> Vec<usize> {
    shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect()
}

/// Returns the numbers of each map in the order of `labels`.
fn read_maps(output: &DynValue, labels: &[String], integers: bool) -> ort::Result<Vec<f32>> {
    let mut values = Vec::new();
    for map in output.try_extract_sequence::<DynMapValueType>()? {
        let map: HashMap<String, f32> = if integers {
            let map = map.try_extract_map::<i64, f32>()?;
            map.into_iter().map(|(label, value)| (label.to_string(), value)).collect()
        } else {
            map.try_extract_map::<String, f32>()?
        };
        for label in labels {
            let value = map.get(label);
            values.push(*value.ok_or_else(|| ort::Error::new(format!("its output lacks the label `{label}`")))?);
        }
    }
    Ok(values)
}

fn read_labels(output: &DynValue, label: &Label) -> ort::Result<Vec<String>> {
    if !label.is_integer {
        return Ok(output.try_extract_strings()?.1);
    }
    Ok(output.try_extract_tensor::<i64>()?.1.iter().map(i64::to_string).collect())
}

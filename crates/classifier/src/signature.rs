//! The inputs and outputs that a graph declares, and whether they are those of a classifier or of
//! an encoder.

use std::collections::BTreeMap;
use std::sync::Arc;

use ort::value::{Outlet, TensorElementType, ValueType};

use crate::error::Error;

/// Longest fixed input that is accepted, in tokens. A longer one would only waste memory.
const MAX_FIXED_LENGTH: usize = 1 << 20;

/// The inputs that a graph of tokens may have.
pub(crate) const INPUTS: [&str; 4] = ["input_ids", "attention_mask", "token_type_ids", "position_ids"];

/// The inputs of a graph that scores marked options, and the ranks of their shapes.
const OPTION_INPUTS: [(&str, usize); 5] =
    [("input_ids", 2), ("attention_mask", 2), ("marker_pos", 2), ("marker_mask", 2), ("qtype", 1)];
/// The same of a graph that scores encoded options.
const SCORER_INPUTS: [(&str, usize); 4] = [("state_h", 3), ("state_mask", 2), ("choice_h", 3), ("choice_mask", 2)];
/// The widest encoders have a few thousand numbers in a token.
const MAX_WIDTH: usize = 1 << 16;
/// The output with one number for each option.
pub(crate) const SCORES: &str = "scores";

/// The role of an input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Ids,
    Mask,
    TypeIds,
    Positions,
}

/// The type of the numbers of an input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    Int32,
    Int64,
    /// Keras declares inputs of numbers of words like this.
    Float32,
}

/// What a session is for, which decides the output that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The scores of a classifier or a tagger.
    Scores,
    /// The vector of a text, or one for each of its tokens.
    Sentence,
    /// The state from which the built-in classifier computes its scores.
    #[cfg(feature = "builtin-model")]
    State,
    /// The scores of marked options in one row of tokens: a decision model of Laya.
    Options,
    /// The scores of encoded options for an encoded text: the second graph of Decima.
    Scorer,
}

/// The inputs of a graph.
pub(crate) enum Inputs {
    /// In the order of the graph.
    Tokens(Vec<(Role, Width)>),
    /// One tensor of strings, whose shape has this rank.
    Text { rank: usize },
    /// Tensors by name, with the types of their elements, in the order of the graph.
    Named(Vec<(String, TensorElementType)>),
}

/// How the numbers of an output are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    Single,
    Half,
    /// A map for each text, from these labels to numbers, as scikit-learn's exporter writes it. The
    /// labels are integers if `integers` is set.
    Maps {
        labels: Arc<[String]>,
        integers: bool,
    },
    /// Rows of single precision, each after the number of the same row in the output `scores`.
    Scored,
}

/// An output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub name: String,
    pub numbers: Numbers,
    /// 2 for one row per text, 3 for one row per token.
    pub rank: usize,
}

/// The inputs of a graph, and the outputs to read.
pub(crate) struct Signature {
    pub inputs: Inputs,
    pub output: Output,
    /// The output that is compared with that of other sessions over the same graph. It does not
    /// depend on what a session is for.
    pub probe: Output,
    /// The output with the label that the graph itself chooses, if there is one.
    pub label: Option<Label>,
    /// Length of every input, if the graph fixes it. Shorter inputs are padded.
    pub fixed_length: Option<usize>,
    /// Numbers in an encoded token, if the graph reads those.
    pub width: Option<usize>,
}

/// An output with labels.
pub(crate) struct Label {
    pub name: String,
    pub is_integer: bool,
}

impl Signature {
    /// Checks the declared inputs and outputs. `labels` are those that the graph names.
    /// `names` has the usual names of inputs that the graph calls otherwise.
    pub(crate) fn new(
        inputs: &[Outlet],
        outputs: &[Outlet],
        names: &BTreeMap<String, String>,
        labels: &[String],
        purpose: Purpose,
    ) -> Result<Self, Error> {
        let declared = inputs;
        let (inputs, fixed_length) = match purpose {
            Purpose::Options => (named_inputs(inputs, &OPTION_INPUTS)?, None),
            Purpose::Scorer => (named_inputs(inputs, &SCORER_INPUTS)?, None),
            _ => read_inputs(inputs, names)?,
        };
        let output = match purpose {
            Purpose::Scorer => scorer_output(outputs)?,
            _ => read_output(outputs, labels, purpose)?,
        };
        let takes_text = matches!(inputs, Inputs::Text { .. });
        // A graph of text gives no row for each token.
        if takes_text && output.rank != 2 {
            return Err(Error::LogitsMissing { found: describe(outputs) });
        }
        let probe = match purpose {
            Purpose::Scores | Purpose::Sentence | Purpose::Options | Purpose::Scorer => output.clone(),
            #[cfg(feature = "builtin-model")]
            Purpose::State => read_output(outputs, labels, Purpose::Scores)?,
        };
        // Integers without names may be anything.
        let has_label = purpose == Purpose::Scores && (takes_text || !labels.is_empty());
        let label = outputs.iter().find_map(read_label).filter(|_| has_label);
        let width = encoded_width(declared).filter(|_| purpose == Purpose::Scorer);
        Ok(Self { inputs, output, probe, label, fixed_length, width })
    }
}

/// Describes inputs or outputs by name, type and shape, for people.
pub(crate) fn describe(outlets: &[Outlet]) -> Vec<String> {
    outlets.iter().map(|outlet| format!("{} {}", outlet.name(), outlet.dtype())).collect()
}

/// Returns inputs that must have these names and ranks.
fn named_inputs(inputs: &[Outlet], expected: &[(&str, usize)]) -> Result<Inputs, Error> {
    use TensorElementType::{Bool, Float32, Int64};
    let element = |input: &Outlet| {
        let (_, rank) = expected.iter().find(|(name, _)| *name == input.name())?;
        let ValueType::Tensor { ty, shape, .. } = input.dtype() else { return None };
        let fits = shape.len() == *rank && matches!(ty, Bool | Float32 | Int64);
        fits.then(|| (input.name().to_owned(), *ty))
    };
    let found: Option<Vec<_>> = inputs.iter().map(element).collect();
    found.filter(|found| found.len() == expected.len()).map(Inputs::Named).ok_or_else(|| Error::DecisionGraph {
        found: describe(inputs),
        expected: if expected.len() == OPTION_INPUTS.len() {
            "the inputs input_ids, attention_mask, marker_pos, marker_mask and qtype"
        } else {
            "the inputs state_h, state_mask, choice_h and choice_mask"
        },
    })
}

/// Returns the numbers in an encoded token, which the graph of a scorer fixes.
fn encoded_width(inputs: &[Outlet]) -> Option<usize> {
    let state = inputs.iter().find(|input| input.name() == "state_h")?;
    let ValueType::Tensor { shape, .. } = state.dtype() else { return None };
    usize::try_from(*shape.last()?).ok().filter(|width| (1..=MAX_WIDTH).contains(width))
}

fn scorer_output(outputs: &[Outlet]) -> Result<Output, Error> {
    let has = |name: &str, rank: usize| {
        let fits = |output: &&Outlet| matches!(output.dtype(), ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } if shape.len() == rank);
        outputs.iter().find(|output| output.name() == name).is_some_and(|output| fits(&output))
    };
    if has(SCORES, 1) && has("z", 2) {
        return Ok(Output { name: "z".into(), numbers: Numbers::Scored, rank: 2 });
    }
    Err(Error::DecisionGraph { found: describe(outputs), expected: "the outputs scores and z" })
}

/// Returns the inputs, and their length if it is fixed.
fn read_inputs(inputs: &[Outlet], names: &BTreeMap<String, String>) -> Result<(Inputs, Option<usize>), Error> {
    let is_text = |input: &&Outlet| matches!(input.dtype(), ValueType::Tensor { ty: TensorElementType::String, .. });
    if inputs.iter().any(|input| is_text(&input)) {
        let found = || Error::TextInputUnknown { found: describe(inputs) };
        let [ValueType::Tensor { shape, .. }] = inputs.iter().map(Outlet::dtype).collect::<Vec<_>>()[..] else {
            return Err(found());
        };
        // A dimension of -1 may have any size.
        let fits = matches!(&**shape, [-1 | 1] | [-1 | 1, -1 | 1]);
        return if fits { Ok((Inputs::Text { rank: shape.len() }, None)) } else { Err(found()) };
    }
    let is_only = inputs.len() == 1;
    let inputs: Vec<_> = inputs.iter().map(|input| read_input(input, names, is_only)).collect::<Result<_, _>>()?;
    if inputs.iter().all(|(role, ..)| *role != Role::Ids) {
        return Err(Error::InputIdsMissing);
    }
    let fixed_length = inputs.iter().find_map(|(_, _, length)| *length);
    Ok((Inputs::Tokens(inputs.into_iter().map(|(role, width, _)| (role, width)).collect()), fixed_length))
}

/// Returns role, type of the numbers, and length if it is fixed. The only input of a graph may have
/// any name.
fn read_input(
    input: &Outlet,
    names: &BTreeMap<String, String>,
    is_only: bool,
) -> Result<(Role, Width, Option<usize>), Error> {
    let unknown = || Error::InputUnknown { input: format!("{} {}", input.name(), input.dtype()) };
    let roles = [Role::Ids, Role::Mask, Role::TypeIds, Role::Positions];
    let name = names.get(input.name()).map_or(input.name(), String::as_str);
    let role = INPUTS.iter().zip(roles).find(|(usual, _)| **usual == name);
    let role = role.map(|(_, role)| role).or(is_only.then_some(Role::Ids)).ok_or_else(unknown)?;
    let ValueType::Tensor { ty, shape, .. } = input.dtype() else { return Err(unknown()) };
    let width = match ty {
        TensorElementType::Int64 => Width::Int64,
        TensorElementType::Int32 => Width::Int32,
        TensorElementType::Float32 if is_only => Width::Float32,
        _ => return Err(unknown()),
    };
    let &[batch, length] = &**shape else { return Err(unknown()) };
    // -1 means any size. A fixed batch larger than one could only be filled with copies.
    if batch > 1 {
        return Err(Error::BatchFixed { input: input.name().to_owned(), batch });
    }
    let length = usize::try_from(length).ok().filter(|&length| length > 0);
    if length.is_some_and(|length| length > MAX_FIXED_LENGTH) {
        return Err(unknown());
    }
    Ok((role, width, length))
}

/// Returns the output to read: one of the usual names, or the only output with numbers.
fn read_output(outputs: &[Outlet], labels: &[String], purpose: Purpose) -> Result<Output, Error> {
    let named = |name: &&str| outputs.iter().find(|output| output.name() == *name);
    let only = || if let [only] = outputs { Some(only) } else { None };
    let only_numbers = || {
        let mut numbers = outputs.iter().filter(|output| read_numbers(output, labels).is_some());
        numbers.next().filter(|_| numbers.next().is_none())
    };
    let chosen = match purpose {
        Purpose::Scores | Purpose::Scorer => named(&"logits").or_else(only_numbers),
        Purpose::Options => named(&"logits"),
        #[cfg(feature = "builtin-model")]
        Purpose::State => named(&"state"),
        // Exports for sentence-transformers also have an output for the tokens.
        Purpose::Sentence => ["sentence_embedding", "last_hidden_state"]
            .iter()
            .find_map(named)
            .or_else(|| only().filter(|only| only.name() != "logits")),
    };
    chosen.and_then(|output| read_numbers(output, labels)).ok_or_else(|| {
        let found = describe(outputs);
        if purpose == Purpose::Sentence { Error::VectorMissing { found } } else { Error::LogitsMissing { found } }
    })
}

/// Returns how to read an output, if it has rows of numbers.
fn read_numbers(output: &Outlet, labels: &[String]) -> Option<Output> {
    let (numbers, rank) = match output.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => (Numbers::Single, shape.len()),
        ValueType::Tensor { ty: TensorElementType::Float16, shape, .. } => (Numbers::Half, shape.len()),
        ValueType::Sequence(item) => match **item {
            ValueType::Map { key, value: TensorElementType::Float32 } if !labels.is_empty() => {
                let integers = key == TensorElementType::Int64;
                let fits = integers || key == TensorElementType::String;
                (fits.then(|| Numbers::Maps { labels: labels.into(), integers })?, 2)
            }
            _ => return None,
        },
        _ => return None,
    };
    matches!(rank, 2 | 3).then(|| Output { name: output.name().to_owned(), numbers, rank })
}

/// Returns how to read an output, if it has labels.
fn read_label(output: &Outlet) -> Option<Label> {
    let ValueType::Tensor { ty, shape, .. } = output.dtype() else { return None };
    let is_integer = *ty == TensorElementType::Int64;
    let fits = is_integer || *ty == TensorElementType::String;
    // A row for each text has zeros and ones, one for each label.
    (fits && matches!(shape.len(), 1 | 2)).then(|| Label { name: output.name().to_owned(), is_integer })
}

//! The inputs and outputs that a graph declares, and whether they are those of a classifier or of
//! an encoder.

use ort::value::{Outlet, TensorElementType, ValueType};

use crate::error::Error;

/// Longest fixed input that is accepted, in tokens. A longer one would only waste memory.
const MAX_FIXED_LENGTH: usize = 1 << 20;

/// The inputs that a graph may have.
pub(crate) const INPUTS: [&str; 4] = ["input_ids", "attention_mask", "token_type_ids", "position_ids"];

/// The role of an input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Ids,
    Mask,
    TypeIds,
    Positions,
}

/// The integer type of an input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    Int32,
    Int64,
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
}

/// An output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub name: String,
    /// Whether its numbers are fp16.
    pub half: bool,
    /// 2 for one row per text, 3 for one row per token.
    pub rank: usize,
}

/// The inputs of a graph, and the outputs to read.
pub(crate) struct Signature {
    /// In the order of the graph.
    pub inputs: Vec<(Role, Width)>,
    pub output: Output,
    /// The output that is compared with that of other sessions over the same graph. It does not
    /// depend on what a session is for.
    pub probe: Output,
    /// Length of every input, if the graph fixes it. Shorter inputs are padded.
    pub fixed_length: Option<usize>,
}

impl Signature {
    /// Checks the declared inputs and outputs.
    pub(crate) fn new(inputs: &[Outlet], outputs: &[Outlet], purpose: Purpose) -> Result<Self, Error> {
        let inputs: Vec<_> = inputs.iter().map(read_input).collect::<Result<_, _>>()?;
        if inputs.iter().all(|(role, ..)| *role != Role::Ids) {
            return Err(Error::InputIdsMissing);
        }
        let fixed_length = inputs.iter().find_map(|(_, _, length)| *length);
        let output = read_output(outputs, purpose)?;
        let probe = match purpose {
            Purpose::Scores | Purpose::Sentence => output.clone(),
            #[cfg(feature = "builtin-model")]
            Purpose::State => read_output(outputs, Purpose::Scores)?,
        };
        let inputs = inputs.into_iter().map(|(role, width, _)| (role, width)).collect();
        Ok(Self { inputs, output, probe, fixed_length })
    }
}

/// Describes inputs or outputs by name, type and shape, for people.
pub(crate) fn describe(outlets: &[Outlet]) -> Vec<String> {
    outlets.iter().map(|outlet| format!("{} {}", outlet.name(), outlet.dtype())).collect()
}

/// Returns role, integer type, and length if it is fixed.
fn read_input(input: &Outlet) -> Result<(Role, Width, Option<usize>), Error> {
    let unknown = || Error::InputUnknown { input: format!("{} {}", input.name(), input.dtype()) };
    let roles = [Role::Ids, Role::Mask, Role::TypeIds, Role::Positions];
    let role = INPUTS.iter().zip(roles).find(|(name, _)| **name == input.name());
    let (_, role) = role.ok_or_else(unknown)?;
    let ValueType::Tensor { ty, shape, .. } = input.dtype() else { return Err(unknown()) };
    let width = match ty {
        TensorElementType::Int64 => Width::Int64,
        TensorElementType::Int32 => Width::Int32,
        _ => return Err(unknown()),
    };
    let &[batch, length] = &**shape else { return Err(unknown()) };
    // -1 means any size. A fixed batch larger than one could only be filled with copies.
    if batch > 1 {
        return Err(unknown());
    }
    let length = usize::try_from(length).ok().filter(|&length| length > 0);
    if length.is_some_and(|length| length > MAX_FIXED_LENGTH) {
        return Err(unknown());
    }
    Ok((role, width, length))
}

/// Returns the output to read: one of the usual names, or the only output.
fn read_output(outputs: &[Outlet], purpose: Purpose) -> Result<Output, Error> {
    let named = |name: &&str| outputs.iter().find(|output| output.name() == *name);
    let only = || if let [only] = outputs { Some(only) } else { None };
    let chosen = match purpose {
        Purpose::Scores => named(&"logits").or_else(only),
        #[cfg(feature = "builtin-model")]
        Purpose::State => named(&"state"),
        // Exports for sentence-transformers also have an output for the tokens.
        Purpose::Sentence => ["sentence_embedding", "last_hidden_state"]
            .iter()
            .find_map(named)
            .or_else(|| only().filter(|only| only.name() != "logits")),
    };
    let read = |output: &Outlet| {
        let ValueType::Tensor { ty, shape, .. } = output.dtype() else { return None };
        let half = match ty {
            TensorElementType::Float32 => false,
            TensorElementType::Float16 => true,
            _ => return None,
        };
        let rank = shape.len();
        matches!(rank, 2 | 3).then(|| Output { name: output.name().to_owned(), half, rank })
    };
    chosen.and_then(read).ok_or_else(|| {
        let found = describe(outputs);
        if purpose == Purpose::Sentence { Error::VectorMissing { found } } else { Error::LogitsMissing { found } }
    })
}

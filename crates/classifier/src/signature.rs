//! The inputs and outputs that a graph declares, and whether they are those of a classifier.

use ort::value::{Outlet, TensorElementType, ValueType};

use crate::error::Error;

/// Longest fixed input that is accepted, in tokens. A longer one would only waste memory.
const MAX_FIXED_LENGTH: usize = 1 << 20;

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

/// The inputs of a graph, and the output with its logits.
pub(crate) struct Signature {
    /// In the order of the graph.
    pub inputs: Vec<(Role, Width)>,
    /// Name of the output to read.
    pub output: String,
    /// Whether the logits are fp16.
    pub half: bool,
    /// Dimensions of the logits: 2 for `[batch, labels]`, 3 for `[batch, tokens, labels]`.
    pub rank: usize,
    /// Length of every input, if the graph fixes it. Shorter inputs are padded.
    pub fixed_length: Option<usize>,
}

impl Signature {
    /// Checks the declared inputs and outputs.
    pub(crate) fn new(inputs: &[Outlet], outputs: &[Outlet]) -> Result<Self, Error> {
        let inputs: Vec<_> = inputs.iter().map(read_input).collect::<Result<_, _>>()?;
        if inputs.iter().all(|(role, ..)| *role != Role::Ids) {
            return Err(Error::InputIdsMissing);
        }
        let fixed_length = inputs.iter().find_map(|(_, _, length)| *length);
        let (output, half, rank) = read_output(outputs)?;
        let inputs = inputs.into_iter().map(|(role, width, _)| (role, width)).collect();
        Ok(Self { inputs, output, half, rank, fixed_length })
    }
}

/// Describes inputs or outputs by name, type and shape, for people.
pub(crate) fn describe(outlets: &[Outlet]) -> Vec<String> {
    outlets.iter().map(|outlet| format!("{} {}", outlet.name(), outlet.dtype())).collect()
}

/// Returns role, integer type, and length if it is fixed.
fn read_input(input: &Outlet) -> Result<(Role, Width, Option<usize>), Error> {
    let unknown = || Error::InputUnknown { input: format!("{} {}", input.name(), input.dtype()) };
    let role = match input.name() {
        "input_ids" => Role::Ids,
        "attention_mask" => Role::Mask,
        "token_type_ids" => Role::TypeIds,
        "position_ids" => Role::Positions,
        _ => return Err(unknown()),
    };
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

/// Returns the output to read (`logits`, or the only one), whether it is fp16, and its rank.
fn read_output(outputs: &[Outlet]) -> Result<(String, bool, usize), Error> {
    let only = || if let [only] = outputs { Some(only) } else { None };
    let chosen = outputs.iter().find(|output| output.name() == "logits").or_else(only);
    let read = |output: &Outlet| {
        let ValueType::Tensor { ty, shape, .. } = output.dtype() else { return None };
        let half = match ty {
            TensorElementType::Float32 => false,
            TensorElementType::Float16 => true,
            _ => return None,
        };
        matches!(shape.len(), 2 | 3).then(|| (output.name().to_owned(), half, shape.len()))
    };
    chosen.and_then(read).ok_or_else(|| Error::LogitsMissing { found: describe(outputs) })
}

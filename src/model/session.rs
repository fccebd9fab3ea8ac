//! One ONNX Runtime session: token ids in, logits out, no copies in between.
//!
//! Which runtime options are set, and why, is here; what the logits mean is in `activation`.

use ort::environment::Environment;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session as OrtSession, SessionInputValue};
use ort::value::{TensorElementType, TensorRef, ValueType};

use crate::error::Error;
use crate::model::folder::{Graph, ModelFiles};
use crate::model::tokenizer::Tokens;

pub(super) struct Session {
    inner: OrtSession,
    inputs: Vec<(Role, Width)>,
    logits: String,
}

/// What an input of the graph wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Ids,
    Mask,
    TypeIds,
    Positions,
}

/// Its integer type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Int32,
    Int64,
}

impl Session {
    /// Builds the session; takes most of a model's start-up time.
    pub(super) fn new(environment: &Environment, files: &ModelFiles) -> Result<Self, Error> {
        let path = files.graph.name();
        let unusable = |error: ort::Error| Error::FileInvalid {
            path: path.clone().into(),
            message: error.message().into(),
            remedy: "export it again with opset 17 and without operators of your own".into(),
        };
        let mut builder = options(environment).map_err(unusable)?;
        let inner = match &files.graph {
            Graph::Memory(bytes) => builder.commit_from_memory(bytes),
            Graph::File(file) => builder.commit_from_file(file),
        }
        .map_err(unusable)?;
        let inputs = inner.inputs().iter().map(|input| role(input.name(), input.dtype())).collect::<Result<_, _>>()?;
        let logits = logits(&inner)?;
        Ok(Self { inner, inputs, logits })
    }

    /// Runs one input and returns its row of logits, `[labels]`.
    pub(super) fn logits(&mut self, tokens: &Tokens) -> ort::Result<Vec<f32>> {
        let length = tokens.ids.len();
        let mask = vec![1; length];
        let positions: Vec<i64> = (0..).take(length).collect();
        let rows: Vec<(&[i64], Width)> = self
            .inputs
            .iter()
            .map(|(role, width)| {
                let row: &[i64] = match role {
                    Role::Ids => &tokens.ids,
                    Role::Mask => &mask,
                    Role::TypeIds => &tokens.type_ids,
                    Role::Positions => &positions,
                };
                (row, *width)
            })
            .collect();
        let narrow: Vec<Vec<i32>> = rows
            .iter()
            .map(|(row, width)| if *width == Width::Int32 { row.iter().map(|&x| x as i32).collect() } else { vec![] })
            .collect();
        let values = rows
            .iter()
            .zip(&narrow)
            .map(|((row, width), narrow)| {
                Ok(match width {
                    Width::Int64 => TensorRef::from_array_view(([1, length], *row))?.into(),
                    Width::Int32 => TensorRef::from_array_view(([1, length], narrow.as_slice()))?.into(),
                })
            })
            .collect::<ort::Result<Vec<SessionInputValue<'_>>>>()?;
        let outputs = self.inner.run(values.as_slice())?;
        let (_, logits) = outputs[self.logits.as_str()].try_extract_tensor::<f32>()?;
        Ok(logits.to_vec())
    }
}

/// Options for short texts in a process that sits beside an editor.
fn options(environment: &Environment) -> ort::Result<SessionBuilder> {
    let builder = OrtSession::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        // One thread per run: on inputs this short a second one costs more in hand-overs than it computes, and
        // parallel callers are served by parallel workers.
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        // A thread that waits by spinning takes a whole core from everything else on the machine.
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        // One plan is kept for each input length that was ever seen, and nearly every text has another.
        .with_memory_pattern(false)?
        .with_auto_device(AutoDevicePolicy::PreferCPU)?;
    Ok(builder)
}

fn role(name: &str, dtype: &ValueType) -> Result<(Role, Width), Error> {
    let unknown = || Error::InputUnknown { input: name.to_owned() };
    let role = match name {
        "input_ids" => Role::Ids,
        "attention_mask" => Role::Mask,
        "token_type_ids" => Role::TypeIds,
        "position_ids" => Role::Positions,
        _ => return Err(unknown()),
    };
    let width = match dtype {
        ValueType::Tensor { ty: TensorElementType::Int64, .. } => Width::Int64,
        ValueType::Tensor { ty: TensorElementType::Int32, .. } => Width::Int32,
        _ => return Err(unknown()),
    };
    Ok((role, width))
}

/// The output to read: `logits`, or the only one there is; `[batch, labels]` of f32.
fn logits(session: &OrtSession) -> Result<String, Error> {
    let outputs = session.outputs();
    let chosen = outputs.iter().find(|output| output.name() == "logits").or(match outputs {
        [only] => Some(only),
        _ => None,
    });
    chosen
        .filter(|output| match output.dtype() {
            ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => shape.len() == 2,
            _ => false,
        })
        .map(|output| output.name().to_owned())
        .ok_or_else(|| Error::LogitsMissing {
            found: outputs.iter().map(|output| format!("{} {}", output.name(), output.dtype())).collect(),
        })
}

//! One ONNX Runtime session: rows of token ids in, rows of logits out.
//!
//! Which runtime options are set, and why, is here; what the logits mean is in `activation` and `entities`.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use ort::environment::Environment;
use ort::session::RunOptions;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session as OrtSession, SessionInputValue};
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};

use crate::Cancellation;
use crate::error::Error;
use crate::folder::{Graph, ModelFiles};
use crate::frame::Chunk;
use crate::prepared::WEIGHTS;
use crate::threads::IntraOpThreads;

/// A run over a handful of tokens takes milliseconds; one that takes this long was made not to end.
const LONGEST_SHORT_RUN: Duration = Duration::from_secs(10);
/// Between two steps of one run. 50 do as well as 20,000.
const LONGEST_SPIN_US: &str = "100";
/// Of a graph whose inputs have a fixed length, in tokens. Longer ones are made to fill memory.
const LONGEST_FIXED: usize = 1 << 20;

pub(super) struct Session {
    inner: OrtSession,
    threads: IntraOpThreads,
    inputs: Vec<(Role, Width)>,
    output: String,
    half: bool,
    /// Dimensions of the logits: 2 for `[batch, labels]`, 3 for `[batch, tokens, labels]`.
    pub rank: usize,
    /// Length of every input, where the graph has one; shorter ones are padded.
    pub fixed: Option<usize>,
    first: Option<FirstRun>,
}

/// What a session gives for a fixed input.
struct FirstRun {
    scores: Vec<u32>,
    labels: usize,
    took: Duration,
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

/// Where a session's graph comes from.
pub(super) enum Source<'a> {
    /// The model itself, optimized for this session alone.
    Model,
    /// The model itself, leaving its optimized graph at this path and its packed weights in a file beside it.
    Preparing(&'a Path),
    /// A graph left so, mapped from the file.
    Prepared(&'a Path),
}

/// Logits of one run: rows of one value a label.
pub(super) struct Logits {
    values: Vec<f32>,
    pub labels: usize,
}

impl Logits {
    pub(super) fn row(&self, number: usize) -> &[f32] {
        &self.values[number * self.labels..(number + 1) * self.labels]
    }
}

impl Session {
    /// Builds a session that computes with so many threads; takes most of a model's start-up time.
    pub(super) fn new(
        environment: &Environment,
        files: &ModelFiles,
        source: Source<'_>,
        threads: usize,
    ) -> Result<Self, Error> {
        let intra_op = IntraOpThreads::default();
        let unusable = |error: ort::Error| match intra_op.missing() {
            Some(message) => Error::Thread { message },
            None => unusable(files, error.message()),
        };
        let mut builder = options(environment, &source, threads, &intra_op).map_err(unusable)?;
        let inner = match (source, &files.graph) {
            (Source::Prepared(path), _) => builder.commit_from_file(path),
            (_, Graph::Memory(bytes)) => builder.commit_from_memory(bytes),
            (_, Graph::File(file)) => builder.commit_from_file(file),
        }
        .map_err(unusable)?;
        let inputs: Vec<_> = inner.inputs().iter().map(role).collect::<Result<_, _>>()?;
        if inputs.iter().all(|(role, ..)| *role != Role::Ids) {
            return Err(Error::InputUnknown { input: "none called input_ids".into() });
        }
        let fixed = inputs.iter().find_map(|(_, _, length)| *length);
        let (output, half, rank) = logits(inner.outputs())?;
        let inputs = inputs.into_iter().map(|(role, width, _)| (role, width)).collect();
        Ok(Self { inner, threads: intra_op, inputs, output, half, rank, fixed, first: None })
    }

    /// The scores of a fixed input, bit for bit, by which two sessions over the same graph are told to agree.
    pub(super) fn probe(&mut self) -> ort::Result<&[u32]> {
        Ok(&self.first_run()?.scores)
    }

    /// The number of scores that the graph gives.
    pub(super) fn labels(&mut self) -> ort::Result<usize> {
        Ok(self.first_run()?.labels)
    }

    /// How long that run took; zero where there was none yet.
    pub(super) fn first_run_took(&self) -> Duration {
        self.first.as_ref().map_or(Duration::ZERO, |first| first.took)
    }

    fn first_run(&mut self) -> ort::Result<&FirstRun> {
        let first = match self.first.take() {
            Some(first) => first,
            None => {
                let started = Instant::now();
                let Logits { values, labels } = self.short_run(&RunOptions::new()?)?;
                let took = started.elapsed();
                FirstRun { scores: values.into_iter().map(f32::to_bits).collect(), labels, took }
            }
        };
        Ok(self.first.insert(first))
    }

    /// A short run after which the session keeps no more memory than that run took.
    pub(super) fn trim(&mut self) -> ort::Result<()> {
        let mut options = RunOptions::new()?;
        options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
        self.short_run(&options).map(|_| ())
    }

    fn short_run(&mut self, options: &RunOptions) -> ort::Result<Logits> {
        // Every vocabulary has a first and a second token.
        let length = self.fixed.unwrap_or(8).min(8);
        let ids: Vec<i64> = [0, 1].into_iter().cycle().take(length).collect();
        let chunk = Chunk { type_ids: vec![0; ids.len()], ids };
        thread::scope(|scope| {
            let (finished, running) = channel::<()>();
            let watch = move || {
                let late = running.recv_timeout(LONGEST_SHORT_RUN) == Err(RecvTimeoutError::Timeout);
                if late { options.terminate() } else { Ok(()) }
            };
            // Where no thread can be had, it runs unwatched.
            let _watching = thread::Builder::new().name("watch".into()).spawn_scoped(scope, watch);
            let outcome = self.run(&chunk, 0, options);
            drop(finished);
            outcome
        })
    }

    /// Names, types and shapes of inputs and outputs, for people.
    pub(super) fn signature(&self) -> (Vec<String>, Vec<String>) {
        let shown =
            |outlets: &[Outlet]| outlets.iter().map(|outlet| format!("{} {}", outlet.name(), outlet.dtype())).collect();
        (shown(self.inner.inputs()), shown(self.inner.outputs()))
    }

    /// Runs one row of tokens, padded where the graph's length is fixed.
    ///
    /// The runtime looks at its flag before each node of the graph, and the session is as good as before afterwards.
    pub(super) fn logits(&mut self, chunk: &Chunk, pad: i64, cancellation: &Cancellation) -> ort::Result<Logits> {
        let options = Arc::new(RunOptions::new()?);
        let flag = Arc::clone(&options);
        let interrupt = move || {
            let raised = flag.terminate();
            tracing::trace!(ok = raised.is_ok(), "a run is ended");
        };
        cancellation.interrupting(interrupt, || self.run(chunk, pad, &options))
    }

    fn run(&mut self, chunk: &Chunk, pad: i64, options: &RunOptions) -> ort::Result<Logits> {
        let length = self.fixed.unwrap_or(chunk.ids.len());
        let padded = |row: &[i64], with: i64| -> Vec<i64> {
            row.iter().copied().chain(std::iter::repeat(with)).take(length).collect()
        };
        let rows: Vec<(Vec<i64>, Width)> = self
            .inputs
            .iter()
            .map(|(role, width)| {
                let row = match role {
                    Role::Ids => padded(&chunk.ids, pad),
                    Role::Mask => padded(&vec![1; chunk.ids.len()], 0),
                    Role::TypeIds => padded(&chunk.type_ids, 0),
                    Role::Positions => (0..).take(length).collect(),
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
                    Width::Int64 => TensorRef::from_array_view(([1, length], row.as_slice()))?.into(),
                    Width::Int32 => TensorRef::from_array_view(([1, length], narrow.as_slice()))?.into(),
                })
            })
            .collect::<ort::Result<Vec<SessionInputValue<'_>>>>()?;
        self.threads.keep_off_this_processor();
        let outputs = self.inner.run_with_options(values.as_slice(), options)?;
        let output = &outputs[self.output.as_str()];
        // Scores are always made in f32, as transformers does with a graph of fp16.
        let (shape, values) = if self.half {
            let (shape, values) = output.try_extract_tensor::<half::f16>()?;
            (shape, values.iter().map(|value| value.to_f32()).collect())
        } else {
            let (shape, values) = output.try_extract_tensor::<f32>()?;
            (shape, values.to_vec())
        };
        let labels = shape.last().and_then(|&labels| usize::try_from(labels).ok()).unwrap_or(0);
        // What a graph declares of its output is not always what it gives.
        let rows = if self.rank == 3 { length } else { 1 };
        if labels == 0 || shape.len() != self.rank || values.len() != rows * labels {
            return Err(ort::Error::new(format!("its scores have the shape {shape:?}, expected {rows} rows")));
        }
        Ok(Logits { values, labels })
    }
}

/// Options for short texts in a process that sits beside an editor.
fn options(
    environment: &Environment,
    source: &Source<'_>,
    threads: usize,
    intra_op: &IntraOpThreads,
) -> ort::Result<SessionBuilder> {
    let level = match source {
        Source::Prepared(_) => GraphOptimizationLevel::Disable,
        Source::Model | Source::Preparing(_) => GraphOptimizationLevel::All,
    };
    let builder = OrtSession::builder(environment)?
        .with_optimization_level(level)?
        .with_intra_threads(threads)?
        .with_thread_manager(intra_op.clone())?
        .with_inter_threads(1)?
        // Waking a thread takes as long as many a step that it helps with, so within a run they wait for the next step by
        // spinning. After it they sleep: one that spins takes a whole core from everything else on the machine.
        .with_intra_op_spinning(threads > 1)?
        .with_config_entry("session.intra_op.spin_duration_us", LONGEST_SPIN_US)?
        .with_config_entry("session.force_spinning_stop", "1")?
        .with_inter_op_spinning(false)?
        // One plan is kept for each input length that was ever seen, and nearly every text has another.
        .with_memory_pattern(false)?
        .with_auto_device(AutoDevicePolicy::PreferCPU)?;
    let Source::Preparing(graph) = source else { return Ok(builder) };
    Ok(builder
        .with_optimized_model_path(graph)?
        .with_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)?
        .with_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "16384")?
        // Packed as the processor wants them, so that no session packs (and so copies) them again.
        .with_config_entry("session.save_external_prepacked_constant_initializers", "1")?)
}

/// The runtime's words with the remedy that fits them; its texts are those of 1.31.
fn unusable(files: &ModelFiles, message: &str) -> Error {
    const NEWER: &str =
        "export it with a lower `--opset`, 17 for example, or set `ORT_DYLIB_PATH` to a newer ONNX Runtime";
    const CUSTOM: &str = "it needs operators that ONNX Runtime does not have; export it without custom operators";
    let remedies = [
        ("IR version", NEWER),
        ("No Op registered", CUSTOM),
        ("is not a registered function/op", CUSTOM),
        ("opset", NEWER),
        (
            "Could not find an implementation",
            "this ONNX Runtime has no such operator on a processor; export it in fp32 or int8",
        ),
        ("external data", "copy the graph's weights beside it; they belong together"),
        ("alloc", "close other programs, or use a smaller model"),
    ];
    let remedy = remedies
        .iter()
        .find(|(word, _)| message.contains(word))
        .map_or("export it again, with opset 17 for example", |(_, remedy)| remedy);
    Error::FileInvalid { path: files.graph.name().into(), message: message.trim().into(), remedy: remedy.into() }
}

/// Role, integer type, and length where it is fixed.
fn role(input: &Outlet) -> Result<(Role, Width, Option<usize>), Error> {
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
    // -1 is any number; a batch of another size than one could only be filled with copies.
    if batch > 1 {
        return Err(unknown());
    }
    let length = usize::try_from(length).ok().filter(|&length| length > 0);
    if length.is_some_and(|length| length > LONGEST_FIXED) {
        return Err(unknown());
    }
    Ok((role, width, length))
}

/// The output to read: `logits`, or the only one there is; whether it is fp16, and its rank.
fn logits(outputs: &[Outlet]) -> Result<(String, bool, usize), Error> {
    let chosen = outputs.iter().find(|output| output.name() == "logits").or(match outputs {
        [only] => Some(only),
        _ => None,
    });
    chosen
        .and_then(|output| match output.dtype() {
            ValueType::Tensor { ty, shape, .. } if matches!(shape.len(), 2 | 3) => {
                let half = match ty {
                    TensorElementType::Float32 => false,
                    TensorElementType::Float16 => true,
                    _ => return None,
                };
                Some((output.name().to_owned(), half, shape.len()))
            }
            _ => None,
        })
        .ok_or_else(|| Error::LogitsMissing {
            found: outputs.iter().map(|output| format!("{} {}", output.name(), output.dtype())).collect(),
        })
}

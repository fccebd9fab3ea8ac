//! One ONNX Runtime session: token ids in, rows of numbers out.
//!
//! The inputs and outputs of the graph are read in `signature`. The meaning of the numbers is in
//! `activation`, `entities` and `encoder`.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use ort::environment::Environment;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};
use ort::session::{RunOptions, Session as OrtSession, SessionInputValue};
use ort::value::TensorRef;

use crate::cancellation::Cancellation;
use crate::error::Error;
use crate::model_files::{Graph, ModelFiles};
use crate::signature::{Output, Purpose, Role, Signature, Width, describe};
use crate::special_tokens::TokenIds;
use crate::threads::IntraOpThreads;

/// A run over eight tokens takes milliseconds; one that takes this long never ends. Tests with
/// endless graphs use a shorter limit.
const MAX_SHORT_RUN: Duration = Duration::from_secs(if cfg!(feature = "testing") { 2 } else { 10 });
/// How long helper threads spin between two steps of a run. 50 µs work as well as 20,000.
const MAX_SPIN_US: &str = "100";
/// Name of the file with packed weights, next to a prepared graph.
pub(crate) const WEIGHTS: &str = "weights.bin";

pub(crate) struct Session {
    inner: OrtSession,
    threads: IntraOpThreads,
    signature: Signature,
    pub fixed_length: Option<usize>,
    first: Option<FirstRun>,
}

/// The result of running a fixed input.
struct FirstRun {
    /// Scores, bit for bit.
    scores: Vec<u32>,
    width: usize,
    duration: Duration,
}

/// The graph of a session.
pub(crate) enum GraphSource<'a> {
    /// The model itself, optimized for this session only.
    Model,
    /// The model itself. The optimized graph is written to this path, packed weights next to it.
    Preparing(&'a Path),
    /// An optimized graph, mapped from this path.
    Prepared(&'a Path),
}

/// The output of one run: rows of equal width. A classifier gives one row of logits, a tagger one
/// for each token, an encoder the numbers of a text or of its tokens.
pub(crate) struct Rows {
    values: Vec<f32>,
    width: usize,
}

impl Rows {
    pub(crate) fn row(&self, number: usize) -> &[f32] {
        &self.values[number * self.width..(number + 1) * self.width]
    }
}

impl Session {
    /// Builds a session that computes on `threads` threads. Takes most of a model's start-up time.
    pub(crate) fn new(
        environment: &Environment,
        files: &ModelFiles,
        source: GraphSource<'_>,
        threads: usize,
        purpose: Purpose,
    ) -> Result<Self, Error> {
        let intra_op = IntraOpThreads::default();
        let failed = |error: ort::Error| match intra_op.start_error() {
            Some(message) => Error::Thread { message },
            None => unusable_graph(files, error.message()),
        };
        let mut builder = options(environment, &source, threads, &intra_op).map_err(failed)?;
        let inner = match (source, &files.graph) {
            (GraphSource::Prepared(path), _) => builder.commit_from_file(path),
            (_, Graph::Memory(bytes)) => builder.commit_from_memory(bytes),
            (_, Graph::File(file)) => builder.commit_from_file(file),
        }
        .map_err(failed)?;
        let signature = Signature::new(inner.inputs(), inner.outputs(), purpose)?;
        let fixed_length = signature.fixed_length;
        Ok(Self { inner, threads: intra_op, signature, fixed_length, first: None })
    }

    /// Returns the scores of a fixed input, bit for bit. Sessions over the same graph agree on
    /// them.
    pub(crate) fn probe(&mut self) -> ort::Result<&[u32]> {
        Ok(&self.first_run()?.scores)
    }

    /// Returns the number of scores that the graph gives.
    pub(crate) fn label_count(&mut self) -> ort::Result<usize> {
        Ok(self.first_run()?.width)
    }

    /// Returns the width of the output, by a short run.
    pub(crate) fn output_width(&mut self) -> ort::Result<usize> {
        let output = self.signature.output.clone();
        Ok(self.short_run(&RunOptions::new()?, &output)?.width)
    }

    /// Returns the output that is read.
    pub(crate) fn output(&self) -> &Output {
        &self.signature.output
    }

    /// Returns the duration of the first run; zero if there was none yet.
    pub(crate) fn first_run_duration(&self) -> Duration {
        self.first.as_ref().map_or(Duration::ZERO, |first| first.duration)
    }

    fn first_run(&mut self) -> ort::Result<&FirstRun> {
        let first = match self.first.take() {
            Some(first) => first,
            None => {
                let started = Instant::now();
                let probe = self.signature.probe.clone();
                let Rows { values, width } = self.short_run(&RunOptions::new()?, &probe)?;
                let duration = started.elapsed();
                FirstRun { scores: values.into_iter().map(f32::to_bits).collect(), width, duration }
            }
        };
        Ok(self.first.insert(first))
    }

    /// Runs a short input. Afterwards the session holds no more memory than this run took.
    pub(crate) fn release_memory(&mut self) -> ort::Result<()> {
        let mut options = RunOptions::new()?;
        options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
        let output = self.signature.output.clone();
        self.short_run(&options, &output).map(|_| ())
    }

    fn short_run(&mut self, options: &RunOptions, output: &Output) -> ort::Result<Rows> {
        // Every vocabulary has a first and a second token.
        let length = self.fixed_length.unwrap_or(8).min(8);
        let ids: Vec<i64> = [0, 1].into_iter().cycle().take(length).collect();
        let tokens = TokenIds { type_ids: vec![0; ids.len()], ids };
        thread::scope(|scope| {
            let (finished, running) = channel::<()>();
            let watch = move || {
                let timed_out = running.recv_timeout(MAX_SHORT_RUN) == Err(RecvTimeoutError::Timeout);
                if timed_out { options.terminate() } else { Ok(()) }
            };
            // If no thread can be started, the run has no timeout.
            let _watching = thread::Builder::new().name("watch".into()).spawn_scoped(scope, watch);
            let rows = self.run(&tokens, 0, options, output);
            drop(finished);
            rows
        })
    }

    /// Describes the inputs and the outputs of the graph, for people.
    pub(crate) fn signature(&self) -> (Vec<String>, Vec<String>) {
        (describe(self.inner.inputs()), describe(self.inner.outputs()))
    }

    /// Runs one row of tokens, padded if the graph's length is fixed.
    ///
    /// A cancelled run ends before the next node of the graph, and leaves the session intact.
    pub(crate) fn rows(&mut self, tokens: &TokenIds, pad: i64, cancellation: &Cancellation) -> ort::Result<Rows> {
        let output = self.signature.output.clone();
        let options = Arc::new(RunOptions::new()?);
        let flag = Arc::clone(&options);
        let interrupt = move || {
            let terminated = flag.terminate();
            tracing::trace!(ok = terminated.is_ok(), "a run was terminated");
        };
        cancellation.interrupting(interrupt, || self.run(tokens, pad, &options, &output))
    }

    fn run(&mut self, tokens: &TokenIds, pad: i64, options: &RunOptions, wanted: &Output) -> ort::Result<Rows> {
        let length = self.fixed_length.unwrap_or(tokens.ids.len());
        let rows = self.input_rows(tokens, pad, length);
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
        self.threads.avoid_this_processor();
        let outputs = self.inner.run_with_options(values.as_slice(), options)?;
        let output = &outputs[wanted.name.as_str()];
        // Scores are computed in f32 for fp16 graphs too, as in transformers.
        let (shape, values) = if wanted.half {
            let (shape, values) = output.try_extract_tensor::<half::f16>()?;
            (shape, values.iter().map(|value| value.to_f32()).collect())
        } else {
            let (shape, values) = output.try_extract_tensor::<f32>()?;
            (shape, values.to_vec())
        };
        let width = shape.last().and_then(|&width| usize::try_from(width).ok()).unwrap_or(0);
        // Graphs do not always return the shape that they declare.
        let rows = if wanted.rank == 3 { length } else { 1 };
        if width == 0 || shape.len() != wanted.rank || values.len() != rows * width {
            let expected = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
            return Err(ort::Error::new(format!("its output has the shape {shape:?}, expected {expected}")));
        }
        Ok(Rows { values, width })
    }

    /// Returns the content of each input, padded to `length`.
    fn input_rows(&self, tokens: &TokenIds, pad: i64, length: usize) -> Vec<(Vec<i64>, Width)> {
        let padded = |row: &[i64], with: i64| -> Vec<i64> {
            row.iter().copied().chain(std::iter::repeat(with)).take(length).collect()
        };
        let row = |role: &Role| match role {
            Role::Ids => padded(&tokens.ids, pad),
            Role::Mask => padded(&vec![1; tokens.ids.len()], 0),
            Role::TypeIds => padded(&tokens.type_ids, 0),
            Role::Positions => (0..).take(length).collect(),
        };
        self.signature.inputs.iter().map(|(role, width)| (row(role), *width)).collect()
    }
}

/// Sets options for short texts, in a process that shares the machine with an editor.
fn options(
    environment: &Environment,
    source: &GraphSource<'_>,
    threads: usize,
    intra_op: &IntraOpThreads,
) -> ort::Result<SessionBuilder> {
    let level = match source {
        GraphSource::Prepared(_) => GraphOptimizationLevel::Disable,
        GraphSource::Model | GraphSource::Preparing(_) => GraphOptimizationLevel::All,
    };
    let builder = OrtSession::builder(environment)?
        .with_optimization_level(level)?
        .with_intra_threads(threads)?
        .with_thread_manager(intra_op.clone())?
        .with_inter_threads(1)?
        // Waking a thread takes longer than many of the steps it helps with, so helper threads spin
        // until the next step of a run. After the run they sleep, because a spinning thread takes a
        // whole core from the rest of the machine.
        .with_intra_op_spinning(threads > 1)?
        .with_config_entry("session.intra_op.spin_duration_us", MAX_SPIN_US)?
        .with_config_entry("session.force_spinning_stop", "1")?
        .with_inter_op_spinning(false)?
        // The runtime keeps one plan for each input length seen, and nearly every text has a new
        // one.
        .with_memory_pattern(false)?
        // Otherwise the runtime could infer its own format from the file's name, and that format is
        // not inspected.
        .with_config_entry("session.load_model_format", "ONNX")?
        .with_auto_device(AutoDevicePolicy::PreferCPU)?;
    let GraphSource::Preparing(graph) = source else { return Ok(builder) };
    Ok(builder
        .with_optimized_model_path(graph)?
        .with_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)?
        .with_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "16384")?
        // Packed for this processor, so that no session packs (and copies) them again.
        .with_config_entry("session.save_external_prepacked_constant_initializers", "1")?)
}

/// Adds a remedy to the runtime's message. The messages are those of ONNX Runtime 1.31.
fn unusable_graph(files: &ModelFiles, message: &str) -> Error {
    const NEWER: &str = "export it with a lower `--opset`, for example 17, or use a newer ONNX Runtime";
    const CUSTOM: &str = "it needs operators that ONNX Runtime does not have; export it without custom operators";
    let remedies = [
        ("IR version", NEWER),
        ("No Op registered", CUSTOM),
        ("is not a registered function/op", CUSTOM),
        ("opset", NEWER),
        (
            "Could not find an implementation",
            "this ONNX Runtime does not have the operator for CPUs; export it in fp32 or int8",
        ),
        ("external data", "copy the graph's weights next to it"),
        ("alloc", "close other programs, or use a smaller model"),
    ];
    let remedy = remedies
        .iter()
        .find(|(word, _)| message.contains(word))
        .map_or("export it again, for example with opset 17", |(_, remedy)| remedy);
    Error::FileInvalid { path: files.graph.name().into(), message: message.trim().into(), remedy: remedy.into() }
}

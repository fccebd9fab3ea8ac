//! One ONNX Runtime session: token ids or a text in, rows of numbers out.
//!
//! The inputs and outputs of the graph are read in `signature`, and their content is converted in
//! `tensors`. The meaning of the numbers is in `activation`, `entities` and `encoder`.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use ort::environment::Environment;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel, SessionBuilder};
use ort::session::{RunOptions, Session as OrtSession};

use crate::cancellation::Cancellation;
use crate::decision::feed;
use crate::error::Error;
use crate::folder::unreadable;
use crate::locale;
use crate::model_files::{Graph, GraphFiles};
use crate::signature::{Inputs, Output, Purpose, Signature, describe};
use crate::special_tokens::TokenIds;
use crate::tensors::{Feed, Rows, input_values, read_rows};
use crate::threads::IntraOpThreads;

/// A run over eight tokens takes milliseconds; one that takes this long never ends. Tests with
/// endless graphs use a shorter limit.
const MAX_SHORT_RUN: Duration = Duration::from_secs(if cfg!(feature = "testing") { 2 } else { 10 });
/// The text of a first run through a graph that takes text.
const SHORT_TEXT: &str = "a text";
/// How long helper threads spin between two steps of a run. 50 µs work as well as 20,000.
const MAX_SPIN_US: &str = "100";
/// Name of the file with packed weights, next to a prepared graph.
const WEIGHTS: &str = "weights.bin";

pub(crate) struct Session {
    inner: OrtSession,
    threads: IntraOpThreads,
    pub signature: Signature,
    pub fixed_length: Option<usize>,
    first: Option<FirstRun>,
}

/// The result of running a fixed input.
pub(crate) struct FirstRun {
    /// Scores, bit for bit.
    scores: Vec<u32>,
    pub rows: Rows,
    pub duration: Duration,
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

impl Session {
    /// Builds a session that computes on `threads` threads. Takes most of a model's start-up time.
    pub(crate) fn new(
        environment: &Environment,
        files: &GraphFiles,
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
        let inner = match (source, &files.content) {
            (GraphSource::Prepared(path), _) => builder.commit_from_file(path),
            (_, Graph::Memory(bytes)) => builder.commit_from_memory(bytes),
            (_, Graph::Tuned(bytes)) => builder.commit_from_memory(bytes),
            (_, Graph::File(file)) if locale::is_needed(&files.facts) => {
                let graph = fs::read(file).map_err(|error| unreadable(file, &error))?;
                let graph = locale::replace(&graph).map_err(|message| unusable_graph(files, &message))?;
                builder.commit_from_memory(&graph)
            }
            (_, Graph::File(file)) => builder.commit_from_file(file),
        }
        .map_err(failed)?;
        let labels = &files.facts.interface.labels;
        let names = &files.names;
        let signature = Signature::new(inner.inputs(), inner.outputs(), names, labels, purpose)?;
        let fixed_length = signature.fixed_length.or(files.length);
        Ok(Self { inner, threads: intra_op, signature, fixed_length, first: None })
    }

    /// Returns the scores of a fixed input, bit for bit. Sessions over the same graph agree on
    /// them.
    pub(crate) fn probe(&mut self) -> ort::Result<&[u32]> {
        Ok(&self.first_run()?.scores)
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

    /// Returns the result of the first run, and runs a short input if there was none yet.
    pub(crate) fn first_run(&mut self) -> ort::Result<&FirstRun> {
        let first = match self.first.take() {
            Some(first) => first,
            None => {
                let started = Instant::now();
                let probe = self.signature.probe.clone();
                let rows = self.short_run(&RunOptions::new()?, &probe)?;
                let duration = started.elapsed();
                FirstRun { scores: rows.values.iter().map(|score| score.to_bits()).collect(), rows, duration }
            }
        };
        Ok(self.first.insert(first))
    }

    /// Runs a short input. Afterwards the session holds no more memory than this run took.
    pub(crate) fn release_memory(&mut self) {
        let mut run = || {
            let mut options = RunOptions::new()?;
            options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
            let output = self.signature.output.clone();
            self.short_run(&options, &output)
        };
        if let Err(error) = run() {
            tracing::debug!(error = error.message(), "the session's memory was not released");
        }
    }

    fn short_run(&mut self, options: &RunOptions, output: &Output) -> ort::Result<Rows> {
        // Every vocabulary has a first and a second token.
        let length = self.fixed_length.unwrap_or(8).min(8);
        let ids: Vec<i64> = [0, 1].into_iter().cycle().take(length).collect();
        let tokens = TokenIds { type_ids: vec![0; ids.len()], ids };
        let sample;
        let feed = match &self.signature.inputs {
            Inputs::Text { .. } => Feed::Text(SHORT_TEXT),
            Inputs::Tokens(_) => Feed::Tokens(&tokens, 0),
            Inputs::Named(_) => {
                sample = feed::sample(self.signature.width);
                Feed::Named(&sample)
            }
        };
        thread::scope(|scope| {
            let (finished, running) = channel::<()>();
            let watch = move || {
                let timed_out = running.recv_timeout(MAX_SHORT_RUN) == Err(RecvTimeoutError::Timeout);
                if timed_out { options.terminate() } else { Ok(()) }
            };
            // If no thread can be started, the run has no timeout.
            let _watching = thread::Builder::new().name("watch".into()).spawn_scoped(scope, watch);
            let rows = self.run(feed, options, output);
            drop(finished);
            rows
        })
    }

    /// Describes the inputs and the outputs of the graph, for people.
    pub(crate) fn signature(&self) -> (Vec<String>, Vec<String>) {
        (describe(self.inner.inputs()), describe(self.inner.outputs()))
    }

    /// Runs one row of tokens, padded if the graph's length is fixed, or one text.
    ///
    /// A cancelled run ends before it starts, or before the next node of the graph, and leaves the
    /// session intact.
    ///
    /// # Errors
    /// `Cancelled`, or `Inference` of the model of this name.
    pub(crate) fn rows(&mut self, model: &str, feed: Feed<'_>, cancellation: &Cancellation) -> Result<Rows, Error> {
        if cancellation.is_cancelled() {
            return Err(Error::Cancelled);
        }
        self.interruptible_run(feed, cancellation).map_err(|error| {
            if cancellation.is_cancelled() { Error::Cancelled } else { Error::inference(model, error.message()) }
        })
    }

    fn interruptible_run(&mut self, feed: Feed<'_>, cancellation: &Cancellation) -> ort::Result<Rows> {
        let output = self.signature.output.clone();
        let options = Arc::new(RunOptions::new()?);
        let flag = Arc::clone(&options);
        let interrupt = move || {
            let terminated = flag.terminate();
            tracing::trace!(ok = terminated.is_ok(), "a run was terminated");
        };
        cancellation.interrupting(interrupt, || self.run(feed, &options, &output))
    }

    fn run(&mut self, feed: Feed<'_>, options: &RunOptions, wanted: &Output) -> ort::Result<Rows> {
        let given = if let Feed::Tokens(tokens, _) = feed { tokens.ids.len() } else { 1 };
        let length = self.fixed_length.unwrap_or(given);
        let values = input_values(&self.signature.inputs, feed, length)?;
        self.threads.avoid_this_processor();
        let outputs = self.inner.run_with_options(values.as_slice(), options)?;
        read_rows(&outputs, wanted, self.signature.label.as_ref(), length)
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
        // Without VNNI instructions, sums of two signed int8 products are cut off at 16 bits, and
        // answers differ from those of other processors. This makes such a processor use unsigned
        // weights. With VNNI, or without int8 weights, it changes nothing.
        .with_config_entry("session.x64quantprecision", "1")?
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
fn unusable_graph(files: &GraphFiles, message: &str) -> Error {
    const NEWER: &str = "export it with a lower `--opset`, for example 17, or use a newer ONNX Runtime";
    const CUSTOM: &str = "it needs operators that ONNX Runtime does not have; export it without custom operators";
    let remedies = [
        ("IR version", NEWER),
        ("No Op registered", CUSTOM),
        ("is not a registered function/op", CUSTOM),
        ("opset", NEWER),
        ("locale", "install the locale that it names, or export it with the option `locale` set to `C`"),
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
    Error::FileInvalid { path: files.content.name().into(), message: message.trim().into(), remedy: remedy.into() }
}

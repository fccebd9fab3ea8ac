//! One text in, scores or entities out, exactly as transformers' own pipelines would give them.
//!
//! Nothing outside this folder and `onnxruntime` may name `ort`, and nothing outside this folder `tokenizers`. Queues,
//! caches and deadlines are `engine`'s business: it drives models through the one trait below.

mod activation;
mod calibration;
mod cancellation;
mod config;
mod embedded;
mod entities;
mod error;
mod folder;
mod frame;
mod growth;
mod labeled;
mod model_info;
mod overflow;
mod pipeline;
pub mod prediction;
mod prepared;
mod session;
mod threads;
mod tokenizer;
mod vocabulary;
mod zero_shot;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use cache_dir::facts::FactsCache;
use onnx_runtime::LibrarySettings;

use crate::prediction::{GraphReport, Input, LoadReport, ModelInfo, Prediction, Task};
pub use calibration::write as write_calibration;
pub use cancellation::Cancellation;
pub use error::Error;
use folder::ModelFiles;
use pipeline::{Pipeline, Rules};
use prepared::Sessions;
use session::Session;
use tokenizer::Tokenizer;

/// Doors for `fuzz/`.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    use std::path::Path;

    use super::config::{Config, Settings, TokenizerConfig, json};

    pub fn graph(bytes: &[u8]) {
        let _ = onnx_facts::read(bytes);
    }

    /// Builds a tokenizer and encodes a text with it.
    pub fn tokenizer(bytes: &[u8]) {
        if let Ok(tokenizer) = super::vocabulary::tokenizer(bytes) {
            let _ = tokenizer.encode_fast("Hello there, a b ab \u{e9}!", true);
        }
    }

    pub fn config(bytes: &[u8]) {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let path = Path::new("x");
        let _ = json::<TokenizerConfig>(path, text);
        let settings = Settings::parse(path, text).unwrap_or_default();
        let _ = Config::parse(path, text, &settings);
    }
}

/// A loaded model, owned by one thread.
///
/// # Why does `predict` take `&mut self`?
/// ONNX Runtime's own run is not safe to call twice at once on one session, so each worker has a session of its own.
pub trait Model: Send {
    /// Answers one input. Blocks for one forward pass, or one a window or candidate label, or until it is cancelled.
    ///
    /// # Errors
    /// What the model does not take (`TextTooLong`, `PairNotTaken`, `LabelsNotTaken`), `Inference` when a run fails,
    /// `Cancelled`.
    fn predict(&mut self, input: &Input, cancellation: &Cancellation) -> Result<Prediction, Error>;

    /// Whether the time of a run follows from the length of its input. One that is not bounded so gets no thread that others
    /// wait for.
    fn bounded(&self) -> bool {
        true
    }

    /// Releases memory that long inputs took. The next run allocates it again.
    fn release_memory(&mut self) {}
}

/// Raised with every change that lets the same files give another answer, so that results kept by an earlier version of
/// this program are not taken for this one's.
const RULES_VERSION: u32 = 1;

/// A model in memory: its description, a replica that has run once, and the factory for others.
pub struct LoadedModel {
    pub info: ModelInfo,
    pub first: Box<dyn Model>,
    pub replicas: Box<dyn ReplicaFactory>,
}

/// Makes further replicas of a loaded model.
pub trait ReplicaFactory: Send + Sync {
    /// Makes a replica that computes on `threads` threads.
    ///
    /// # Errors
    /// Those of building a session.
    fn replica(&self, threads: usize) -> Result<Box<dyn Model>, Error>;
}

/// Loads one model.
pub trait ModelLoader: Send + Sync {
    /// Loads the model. Blocks; may be called again after a failure.
    ///
    /// # Errors
    /// Those of the folder, the graph and the runtime library, each with its remedy.
    fn load(&self) -> Result<LoadedModel, Error>;
}

/// Where a model's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// The default model inside the executable.
    BuiltIn,
    /// A folder as Hugging Face's exporters write it.
    Folder(PathBuf),
}

/// Loads a model folder, or the built-in model, with [`load`].
struct Loader {
    name: String,
    location: Location,
    library: LibrarySettings,
    threads: usize,
}

impl ModelLoader for Loader {
    fn load(&self) -> Result<LoadedModel, Error> {
        load(&self.name, &self.location, &self.library, self.threads)
    }
}

/// Returns a loader that calls [`load`] with these arguments.
pub fn loader(name: String, location: Location, library: LibrarySettings, threads: usize) -> Arc<dyn ModelLoader> {
    Arc::new(Loader { name, location, library, threads })
}

/// Reads the folder, opens the runtime, builds a session that computes with so many threads, and runs it once.
///
/// # Errors
/// Any of the folder, graph and library errors, each with its remedy.
pub fn load(name: &str, location: &Location, library: &LibrarySettings, threads: usize) -> Result<LoadedModel, Error> {
    let recall = FactsCache::new(library.cache_dir.as_deref());
    let read = || match location {
        Location::BuiltIn => embedded::files(),
        Location::Folder(folder) => folder::read(folder, &recall),
    };
    let mut took = LoadReport::default();
    // Library, then session, is the longest way; everything else is done beside it.
    let (files, tokenizer, sessions, session) = thread::scope(|scope| -> Result<_, Error> {
        let opening = scope.spawn(|| timed(|| onnx_runtime::environment(library)));
        let files;
        (files, took.files) = timed(read);
        let files = files?;
        let open = || -> Result<_, Error> {
            let (environment, library_took) = joined(opening);
            let sessions = Sessions::new(environment?, &files, library.cache_dir.as_deref());
            let (session, session_took) = timed(|| sessions.open(&files, threads));
            (took.library, took.session) = (library_took, session_took);
            Ok((sessions, session?))
        };
        let ((tokenizer, tokenizer_took), opened) = at_once(|| timed(|| Tokenizer::new(&files)), open);
        took.tokenizer = tokenizer_took;
        let (sessions, session) = opened?;
        Ok((files, tokenizer?, sessions, session))
    })?;
    let (session, weights_shared) = session;
    took.session -= session.first_run_took();
    let task = task(&files, session.rank)?;
    let tokenizer = tokenizer.limited_to(session.fixed)?;
    let mut info = info(&files, task, &session, &tokenizer);
    let rules = Arc::new(Rules::new(name, task, &files, tokenizer));
    let mut first = Pipeline::new(Arc::clone(&rules), session);
    // The first run allocates what every run needs, and shows whether graph and labels fit each other.
    took.first_run = first.check_labels()?;
    info.load = LoadReport { weights_shared, ..took };
    let replicas = Replicas { sessions, files, rules };
    Ok(LoadedModel { info, first: Box::new(first), replicas: Box::new(replicas) })
}

/// Everything that replicas of one model share.
struct Replicas {
    sessions: Sessions,
    files: ModelFiles,
    rules: Arc<Rules>,
}

impl ReplicaFactory for Replicas {
    fn replica(&self, threads: usize) -> Result<Box<dyn Model>, Error> {
        let (session, _) = self.sessions.open(&self.files, threads)?;
        Ok(Box::new(Pipeline::new(Arc::clone(&self.rules), session)))
    }
}

/// Does `first` on another thread while `second` is done on this one.
fn at_once<A: Send, B>(first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        (joined(first), second)
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let done = work();
    (done, started.elapsed())
}

fn info(files: &ModelFiles, task: Task, session: &Session, tokenizer: &Tokenizer) -> ModelInfo {
    let mut hasher = Sha256::new();
    hasher.update(RULES_VERSION.to_le_bytes());
    hasher.update(files.digest);
    hasher.update(onnx_runtime::build_info());
    let (inputs, outputs) = session.signature();
    ModelInfo {
        task,
        labels: files.config.labels.clone(),
        supports_zero_shot: task == Task::SingleLabel && files.config.entailment.is_some(),
        zero_shot_multi_label: files.settings.multi_label,
        max_tokens: tokenizer.max_tokens(),
        precision: files.facts.precision(),
        threshold: files.settings.threshold,
        calibration: files.settings.calibration.clone().map(Into::into),
        description: files.settings.description.clone(),
        graph: GraphReport {
            file: files.graph.name(),
            reason: files.graph_reason,
            opset: files.facts.opset,
            weights: files.facts.external_files.iter().cloned().collect(),
            inputs,
            outputs,
        },
        load: LoadReport::default(),
        digest: hasher.finalize().into(),
        frequent_texts: files.frequent_texts.clone(),
    }
}

/// What the model is for: told by the shape of its logits, and refused where `architectures` says that they mean something else.
fn task(files: &ModelFiles, rank: usize) -> Result<Task, Error> {
    let architecture = files.config.architecture.as_deref().unwrap_or_default();
    let other = [
        "CausalLM",
        "LMHeadModel",
        "MaskedLM",
        "PreTraining",
        "ConditionalGeneration",
        "QuestionAnswering",
        "MultipleChoice",
    ];
    if other.iter().any(|kind| architecture.ends_with(kind))
        || architecture.ends_with("ForTokenClassification") != (rank == 3) && !architecture.is_empty()
    {
        return Err(Error::OtherTask { architecture: architecture.to_owned() });
    }
    Ok(if rank == 3 {
        Task::Tagging
    } else {
        activation::task(files.config.problem_type.as_deref(), files.config.labels.len())
    })
}

//! Loading a model: reads the folder, opens the runtime, builds a session, and runs it once.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use cache_dir::facts::FactsCache;
use onnx_runtime::LibrarySettings;
use sha2::{Digest, Sha256};

use crate::decision::DecisionFiles;
use crate::decision::load::Decision;
use crate::error::Error;
use crate::model::{LoadedModel, Model, ModelLoader, ReplicaFactory};
use crate::model_files::{ModelFiles, read_config};
use crate::model_info::{GraphReport, LoadReport, ModelInfo};
use crate::pipeline::{Pipeline, PipelineConfig};
use crate::prediction::Task;
use crate::prepared::Sessions;
use crate::scoring::Scoring;
use crate::session::Session;
use crate::signature::Purpose;
use crate::sources::sources;
use crate::text_pipeline::{TextConfig, TextPipeline};
use crate::tokenizer::Tokenizer;
use crate::version::Version;

/// Increment this whenever the same files give a different prediction, so that results stored by an
/// earlier version are not reused.
const RULES_VERSION: u32 = 1;

/// The location of a model's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// The default model inside the executable.
    #[cfg(feature = "builtin-model")]
    BuiltIn,
    /// A folder as Hugging Face's exporters write it.
    Folder(PathBuf),
}

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

    fn version(&self) -> Option<Version> {
        match &self.location {
            #[cfg(feature = "builtin-model")]
            Location::BuiltIn => None,
            Location::Folder(folder) => Version::of_model(folder),
        }
    }

    fn labels(&self) -> Option<Vec<Arc<str>>> {
        let config = match &self.location {
            #[cfg(feature = "builtin-model")]
            Location::BuiltIn => crate::embedded::config(&builtin_model::SENTIMENT),
            Location::Folder(folder) => read_config(folder),
        };
        let (config, _) = config.ok().filter(|(config, _)| config.is_named)?;
        Some(if config.entailment.is_some() { Vec::new() } else { config.labels })
    }
}

/// Returns a loader that calls [`load`] with these arguments.
pub fn loader(name: String, location: Location, library: LibrarySettings, threads: usize) -> Arc<dyn ModelLoader> {
    Arc::new(Loader { name, location, library, threads })
}

/// Loads a model whose first replica computes on `threads` threads. Error texts use `name`.
///
/// The steps run in parallel where possible. Opening the library and then the session takes
/// longest; everything else runs meanwhile.
///
/// # Errors
/// Any error of the folder, the graph or the runtime library.
pub fn load(name: &str, location: &Location, library: &LibrarySettings, threads: usize) -> Result<LoadedModel, Error> {
    let facts = FactsCache::new(library.cache_dir.as_deref());
    let read = || match location {
        #[cfg(feature = "builtin-model")]
        Location::BuiltIn => crate::embedded::files(&builtin_model::SENTIMENT),
        Location::Folder(folder) => ModelFiles::read(folder, &facts),
    };
    let mut took = LoadReport::default();
    let (mut files, tokenizer, sessions, session) = thread::scope(|scope| -> Result<_, Error> {
        let opening = scope.spawn(|| timed(|| onnx_runtime::environment(library)));
        let files;
        (files, took.files) = timed(read);
        let files = files?;
        let open = || -> Result<_, Error> {
            let (environment, library_took) = join(opening);
            let purpose = files.decision.as_ref().map_or(Purpose::Scores, DecisionFiles::purpose);
            let sessions = Sessions::new(environment?, purpose, &files.graph, library.cache_dir.as_deref());
            let (session, session_took) = timed(|| sessions.open(&files.graph, threads));
            (took.library, took.session) = (library_took, session_took);
            Ok((sessions, session?))
        };
        let tokenize = || (!files.graph.facts.interface.takes_text).then(|| Tokenizer::new(&files)).transpose();
        let ((tokenizer, tokenizer_took), opened) = in_parallel(|| timed(tokenize), open);
        took.tokenizer = tokenizer_took;
        let (sessions, session) = opened?;
        Ok((files, tokenizer?, sessions, session))
    })?;
    let (mut session, weights_shared) = session;
    took.session -= session.first_run_duration();
    if let Some(decision) = files.decision.take() {
        let tokenizer = tokenizer.ok_or(Error::InputIdsMissing)?;
        let decision = Decision::new(name, decision, &files, tokenizer, library)?;
        let mut info = decision_info(&files, &decision, &session);
        let (first, duration) = timed(|| decision.first(session, threads));
        took.first_run = duration;
        info.load = LoadReport { weights_shared, ..took };
        let replicas = Replicas { sessions, files, config: Config::Decision(Box::new(decision)) };
        return Ok(LoadedModel { info, first: first?, replicas: Box::new(replicas) });
    }
    // The first run allocates what every run needs, and shows whether graph and labels match.
    let scoring = Scoring::new(name, &files, &mut session)?;
    took.first_run = session.first_run_duration();
    let tokenizer = tokenizer.map(|tokenizer| tokenizer.limited_to(session.fixed_length)).transpose()?;
    let mut info = model_info(&files, &scoring, &session, tokenizer.as_ref());
    info.load = LoadReport { weights_shared, ..took };
    let config = match tokenizer {
        Some(tokenizer) => Config::Tokens(Arc::new(PipelineConfig::new(name, &scoring, &files, tokenizer))),
        None => Config::Text(Arc::new(TextConfig::new(name, scoring, &files))),
    };
    let first = config.pipeline(session, threads)?;
    Ok(LoadedModel { info, first, replicas: Box::new(Replicas { sessions, files, config }) })
}

/// What the pipelines of one model share, by the input of its graph.
enum Config {
    Tokens(Arc<PipelineConfig>),
    Text(Arc<TextConfig>),
    Decision(Box<Decision>),
}

impl Config {
    fn pipeline(&self, session: Session, threads: usize) -> Result<Box<dyn Model>, Error> {
        Ok(match self {
            Self::Tokens(config) => Box::new(Pipeline::new(Arc::clone(config), session)),
            Self::Text(config) => Box::new(TextPipeline::new(Arc::clone(config), session)),
            Self::Decision(decision) => decision.pipeline(session, threads)?,
        })
    }
}

/// Everything that the replicas of one model share.
struct Replicas {
    sessions: Sessions,
    files: ModelFiles,
    config: Config,
}

impl ReplicaFactory for Replicas {
    fn replica(&self, threads: usize) -> Result<Box<dyn Model>, Error> {
        let (session, _) = self.sessions.open(&self.files.graph, threads)?;
        self.config.pipeline(session, threads)
    }
}

/// Runs `first` on another thread and `second` on this one.
fn in_parallel<A: Send, B>(first: impl FnOnce() -> A + Send, second: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        (join(first), second)
    })
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = work();
    (result, started.elapsed())
}

/// Describes a decision model.
fn decision_info(files: &ModelFiles, decision: &Decision, session: &Session) -> ModelInfo {
    ModelInfo {
        supports_zero_shot: true,
        activation: decision.activation.clone(),
        warnings: decision.warnings.clone(),
        max_tokens: Some(decision.max_tokens),
        decision: Some(decision.info.clone()),
        ..folder_info(files, Task::SingleLabel, session)
    }
}

fn model_info(files: &ModelFiles, scoring: &Scoring, session: &Session, tokenizer: Option<&Tokenizer>) -> ModelInfo {
    let max_tokens = tokenizer.map(Tokenizer::max_tokens);
    ModelInfo {
        supports_zero_shot: scoring.takes_candidates() && files.config.entailment.is_some(),
        zero_shot_multi_label: files.settings.multi_label,
        activation: scoring.describe(),
        warnings: scoring.warnings.clone(),
        max_tokens,
        sources: sources(files, scoring, max_tokens),
        ..folder_info(files, scoring.task, session)
    }
}

/// Describes what the files of a folder say.
fn folder_info(files: &ModelFiles, task: Task, session: &Session) -> ModelInfo {
    let mut hasher = Sha256::new();
    hasher.update(RULES_VERSION.to_le_bytes());
    hasher.update(files.digest);
    hasher.update(onnx_runtime::build_info());
    let (inputs, outputs) = session.signature();
    ModelInfo {
        precision: files.graph.facts.precision(),
        threshold: files.settings.threshold,
        languages: files.languages.clone(),
        calibration: files.settings.calibration.clone().map(Into::into),
        description: files.settings.description.clone(),
        graph: GraphReport {
            file: files.graph.content.name(),
            reason: files.graph_reason,
            opset: files.graph.facts.opset,
            weights: files.graph.facts.external_files.iter().cloned().collect(),
            inputs,
            outputs,
        },
        digest: hasher.finalize().into(),
        frequent_texts: files.frequent_texts.clone(),
        ..ModelInfo::new(task, files.config.labels.clone())
    }
}

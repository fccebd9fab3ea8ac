//! A scripted model for tests: each text determines what the model does, and the script counts.
//!
//! `panic` panics and `fail` fails. `held…` waits for [`Script::release`] or cancellation. `stuck…`
//! waits only for the release. Any other text is answered at once, with scores by its number of
//! words.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use classifier::{
    Cancellation, Input, LoadReport, LoadedModel, Model, ModelInfo, ModelLoader, Outcome, Prediction, ReplicaFactory,
    Task, Version,
};

use crate::{Engine, EngineSettings, ProcessHooks};

/// See `group`.
pub const STUCK_AFTER: Duration = crate::group::STUCK_AFTER;
pub const LABELS: [&str; 3] = ["short", "middle", "long"];
/// The scripted model reads one token per word.
pub const MAX_TOKENS: usize = 8;

/// The script of the model, and a record of what it did.
#[derive(Default)]
pub struct Script {
    pub loads: AtomicUsize,
    pub runs: AtomicUsize,
    /// Runs that ended because they were cancelled.
    pub cancelled: AtomicUsize,
    /// Every run panics.
    pub broken: AtomicBool,
    /// Loads that fail before the first succeeds.
    pub failing_loads: AtomicUsize,
    /// Replicas that fail before the first succeeds.
    pub failing_replicas: AtomicUsize,
    /// Loads wait for the release.
    pub hold_load: bool,
    /// Each replica copies all weights.
    pub weights_copied: bool,
    /// Replicas that were made, that of the load included.
    pub replicas: AtomicUsize,
    /// How often a replica released its memory.
    pub releases: AtomicUsize,
    /// The names of the threads on which replicas ended.
    pub ended_on: Mutex<Vec<String>>,
    pub task: Option<Task>,
    pub threshold: Option<f32>,
    pub frequent_texts: Vec<String>,
    /// The state of the model's files.
    pub version: Mutex<Option<Version>>,
    /// The texts that ran, in order, and the number of threads of the replica that ran each.
    pub texts: Mutex<Vec<(String, usize)>>,
    pub gate: Gate,
}

/// The gate that held texts and a held load wait for.
#[derive(Default)]
pub struct Gate {
    is_open: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn is_open(&self) -> MutexGuard<'_, bool> {
        self.is_open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Script {
    /// Lets all held texts and loads continue, now and later.
    pub fn release(&self) {
        *self.gate.is_open() = true;
        self.gate.changed.notify_all();
    }

    /// Changes the model's files, which then look as if they had changed an hour ago.
    pub fn change_files(&self) {
        let loads = self.loads.load(Ordering::SeqCst) as u64;
        let version = Version::new(loads, SystemTime::now() - Duration::from_secs(3600));
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
    }

    /// Makes held texts wait again.
    pub fn hold_again(&self) {
        *self.gate.is_open() = false;
    }

    pub fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    /// Returns the texts that ran, in order.
    pub fn texts(&self) -> Vec<String> {
        let texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.iter().map(|(text, _)| text.clone()).collect()
    }

    /// Returns the number of threads on which a text ran.
    pub fn threads_of(&self, text: &str) -> Option<usize> {
        let texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.iter().find(|(ran, _)| ran == text).map(|(_, threads)| *threads)
    }

    fn wait_for_release(self: &Arc<Self>, cancellation: &Cancellation) {
        let script = Arc::clone(self);
        let interrupt = move || {
            let _open = script.gate.is_open();
            script.gate.changed.notify_all();
        };
        cancellation.interrupting(interrupt, || {
            let holds = |open: &mut bool| !*open && !cancellation.is_cancelled();
            drop(self.gate.changed.wait_while(self.gate.is_open(), holds));
        });
    }

    fn info(&self) -> ModelInfo {
        ModelInfo {
            max_tokens: Some(MAX_TOKENS),
            threshold: self.threshold,
            load: LoadReport { weights_shared: !self.weights_copied, ..LoadReport::default() },
            digest: [7; 32],
            description: Some(format!("load {}", self.loads.load(Ordering::SeqCst))),
            frequent_texts: self.frequent_texts.clone(),
            ..ModelInfo::new(self.task.unwrap_or(Task::SingleLabel), LABELS.map(Arc::from).to_vec())
        }
    }
}

/// Loads the scripted model.
pub struct ScriptedLoader(pub Arc<Script>);

struct ScriptedReplicas(Arc<Script>);

struct ScriptedModel {
    script: Arc<Script>,
    threads: usize,
}

/// Decrements a counter of failures that are still to come; returns whether there was one.
fn takes_failure(failures: &AtomicUsize) -> bool {
    failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl ModelLoader for ScriptedLoader {
    fn load(&self) -> Result<LoadedModel, classifier::Error> {
        let script = &self.0;
        script.loads.fetch_add(1, Ordering::SeqCst);
        if script.hold_load {
            script.wait_for_release(&Cancellation::default());
        }
        if takes_failure(&script.failing_loads) {
            return Err(classifier::Error::FolderMissing { folder: "/models/fake".into() });
        }
        let replicas = ScriptedReplicas(Arc::clone(script));
        Ok(LoadedModel { info: script.info(), first: replicas.make(WIDE), replicas: Box::new(replicas) })
    }

    fn version(&self) -> Option<Version> {
        *self.0.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn labels(&self) -> Option<Vec<Arc<str>>> {
        Some(self.0.info().labels)
    }
}

/// Threads of the replica that a load makes, which does not know the engine's settings.
pub const WIDE: usize = 0;

impl ScriptedReplicas {
    fn make(&self, threads: usize) -> Box<dyn Model> {
        self.0.replicas.fetch_add(1, Ordering::SeqCst);
        Box::new(ScriptedModel { script: Arc::clone(&self.0), threads })
    }
}

impl ReplicaFactory for ScriptedReplicas {
    fn replica(&self, threads: usize) -> Result<Box<dyn Model>, classifier::Error> {
        if takes_failure(&self.0.failing_replicas) {
            return Err(classifier::Error::FolderMissing { folder: "/models/fake".into() });
        }
        Ok(self.make(threads))
    }
}

impl Model for ScriptedModel {
    fn predict(&mut self, input: &Input, cancellation: &Cancellation) -> Result<Prediction, classifier::Error> {
        let Self { script, threads } = self;
        script.runs.fetch_add(1, Ordering::SeqCst);
        script.texts.lock().unwrap_or_else(PoisonError::into_inner).push((input.text.clone(), *threads));
        match input.text.as_str() {
            _ if script.broken.load(Ordering::SeqCst) => panic!("every run does"),
            "panic" => panic!("the text says so"),
            "fail" => {
                let message = "the text says so".into();
                return Err(classifier::Error::Inference { model: "fake".into(), message });
            }
            text if text.starts_with("held") => script.wait_for_release(cancellation),
            text if text.starts_with("stuck") => script.wait_for_release(&Cancellation::default()),
            _ => {}
        }
        if cancellation.is_cancelled() {
            script.cancelled.fetch_add(1, Ordering::SeqCst);
            return Err(classifier::Error::Cancelled);
        }
        let texts = [Some(&input.text), input.text_pair.as_ref()].into_iter().flatten();
        let words: usize = texts.map(|text| text.split_whitespace().count()).sum();
        let scores = match words {
            0..=2 => [0.7, 0.2, 0.1],
            3..=5 => [0.1, 0.55, 0.35],
            _ => [0.1, 0.2, 0.7],
        };
        Ok(Prediction {
            outcome: Outcome::Scores(scores.into()),
            tokens: words as u32,
            tokens_read: words.min(MAX_TOKENS) as u32,
            doubt: None,
        })
    }

    fn release_memory(&mut self) {
        self.script.releases.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        self.script.ended_on.lock().unwrap_or_else(PoisonError::into_inner).push(name);
    }
}

/// Settings with one worker and small limits.
pub fn settings() -> EngineSettings {
    EngineSettings {
        deadline: Duration::from_secs(10),
        workers: 1,
        queue_capacity: 64,
        cache_capacity_bytes: 1 << 20,
        max_text_bytes: 1000,
        cache_dir: None,
        precompute: true,
        preload: false,
        unload_above_bytes: u64::MAX,
        retry_after: Duration::from_millis(20),
        log_inputs: false,
        hooks: ProcessHooks::default(),
    }
}

/// Starts an engine with one scripted model, `fake`. Must be called inside a tokio runtime.
pub fn start(script: &Arc<Script>, settings: EngineSettings) -> Arc<Engine> {
    Engine::start(vec![("fake".into(), Arc::new(ScriptedLoader(Arc::clone(script))))], settings)
}

//! A scripted model: what it does with a text is said by the text, and what it did is counted.
//!
//! `panic`, `fail`: that. `held…`: waits until `Script::release`, or until it is cancelled. `stuck…`: waits
//! until the release alone. Anything else: answered at once, scores by length.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use local_model_mcp::engine::{Engine, EngineSettings};
use local_model_mcp::model::{Cancellation, Error, LoadedModel, Model, ModelLoader, ReplicaFactory};
use local_model_mcp::prediction::{GraphReport, Input, LoadReport, ModelInfo, Outcome, Prediction, Task};

pub(crate) const LABELS: [&str; 3] = ["short", "middle", "long"];
/// The fake reads one token a word.
pub(crate) const MAX_TOKENS: usize = 8;

#[derive(Default)]
pub(crate) struct Script {
    pub(crate) loads: AtomicUsize,
    pub(crate) runs: AtomicUsize,
    /// Runs that ended because they were cancelled.
    pub(crate) cancelled: AtomicUsize,
    /// Every run panics.
    pub(crate) broken: AtomicBool,
    /// Loads that fail before the first succeeds.
    pub(crate) failing_loads: AtomicUsize,
    pub(crate) hold_load: bool,
    /// As of a model whose graph cannot be kept prepared.
    pub(crate) weights_copied: bool,
    pub(crate) replicas: AtomicUsize,
    pub(crate) task: Option<Task>,
    pub(crate) threshold: Option<f32>,
    pub(crate) frequent_texts: Vec<String>,
    pub(crate) gate: Gate,
    /// Texts that ran, in order.
    pub(crate) texts: Mutex<Vec<String>>,
    /// Names of the threads that ran them.
    pub(crate) threads: Mutex<Vec<String>>,
}

/// What held texts and a held load wait behind.
#[derive(Default)]
pub(crate) struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
}

impl Script {
    pub(crate) fn release(&self) {
        *self.gate.open.lock().unwrap() = true;
        self.gate.changed.notify_all();
    }

    pub(crate) fn hold_again(&self) {
        *self.gate.open.lock().unwrap() = false;
    }

    fn wait_for_release(self: &Arc<Self>, cancellation: &Cancellation) {
        let script = Arc::clone(self);
        let interrupt = move || {
            let _open = script.gate.open.lock().unwrap();
            script.gate.changed.notify_all();
        };
        cancellation.interrupting(interrupt, || {
            let open = self.gate.open.lock().unwrap();
            let _open = self.gate.changed.wait_while(open, |open| !*open && !cancellation.is_cancelled()).unwrap();
        });
    }

    pub(crate) fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    pub(crate) fn load(self: &Arc<Self>) -> Arc<dyn ModelLoader> {
        Arc::new(FakeFactory { script: Arc::clone(self) })
    }
}

/// Loads the fake and makes its replicas.
struct FakeFactory {
    script: Arc<Script>,
}

impl ModelLoader for FakeFactory {
    fn load(&self) -> Result<LoadedModel, Error> {
        let script = &self.script;
        script.loads.fetch_add(1, Ordering::SeqCst);
        if script.hold_load {
            script.wait_for_release(&Cancellation::default());
        }
        if script.failing_loads.load(Ordering::SeqCst) > 0 {
            script.failing_loads.fetch_sub(1, Ordering::SeqCst);
            return Err(Error::FolderMissing { folder: "/models/fake".into() });
        }
        let info = ModelInfo {
            task: script.task.unwrap_or(Task::SingleLabel),
            labels: LABELS.map(Arc::from).to_vec(),
            supports_zero_shot: false,
            zero_shot_multi_label: false,
            max_tokens: MAX_TOKENS,
            precision: "fp32",
            threshold: script.threshold,
            calibration: None,
            description: None,
            graph: GraphReport::default(),
            load: LoadReport { weights_shared: !script.weights_copied, ..LoadReport::default() },
            digest: [7; 32],
            frequent_texts: script.frequent_texts.clone(),
        };
        let replicas = FakeFactory { script: Arc::clone(script) };
        Ok(LoadedModel { info, first: replicas.replica(1)?, replicas: Box::new(replicas) })
    }
}

impl ReplicaFactory for FakeFactory {
    fn replica(&self, _threads: usize) -> Result<Box<dyn Model>, Error> {
        self.script.replicas.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Fake { script: Arc::clone(&self.script) }))
    }
}

struct Fake {
    script: Arc<Script>,
}

impl Model for Fake {
    fn predict(&mut self, input: &Input, cancellation: &Cancellation) -> Result<Prediction, Error> {
        self.script.runs.fetch_add(1, Ordering::SeqCst);
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        self.script.threads.lock().unwrap().push(thread);
        self.script.texts.lock().unwrap().push(input.text.clone());
        match input.text.as_str() {
            _ if self.script.broken.load(Ordering::SeqCst) => panic!("it always does"),
            "panic" => panic!("the fake was told to"),
            "fail" => return Err(Error::Inference { model: "fake".into(), message: "it was told to".into() }),
            text if text.starts_with("held") => self.script.wait_for_release(cancellation),
            text if text.starts_with("stuck") => self.script.wait_for_release(&Cancellation::default()),
            _ => {}
        }
        if cancellation.is_cancelled() {
            self.script.cancelled.fetch_add(1, Ordering::SeqCst);
            return Err(Error::Cancelled);
        }
        let words = input.text.split_whitespace().count();
        let scores = match words {
            0..=2 => [0.7, 0.2, 0.1],
            3..=5 => [0.1, 0.55, 0.35],
            _ => [0.1, 0.2, 0.7],
        };
        Ok(Prediction {
            outcome: Outcome::Scores(scores.into()),
            tokens: words as u32,
            tokens_read: words.min(MAX_TOKENS) as u32,
        })
    }
}

pub(crate) fn settings() -> EngineSettings {
    EngineSettings {
        deadline: Duration::from_secs(10),
        workers: 1,
        // A text that is held would hold the test as well.
        inline_below: Duration::ZERO,
        queue_capacity: 64,
        cache_capacity_bytes: 1 << 20,
        max_text_bytes: 1000,
        snapshot_dir: None,
        precompute: true,
        log_inputs: false,
    }
}

/// An engine with one model, `fake`.
pub(crate) fn start(script: &Arc<Script>, settings: EngineSettings) -> Arc<Engine> {
    Engine::start(vec![("fake".into(), script.load())], settings)
}

//! Loading a model in the background, waiting for it, and trying again after a failure.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::engine::EngineSettings;
use crate::engine::statistics::Counters;
use crate::engine::workers::{Queue, panic_message};
use crate::error::Error;
use crate::model::Load;
use crate::prediction::ModelInfo;

/// A load that failed is not repeated sooner than this, so that a burst of calls costs one attempt.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// One model as the engine serves it.
pub(super) struct Served {
    pub name: String,
    pub statistics: Counters,
    load: Load,
    workers: usize,
    queue_capacity: usize,
    phase: Arc<watch::Sender<Phase>>,
    /// Held while deciding whether to load, so that two callers never start two loads.
    decision: Mutex<()>,
}

#[derive(Clone)]
enum Phase {
    Idle,
    Loading,
    Ready(Ready),
    Failed { error: Arc<Error>, at: Instant },
}

#[derive(Clone)]
pub(super) struct Ready {
    pub info: Arc<ModelInfo>,
    pub queue: Queue,
}

/// What a model is doing, for people and for `local_model_status`.
#[derive(Clone, Debug)]
pub enum State {
    Loading,
    Ready(Arc<ModelInfo>),
    Failed(Arc<Error>),
}

impl Served {
    pub(super) fn new(name: String, load: Load, settings: &EngineSettings) -> Self {
        Self {
            name,
            statistics: Counters::default(),
            load,
            workers: settings.workers,
            queue_capacity: settings.queue_capacity,
            phase: Arc::new(watch::Sender::new(Phase::Idle)),
            decision: Mutex::new(()),
        }
    }

    /// Begins to load unless that is under way, done, or has just failed.
    pub(super) fn start_loading(&self) {
        let _decision = self.decision.lock().unwrap_or_else(PoisonError::into_inner);
        match &*self.phase.borrow() {
            Phase::Loading | Phase::Ready(_) => return,
            Phase::Failed { at, .. } if at.elapsed() < RETRY_AFTER => return,
            Phase::Idle | Phase::Failed { .. } => {}
        }
        self.phase.send_replace(Phase::Loading);
        let (name, load, phase) = (self.name.clone(), Arc::clone(&self.load), Arc::clone(&self.phase));
        let (workers, capacity) = (self.workers, self.queue_capacity);
        // Not joined anywhere: a process that is asked to end must not wait for a load.
        let spawned = thread::Builder::new().name("load".into()).spawn(move || {
            let started = Instant::now();
            let loaded = catch_unwind(AssertUnwindSafe(|| load(workers)))
                .unwrap_or_else(|panic| Err(Error::Panicked { model: name.clone(), message: panic_message(&*panic) }))
                .and_then(|loaded| {
                    let queue = Queue::start(&name, capacity, loaded.replicas)?;
                    Ok(Ready { info: Arc::new(loaded.info), queue })
                });
            let load_ms = started.elapsed().as_millis() as u64;
            phase.send_replace(match loaded {
                Ok(ready) => {
                    tracing::info!(model = name, load_ms, graph = ready.info.graph, "model_loaded");
                    Phase::Ready(ready)
                }
                Err(error) => {
                    tracing::error!(model = name, load_ms, %error, "model_failed");
                    Phase::Failed { error: Arc::new(error), at: Instant::now() }
                }
            });
        });
        if let Err(error) = spawned {
            let error = Arc::new(Error::Thread { message: error.to_string() });
            self.phase.send_replace(Phase::Failed { error, at: Instant::now() });
        }
    }

    /// Waits until the model can be used; a failed one is loaded again first.
    pub(super) async fn ready(&self) -> Result<Ready, Error> {
        if let Phase::Ready(ready) = &*self.phase.borrow() {
            return Ok(ready.clone());
        }
        self.start_loading();
        let mut phase = self.phase.subscribe();
        let settled = phase.wait_for(|phase| matches!(phase, Phase::Ready(_) | Phase::Failed { .. })).await;
        match settled.as_deref() {
            Ok(Phase::Ready(ready)) => Ok(ready.clone()),
            Ok(Phase::Failed { error, .. }) => {
                Err(Error::ModelFailed { model: self.name.clone(), cause: Arc::clone(error) })
            }
            _ => unreachable!("the sender lives as long as `self`, and nothing else satisfies the condition"),
        }
    }

    pub(super) fn state(&self) -> State {
        match &*self.phase.borrow() {
            Phase::Idle | Phase::Loading => State::Loading,
            Phase::Ready(ready) => State::Ready(Arc::clone(&ready.info)),
            Phase::Failed { error, .. } => State::Failed(Arc::clone(error)),
        }
    }
}

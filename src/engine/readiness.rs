//! Loading a model in the background, waiting for it, and trying again after a failure.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit, watch};

use crate::engine::EngineSettings;
use crate::engine::dispatch::{Dispatch, Lane};
use crate::engine::statistics::Counters;
use crate::engine::workers::{Ran, crashed, let_heaps_shrink};
use crate::error::{Error, Kind};
use crate::model::{LoadedModel, ModelLoader};
use crate::prediction::{Input, ModelInfo};

/// A load that failed is not repeated sooner than this, so that a burst of calls costs one attempt.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A model that fails on so many calls in a row has a fault of its own, and is not asked again as it is.
const MOST_FAILURES: u32 = 10;

/// One model as the engine serves it.
pub(super) struct Served {
    pub name: String,
    pub statistics: Counters,
    load: Arc<dyn ModelLoader>,
    settings: EngineSettings,
    /// One for every call that waits or runs; more are refused.
    permits: Semaphore,
    phase: Arc<watch::Sender<Phase>>,
    /// Calls in a row on which the model failed.
    failures: AtomicU32,
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
    pub dispatch: Dispatch,
}

/// What a model is doing, for people and for `local_model_status`.
#[derive(Clone, Debug)]
pub enum State {
    Loading,
    Ready(Arc<ModelInfo>),
    Failed(Arc<Error>),
}

impl Served {
    pub(super) fn new(name: String, load: Arc<dyn ModelLoader>, settings: &EngineSettings) -> Self {
        Self {
            name,
            statistics: Counters::default(),
            load,
            settings: settings.clone(),
            permits: Semaphore::new(settings.queue_capacity + settings.workers),
            phase: Arc::new(watch::Sender::new(Phase::Idle)),
            failures: AtomicU32::new(0),
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
        let settings = self.settings.clone();
        let runtime = tokio::runtime::Handle::current();
        // Not joined anywhere: a process that is asked to end must not wait for a load.
        let spawned = thread::Builder::new().name("load".into()).spawn(move || {
            let started = Instant::now();
            let loaded = catch_unwind(AssertUnwindSafe(|| load.load()))
                .map_or_else(|panic| Err(crashed(&name, &*panic)), |loaded| loaded.map_err(Error::from));
            let load_ms = started.elapsed().as_millis() as u64;
            let LoadedModel { info, first, replicas } = match loaded {
                Ok(loaded) => loaded,
                Err(error) => {
                    // Whoever waits for the model gets the error, and says it to whom it concerns.
                    tracing::info!(model = name, load_ms, %error, "model_failed");
                    phase.send_replace(Phase::Failed { error: Arc::new(error), at: Instant::now() });
                    return;
                }
            };
            tracing::info!(model = name, load_ms, graph = info.graph.file, "model_loaded");
            let_heaps_shrink();
            // Workers hand their answers to a task there.
            let _entered = runtime.enter();
            let dispatch = Dispatch::new(&name, first, replicas, info.load.weights_shared, &settings);
            phase.send_replace(Phase::Ready(Ready { info: Arc::new(info), dispatch }));
        });
        if let Err(error) = spawned {
            let error = Arc::new(Error::Thread { message: error.to_string() });
            self.phase.send_replace(Phase::Failed { error, at: Instant::now() });
        }
    }

    /// Runs the model, and takes it out of service where it fails every time.
    pub(super) async fn run(self: Arc<Self>, ready: Ready, input: Arc<Input>, lane: Lane) -> Result<Ran, Error> {
        let outcome = ready.dispatch.run(input, lane).await;
        match &outcome {
            Ok(_) => self.failures.store(0, Ordering::Relaxed),
            // Rows of a file are many and alike, and each says by itself what is wrong with it.
            Err(error) if matches!(error.kind(), Kind::Internal | Kind::Model) && lane != Lane::Background => {
                let failures = 1 + self.failures.fetch_add(1, Ordering::Relaxed);
                if failures >= MOST_FAILURES {
                    self.take_out(&ready, failures, error);
                }
            }
            Err(_) => {}
        }
        outcome
    }

    fn take_out(&self, ready: &Ready, failures: u32, last: &Error) {
        let error = Arc::new(Error::OutOfService { failures, last: Box::new(last.clone()) });
        let taken = self.phase.send_if_modified(|phase| {
            let current = matches!(phase, Phase::Ready(current) if current.dispatch.is(&ready.dispatch));
            if current {
                *phase = Phase::Failed { error: Arc::clone(&error), at: Instant::now() };
            }
            current
        });
        if taken {
            self.failures.store(0, Ordering::Relaxed);
            tracing::error!(model = self.name, %error, "model_failed");
        }
    }

    /// A place among the calls that wait or run; given back when dropped.
    ///
    /// # Errors
    /// `Overloaded` at once where none is free.
    pub(super) fn admit(&self) -> Result<SemaphorePermit<'_>, Error> {
        let refused = |_| Error::Overloaded { model: self.name.clone(), limit: self.settings.queue_capacity };
        self.permits.try_acquire().map_err(refused)
    }

    /// Waits until the model has loaded, however often that fails before; asks for no load itself.
    pub(super) async fn loaded(&self) -> Ready {
        let mut phase = self.phase.subscribe();
        match phase.wait_for(|phase| matches!(phase, Phase::Ready(_))).await.as_deref() {
            Ok(Phase::Ready(ready)) => ready.clone(),
            _ => unreachable!("the sender lives as long as `self`, and nothing else satisfies the condition"),
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

//! One model of the engine: loads and reloads it, admits calls, and disables it when it fails on
//! every call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use classifier::{ModelInfo, ModelLoader};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use crate::error::Error;
use crate::health::Health;
use crate::job::{RunOutput, catch_panic};
use crate::pool::Pool;
use crate::reload::Reload;
use crate::request::Priority;
use crate::settings::EngineSettings;
use crate::stats::Counters;

/// Rows of files per worker that may be queued or running. Further rows wait for their turn.
const ROWS_PER_WORKER: usize = 4;

pub(crate) struct ModelSlot {
    pub name: String,
    pub counters: Counters,
    loader: Arc<dyn ModelLoader>,
    settings: EngineSettings,
    phase: Arc<watch::Sender<Phase>>,
    reload: Reload,
    /// One permit for each call that waits or runs.
    calls: Semaphore,
    rows: Semaphore,
    /// When a call last asked for the model.
    last_used: Mutex<Instant>,
    /// Set by a load or a reload until the next call has made room for it.
    just_loaded: Arc<AtomicBool>,
    health: Arc<Health>,
}

#[derive(Clone)]
enum Phase {
    /// Not loaded, with the description of the model if it was.
    Idle(Option<Arc<ModelInfo>>),
    Loading,
    Ready(Ready),
    Failed {
        error: Arc<Error>,
        retry_at: Instant,
    },
}

#[derive(Clone)]
pub(crate) struct Ready {
    pub info: Arc<ModelInfo>,
    pub pool: Arc<Pool>,
}

/// The state of a model.
#[derive(Clone, Debug)]
pub enum State {
    /// Loaded when first used.
    Idle,
    Loading,
    Ready(Arc<ModelInfo>),
    Failed(Arc<Error>),
}

impl ModelSlot {
    pub(crate) fn new(name: String, loader: Arc<dyn ModelLoader>, settings: EngineSettings) -> Self {
        Self {
            name,
            counters: Counters::default(),
            reload: Reload::new(Arc::clone(&loader)),
            loader,
            calls: Semaphore::new(settings.queue_capacity + settings.workers),
            rows: Semaphore::new(ROWS_PER_WORKER * settings.workers),
            settings,
            phase: Arc::new(watch::Sender::new(Phase::Idle(None))),
            last_used: Mutex::new(Instant::now()),
            just_loaded: Arc::default(),
            health: Arc::default(),
        }
    }

    /// Returns the labels that the loader knows before it loads.
    pub(crate) fn labels(&self) -> Option<Vec<Arc<str>>> {
        self.loader.labels()
    }

    /// Starts loading the model, unless it is loading, ready, or failed a moment ago. Must be
    /// called inside a tokio runtime.
    pub(crate) fn start_loading(&self) {
        let starts = self.phase.send_if_modified(|phase| {
            let starts = match phase {
                Phase::Idle(_) => true,
                Phase::Failed { retry_at, .. } => *retry_at <= Instant::now() && !self.health.is_hopeless(),
                Phase::Loading | Phase::Ready(_) => false,
            };
            if starts {
                *phase = Phase::Loading;
            }
            starts
        });
        if !starts {
            return;
        }
        let (name, loader, settings) = (self.name.clone(), Arc::clone(&self.loader), self.settings.clone());
        let (phase, runtime, remember) = (Arc::clone(&self.phase), Handle::current(), self.reload.before_load());
        let just_loaded = Arc::clone(&self.just_loaded);
        let work = move || {
            let _entered = runtime.enter();
            remember();
            let loaded = load(&name, &*loader, &settings);
            just_loaded.store(loaded.is_ok(), Ordering::Relaxed);
            phase.send_replace(loaded.map_or_else(|error| failed(error, &settings), Phase::Ready));
        };
        // Never joined, because a process that is asked to exit must not wait for a load.
        if let Err(error) = thread::Builder::new().name("load".into()).spawn(work) {
            self.phase.send_replace(failed(Error::no_thread(&error), &self.settings));
        }
    }

    /// Loads the model again if its files have changed. The old one answers until the new one can.
    fn start_reloading(&self) {
        let is_due = match &*self.phase.borrow() {
            Phase::Ready(_) => true,
            // Only other files can help.
            Phase::Failed { .. } => self.health.is_hopeless(),
            Phase::Idle(_) | Phase::Loading => false,
        };
        if !is_due {
            return;
        }
        let (name, loader, settings) = (self.name.clone(), Arc::clone(&self.loader), self.settings.clone());
        let (health, just_loaded) = (Arc::clone(&self.health), Arc::clone(&self.just_loaded));
        let phase = Arc::clone(&self.phase);
        let load = move || load(&name, &*loader, &settings);
        self.reload.look(load, move |ready| {
            phase.send_if_modified(|phase| {
                let takes_over = matches!(phase, Phase::Ready(_) | Phase::Failed { .. });
                if takes_over {
                    health.reset();
                    just_loaded.store(true, Ordering::Relaxed);
                    *phase = Phase::Ready(ready);
                }
                takes_over
            });
        });
    }

    /// Returns why the changed files of a model are not used, if they are not.
    pub(crate) fn reload_error(&self) -> Option<Arc<Error>> {
        self.reload.error()
    }

    /// Returns whether the model was loaded since the last time that this was asked.
    pub(crate) fn was_just_loaded(&self) -> bool {
        self.just_loaded.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn last_used(&self) -> Instant {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the model is loaded, and no call or row waits for it or runs.
    pub(crate) fn can_be_unloaded(&self) -> bool {
        let EngineSettings { queue_capacity, workers, .. } = self.settings;
        matches!(&*self.phase.borrow(), Phase::Ready(_))
            && self.calls.available_permits() == queue_capacity + workers
            && self.rows.available_permits() == ROWS_PER_WORKER * workers
    }

    /// Ends the model's sessions. The next call loads it again.
    pub(crate) fn unload(&self) {
        let is_unloaded = self.phase.send_if_modified(|phase| {
            let Phase::Ready(ready) = phase else { return false };
            *phase = Phase::Idle(Some(Arc::clone(&ready.info)));
            true
        });
        if is_unloaded {
            tracing::info!(model = self.name, "model_unloaded");
        }
    }

    /// Waits until the model can be used. Reloads it first if it failed.
    ///
    /// # Errors
    /// `ModelFailed` with the reason.
    pub(crate) async fn ready(&self) -> Result<Ready, Error> {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.start_reloading();
        let settled = |phase: &Phase| match phase {
            Phase::Ready(ready) => Some(Some(Ok(ready.clone()))),
            Phase::Failed { error, .. } => {
                Some(Some(Err(Error::ModelFailed { model: self.name.clone(), cause: Arc::clone(error) })))
            }
            // It was unloaded a moment ago.
            Phase::Idle(_) => Some(None),
            Phase::Loading => None,
        };
        loop {
            self.start_loading();
            if let Some(settled) = self.wait(settled).await {
                return settled;
            }
        }
    }

    /// Waits until the model has loaded, without triggering a load, through any number of failures.
    pub(crate) async fn loaded(&self) -> Ready {
        self.wait(|phase| if let Phase::Ready(ready) = phase { Some(ready.clone()) } else { None }).await
    }

    async fn wait<T>(&self, wanted: impl Fn(&Phase) -> Option<T>) -> T {
        let mut phase = self.phase.subscribe();
        loop {
            if let Some(found) = wanted(&phase.borrow_and_update()) {
                return found;
            }
            phase.changed().await.expect("`self` owns the sender");
        }
    }

    pub(crate) fn state(&self) -> State {
        match &*self.phase.borrow() {
            Phase::Idle(_) => State::Idle,
            Phase::Loading => State::Loading,
            Phase::Ready(ready) => State::Ready(Arc::clone(&ready.info)),
            Phase::Failed { error, .. } => State::Failed(Arc::clone(error)),
        }
    }

    /// Returns the description of the model that answered last, unless it failed.
    pub(crate) fn last_info(&self) -> Option<Arc<ModelInfo>> {
        match &*self.phase.borrow() {
            Phase::Ready(ready) => Some(Arc::clone(&ready.info)),
            Phase::Idle(last) => last.clone(),
            Phase::Loading | Phase::Failed { .. } => None,
        }
    }

    /// Acquires a permit to wait or run; dropping it releases the place. A row waits for its
    /// permit.
    ///
    /// # Errors
    /// `Overloaded` at once if no place is free for a call.
    pub(crate) async fn admit(&self, priority: Priority) -> Result<SemaphorePermit<'_>, Error> {
        let permit = match priority {
            Priority::Interactive | Priority::Batch => self.calls.try_acquire().ok(),
            Priority::Background => self.rows.acquire().await.ok(),
        };
        let limit = self.settings.queue_capacity;
        permit.ok_or_else(|| Error::Overloaded { model: self.name.clone(), limit })
    }

    /// Disables the model if it is stuck or failed on many calls in a row.
    pub(crate) fn observe(&self, ready: &Ready, priority: Priority, outcome: &Result<RunOutput, Error>) {
        let Some(error) = self.health.observe(priority, outcome) else { return };
        let taken = self.phase.send_if_modified(|phase| {
            let is_current = matches!(phase, Phase::Ready(current) if Arc::ptr_eq(&current.pool, &ready.pool));
            if is_current {
                *phase = failed(error.clone(), &self.settings);
            }
            is_current
        });
        if taken {
            self.health.disabled(&error);
            tracing::error!(model = self.name, %error, "model_failed");
        }
    }
}

fn load(name: &str, loader: &dyn ModelLoader, settings: &EngineSettings) -> Result<Ready, Error> {
    let started = std::time::Instant::now();
    let loaded = catch_panic(|| loader.load());
    let load_ms = started.elapsed().as_millis() as u64;
    let crashed = |message| Err(Error::LoadPanicked { model: name.to_owned(), message });
    let loaded = loaded.map_or_else(crashed, |loaded| loaded.map_err(Error::from));
    // The calls that wait for the model report the error.
    let loaded = loaded.inspect_err(|error| tracing::info!(model = name, load_ms, %error, "model_failed"))?;
    tracing::info!(model = name, load_ms, graph = loaded.info.graph.file, "model_loaded");
    (settings.hooks.after_load)();
    let (pool, info) = Pool::new(name, loaded, settings.workers, settings.hooks);
    Ok(Ready { info: Arc::new(info), pool: Arc::new(pool) })
}

fn failed(error: Error, settings: &EngineSettings) -> Phase {
    Phase::Failed { error: Arc::new(error), retry_at: Instant::now() + settings.retry_after }
}

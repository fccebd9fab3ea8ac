//! Where a run takes place: for a call alone on several threads at once, on the runtime's own thread where it is short; for
//! many calls on a worker each; for nobody in particular on workers that give way to everything else.
//!
//! What is short rests on how long runs of about this size took before, so it fits any model and machine.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use crate::engine::EngineSettings;
use crate::engine::durations::Durations;
use crate::engine::workers::{Limits, Make, Ran, Replica, Workers, execute};
use crate::error::Error;
use crate::model::{Cancellation, Model, ReplicaFactory};
use crate::prediction::Input;

/// Whether somebody waits for the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// A person or an assistant does.
    #[default]
    Interactive,
    /// One of them does, for many texts: a call of one text goes first.
    Batch,
    /// Rows of a file, texts to precompute: only the time that nobody else wants, on replicas of their own.
    Background,
}

/// So many calls with others beside them, and none alone in between, are worth workers of their own, which take 20 ms to make and
/// 5 MB each. Fewer are answered sooner one after the other, each on all threads (docs/performance.md).
const CROWD: usize = 32;

/// Calls of one conversation come closer together than this.
const BURST: Duration = Duration::from_secs(10);
/// Rows of one file come much closer together than this.
const PAUSE: Duration = Duration::from_secs(1);

/// The ways to one model, which live as long as the process.
#[derive(Clone)]
pub(super) struct Dispatch(Arc<Inner>);

struct Inner {
    model: String,
    /// Longest run that may hold up the runtime's thread.
    inline_below: Duration,
    /// The replica that is always there, which computes on as many threads as there may be workers; used by the steady worker
    /// and on the runtime's thread.
    first: Replica,
    steady: Workers,
    /// Workers with a replica of one thread each; absent where there is one processor to use, or each replica would be a copy of
    /// all weights.
    crowd: Option<Workers>,
    /// Absent where each replica would be a copy of all weights: then rows take turns with calls.
    background: Option<Workers>,
    /// Interactive calls that wait or run.
    in_flight: AtomicUsize,
    /// Calls since the last one that was alone.
    together: AtomicUsize,
    idle: tokio::sync::Notify,
    /// Of the first replica.
    durations: Durations,
}

impl Dispatch {
    /// `cheap` says that a further replica takes little memory.
    pub(super) fn new(
        model: &str,
        first: Box<dyn Model>,
        replicas: Box<dyn ReplicaFactory>,
        cheap: bool,
        settings: &EngineSettings,
    ) -> Self {
        let replicas: Arc<dyn ReplicaFactory> = Arc::from(replicas);
        let make = |threads: usize| -> Make {
            let replicas = Arc::clone(&replicas);
            Arc::new(move || replicas.replica(threads).map_err(Error::from))
        };
        let limits = |workers, background, ends_after| Limits {
            workers,
            queue_capacity: settings.queue_capacity,
            background,
            ends_after,
        };
        let count = settings.workers;
        let first: Replica = Arc::new(Mutex::new(Some(first)));
        let steady = Workers::new(model, limits(1, false, None), make(count));
        steady.add(Some(Arc::clone(&first)));
        let crowd = (cheap && count > 1).then(|| Workers::new(model, limits(count, false, Some(BURST)), make(1)));
        let background = cheap.then(|| Workers::new(model, limits(count, true, Some(PAUSE)), make(1)));
        Self(Arc::new(Inner {
            model: model.to_owned(),
            inline_below: settings.inline_below,
            first,
            steady,
            crowd,
            background,
            in_flight: AtomicUsize::new(0),
            together: AtomicUsize::new(0),
            idle: tokio::sync::Notify::new(),
            durations: Durations::default(),
        }))
    }

    /// Runs the model for one caller. Dropping the future ends a run on a worker; one on this thread is over by then.
    ///
    /// # Errors
    /// `Overloaded` where too many wait, and whatever the run gives.
    pub(super) async fn run(&self, input: Arc<Input>, lane: Lane) -> Result<Ran, Error> {
        let inner = &*self.0;
        if lane == Lane::Background {
            return inner.background.as_ref().unwrap_or(&inner.steady).run(input, lane).await;
        }
        let _counted = InFlight::enter(inner);
        let alone = inner.alone().await;
        let together = if alone { 0 } else { 1 + inner.together.load(Ordering::Relaxed) };
        inner.together.store(together, Ordering::Relaxed);
        // By a run that was given up and does not end: inside one step of a graph nothing can be stopped.
        let taken = alone && inner.steady.busy();
        if let Some(crowd) = inner.crowd.as_ref().filter(|_| !alone || taken) {
            if taken || crowd.ready() {
                return crowd.run(input, lane).await;
            }
            if together >= CROWD {
                // For those that come later: this one would wait longer for it than it gains.
                crowd.add(None);
            }
        }
        let short = alone && inner.durations.expected(&input).is_some_and(|expected| expected < inner.inline_below);
        let ran = match short.then(|| inner.here(&input)).flatten() {
            Some(ran) => ran,
            None => inner.steady.run(Arc::clone(&input), lane).await,
        }?;
        inner.durations.learn(&input, ran.timing.inference);
        Ok(ran)
    }

    /// Whether both are of one load of the model.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Completes when no interactive call waits or runs.
    pub(super) async fn idle(&self) {
        while self.0.in_flight.load(Ordering::SeqCst) > 0 {
            self.0.idle.notified().await;
        }
    }
}

impl Inner {
    /// Whether this is the only call there is, those included that have arrived but were not looked at yet.
    async fn alone(&self) -> bool {
        let alone = || self.in_flight.load(Ordering::SeqCst) == 1;
        if alone() {
            tokio::task::yield_now().await;
        }
        alone()
    }

    /// Two wake-ups of a sleeping thread, of 60 µs each on a virtual machine, are saved by not handing over. `None` where
    /// the replica is gone, still at a run that was just cancelled, or not to be trusted with it.
    ///
    /// Nobody can cancel a run that holds up everybody, but how much longer than expected it takes is bounded: texts of one
    /// magnitude in bytes differ in tokens by a small factor, and the model's own limit cuts them all.
    fn here(&self, input: &Input) -> Option<Result<Ran, Error>> {
        let mut replica = match self.first.try_lock() {
            Ok(replica) => replica,
            Err(TryLockError::Poisoned(replica)) => replica.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let bounded = replica.as_ref().is_some_and(|replica| replica.bounded());
        bounded.then(|| execute(&self.model, &mut replica, &Cancellation::default(), input, Duration::ZERO))
    }
}

/// One interactive call.
struct InFlight<'a>(&'a Inner);

impl<'a> InFlight<'a> {
    fn enter(inner: &'a Inner) -> Self {
        inner.in_flight.fetch_add(1, Ordering::SeqCst);
        Self(inner)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.idle.notify_one();
        }
    }
}

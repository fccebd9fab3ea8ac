//! Threads that run a model, and the one bounded queue in front of them.
//!
//! Plain threads, not the runtime's blocking pool: they can be given a low priority, and they wait without spinning. Which
//! calls come here is `dispatch`'s business.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::model::Model;
use crate::prediction::{Input, Prediction};

/// One run of the model, and what it took.
pub(super) struct Ran {
    pub prediction: Prediction,
    pub timing: Timing,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Timing {
    pub queued: Duration,
    pub inference: Duration,
}

/// A replica, locked only by the thread that runs it.
pub(super) type Replica = Arc<Mutex<Box<dyn Model>>>;

/// Makes the replica of a further worker.
pub(super) type Make = Arc<dyn Fn() -> Result<Replica, Error> + Send + Sync>;

/// After so long without work, memory that long texts took is given back.
const IDLE: Duration = Duration::from_secs(10);

struct Job {
    input: Arc<Input>,
    queued_at: Instant,
    reply: oneshot::Sender<Result<Ran, Error>>,
}

/// What a group of workers is like.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub workers: usize,
    /// Texts that may wait.
    pub queue_capacity: usize,
    /// Whether they only get the time that nobody else wants.
    pub background: bool,
    /// Workers that were made for a burst end after so long without work, and their memory goes with them.
    pub ends_after: Option<Duration>,
}

/// A queue and its workers, which are made as texts wait for them.
#[derive(Clone)]
pub(super) struct Workers {
    model: String,
    limits: Limits,
    sender: Sender<Job>,
    receiver: Receiver<Job>,
    make: Make,
    workers: Arc<AtomicUsize>,
    /// Jobs that wait or run.
    unanswered: Arc<AtomicUsize>,
}

impl Workers {
    pub(super) fn new(model: &str, limits: Limits, make: Make) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(limits.queue_capacity);
        Self {
            model: model.to_owned(),
            limits,
            sender,
            receiver,
            make,
            workers: Arc::default(),
            unanswered: Arc::default(),
        }
    }

    /// Waits for a worker and for its answer. A job whose future was dropped is passed over when its turn comes.
    pub(super) async fn run(&self, input: Arc<Input>) -> Result<Ran, Error> {
        let (reply, answer) = oneshot::channel();
        let unanswered = 1 + self.unanswered.fetch_add(1, Ordering::SeqCst);
        let sent = self.sender.try_send(Job { input, queued_at: Instant::now(), reply });
        if let Err(error) = sent {
            self.unanswered.fetch_sub(1, Ordering::SeqCst);
            return Err(match error {
                TrySendError::Full(_) => {
                    Error::Overloaded { model: self.model.clone(), limit: self.limits.queue_capacity }
                }
                TrySendError::Disconnected(_) => self.gone(),
            });
        }
        if unanswered > self.workers.load(Ordering::SeqCst) {
            self.add(None);
        }
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    /// Whether there is a worker at all.
    pub(super) fn ready(&self) -> bool {
        self.workers.load(Ordering::SeqCst) > 0
    }

    /// Starts a worker, unless there are as many as there may be; without a replica it makes its own, and answers the
    /// waiting texts with what went wrong where nobody else could.
    pub(super) fn add(&self, replica: Option<Replica>) {
        let more = |workers| (workers < self.limits.workers).then_some(workers + 1);
        if self.workers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_err() {
            return;
        }
        let lane = self.clone();
        let keeps = replica.is_some();
        let spawned = thread::Builder::new().name("inference".into()).spawn(move || {
            if lane.limits.background {
                yield_to_all_others();
            }
            let made = replica.map_or_else(
                || {
                    catch_unwind(AssertUnwindSafe(&*lane.make))
                        .unwrap_or_else(|panic| Err(crashed(&lane.model, &*panic)))
                },
                Ok,
            );
            match made {
                Ok(replica) => lane.work(&replica, lane.limits.ends_after.filter(|_| !keeps)),
                Err(error) => lane.fail(&error),
            }
        });
        if let Err(error) = spawned {
            self.fail(&Error::Thread { message: error.to_string() });
        }
    }

    fn work(&self, replica: &Replica, ends_after: Option<Duration>) {
        // Whether the replica ran since it was trimmed; an idle worker sets no timers.
        let mut swollen = false;
        loop {
            let job = match ends_after {
                Some(idle) => self.receiver.recv_timeout(idle).ok().or_else(|| self.last_job()),
                None if swollen => self.receiver.recv_timeout(IDLE).ok().or_else(|| {
                    replica.lock().unwrap_or_else(PoisonError::into_inner).trim();
                    self.receiver.recv().ok()
                }),
                None => self.receiver.recv().ok(),
            };
            let Some(Job { input, queued_at, reply }) = job else { return };
            if !reply.is_closed() {
                let outcome = execute(&self.model, replica, &input, queued_at.elapsed());
                swollen = true;
                // An error here only says that the caller has gone.
                let _ = reply.send(outcome);
            }
            self.unanswered.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Takes this worker off the count; it stays for one job more if that came before it was off.
    fn last_job(&self) -> Option<Job> {
        self.workers.fetch_sub(1, Ordering::SeqCst);
        // Whoever sends a job after this finds the worker gone, and asks for another.
        let job = self.receiver.try_recv().ok();
        self.workers.fetch_add(usize::from(job.is_some()), Ordering::SeqCst);
        job
    }

    fn fail(&self, error: &Error) {
        tracing::warn!(model = self.model, %error, "a further worker could not be made");
        if self.workers.fetch_sub(1, Ordering::SeqCst) == 1 {
            while let Ok(job) = self.receiver.try_recv() {
                self.unanswered.fetch_sub(1, Ordering::SeqCst);
                let _ = job.reply.send(Err(error.clone()));
            }
        }
    }

    fn gone(&self) -> Error {
        Error::Panicked { model: self.model.clone(), message: "its worker has ended".into() }
    }
}

/// Runs the model on this thread.
pub(super) fn execute(model: &str, replica: &Replica, input: &Input, queued: Duration) -> Result<Ran, Error> {
    let mut replica = replica.lock().unwrap_or_else(PoisonError::into_inner);
    let started = Instant::now();
    // A replica is only ever seen between runs, so a run that ended early leaves nothing half-done for the next.
    let outcome = catch_unwind(AssertUnwindSafe(|| replica.predict(input)))
        .unwrap_or_else(|panic| Err(Error::Panicked { model: model.to_owned(), message: panic_message(&*panic) }));
    let timing = Timing { queued, inference: started.elapsed() };
    outcome.map(|prediction| Ran { prediction, timing })
}

/// The lowest priority that there is, for this thread alone.
fn yield_to_all_others() {
    // Elsewhere the call would slow down the whole process.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 19);
}

pub(super) fn crashed(model: &str, panic: &(dyn Any + Send)) -> Error {
    Error::LoadPanicked { model: model.to_owned(), message: panic_message(panic) }
}

/// What a panic said, where it said anything.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}

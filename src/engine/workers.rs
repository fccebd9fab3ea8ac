//! Threads that own a model replica each, and the one bounded queue in front of them.
//!
//! Plain threads, not the runtime's blocking pool: a session should always be used from one place, and the pool may hand
//! out any. They wait in the queue without spinning.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
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

struct Job {
    input: Arc<Input>,
    queued_at: Instant,
    reply: oneshot::Sender<Result<Ran, Error>>,
}

/// The way to a model's workers, which live as long as the process.
#[derive(Clone)]
pub(super) struct Queue {
    model: String,
    capacity: usize,
    sender: Sender<Job>,
    receiver: Receiver<Job>,
}

impl Queue {
    /// A queue without workers yet.
    pub(super) fn new(model: &str, capacity: usize) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(capacity);
        Self { model: model.to_owned(), capacity, sender, receiver }
    }

    /// Starts a thread that owns the replica.
    pub(super) fn add_worker(&self, replica: Box<dyn Model>) -> Result<(), Error> {
        let (model, receiver) = (self.model.clone(), self.receiver.clone());
        thread::Builder::new()
            .name("inference".into())
            .spawn(move || work(&model, replica, &receiver))
            .map(|_| ())
            .map_err(|error| Error::Thread { message: error.to_string() })
    }

    /// Waits for a worker and for its answer. A job whose future was dropped is passed over when its turn comes.
    pub(super) async fn run(&self, input: Arc<Input>) -> Result<Ran, Error> {
        let (reply, answer) = oneshot::channel();
        self.sender.try_send(Job { input, queued_at: Instant::now(), reply }).map_err(|error| match error {
            TrySendError::Full(_) => Error::Overloaded { model: self.model.clone(), limit: self.capacity },
            TrySendError::Disconnected(_) => self.gone(),
        })?;
        answer.await.unwrap_or_else(|_| Err(self.gone()))
    }

    fn gone(&self) -> Error {
        Error::Panicked { model: self.model.clone(), message: "its worker has ended".into() }
    }
}

fn work(model: &str, mut replica: Box<dyn Model>, queue: &Receiver<Job>) {
    while let Ok(Job { input, queued_at, reply }) = queue.recv() {
        if reply.is_closed() {
            continue;
        }
        let queued = queued_at.elapsed();
        let started = Instant::now();
        // A replica is only ever seen between runs, so a run that ended early leaves nothing half-done for the next.
        let outcome = catch_unwind(AssertUnwindSafe(|| replica.predict(&input))).unwrap_or_else(|panic| {
            let message = panic_message(&*panic);
            Err(Error::Panicked { model: model.to_owned(), message })
        });
        let timing = Timing { queued, inference: started.elapsed() };
        // An error here only says that the caller has gone.
        let _ = reply.send(outcome.map(|prediction| Ran { prediction, timing }));
    }
}

/// What a panic said, where it said anything.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}

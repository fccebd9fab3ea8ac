//! One job: an input for a session, and its outcome.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use classifier::{Cancellation, Input, Model, Prediction};
use tokio::sync::oneshot;

use crate::error::Error;

pub(crate) struct RunOutput {
    pub prediction: Prediction,
    pub timing: Timing,
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Timing {
    /// Time in the queue.
    pub queued: Duration,
    /// Time in the model, tokenization included.
    pub inference: Duration,
}

pub(crate) struct Job {
    input: Arc<Input>,
    cancellation: Cancellation,
    pub cancelled_at: CancelledAt,
    queued_at: Instant,
    pub reply: oneshot::Sender<Result<RunOutput, Error>>,
}

/// Uses tokio's clock, which tests can advance.
pub(crate) type CancelledAt = Arc<OnceLock<tokio::time::Instant>>;

/// Cancels the job when dropped by its caller.
pub(crate) struct CancelOnDrop(Cancellation, CancelledAt);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let _ = self.1.set(tokio::time::Instant::now());
        self.0.cancel();
    }
}

impl Job {
    pub(crate) fn new(input: Arc<Input>) -> (Self, oneshot::Receiver<Result<RunOutput, Error>>, CancelOnDrop) {
        let (reply, answer) = oneshot::channel();
        let (cancellation, cancelled_at) = (Cancellation::default(), CancelledAt::default());
        let cancel = CancelOnDrop(cancellation.clone(), Arc::clone(&cancelled_at));
        (Self { input, cancellation, cancelled_at, queued_at: Instant::now(), reply }, answer, cancel)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancellation.is_cancelled()
    }

    /// Runs the job. A session that panics is dropped, since its state is unknown.
    pub(crate) fn run(
        &self,
        name: &str,
        mut model: Box<dyn Model>,
    ) -> (Option<Box<dyn Model>>, Result<RunOutput, Error>) {
        let (queued, started) = (self.queued_at.elapsed(), Instant::now());
        let run = catch_panic(|| {
            let outcome = model.predict(&self.input, &self.cancellation);
            (model, outcome)
        });
        let timing = Timing { queued, inference: started.elapsed() };
        match run {
            Ok((model, outcome)) => {
                (Some(model), outcome.map(|prediction| RunOutput { prediction, timing }).map_err(Error::from))
            }
            Err(message) => (None, Err(Error::Panicked { model: name.to_owned(), message })),
        }
    }
}

/// Calls `work`; returns the message if it panics.
pub(crate) fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
    })
}

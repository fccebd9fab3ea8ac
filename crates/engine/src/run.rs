//! One run of a model: the job that asks for it, its outcome, and what a panic in it costs.
//!
//! Queues, threads and the choice of a session are in `group`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use classifier::prediction::{Input, Prediction};
use classifier::{Cancellation, Model};
use tokio::sync::oneshot;

use crate::error::Error;

/// The result of one run, and how long it took.
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

/// A text on its way to a session.
pub(crate) struct Job {
    pub input: Arc<Input>,
    cancellation: Cancellation,
    abandoned: Abandoned,
    queued_at: Instant,
    reply: oneshot::Sender<Result<RunOutput, Error>>,
}

/// When the caller went away. The clock is tokio's, so that tests can move it.
pub(crate) type Abandoned = Arc<OnceLock<tokio::time::Instant>>;

/// The caller's side of a job. Dropping it cancels the job.
pub(crate) struct Caller {
    cancellation: Cancellation,
    abandoned: Abandoned,
    answer: oneshot::Receiver<Result<RunOutput, Error>>,
}

impl Job {
    pub(crate) fn new(input: Arc<Input>) -> (Self, Caller) {
        let (reply, answer) = oneshot::channel();
        let (cancellation, abandoned) = (Cancellation::default(), Abandoned::default());
        let caller = Caller { cancellation: cancellation.clone(), abandoned: Arc::clone(&abandoned), answer };
        (Self { input, cancellation, abandoned, queued_at: Instant::now(), reply }, caller)
    }

    /// Returns whether the caller still waits.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }

    pub(crate) fn abandoned(&self) -> Abandoned {
        Arc::clone(&self.abandoned)
    }

    pub(crate) fn reply(self, outcome: Result<RunOutput, Error>) {
        // Fails only where the caller has gone.
        let _ = self.reply.send(outcome);
    }

    /// Runs the job. A model that panics is dropped, since its state is unknown.
    pub(crate) fn run(
        &self,
        name: &str,
        mut model: Box<dyn Model>,
    ) -> (Option<Box<dyn Model>>, Result<RunOutput, Error>) {
        let (queued, started) = (self.queued_at.elapsed(), Instant::now());
        let run = catch_unwind(AssertUnwindSafe(|| {
            let outcome = model.predict(&self.input, &self.cancellation);
            (model, outcome)
        }));
        let timing = Timing { queued, inference: started.elapsed() };
        match run {
            Ok((model, outcome)) => {
                let outcome = outcome.map(|prediction| RunOutput { prediction, timing });
                (Some(model), outcome.map_err(Error::from))
            }
            Err(panic) => {
                let message = panic_message(&*panic);
                (None, Err(Error::Panicked { model: name.to_owned(), message }))
            }
        }
    }
}

impl Caller {
    /// Waits for the answer; `None` if the job was dropped unanswered.
    pub(crate) async fn answer(mut self) -> Option<Result<RunOutput, Error>> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let _ = self.abandoned.set(tokio::time::Instant::now());
        self.cancellation.cancel();
    }
}

/// Calls `work` and turns a panic into `LoadPanicked`.
pub(crate) fn load_unwinding<T>(name: &str, work: impl FnOnce() -> Result<T, classifier::Error>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(loaded) => loaded.map_err(Error::from),
        Err(panic) => {
            let message = panic_message(&*panic);
            Err(Error::LoadPanicked { model: name.to_owned(), message })
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}

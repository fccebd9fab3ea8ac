//! Fine-tuning in the background of a session, after a round of labels.
//!
//! One model at a time, at a low priority. It ends when labels come, and starts again after them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use classifier::Cancellation;
use engine::Engine;
use tables::PathPolicy;
use teaching::{Error, Teacher, Watch};

use crate::process;

/// The fine-tuning of a session.
#[derive(Default)]
pub(super) struct FineTuning {
    /// Cancels the last one that was started.
    last: Mutex<Cancellation>,
    /// Held by the one that runs, since each takes some hundred megabytes.
    running: Arc<Mutex<()>>,
}

impl FineTuning {
    /// Ends what runs, within a second.
    pub(super) fn stop(&self) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }

    /// Fine-tunes a model that was just taught, and serves it if that is clearly better. An audit
    /// that states something about the model keeps it as it is.
    pub(super) fn start(&self, name: String, teacher: Arc<Teacher>, engine: Arc<Engine>, paths: PathPolicy) {
        let cancellation = Cancellation::default();
        let before =
            std::mem::replace(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner), cancellation.clone());
        before.cancel();
        let running = Arc::clone(&self.running);
        let work = move || {
            let _running = running.lock().unwrap_or_else(PoisonError::into_inner);
            (process::engine_hooks().on_background_thread)();
            let watch = Watch { cancellation: &cancellation, report: &|_| {} };
            let tuned = catch_unwind(AssertUnwindSafe(|| teacher.fine_tune(&name, true, &paths, &watch)));
            match tuned {
                Ok(Ok(tuning)) => {
                    tracing::info!(model = name, ?tuning, "fine_tuned");
                    if tuning.is_new {
                        engine.add_model(name.clone(), teacher.loader(&name));
                    }
                }
                // The model is as it was.
                Ok(Err(
                    Error::Cancelled
                    | Error::TooFewToTune { .. }
                    | Error::TaughtMeanwhile { .. }
                    | Error::Audited { .. },
                )) => {}
                Ok(Err(error)) => tracing::warn!(model = name, %error, "fine_tuning_failed"),
                Err(_) => tracing::error!(model = name, "fine_tuning_crashed"),
            }
        };
        if let Err(error) = thread::Builder::new().name("fine-tune".into()).spawn(work) {
            tracing::warn!(%error, "fine_tuning_failed");
        }
    }
}

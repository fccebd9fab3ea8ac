//! Counts the failures of a model, and decides when to disable it.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Kind};
use crate::job::RunOutput;
use crate::request::Priority;

/// After this many failures in a row the fault is the model's, and it is loaded again.
const MAX_FAILURES: u32 = 10;
/// A stuck model is reloaded at most this many times, because each stuck run keeps one processor
/// busy until the process ends.
const MAX_STUCK: u32 = 3;

#[derive(Default)]
pub(crate) struct Health {
    /// Failed calls in a row.
    failures: AtomicU32,
    /// The number of times that the model got stuck.
    stuck: AtomicU32,
}

impl Health {
    /// Returns whether the model got stuck too often to be loaded again.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.stuck.load(Ordering::Relaxed) > MAX_STUCK
    }

    /// Forgets everything, for other files of the model.
    pub(crate) fn reset(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.stuck.store(0, Ordering::Relaxed);
    }

    /// Counts the outcome of a call. Returns an error if the model is to be disabled with it.
    pub(crate) fn observe(&self, priority: Priority, outcome: &Result<RunOutput, Error>) -> Option<Error> {
        match outcome {
            Ok(_) => {
                self.failures.store(0, Ordering::Relaxed);
                None
            }
            Err(error @ Error::Stuck { .. }) => Some(error.clone()),
            // Rows are many and similar, and each reports its own error.
            Err(error) if priority != Priority::Background && matches!(error.kind(), Kind::Internal | Kind::Model) => {
                let failures = 1 + self.failures.fetch_add(1, Ordering::Relaxed);
                (failures >= MAX_FAILURES).then(|| Error::OutOfService { failures, last: Box::new(error.clone()) })
            }
            Err(_) => None,
        }
    }

    /// Notes that the model was disabled with this error.
    pub(crate) fn disabled(&self, error: &Error) {
        self.failures.store(0, Ordering::Relaxed);
        self.stuck.fetch_add(u32::from(matches!(error, Error::Stuck { .. })), Ordering::Relaxed);
    }
}

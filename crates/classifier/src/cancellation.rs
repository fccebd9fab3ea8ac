//! Cancelling a run from another thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by the thread that runs a model and the one that may cancel the run.
#[derive(Clone, Default)]
pub struct Cancellation(Arc<Inner>);

#[derive(Default)]
struct Inner {
    cancelled: AtomicBool,
    /// Interrupts the work in progress.
    interrupt: Mutex<Option<Interrupt>>,
}

type Interrupt = Box<dyn Fn() + Send>;

impl Cancellation {
    /// Ends the run as soon as possible. Does nothing to a run that has ended.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        if let Some(interrupt) = &*self.interrupt() {
            interrupt();
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Runs `work`. Cancelling calls `interrupt`, which must make `work` return early.
    pub fn interrupting<T>(&self, interrupt: impl Fn() + Send + 'static, work: impl FnOnce() -> T) -> T {
        *self.interrupt() = Some(Box::new(interrupt));
        // The cancellation may have come before the interrupt was set.
        if self.is_cancelled() {
            self.cancel();
        }
        let result = work();
        *self.interrupt() = None;
        result
    }

    /// Returns a guard that cancels when it is dropped.
    pub fn on_drop(&self) -> impl Drop + use<> {
        struct OnDrop(Cancellation);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                self.0.cancel();
            }
        }
        OnDrop(self.clone())
    }

    fn interrupt(&self) -> MutexGuard<'_, Option<Interrupt>> {
        self.0.interrupt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

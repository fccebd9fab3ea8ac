//! The end of a run that nobody waits for any more, asked for from another thread.

use std::sync::PoisonError;
use std::{
    sync::atomic::{AtomicBool, Ordering},
    sync::{Arc, Mutex, MutexGuard},
};

/// One run's, shared by whoever runs it and whoever may withdraw it.
#[derive(Clone, Default)]
pub struct Cancellation(Arc<Inner>);

#[derive(Default)]
struct Inner {
    cancelled: AtomicBool,
    /// Interrupts what is being waited for at the moment.
    interrupt: Mutex<Option<Interrupt>>,
}

type Interrupt = Box<dyn Fn() + Send>;

impl Cancellation {
    /// Ends the run as soon as it can be ended; does nothing to one that has ended.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        if let Some(interrupt) = &*self.interrupt() {
            interrupt();
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Does `work`, which `interrupt` has return early when it is called from another thread.
    pub fn interrupting<T>(&self, interrupt: impl Fn() + Send + 'static, work: impl FnOnce() -> T) -> T {
        *self.interrupt() = Some(Box::new(interrupt));
        // It may have come before anybody could be told.
        if self.is_cancelled() {
            self.cancel();
        }
        let done = work();
        *self.interrupt() = None;
        done
    }

    /// Cancels when it is dropped.
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

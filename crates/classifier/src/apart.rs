//! Work that nothing can interrupt, on a thread of its own, which whoever waits for it may leave.
//!
//! What the work is, is `pipeline`'s: making tokens of long texts, and of any text with a tokenizer's own patterns. `loom/` goes
//! through the orders in which the steps here can happen.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::PoisonError;
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

use crate::Cancellation;
use crate::error::Error;

/// Threads that were left and have not come to their end. Each may hold the memory of the largest text, 150 MB.
const MOST_LEFT: usize = 2;

#[derive(Clone, Default)]
pub(super) struct Apart {
    left: Arc<AtomicUsize>,
}

/// What the thread and whoever waits for it share.
struct Meeting<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

enum State<T> {
    Working,
    Done(std::thread::Result<T>),
    Left,
}

impl<T> Meeting<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Apart {
    /// Threads that were left and still work.
    pub(super) fn left(&self) -> usize {
        self.left.load(Ordering::SeqCst)
    }

    /// Does `work`, and waits for it until it is done or cancelled; cancelled work comes to its end unseen.
    ///
    /// # Errors
    /// `Cancelled`; `StillBusy` where too much was left; `Thread`.
    pub(super) fn run<T: Send + 'static>(
        &self,
        model: &str,
        cancellation: &Cancellation,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        if cancellation.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let left = self.left();
        if left >= MOST_LEFT {
            return Err(Error::StillBusy { model: model.to_owned(), left });
        }
        let meeting = Arc::new(Meeting { state: Mutex::new(State::Working), changed: Condvar::new() });
        let (ours, theirs) = (self.clone(), Arc::clone(&meeting));
        let thread = move || {
            let done = catch_unwind(AssertUnwindSafe(work));
            let mut state = theirs.state();
            if matches!(*state, State::Left) {
                ours.left.fetch_sub(1, Ordering::SeqCst);
            } else {
                *state = State::Done(done);
                theirs.changed.notify_one();
            }
        };
        thread::Builder::new()
            .name("tokens".into())
            .spawn(thread)
            .map_err(|error| Error::Thread { message: error.to_string() })?;
        let (ours, theirs) = (self.clone(), Arc::clone(&meeting));
        let leave = move || {
            let mut state = theirs.state();
            let more = |left| (left < MOST_LEFT).then_some(left + 1);
            // Where there is no room for another, whoever waits waits for the end.
            if matches!(*state, State::Working)
                && ours.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
            {
                *state = State::Left;
                theirs.changed.notify_one();
            }
        };
        let outcome = cancellation.interrupting(leave, || {
            let mut state = meeting.state();
            while matches!(*state, State::Working) {
                state = meeting.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::replace(&mut *state, State::Left)
        });
        match outcome {
            State::Done(Ok(done)) => Ok(done),
            State::Done(Err(panic)) => resume_unwind(panic),
            State::Working | State::Left => Err(Error::Cancelled),
        }
    }
}

//! Notices that a model's files have changed, and loads them again.
//!
//! The new model is loaded while the old one answers, and takes over once it has run. If it cannot
//! be used, the old one goes on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use classifier::{ModelLoader, Version};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::error::Error;

/// Calls look for a change at most this often. Each look reads a dozen directory entries.
const INTERVAL: Duration = Duration::from_secs(1);
/// A load can fail for other reasons than its files, such as a lack of memory, so it is tried again
/// this long after a failure. Most unusable files are refused in milliseconds.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// The files that a model was loaded from.
pub(crate) struct Reload {
    loader: Arc<dyn ModelLoader>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// Of the files that were last loaded, successfully or not.
    version: Option<Version>,
    checked: Option<Instant>,
    is_checking: bool,
    /// Why the changed files cannot be used, and since when.
    failure: Option<(Arc<Error>, Instant)>,
}

impl Seen {
    /// Returns the files that need no load; `None` if even the same files are to be tried again.
    fn to_differ_from(&self) -> Option<Version> {
        let is_retry = self.failure.as_ref().is_some_and(|(_, since)| since.elapsed() >= RETRY_AFTER);
        self.version.filter(|_| !is_retry)
    }
}

impl Reload {
    pub(crate) fn new(loader: Arc<dyn ModelLoader>) -> Self {
        Self { loader, seen: Arc::default() }
    }

    /// Returns why changed files are not used, if they are not.
    pub(crate) fn error(&self) -> Option<Arc<Error>> {
        lock(&self.seen).failure.as_ref().map(|(error, _)| Arc::clone(error))
    }

    /// Returns what a load does first: remembering which files it loads. Reads directory entries.
    pub(crate) fn before_load(&self) -> impl FnOnce() + Send + 'static {
        let (loader, seen) = (Arc::clone(&self.loader), Arc::clone(&self.seen));
        move || {
            let version = loader.version();
            let mut seen = lock(&seen);
            (seen.version, seen.failure) = (version, None);
        }
    }

    /// Looks for changed files on another thread. If there are some, calls `load` there, and `swap`
    /// with its result, unless the files changed again meanwhile. Returns at once. Must be called
    /// inside a tokio runtime.
    pub(crate) fn look<T>(
        &self,
        load: impl FnOnce() -> Result<T, Error> + Send + 'static,
        swap: impl FnOnce(T) + Send + 'static,
    ) {
        let is_due = |seen: &Seen| seen.checked.is_none_or(|checked| checked.elapsed() >= INTERVAL);
        let mut seen = lock(&self.seen);
        if seen.is_checking || !is_due(&seen) {
            return;
        }
        seen.is_checking = true;
        drop(seen);
        let (loader, seen, runtime) = (Arc::clone(&self.loader), Arc::clone(&self.seen), Handle::current());
        let work = move || {
            let _entered = runtime.enter();
            let version = loader.version();
            let before = lock(&seen).to_differ_from();
            let outcome = version.filter(|version| version.replaces(before.as_ref())).map(|_| load());
            let outcome = outcome.filter(|_| loader.version() == version);
            let failure = outcome.map(|outcome| outcome.map(swap).err().map(|error| (Arc::new(error), Instant::now())));
            let mut seen = lock(&seen);
            if let Some(failure) = failure {
                (seen.version, seen.failure) = (version, failure);
            }
            (seen.is_checking, seen.checked) = (false, Some(Instant::now()));
        };
        // Never joined, because a process that is asked to exit must not wait for a load. Without a
        // thread, the next call looks again.
        if thread::Builder::new().name("reload".into()).spawn(work).is_err() {
            lock(&self.seen).is_checking = false;
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

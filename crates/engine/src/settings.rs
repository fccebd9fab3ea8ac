//! Settings of the executable: limits, and hooks into the process.

use std::path::PathBuf;
use std::time::Duration;

/// Limits that the operator may set.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Longest time from a call's arrival to its answer.
    pub deadline: Duration,
    /// Threads per model, at least 1. Together they compute a call that is alone; each has its own
    /// session for overlapping calls.
    pub workers: usize,
    /// Calls that may wait for one model. Further calls are rejected at once.
    pub queue_capacity: usize,
    pub cache_capacity_bytes: u64,
    /// Largest text, with its pair and candidate labels.
    pub max_text_bytes: usize,
    /// Where results of frequent texts are kept between sessions, and the key of their digests;
    /// `None` keeps none.
    pub cache_dir: Option<PathBuf>,
    /// Whether to precompute the models' frequent texts. Wasteful in a process that answers once.
    pub precompute: bool,
    /// Whether all models are loaded at the start. Otherwise the first is, and others when they are
    /// first used.
    pub preload: bool,
    /// Resident memory of the process above which a load unloads the model that was not used for
    /// the longest time.
    pub unload_above_bytes: u64,
    /// Minimum time between a failed load and the next attempt.
    pub retry_after: Duration,
    /// Whether the log shows texts. Otherwise it shows their digests.
    pub log_inputs: bool,
    pub hooks: ProcessHooks,
}

/// Hooks for the allocator and the scheduler, which a library should not change by itself. The
/// default does nothing.
#[derive(Clone, Copy, Debug)]
pub struct ProcessHooks {
    /// Called on the loading thread after each load.
    pub after_load: fn(),
    /// Called first on each thread that only runs rows of files.
    pub on_background_thread: fn(),
    /// Called when a model has been idle for ten seconds.
    pub release_memory: fn(),
}

impl Default for ProcessHooks {
    fn default() -> Self {
        Self { after_load: || (), on_background_thread: || (), release_memory: || () }
    }
}

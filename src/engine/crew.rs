//! How many workers a queue has, and how many jobs: no job is left in a queue that nobody looks at.
//!
//! What workers do is `workers`' business. `loom/` goes through the orders in which the steps here can happen.

#[cfg(loom)]
use loom::sync::atomic::{AtomicUsize, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicUsize, Ordering};

/// The counts of one group of workers. A job is announced, put into the queue, and then a worker is asked for; a worker that
/// ends takes itself off first, and looks into the queue once more.
pub(super) struct Crew {
    most: usize,
    workers: AtomicUsize,
    /// Jobs that wait or run.
    unanswered: AtomicUsize,
}

impl Crew {
    pub(super) fn new(most: usize) -> Self {
        Self { most, workers: AtomicUsize::new(0), unanswered: AtomicUsize::new(0) }
    }

    /// Counts a job that will be put into the queue. The number says, once the job is there, whether a worker is wanted.
    pub(super) fn announce(&self) -> usize {
        1 + self.unanswered.fetch_add(1, Ordering::SeqCst)
    }

    /// Whether there are fewer workers than jobs.
    pub(super) fn wants_a_worker(&self, unanswered: usize) -> bool {
        unanswered > self.workers()
    }

    /// Whether a job waits or runs, wanted or not.
    pub(super) fn busy(&self) -> bool {
        self.unanswered.load(Ordering::SeqCst) > 0
    }

    /// Counts a job off, whatever became of it.
    pub(super) fn answered(&self) {
        self.unanswered.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn workers(&self) -> usize {
        self.workers.load(Ordering::SeqCst)
    }

    /// Counts a worker that is about to start; false where there are as many as there may be.
    pub(super) fn joins(&self) -> bool {
        let more = |workers| (workers < self.most).then_some(workers + 1);
        self.workers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).is_ok()
    }

    /// Takes a worker off the count; it stays for one job more if `look` finds one that came before it was off. If another joined
    /// meanwhile, there may be one more than the most for the time of that job.
    pub(super) fn leaves<J>(&self, look: impl FnOnce() -> Option<J>) -> Option<J> {
        self.workers.fetch_sub(1, Ordering::SeqCst);
        // Whoever puts a job there after this look finds the worker gone, and asks for another.
        let job = look();
        self.workers.fetch_add(usize::from(job.is_some()), Ordering::SeqCst);
        job
    }

    /// Takes a worker off that could not start; true where it was the last, and nobody is left to answer.
    pub(super) fn fails(&self) -> bool {
        self.workers.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

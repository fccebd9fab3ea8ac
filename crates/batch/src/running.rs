//! A job as its caller sees it: how far it is, how it ends, and how to stop it.
//!
//! Every job blocks on files, so it runs on a thread of its own. How many do so at a time is
//! limited; the rest wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

use crate::error::Error;

/// Minimum interval between two progress updates.
pub(crate) const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Files that a process works on at a time. Each has a thread and some rows in the engine.
const DEFAULT_SLOTS: usize = 4;
/// A rate measured over less time says nothing.
const MIN_RATE_SECONDS: f64 = 0.2;

/// What a job is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// For one of the other jobs of this process to end.
    Waiting,
    #[default]
    Reading,
    Loading,
    Predicting,
    Writing,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub stage: Stage,
    /// Finished rows, those of an earlier run included.
    pub done: u64,
    /// Known once the file has been read through.
    pub total: Option<u64>,
    pub rows_per_second: Option<f64>,
    /// Estimated time to the last prediction.
    pub left: Option<Duration>,
}

impl Progress {
    /// Describes a run of which `resumed` of the `done` rows were finished before it `started`.
    pub fn predicting(done: u64, resumed: u64, total: u64, started: Instant) -> Self {
        let seconds = started.elapsed().as_secs_f64();
        let rate = (done > resumed && seconds > MIN_RATE_SECONDS).then(|| (done - resumed) as f64 / seconds);
        Self {
            stage: Stage::Predicting,
            done,
            total: Some(total),
            rows_per_second: rate,
            left: rate.map(|rate| Duration::from_secs_f64(total.saturating_sub(done) as f64 / rate)),
        }
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.stage, self.total) {
            (Stage::Waiting, _) => write!(formatter, "waiting for another file"),
            (Stage::Reading, _) => write!(formatter, "reading, {} rows", self.done),
            (Stage::Loading, _) => write!(formatter, "the model is loading"),
            (Stage::Predicting, Some(total)) => {
                write!(formatter, "{} of {total} rows", self.done)?;
                if let (Some(rate), Some(left)) = (self.rows_per_second, self.left) {
                    write!(formatter, ", {rate:.0} rows/s, {} left", format_duration(left))?;
                }
                Ok(())
            }
            (Stage::Predicting, None) => write!(formatter, "{} rows", self.done),
            (Stage::Writing, _) => write!(formatter, "writing the output"),
        }
    }
}

fn format_duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    /// Finished rows stay for a later run.
    Keep,
    /// Nothing stays that this run wrote.
    Discard,
}

/// A job at work. Dropping it stops the job as [`JobHandle::stop`] does.
pub struct JobHandle<T> {
    pub progress: watch::Receiver<Progress>,
    stop: watch::Sender<Stop>,
    outcome: JoinHandle<Result<T, Error>>,
}

impl<T> JobHandle<T> {
    /// Waits for the end of the job.
    ///
    /// # Errors
    /// Whatever ended the job early.
    pub async fn finished(&mut self) -> Result<T, Error> {
        let gone = || Error::JobFailed { message: "its task has ended".into() };
        (&mut self.outcome).await.unwrap_or_else(|_| Err(gone()))
    }

    /// Stops the job. Finished rows are kept, so that a later run can resume it.
    pub fn stop(&self) {
        self.stop.send_replace(Stop::Keep);
    }

    /// Stops the job and removes everything that it wrote.
    pub fn discard(&self) {
        self.stop.send_replace(Stop::Discard);
    }
}

/// The job's own side: where it reports its progress and learns that it has to stop.
pub struct Monitor {
    progress: watch::Sender<Progress>,
    stop: watch::Receiver<Stop>,
    reported_at: Option<Instant>,
}

impl Monitor {
    /// Reports the progress if the last report is [`PROGRESS_INTERVAL`] old.
    ///
    /// # Errors
    /// `Cancelled` if the job has to stop.
    pub fn report(&mut self, progress: impl FnOnce() -> Progress) -> Result<(), Error> {
        if !matches!(self.stop.has_changed(), Ok(false)) {
            return Err(Error::CANCELLED);
        }
        if self.reported_at.is_none_or(|at| at.elapsed() >= PROGRESS_INTERVAL) {
            self.reported_at = Some(Instant::now());
            self.progress.send_replace(progress());
        }
        Ok(())
    }

    /// Reports the progress in any case: at the start of a stage, or for a caller with a timer of
    /// its own.
    ///
    /// # Errors
    /// `Cancelled` if the job has to stop.
    pub fn report_now(&mut self, progress: Progress) -> Result<(), Error> {
        self.reported_at = None;
        self.report(|| progress)
    }

    /// Completes when the job has to stop.
    pub fn stopped(&self) -> impl Future<Output = ()> + use<> {
        let mut stop = self.stop.clone();
        async move {
            // An error means that the handle was dropped.
            let _ = stop.changed().await;
        }
    }

    pub(crate) fn is_discarded(&self) -> bool {
        *self.stop.borrow() == Stop::Discard
    }

    async fn acquire(&mut self, slots: Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(permit) = Arc::clone(&slots).try_acquire_owned() {
            return Ok(permit);
        }
        self.report_now(Progress { stage: Stage::Waiting, ..Progress::default() })?;
        let permit = tokio::select! {
            permit = slots.acquire_owned() => permit.map_err(|_| Error::CANCELLED)?,
            () = self.stopped() => return Err(Error::CANCELLED),
        };
        self.report_now(Progress::default())?;
        Ok(permit)
    }
}

/// Places for the jobs of one kind. Jobs that find none free wait, and say so in their
/// progress.
#[derive(Clone, Debug)]
pub struct Slots(Arc<Semaphore>);

impl Default for Slots {
    fn default() -> Self {
        Self::new(DEFAULT_SLOTS)
    }
}

impl Slots {
    /// Slots for this number of jobs at a time.
    pub fn new(jobs: usize) -> Self {
        Self(Arc::new(Semaphore::new(jobs)))
    }

    /// Runs `work` on a thread of its own as soon as a slot is free.
    ///
    /// Must be called inside a tokio runtime.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Monitor) -> Result<T, Error> + Send + 'static,
    ) -> JobHandle<T> {
        let (progress, seen) = watch::channel(Progress::default());
        let (stop, stopped) = watch::channel(Stop::No);
        let mut monitor = Monitor { progress, stop: stopped, reported_at: None };
        let slots = Arc::clone(&self.0);
        let outcome = tokio::spawn(async move {
            let permit = monitor.acquire(slots).await?;
            let (sender, outcome) = oneshot::channel();
            let body = move || {
                let _permit = permit;
                // A damaged file may make a library panic. That ends this job and no other.
                let outcome = catch_unwind(AssertUnwindSafe(|| work(&mut monitor)));
                let crashed = |_| Err(Error::JobFailed { message: "reading or writing it crashed".into() });
                let _ = sender.send(outcome.unwrap_or_else(crashed));
            };
            thread::Builder::new()
                .name("file".into())
                .spawn(body)
                .map_err(|error| engine::Error::Thread { message: error.to_string() })?;
            outcome.await.unwrap_or_else(|_| Err(Error::JobFailed { message: "its thread has ended".into() }))
        });
        JobHandle { progress: seen, stop, outcome }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_like_a_sentence() {
        let progress = Progress {
            stage: Stage::Predicting,
            done: 12_300,
            total: Some(50_000),
            rows_per_second: Some(410.4),
            left: Some(Duration::from_secs(92)),
        };
        assert_eq!(progress.to_string(), "12300 of 50000 rows, 410 rows/s, 1 min 32 s left");
        assert_eq!(format_duration(Duration::from_secs(7290)), "2 h 1 min");
    }

    /// A job that runs until it is stopped.
    fn endless(slots: &Slots) -> JobHandle<()> {
        slots.spawn(|monitor| {
            monitor.report_now(Progress { done: 1, ..Progress::default() })?;
            loop {
                thread::sleep(Duration::from_millis(1));
                monitor.report(Progress::default)?;
            }
        })
    }

    #[tokio::test]
    async fn a_job_without_a_slot_says_that_it_waits_and_starts_when_one_is_free() {
        let slots = Slots::new(1);
        let mut first = endless(&slots);
        first.progress.wait_for(|progress| progress.done == 1).await.unwrap();
        let mut second = endless(&slots);
        let waiting = *second.progress.wait_for(|progress| progress.stage == Stage::Waiting).await.unwrap();
        assert_eq!(waiting.to_string(), "waiting for another file");
        first.stop();
        assert_eq!(first.finished().await, Err(Error::CANCELLED));
        second.progress.wait_for(|progress| progress.done == 1).await.unwrap();
    }

    #[tokio::test]
    async fn a_waiting_job_can_be_cancelled_and_a_crash_ends_one_job() {
        let slots = Slots::new(1);
        let mut crashed = slots.spawn::<()>(|_| panic!("a damaged file"));
        assert!(matches!(crashed.finished().await, Err(Error::JobFailed { .. })));
        let _first = endless(&slots);
        let mut second = endless(&slots);
        second.progress.wait_for(|progress| progress.stage == Stage::Waiting).await.unwrap();
        second.discard();
        assert_eq!(second.finished().await, Err(Error::CANCELLED));
    }
}

//! A job as its caller sees it: progress, result, and stopping it.
//!
//! Every job blocks on files, so it runs on its own thread. A limited number run at a time; the
//! rest wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

use crate::error::Error;

/// Files that a process works on at a time. Each has a thread and some rows in the engine.
const DEFAULT_SLOTS: usize = 4;
/// How long a stopped job may take to write its finished rows. It needs a few milliseconds, unless
/// the disk is slow.
const MAX_STOP: Duration = Duration::from_secs(2);
/// A rate measured over less time is meaningless.
const MIN_RATE_SECONDS: f64 = 0.2;

/// What a job is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for another job of this process to end.
    Waiting,
    #[default]
    Reading,
    Loading,
    Predicting,
    Writing,
}

/// The progress of a job.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub stage: Stage,
    /// Finished rows, those of an earlier run included.
    pub done: u64,
    /// Known once the file has been read through.
    pub total: Option<u64>,
    /// When the predictions began, and the number of rows finished by then.
    pub(crate) started: Option<(Instant, u64)>,
}

impl Progress {
    pub(crate) fn new(stage: Stage, done: u64) -> Self {
        Self { stage, done, ..Self::default() }
    }

    /// Returns the rows predicted per second since the start, once the rate is meaningful.
    fn rows_per_second(&self) -> Option<f64> {
        let (started, resumed) = self.started?;
        let seconds = started.elapsed().as_secs_f64();
        (self.done > resumed && seconds > MIN_RATE_SECONDS).then(|| (self.done - resumed) as f64 / seconds)
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.stage {
            Stage::Waiting => write!(formatter, "waiting for another file"),
            Stage::Reading => write!(formatter, "reading, {} rows", self.done),
            Stage::Loading => write!(formatter, "the model is loading"),
            Stage::Writing => write!(formatter, "writing the output"),
            Stage::Predicting => {
                let total = self.total.unwrap_or(self.done);
                write!(formatter, "{} of {total} rows", self.done)?;
                let Some(rate) = self.rows_per_second() else { return Ok(()) };
                let left = Duration::from_secs_f64(total.saturating_sub(self.done) as f64 / rate);
                write!(formatter, ", {rate:.0} rows/s, {} left", format_duration(left))
            }
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
    /// Finished rows are kept for a later run.
    Keep,
    /// Everything that this run wrote is removed.
    Discard,
}

/// A job in progress. Dropping it stops the job as [`JobHandle::stop`] does.
pub struct JobHandle<T> {
    pub progress: watch::Receiver<Progress>,
    stop: watch::Sender<Stop>,
    outcome: JoinHandle<Result<T, Error>>,
}

impl<T> JobHandle<T> {
    /// Waits for the end of the job.
    ///
    /// # Errors
    /// The reason why the job ended early.
    pub async fn finished(&mut self) -> Result<T, Error> {
        let gone = || Error::JobFailed { message: "its task has ended".into() };
        (&mut self.outcome).await.unwrap_or_else(|_| Err(gone()))
    }

    /// Stops the job. Finished rows are kept, so that a later run can resume it.
    pub fn stop(&self) {
        self.stop.send_replace(Stop::Keep);
    }

    /// Stops the job and waits until its finished rows are in the progress file.
    ///
    /// # Errors
    /// [`Error::CANCELLED`] unless the job ended by itself just now.
    pub async fn stop_and_wait(&mut self) -> Result<T, Error> {
        self.stop();
        tokio::time::timeout(MAX_STOP, self.finished()).await.unwrap_or(Err(Error::CANCELLED))
    }

    /// Stops the job and removes everything that it wrote.
    pub fn discard(&self) {
        self.stop.send_replace(Stop::Discard);
    }
}

/// The job's side of the handle: reports progress and receives the request to stop.
pub(crate) struct Monitor {
    progress: watch::Sender<Progress>,
    stop: watch::Receiver<Stop>,
}

impl Monitor {
    /// Reports the progress.
    ///
    /// # Errors
    /// [`Error::CANCELLED`] if the job must stop.
    pub(crate) fn report(&mut self, progress: Progress) -> Result<(), Error> {
        if !matches!(self.stop.has_changed(), Ok(false)) {
            return Err(Error::CANCELLED);
        }
        self.progress.send_replace(progress);
        Ok(())
    }

    /// Completes when the job must stop.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + use<> {
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
        self.report(Progress::new(Stage::Waiting, 0))?;
        let permit = tokio::select! {
            permit = slots.acquire_owned() => permit.map_err(|_| Error::CANCELLED)?,
            () = self.stopped() => return Err(Error::CANCELLED),
        };
        self.report(Progress::default())?;
        Ok(permit)
    }
}

/// Slots for the jobs of one kind. If none is free, a job waits and its progress says so.
#[derive(Clone, Debug)]
pub(crate) struct Slots(Arc<Semaphore>);

impl Default for Slots {
    fn default() -> Self {
        Self::new(DEFAULT_SLOTS)
    }
}

impl Slots {
    /// Returns slots for this number of concurrent jobs.
    pub(crate) fn new(jobs: usize) -> Self {
        Self(Arc::new(Semaphore::new(jobs)))
    }

    /// Runs `work` on its own thread as soon as a slot is free.
    ///
    /// Must be called inside a tokio runtime.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Monitor) -> Result<T, Error> + Send + 'static,
    ) -> JobHandle<T> {
        let (progress, seen) = watch::channel(Progress::default());
        let (stop, stopped) = watch::channel(Stop::No);
        let mut monitor = Monitor { progress, stop: stopped };
        let slots = Arc::clone(&self.0);
        let outcome = tokio::spawn(async move {
            let permit = monitor.acquire(slots).await?;
            let (sender, outcome) = oneshot::channel();
            let body = move || {
                let _permit = permit;
                // A damaged file may make a library panic. That ends only this job.
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
        let started = Instant::now().checked_sub(Duration::from_secs(30)).map(|started| (started, 300));
        let progress = Progress { stage: Stage::Predicting, done: 12_300, total: Some(50_000), started };
        assert_eq!(progress.to_string(), "12300 of 50000 rows, 400 rows/s, 1 min 34 s left");
        assert_eq!(format_duration(Duration::from_secs(7290)), "2 h 1 min");
    }

    /// A job that runs until it is stopped.
    fn endless(slots: &Slots) -> JobHandle<()> {
        slots.spawn(|monitor| {
            monitor.report(Progress::new(Stage::Reading, 1))?;
            loop {
                thread::sleep(Duration::from_millis(1));
                monitor.report(Progress::new(Stage::Reading, 1))?;
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
    async fn a_job_blocks_a_thread_of_its_own() {
        let slots = Slots::new(1);
        let name = slots.spawn(|_| Ok(thread::current().name().map(str::to_owned))).finished().await;
        assert_eq!(name, Ok(Some("file".into())));
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

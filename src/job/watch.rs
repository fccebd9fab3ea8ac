//! A job seen from outside: how far it is, how it ends, and how it is stopped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use crate::error::Error;

/// Nobody looks more often.
pub(super) const SHOWN_EVERY: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
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
    /// Rows, those of an earlier run included.
    pub done: u64,
    /// Known once the file has been read through.
    pub total: Option<u64>,
    pub rows_per_second: Option<f64>,
    pub left: Option<Duration>,
}

impl Progress {
    /// `resumed` rows of those done were there before it `started`.
    pub(super) fn predicting(done: u64, resumed: u64, total: u64, started: Instant) -> Self {
        let seconds = started.elapsed().as_secs_f64();
        // A rate of the first moments says nothing.
        let rate = (done > resumed && seconds > 0.2).then(|| (done - resumed) as f64 / seconds);
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
            (Stage::Reading, _) => write!(formatter, "reading, {} rows", self.done),
            (Stage::Loading, _) => write!(formatter, "the model is loading"),
            (Stage::Predicting, Some(total)) => {
                write!(formatter, "{} of {total} rows", self.done)?;
                if let (Some(rate), Some(left)) = (self.rows_per_second, self.left) {
                    write!(formatter, ", {rate:.0} rows/s, {} left", shown(left))?;
                }
                Ok(())
            }
            (Stage::Predicting, None) => write!(formatter, "{} rows", self.done),
            (Stage::Writing, _) => write!(formatter, "writing the output"),
        }
    }
}

/// A duration as people say it.
fn shown(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    /// And keep nothing for a later run.
    Discard,
}

/// A job at work. Dropping it stops the job, which then keeps what it has for a later run.
pub struct Running<T> {
    pub progress: watch::Receiver<Progress>,
    stop: watch::Sender<Stop>,
    outcome: oneshot::Receiver<Result<T, Error>>,
}

impl<T> Running<T> {
    /// Waits for the end.
    ///
    /// # Errors
    /// Whatever ended the job.
    pub async fn finished(&mut self) -> Result<T, Error> {
        let gone = || Error::JobFailed { message: "its thread has ended".into() };
        (&mut self.outcome).await.unwrap_or_else(|_| Err(gone()))
    }

    /// Stops the job and has everything removed that it wrote.
    pub fn discard(&self) {
        self.stop.send_replace(Stop::Discard);
    }
}

/// The job's own view of who watches it.
pub(super) struct Watch {
    progress: watch::Sender<Progress>,
    stop: watch::Receiver<Stop>,
    shown_at: Option<Instant>,
}

impl Watch {
    /// Says how far the job is, now and then, and whether it shall go on.
    ///
    /// # Errors
    /// `Cancelled`.
    pub(super) fn show(&mut self, progress: impl FnOnce() -> Progress) -> Result<(), Error> {
        if !matches!(self.stop.has_changed(), Ok(false)) {
            return Err(Error::Cancelled);
        }
        if self.shown_at.is_none_or(|at| at.elapsed() >= SHOWN_EVERY) {
            self.shown_at = Some(Instant::now());
            self.progress.send_replace(progress());
        }
        Ok(())
    }

    /// The same without waiting, of a stage that has just begun or for a caller that keeps the time itself.
    pub(super) fn enter(&mut self, progress: Progress) -> Result<(), Error> {
        self.shown_at = None;
        self.show(|| progress)
    }

    /// Completes when the job shall stop.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + use<> {
        let mut stop = self.stop.clone();
        async move {
            // An error says that nobody is left who could be interested.
            let _ = stop.changed().await;
        }
    }

    pub(super) fn discards(&self) -> bool {
        *self.stop.borrow() == Stop::Discard
    }
}

/// Runs `work` on a thread of its own.
pub(super) fn spawn<T: Send + 'static>(
    work: impl FnOnce(&mut Watch) -> Result<T, Error> + Send + 'static,
) -> Result<Running<T>, Error> {
    let (progress, seen) = watch::channel(Progress::default());
    let (stop, stopped) = watch::channel(Stop::No);
    let (sender, outcome) = oneshot::channel();
    let mut watch = Watch { progress, stop: stopped, shown_at: None };
    thread::Builder::new()
        .name("file".into())
        .spawn(move || {
            // A damaged file may make a library panic; that ends this job alone.
            let outcome = catch_unwind(AssertUnwindSafe(|| work(&mut watch)));
            let crashed = |_| Err(Error::JobFailed { message: "reading or writing it crashed".into() });
            let _ = sender.send(outcome.unwrap_or_else(crashed));
        })
        .map_err(|error| Error::Thread { message: error.to_string() })?;
    Ok(Running { progress: seen, stop, outcome })
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
        assert_eq!(shown(Duration::from_secs(7290)), "2 h 1 min");
    }
}

//! Counts and latencies of finished calls, per model, since the process started.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::engine::Answer;
use crate::error::{Error, Kind};
use crate::prediction::Source;

/// Latencies kept for the percentiles: enough that the 99th rests on ten calls.
const WINDOW: usize = 1000;

#[derive(Default)]
pub(super) struct Counters {
    inner: Mutex<Inner>,
    answered: Notify,
}

#[derive(Clone, Default)]
struct Inner {
    counts: Statistics,
    /// Microseconds of the last calls that were answered, oldest overwritten first.
    latencies_us: Vec<u32>,
    next: usize,
}

/// What happened to a model's calls since the process started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    pub from_model: u64,
    pub from_cache: u64,
    pub joined: u64,
    pub precomputed: u64,
    pub caller_errors: u64,
    pub cancelled: u64,
    /// Failures that are not the caller's: model, overload, internal.
    pub errors: u64,
    /// Milliseconds from arrival to answer, over the last 1,000 answered calls, rows of files left out; absent before the first.
    pub latency: Option<Percentiles>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentiles {
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
}

/// The cache as all models see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    pub entries: u64,
    pub hits: u64,
    pub misses: u64,
    pub precomputed_hits: u64,
    pub joined: u64,
}

impl Counters {
    /// Completes when a call has been answered, or at once if one was.
    pub(super) async fn first_answer(&self) {
        self.answered.notified().await;
    }

    pub(super) fn record(&self, latency: Option<Duration>, outcome: &Result<Answer, Error>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = &mut inner.counts;
        match outcome {
            Ok(answer) => {
                *match answer.source {
                    Source::Model => &mut counts.from_model,
                    Source::Cache => &mut counts.from_cache,
                    Source::Joined => &mut counts.joined,
                    Source::Precomputed => &mut counts.precomputed,
                } += 1;
                let Some(latency) = latency else { return };
                if inner.latencies_us.is_empty() {
                    self.answered.notify_one();
                }
                let latency_us = u32::try_from(latency.as_micros()).unwrap_or(u32::MAX);
                let slot = inner.next;
                match inner.latencies_us.get_mut(slot) {
                    Some(oldest) => *oldest = latency_us,
                    None => inner.latencies_us.push(latency_us),
                }
                inner.next = (slot + 1) % WINDOW;
            }
            Err(error) => match error.kind() {
                Kind::Caller => counts.caller_errors += 1,
                Kind::Cancelled => counts.cancelled += 1,
                Kind::Model | Kind::Overload | Kind::Internal => counts.errors += 1,
            },
        }
    }

    pub(super) fn read(&self) -> Statistics {
        // Sorting happens on a copy, outside the lock that every call takes.
        let Inner { mut counts, mut latencies_us, .. } =
            self.inner.lock().unwrap_or_else(PoisonError::into_inner).clone();
        latencies_us.sort_unstable();
        if let Some(last) = latencies_us.len().checked_sub(1) {
            let at = |share: f64| f64::from(latencies_us[(share * last as f64).round() as usize]) / 1e3;
            counts.latency = Some(Percentiles { p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99) });
        }
        counts
    }

    pub(super) fn add_to(&self, cache: &mut CacheCounts) {
        let counts = &self.inner.lock().unwrap_or_else(PoisonError::into_inner).counts;
        cache.hits += counts.from_cache + counts.precomputed;
        cache.precomputed_hits += counts.precomputed;
        cache.joined += counts.joined;
        cache.misses += counts.from_model;
    }
}

/// Memory of this process that is in RAM, where the system tells.
pub fn resident_bytes() -> Option<usize> {
    memory_stats::memory_stats().map(|memory| memory.physical_mem)
}

//! Counts and latencies of finished calls per model, since the process started.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Notify;

use crate::error::{Error, Kind};
use crate::request::{Answer, AnsweredBy};

/// Latencies kept for the percentiles: enough that ten calls determine the 99th.
const WINDOW: usize = 1000;

#[derive(Default)]
pub(crate) struct Counters {
    counts: Mutex<Counts>,
    answered: Notify,
}

#[derive(Clone, Default)]
struct Counts {
    statistics: Statistics,
    /// Microseconds of the last answered calls.
    latencies_us: VecDeque<u32>,
}

/// What happened to the calls of one model since the process started.
///
/// Serialized as the counts alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Statistics {
    #[serde(rename = "model")]
    pub from_model: u64,
    #[serde(rename = "cache")]
    pub from_cache: u64,
    pub joined: u64,
    pub precomputed: u64,
    pub caller_errors: u64,
    pub cancelled: u64,
    /// Failures that are not the caller's.
    pub errors: u64,
    /// Time from arrival to answer of the last 1,000 answered calls, without rows of files; `None`
    /// before the first.
    #[serde(skip)]
    pub latency: Option<Percentiles>,
}

/// Percentiles of the latency, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Percentiles {
    #[serde(rename = "p50")]
    pub p50_ms: f64,
    #[serde(rename = "p95")]
    pub p95_ms: f64,
    #[serde(rename = "p99")]
    pub p99_ms: f64,
}

/// Counts of the result cache over all models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct CacheCounts {
    pub entries: u64,
    pub hits: u64,
    pub misses: u64,
    pub precomputed_hits: u64,
    pub joined: u64,
}

impl Counters {
    /// Completes when the first call has been answered. At most one task may wait.
    pub(crate) async fn first_answer(&self) {
        self.answered.notified().await;
    }

    /// Counts a finished call. A call without a latency is left out of the percentiles.
    pub(crate) fn record(&self, latency: Option<Duration>, outcome: &Result<Answer, Error>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let statistics = &mut counts.statistics;
        *match outcome {
            Ok(answer) => match answer.answered_by {
                AnsweredBy::Model => &mut statistics.from_model,
                AnsweredBy::Cache => &mut statistics.from_cache,
                AnsweredBy::Joined => &mut statistics.joined,
                AnsweredBy::Precomputed => &mut statistics.precomputed,
            },
            Err(error) => match error.kind() {
                Kind::Caller => &mut statistics.caller_errors,
                Kind::Cancelled => &mut statistics.cancelled,
                Kind::Model | Kind::Overload | Kind::Internal => &mut statistics.errors,
            },
        } += 1;
        if let (Ok(_), Some(latency)) = (outcome, latency) {
            if counts.latencies_us.is_empty() {
                self.answered.notify_one();
            }
            if counts.latencies_us.len() == WINDOW {
                counts.latencies_us.pop_front();
            }
            counts.latencies_us.push_back(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        }
    }

    pub(crate) fn read(&self) -> Statistics {
        // Sorts a copy, outside the lock that every call takes.
        let Counts { mut statistics, latencies_us } =
            self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut latencies_us = Vec::from(latencies_us);
        latencies_us.sort_unstable();
        if let Some(last) = latencies_us.len().checked_sub(1) {
            let at = |share: f64| f64::from(latencies_us[(share * last as f64).round() as usize]) / 1e3;
            statistics.latency = Some(Percentiles { p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99) });
        }
        statistics
    }

    pub(crate) fn add_to(&self, cache: &mut CacheCounts) {
        let statistics = &self.counts.lock().unwrap_or_else(PoisonError::into_inner).statistics;
        cache.hits += statistics.from_cache + statistics.precomputed;
        cache.precomputed_hits += statistics.precomputed;
        cache.joined += statistics.joined;
        cache.misses += statistics.from_model;
    }
}

/// Returns the memory of this process that is in RAM, on systems that report it.
pub fn resident_bytes() -> Option<usize> {
    memory_stats::memory_stats().map(|memory| memory.physical_mem)
}

/// Returns milliseconds with three decimals, which is the resolution of the clock.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

//! Hours in the life of a server: texts of all lengths, some again and again, and what becomes of its memory.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::commands::bench::figures::{IN_FLIGHT, Spread, megabytes};
use crate::commands::bench::process;
use crate::commands::bench::server::{Server, predictions};
use crate::commands::bench::texts::distinct;

/// Calls between two looks at the memory.
const ROUND: usize = 200;

#[derive(Debug, Serialize)]
pub(super) struct Soak {
    pub duration_s: f64,
    pub calls: usize,
    pub errors: usize,
    pub latency_ms: Spread,
    /// Resident, after the first 500 calls, after 10,000 and at the end.
    pub early_mb: Option<f64>,
    pub after_10000_mb: Option<f64>,
    pub late_mb: Option<f64>,
    /// Least squares over the second half.
    pub slope_mb_per_min: Option<f64>,
}

/// Calls for so long, and at least so many times; one text in three is one of fifty favourites.
pub(super) fn soak(server: &mut Server, duration: Duration, least: usize, longest: usize) -> anyhow::Result<Soak> {
    let started = Instant::now();
    let favourites = distinct(50, 20, 5000);
    let (mut calls, mut errors, mut times, mut samples) = (0, 0, Vec::new(), Vec::new());
    while started.elapsed() < duration || calls < least {
        let series = 6000 + calls as u64;
        let lengths = [8, 16, 24, 40, 64, 12, 128, 20, 256, longest];
        let fresh =
            lengths.iter().flat_map(|&tokens| distinct(ROUND / 15, tokens.min(longest), series + tokens as u64));
        let mut texts: Vec<String> = fresh.collect();
        texts.extend((0..ROUND - texts.len()).map(|place| favourites[place % favourites.len()].clone()));
        // Long ones and short ones in turn, as they come in life.
        let step = 7;
        let mixed: Vec<String> = (0..texts.len()).map(|place| texts[place * step % texts.len()].clone()).collect();
        let (took, _, failed) = server.in_flight(&predictions(&mixed), IN_FLIGHT / 16)?;
        calls += took.len();
        errors += failed;
        times.extend(took);
        if let Some(memory) = process::memory(server.pid()) {
            samples.push((calls, started.elapsed().as_secs_f64() / 60.0, memory.resident));
        }
    }
    let after = |least| samples.iter().find(|(calls, ..)| *calls >= least).map(|sample| megabytes(sample.2));
    Ok(Soak {
        duration_s: (started.elapsed().as_secs_f64() * 10.0).round() / 10.0,
        calls,
        errors,
        latency_ms: Spread::of(times),
        early_mb: after(500),
        after_10000_mb: after(10_000),
        late_mb: samples.last().map(|sample| megabytes(sample.2)),
        slope_mb_per_min: slope(&samples[samples.len() / 2..]),
    })
}

pub(super) fn slope(samples: &[(usize, f64, u64)]) -> Option<f64> {
    let count = samples.len() as f64;
    let mean = |of: &dyn Fn(&(usize, f64, u64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (minutes, bytes) = (mean(&|sample| sample.1), mean(&|sample| sample.2 as f64));
    let spread: f64 = samples.iter().map(|sample| (sample.1 - minutes).powi(2)).sum();
    let joint: f64 = samples.iter().map(|sample| (sample.1 - minutes) * (sample.2 as f64 - bytes)).sum();
    (samples.len() > 2 && spread > 0.0).then(|| (joint / spread / 1e4).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_megabyte_a_minute_is_a_slope_of_one() {
        let samples: Vec<_> =
            (0..10).map(|minute| (0, f64::from(minute), 50_000_000 + minute as u64 * 1_000_000)).collect();
        assert_eq!(slope(&samples), Some(1.0));
        assert_eq!(slope(&samples[..2]), None);
    }
}

//! Percentiles of measured times, and the growth of memory over time.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Times in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

impl Percentiles {
    /// Computes percentiles that are exact to 0.1 %.
    pub(crate) fn new(times: &[Duration]) -> Self {
        // Nanoseconds from 1 µs to 20 minutes.
        let mut histogram = Histogram::<u64>::new_with_bounds(1000, 1 << 40, 3).expect("the bounds are valid");
        for time in times {
            histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }
}

/// Returns the middle value, or the upper one of the two in the middle. `NaN` if there are none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One sample of a server's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemorySample {
    pub calls: usize,
    pub minutes: f64,
    pub megabytes: f64,
}

/// Returns the growth over the second half of the samples in MB per minute, by least squares.
pub(crate) fn memory_slope(samples: &[MemorySample]) -> Option<f64> {
    let samples = &samples[samples.len() / 2..];
    let count = samples.len() as f64;
    let minutes = samples.iter().map(|sample| sample.minutes).sum::<f64>() / count;
    let megabytes = samples.iter().map(|sample| sample.megabytes).sum::<f64>() / count;
    let spread: f64 = samples.iter().map(|sample| (sample.minutes - minutes).powi(2)).sum();
    let joint: f64 = samples.iter().map(|sample| (sample.minutes - minutes) * (sample.megabytes - megabytes)).sum();
    (samples.len() > 2 && spread > 0.0).then(|| joint / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_known_times_are_exact_to_a_thousandth() {
        let times: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        let Percentiles { p50, p95, p99 } = Percentiles::new(&times);
        for (found, expected) in [(p50, 50.0), (p95, 95.0), (p99, 99.0)] {
            assert!((found / expected - 1.0_f64).abs() < 1e-3, "{found} {expected}");
        }
    }

    #[test]
    fn a_megabyte_a_minute_is_a_slope_of_one() {
        let sample =
            |minute| MemorySample { calls: 0, minutes: f64::from(minute), megabytes: 50.0 + f64::from(minute) };
        let samples: Vec<_> = (0..10).map(sample).collect();
        assert!((memory_slope(&samples).unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(memory_slope(&samples[..4]), None);
    }
}

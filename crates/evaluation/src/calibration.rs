//! Temperature scaling (Guo et al. 2017): one number divides all logits so that confidence matches
//! accuracy, and no label changes. Also picks the threshold below which predictions are uncertain.
//!
//! Works on probabilities: dividing logits by a temperature is the same as raising probabilities to
//! the power of its inverse and normalizing them to sum 1.

use serde::Serialize;

use crate::probability::{LabelProbabilities, coverage_curve};
use crate::{Coverage, Probability};

/// Minimum number of rows to fit a temperature. With fewer, the fit follows noise.
pub const MIN_ROWS: usize = 100;
/// Cross-validation folds. Each is measured with a fit on the others.
const FOLDS: usize = 5;
/// Range of inverse temperatures. No usable classifier needs one outside it.
const INVERSE_RANGE: std::ops::Range<f64> = 0.05..20.0;
/// Bisection steps. The remaining interval is far below the precision of a score.
const BISECTIONS: u32 = 40;
/// Minimum relative gain in log loss on held-out rows for a temperature to be used.
const MIN_GAIN: f64 = 1e-4;

/// A temperature fitted by minimizing log loss, and its effect on rows it was not fitted on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// Fitted on all rows; 1 if held-out rows gain nothing.
    pub temperature: f64,
    /// The probabilities at temperature 1.
    pub before: Probability,
    /// The probabilities of each row at the temperature fitted on the other folds.
    pub held_out: Probability,
    #[serde(skip)]
    held_out_top: Vec<(f64, bool)>,
    #[serde(skip)]
    top: Vec<(f64, bool)>,
}

/// The confidence from which predictions reach the target accuracy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Threshold {
    /// The target accuracy, 0 to 1.
    pub target_accuracy: f64,
    /// The lowest confidence that reaches it.
    pub threshold: f64,
    /// Share of the rows at or above the threshold.
    pub coverage: f64,
    /// Share of those rows that are correct.
    pub accuracy: f64,
    /// `coverage` on rows whose threshold was chosen on the other folds.
    pub held_out_coverage: f64,
    /// `accuracy` on those rows; absent if no row is at or above its threshold.
    pub held_out_accuracy: Option<f64>,
}

impl Fit {
    /// Fits a temperature to scores that were computed at temperature `used`. Returns `None` for
    /// fewer than [`MIN_ROWS`] rows.
    pub(super) fn new(scored: &[(usize, &[f32])], used: f64) -> Option<Self> {
        if scored.len() < MIN_ROWS {
            return None;
        }
        let raw = LabelProbabilities::undo_temperature(scored, used);
        let fit_without = |fold| fit_temperature(&outside(&raw.rows, fold));
        let temperatures: Vec<f64> = (0..FOLDS).map(fit_without).collect();
        let scaled = raw.apply_temperature(|row| temperatures[row % FOLDS]);
        let before = raw.measure();
        let (temperature, held_out, all) = if scaled.log_loss() <= before.log_loss * (1.0 - MIN_GAIN) {
            let temperature = round_temperature(fit_temperature(&raw.rows));
            (temperature, scaled, raw.apply_temperature(|_| temperature))
        } else {
            (1.0, raw.clone(), raw)
        };
        Some(Self { temperature, before, held_out: held_out.measure(), held_out_top: held_out.top(), top: all.top() })
    }

    /// Returns the lowest threshold at which at least `target` of the remaining predictions are
    /// correct.
    ///
    /// # Errors
    /// The point with the best accuracy, if no threshold reaches `target`.
    pub fn threshold(&self, target: f64) -> Result<Threshold, Option<Coverage>> {
        let chosen = lowest_threshold(&self.top, target)?;
        let mut remaining: Vec<&(f64, bool)> = Vec::new();
        for fold in 0..FOLDS {
            if let Ok(point) = lowest_threshold(&outside(&self.held_out_top, fold), target) {
                let own = self.held_out_top.iter().skip(fold).step_by(FOLDS);
                remaining.extend(own.filter(|(confidence, _)| *confidence >= point.threshold));
            }
        }
        let correct = remaining.iter().filter(|(_, is_correct)| *is_correct).count();
        Ok(Threshold {
            target_accuracy: target,
            threshold: chosen.threshold,
            coverage: chosen.coverage,
            accuracy: chosen.accuracy.unwrap_or_default(),
            held_out_coverage: remaining.len() as f64 / self.top.len() as f64,
            held_out_accuracy: (!remaining.is_empty()).then(|| correct as f64 / remaining.len() as f64),
        })
    }

    /// Returns coverage and accuracy by threshold, with the temperature applied.
    pub fn coverage(&self) -> Vec<Coverage> {
        coverage_curve(&self.top)
    }
}

fn lowest_threshold(top: &[(f64, bool)], target: f64) -> Result<Coverage, Option<Coverage>> {
    let points = coverage_curve(top);
    let reaches = |point: &&Coverage| point.accuracy.is_some_and(|accuracy| accuracy >= target);
    let best = || {
        let accuracy = |point: &Coverage| point.accuracy.unwrap_or_default();
        let answering = points.iter().filter(|point| point.accuracy.is_some());
        answering.max_by(|a, b| accuracy(a).total_cmp(&accuracy(b))).copied()
    };
    points.iter().find(reaches).copied().ok_or_else(best)
}

impl LabelProbabilities {
    /// Returns the probabilities at temperature 1 of scores computed at temperature `used`. With
    /// `used` 1 they stay as they are.
    pub(super) fn undo_temperature(scored: &[(usize, &[f32])], used: f64) -> Self {
        let row = |(gold, scores): &(usize, &[f32])| {
            let scores: Vec<f64> = scores.iter().map(|score| f64::from(*score)).collect();
            (*gold, normalized_power(&scores, used))
        };
        Self { rows: scored.iter().map(row).collect() }
    }

    /// Returns the probabilities with each row at its own temperature.
    fn apply_temperature(&self, temperature: impl Fn(usize) -> f64) -> Self {
        let scale = |(row, (gold, scores)): (usize, &(usize, Box<[f64]>))| {
            (*gold, normalized_power(scores, 1.0 / temperature(row)))
        };
        Self { rows: self.rows.iter().enumerate().map(scale).collect() }
    }
}

/// Returns the rows outside a fold.
fn outside<T: Clone>(rows: &[T], fold: usize) -> Vec<T> {
    let rows = rows.iter().enumerate().filter(|(row, _)| row % FOLDS != fold);
    rows.map(|(_, row)| row.clone()).collect()
}

/// Returns `scores^power`, normalized to sum 1. A score of 0 is one that underflowed.
fn normalized_power(scores: &[f64], power: f64) -> Box<[f64]> {
    let log = |score: &f64| power * score.max(f64::from(f32::MIN_POSITIVE)).ln();
    let logs: Vec<f64> = scores.iter().map(log).collect();
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logs.iter().map(|log| (log - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|value| value / sum).collect()
}

/// Returns the temperature with the lowest log loss. The loss is convex in the inverse temperature,
/// so bisecting its slope finds the minimum.
fn fit_temperature(rows: &[(usize, Box<[f64]>)]) -> f64 {
    // The slope at inverse temperature b is the sum over rows of E_b[ln p] - ln p(gold), with the
    // expectation under the scaled probabilities.
    let slope = |inverse: f64| -> f64 {
        let row = |(gold, scores): &(usize, Box<[f64]>)| {
            let log = |score: f64| score.max(f64::MIN_POSITIVE).ln();
            let scaled = normalized_power(scores, inverse);
            let expected: f64 = scaled.iter().zip(scores).map(|(p, score)| p * log(*score)).sum();
            expected - log(scores[*gold])
        };
        rows.iter().map(row).sum()
    };
    let (mut low, mut high) = (INVERSE_RANGE.start, INVERSE_RANGE.end);
    for _ in 0..BISECTIONS {
        // The geometric mean, because temperatures 0.5 and 2 are equally far from 1.
        let middle = (low * high).sqrt();
        if slope(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    1.0 / (low * high).sqrt()
}

/// A few hundred rows determine at most three decimals.
fn round_temperature(temperature: f64) -> f64 {
    (temperature * 1e3).round() / 1e3
}

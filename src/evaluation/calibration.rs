//! Temperature scaling: one number that divides all logits, so that confidence meets accuracy and no label changes
//! (Guo et al. 2017); and the threshold below which answers are called uncertain.
//!
//! Works on probabilities: to divide logits by a temperature is to raise probabilities to its inverse and make them sum to 1.

use serde::Serialize;

use crate::evaluation::probability::{Coverage, Probability, Rows, coverage};

/// Fewer rows fit noise.
pub const MIN_ROWS: usize = 100;
/// Parts of the rows, each measured with what was fitted on the others.
const FOLDS: usize = 5;
/// Inverse temperatures considered; nobody's classifier is off by more.
const INVERSE: std::ops::Range<f64> = 0.05..20.0;
/// Halvings of that range: what is left of it is far below a score's own precision.
const HALVINGS: u32 = 40;
/// The least part of the log loss that has to be gained on rows that were not fitted.
const WORTH_IT: f64 = 1e-4;

/// A temperature fitted by minimising log loss, and what it brings on rows that it was not fitted on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fit {
    /// Of all rows; 1 where held-out rows gain nothing by it.
    pub temperature: f64,
    /// At temperature 1.
    pub before: Probability,
    /// Each row with the temperature fitted on the other folds.
    pub held_out: Probability,
    #[serde(skip)]
    held_out_top: Vec<(f64, bool)>,
    #[serde(skip)]
    top: Vec<(f64, bool)>,
}

/// From which confidence on so many answers are right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Threshold {
    pub target_accuracy: f64,
    pub threshold: f64,
    /// Share of the rows at or above it.
    pub coverage: f64,
    /// How many of those are right.
    pub accuracy: f64,
    /// The same on rows for which the threshold was chosen on the others.
    pub held_out_coverage: f64,
    pub held_out_accuracy: Option<f64>,
}

impl Fit {
    /// `in_force` is the temperature that the scores were made with; `None` for too few rows.
    pub(super) fn of(judged: &[(usize, &[f32])], in_force: f64) -> Option<Self> {
        if judged.len() < MIN_ROWS {
            return None;
        }
        let raw = at(judged, in_force);
        let fold = |number: usize, inside: bool| -> Vec<(usize, &[f32])> {
            let wanted = judged.iter().enumerate().filter(|(row, _)| (row % FOLDS == number) == inside);
            wanted.map(|(_, row)| *row).collect()
        };
        let folds: Vec<f64> = (0..FOLDS).map(|number| temperature(&at(&fold(number, false), in_force))).collect();
        let held_out = |temperatures: &[f64]| Rows {
            rows: raw
                .rows
                .iter()
                .enumerate()
                .map(|(row, (gold, scores))| (*gold, raised(scores, 1.0 / temperatures[row % FOLDS])))
                .collect(),
        };
        let fitted = held_out(&folds);
        let before = raw.measure();
        if fitted.log_loss() > before.log_loss * (1.0 - WORTH_IT) {
            let (held_out, top) = (before.clone(), raw.top());
            return Some(Self { temperature: 1.0, before, held_out, held_out_top: top.clone(), top });
        }
        let temperature = rounded(temperature(&raw));
        Some(Self {
            temperature,
            before,
            held_out: fitted.measure(),
            held_out_top: fitted.top(),
            top: scaled(&raw, temperature).top(),
        })
    }

    /// The lowest threshold above which at least `target` of the answers are right; `Err` holds the best there is.
    pub fn threshold(&self, target: f64) -> Result<Threshold, Option<Coverage>> {
        let chosen = lowest(&self.top, target)?;
        let mut left: Vec<(f64, bool)> = Vec::new();
        for number in 0..FOLDS {
            let part = |inside: bool| {
                let rows = self.held_out_top.iter().enumerate();
                rows.filter(move |(row, _)| (row % FOLDS == number) == inside).map(|(_, row)| *row)
            };
            if let Ok(point) = lowest(&part(false).collect::<Vec<_>>(), target) {
                left.extend(part(true).filter(|(confidence, _)| *confidence >= point.threshold));
            }
        }
        let right = left.iter().filter(|(_, correct)| *correct).count();
        Ok(Threshold {
            target_accuracy: target,
            threshold: chosen.threshold,
            coverage: chosen.coverage,
            accuracy: chosen.accuracy.unwrap_or_default(),
            held_out_coverage: left.len() as f64 / self.top.len() as f64,
            held_out_accuracy: (!left.is_empty()).then(|| right as f64 / left.len() as f64),
        })
    }

    /// What is left above each threshold with the temperature applied.
    pub fn coverage(&self) -> Vec<Coverage> {
        coverage(&self.top)
    }
}

fn lowest(top: &[(f64, bool)], target: f64) -> Result<Coverage, Option<Coverage>> {
    let points = coverage(top);
    let reaches = |point: &&Coverage| point.accuracy.is_some_and(|accuracy| accuracy >= target);
    let best = || {
        let answering = points.iter().filter(|point| point.accuracy.is_some());
        answering.max_by(|a, b| a.accuracy.unwrap_or_default().total_cmp(&b.accuracy.unwrap_or_default())).copied()
    };
    points.iter().find(reaches).copied().ok_or_else(best)
}

/// Scores as probabilities at temperature 1, or as they are for a factor of 1. `times` is the temperature they were made with.
pub(super) fn at(judged: &[(usize, &[f32])], times: f64) -> Rows {
    let row = |(gold, scores): &(usize, &[f32])| {
        let scores: Vec<f64> = scores.iter().map(|score| f64::from(*score)).collect();
        (*gold, raised(&scores, times))
    };
    Rows { rows: judged.iter().map(row).collect() }
}

fn scaled(rows: &Rows, temperature: f64) -> Rows {
    let row = |(gold, scores): &(usize, Box<[f64]>)| (*gold, raised(scores, 1.0 / temperature));
    Rows { rows: rows.rows.iter().map(row).collect() }
}

/// `p^power`, made to sum to 1. A score of 0 is one that a float could not hold.
fn raised(scores: &[f64], power: f64) -> Box<[f64]> {
    let logs = scores.iter().map(|score| power * score.max(f64::from(f32::MIN_POSITIVE)).ln());
    let logs: Vec<f64> = logs.collect();
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let raised: Vec<f64> = logs.iter().map(|log| (log - largest).exp()).collect();
    let sum: f64 = raised.iter().sum();
    raised.iter().map(|value| value / sum).collect()
}

/// Where the log loss is least. It is convex in the inverse temperature, so its slope is halved in on.
fn temperature(raw: &Rows) -> f64 {
    // By inverse temperature b: sum over rows of E_b[ln p] - ln p(gold), expectations under the scaled probabilities.
    let slope = |inverse: f64| -> f64 {
        let row = |(gold, scores): &(usize, Box<[f64]>)| {
            let log = |score: f64| score.max(f64::MIN_POSITIVE).ln();
            let expected: f64 = raised(scores, inverse).iter().zip(scores).map(|(p, score)| p * log(*score)).sum();
            expected - log(scores[*gold])
        };
        raw.rows.iter().map(row).sum()
    };
    let (mut low, mut high) = (INVERSE.start, INVERSE.end);
    for _ in 0..HALVINGS {
        // In the middle of their magnitudes.
        let middle = (low * high).sqrt();
        if slope(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    1.0 / (low * high).sqrt()
}

/// Three decimals say all that some hundred rows know.
fn rounded(temperature: f64) -> f64 {
    (temperature * 1e3).round() / 1e3
}

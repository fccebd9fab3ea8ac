//! How far scores can be taken for probabilities: log loss, Brier score, calibration error, and what is left above each
//! threshold. Rows come as a label's number and one probability a label.

use serde::Serialize;

use crate::evaluation::{mean, share};

/// Bins of equal width for the calibration error, as in Guo et al., On Calibration of Modern Neural Networks (2017).
pub const BINS: usize = 15;
/// Thresholds looked at: steps of a thousandth.
const STEPS: usize = 1000;

/// Rows with probabilities: the right label's number, and one probability a label that sum to 1.
pub(super) struct Rows {
    pub rows: Vec<(usize, Box<[f64]>)>,
}

/// How good the probabilities are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probability {
    /// Mean of minus the natural logarithm of the right label's probability.
    pub log_loss: f64,
    /// Mean over rows of the squared differences summed over labels; 0 to 2.
    pub brier_score: f64,
    /// Mean distance between confidence and accuracy in 15 bins, weighed by rows; 0 to 1.
    pub expected_calibration_error: f64,
    #[serde(rename = "reliability")]
    pub bins: Vec<Bin>,
}

/// Answers of about the same confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bin {
    pub rows: u64,
    pub mean_confidence: f64,
    pub accuracy: f64,
}

/// What remains when answers below a threshold are left to somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Coverage {
    pub threshold: f64,
    /// Share of the rows that are still answered.
    pub coverage: f64,
    /// Share of those that are right; absent where none is left.
    pub accuracy: Option<f64>,
}

impl Rows {
    /// The best label's probability and whether it is the right one, a row.
    pub(super) fn top(&self) -> Vec<(f64, bool)> {
        let top = |(gold, probabilities): &(usize, Box<[f64]>)| {
            let best = best(probabilities);
            (probabilities[best], best == *gold)
        };
        self.rows.iter().map(top).collect()
    }

    pub(super) fn measure(&self) -> Probability {
        let top = self.top();
        let bins = bins(&top);
        let error = |bin: &Bin| bin.rows as f64 * (bin.mean_confidence - bin.accuracy).abs();
        Probability {
            log_loss: self.log_loss(),
            brier_score: mean(self.rows.iter().map(|(gold, probabilities)| {
                let target = |label: usize| if label == *gold { 1.0 } else { 0.0 };
                probabilities.iter().enumerate().map(|(label, p)| (p - target(label)).powi(2)).sum()
            })),
            expected_calibration_error: share(bins.iter().map(error).sum(), top.len() as f64),
            bins,
        }
    }

    /// Probabilities below the smallest step of a double are taken for that, as scikit-learn does.
    pub(super) fn log_loss(&self) -> f64 {
        mean(self.rows.iter().map(|(gold, probabilities)| -probabilities[*gold].max(f64::EPSILON).ln()))
    }
}

/// The first of the best labels.
pub(super) fn best(scores: &[f64]) -> usize {
    (0..scores.len()).rev().max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or_default()
}

/// Bins are open on the left: confidence 1 belongs to the last, and nothing to a sixteenth.
fn bins(top: &[(f64, bool)]) -> Vec<Bin> {
    let mut sums = [(0_u64, 0.0, 0_u64); BINS];
    for (confidence, correct) in top {
        let number = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        let (rows, sum, right) = &mut sums[number];
        *rows += 1;
        *sum += confidence;
        *right += u64::from(*correct);
    }
    let bin = |(rows, sum, right): (u64, f64, u64)| Bin {
        rows,
        mean_confidence: share(sum, rows as f64),
        accuracy: share(right as f64, rows as f64),
    };
    sums.map(bin).to_vec()
}

/// From threshold 0 to 1 in steps of a thousandth.
pub(super) fn coverage(top: &[(f64, bool)]) -> Vec<Coverage> {
    let mut sorted: Vec<(f64, bool)> = top.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut right = sorted.iter().filter(|(_, correct)| *correct).count();
    let mut below = 0;
    let point = |step: usize| {
        let threshold = step as f64 / STEPS as f64;
        while below < sorted.len() && sorted[below].0 < threshold {
            right -= usize::from(sorted[below].1);
            below += 1;
        }
        let left = sorted.len() - below;
        Coverage {
            threshold,
            coverage: share(left as f64, sorted.len() as f64),
            accuracy: (left > 0).then(|| right as f64 / left as f64),
        }
    };
    (0..=STEPS).map(point).collect()
}

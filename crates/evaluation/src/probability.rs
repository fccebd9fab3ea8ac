//! How well scores serve as probabilities: log loss, Brier score, calibration error, and the
//! accuracy above each threshold.

use serde::Serialize;

use crate::ratio::{mean, ratio};

/// Bins of equal width for the calibration error, as in Guo et al., On Calibration of Modern
/// Neural Networks (2017).
pub(crate) const BINS: usize = 15;
/// Thresholds are tried in steps of a thousandth.
const STEPS: usize = 1000;

/// Rows with probabilities: the index of the correct label, and one probability per label, which
/// sum to 1.
#[derive(Clone)]
pub(super) struct LabelProbabilities {
    pub rows: Vec<(usize, Box<[f64]>)>,
}

/// How well the scores serve as probabilities.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probability {
    /// Mean of the negative natural logarithm of the correct label's probability.
    pub log_loss: f64,
    /// Mean over rows of the squared differences, summed over labels; 0 to 2.
    pub brier_score: f64,
    /// Mean distance between confidence and accuracy over 15 bins, weighted by rows; 0 to 1.
    pub expected_calibration_error: f64,
    /// The bins of the calibration error, from low to high confidence.
    #[serde(rename = "reliability")]
    pub bins: Vec<Bin>,
}

/// Predictions of similar confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bin {
    /// Rows in the bin.
    pub rows: u64,
    /// Mean confidence of those rows; 0 for an empty bin.
    pub mean_confidence: f64,
    /// Share of those rows that are correct; 0 for an empty bin.
    pub accuracy: f64,
}

/// The predictions that remain if those below a threshold are left to a person.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Coverage {
    /// The lowest confidence of the rows that remain.
    pub threshold: f64,
    /// Share of the rows that remain.
    pub coverage: f64,
    /// Share of the remaining rows that are correct; absent if none remains.
    pub accuracy: Option<f64>,
}

impl LabelProbabilities {
    /// Returns, for each row, the best label's probability and whether that label is correct.
    pub(super) fn top(&self) -> Vec<(f64, bool)> {
        let top = |(gold, probabilities): &(usize, Box<[f64]>)| {
            let best = best_label(probabilities);
            (probabilities[best], best == *gold)
        };
        self.rows.iter().map(top).collect()
    }

    pub(super) fn measure(&self) -> Probability {
        let top = self.top();
        let bins = fill_bins(&top);
        let error = |bin: &Bin| bin.rows as f64 * (bin.mean_confidence - bin.accuracy).abs();
        let calibration_error = ratio(bins.iter().map(error).sum(), top.len() as f64);
        Probability {
            log_loss: self.log_loss(),
            brier_score: self.brier_score(),
            expected_calibration_error: calibration_error,
            bins,
        }
    }

    /// Clips probabilities at the smallest step of a double, as scikit-learn does.
    pub(super) fn log_loss(&self) -> f64 {
        let loss = |(gold, probabilities): &(usize, Box<[f64]>)| -probabilities[*gold].max(f64::EPSILON).ln();
        mean(self.rows.iter().map(loss))
    }

    fn brier_score(&self) -> f64 {
        mean(self.rows.iter().map(|(gold, probabilities)| {
            let target = |label: usize| if label == *gold { 1.0 } else { 0.0 };
            let squared = |(label, p): (usize, &f64)| (p - target(label)).powi(2);
            probabilities.iter().enumerate().map(squared).sum()
        }))
    }
}

/// Returns the label with the highest score; the first one if several are equal.
pub(super) fn best_label(scores: &[f64]) -> usize {
    (0..scores.len()).rev().max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or_default()
}

/// Bins are open on the left, so that confidence 1 belongs to the last one.
fn fill_bins(top: &[(f64, bool)]) -> Vec<Bin> {
    let mut sums = [(0_u64, 0.0, 0_u64); BINS];
    for (confidence, is_correct) in top {
        let number = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        let (rows, sum, correct) = &mut sums[number];
        *rows += 1;
        *sum += confidence;
        *correct += u64::from(*is_correct);
    }
    let bin = |(rows, sum, correct): (u64, f64, u64)| Bin {
        rows,
        mean_confidence: ratio(sum, rows as f64),
        accuracy: ratio(correct as f64, rows as f64),
    };
    sums.map(bin).to_vec()
}

/// Returns coverage and accuracy for thresholds from 0 to 1 in steps of a thousandth.
pub(super) fn coverage_curve(top: &[(f64, bool)]) -> Vec<Coverage> {
    let mut sorted: Vec<(f64, bool)> = top.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut correct = sorted.iter().filter(|(_, is_correct)| *is_correct).count();
    let mut below = 0;
    let point = |step: usize| {
        let threshold = step as f64 / STEPS as f64;
        while below < sorted.len() && sorted[below].0 < threshold {
            correct -= usize::from(sorted[below].1);
            below += 1;
        }
        let remaining = sorted.len() - below;
        Coverage {
            threshold,
            coverage: ratio(remaining as f64, sorted.len() as f64),
            accuracy: (remaining > 0).then(|| correct as f64 / remaining as f64),
        }
    };
    (0..=STEPS).map(point).collect()
}

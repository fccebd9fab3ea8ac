//! One number that divides all scores, so that confidence matches accuracy (Guo et al. 2017).

use crate::matrix::{Matrix, softmax};

/// Range of inverse temperatures, wide enough for scores of rows that were left out of the fit.
const INVERSE: std::ops::Range<f64> = 0.05..20.0;
/// Golden-section steps; the rest of the range is far below the precision of a score.
const STEPS: usize = 60;

/// Returns the temperature with the least log loss of `scores` for the labels `gold`; 1 without rows.
pub(crate) fn fit(scores: &Matrix, gold: &[usize]) -> f64 {
    if gold.is_empty() {
        return 1.0;
    }
    let loss = |log_inverse: f64| {
        let inverse = log_inverse.exp();
        let row_loss = |(row, &label): (usize, &usize)| {
            let mut scaled: Vec<f64> = scores.row(row).iter().map(|score| score * inverse).collect();
            let at_label = scaled[label];
            softmax(&mut scaled) - at_label
        };
        gold.iter().enumerate().map(row_loss).sum::<f64>()
    };
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (INVERSE.start.ln(), INVERSE.end.ln());
    for _ in 0..STEPS {
        let (left, right) = (high - golden * (high - low), low + golden * (high - low));
        if loss(left) <= loss(right) { high = right } else { low = left }
    }
    (-(low + high) / 2.0).exp()
}

//! One number that divides all scores, so that confidence matches accuracy (Guo et al. 2017).

use crate::matrix::{Matrix, softmax};

/// Range of inverse temperatures, wide enough for scores of rows that were left out of the fit.
const INVERSE: std::ops::Range<f64> = 0.05..20.0;
/// Golden-section steps; the rest of the range is far below the precision of a score.
const STEPS: usize = 60;

/// Returns the temperature that fits probabilities of rows which the fit did not see. `gold` has the
/// index of each row's label; 1 without rows.
#[must_use]
pub fn temperature_of(probabilities: &[Vec<f32>], gold: &[usize]) -> f32 {
    let columns = probabilities.first().map_or(0, Vec::len);
    let mut scores = Matrix::zeros(probabilities.len(), columns);
    for (row, probabilities) in probabilities.iter().enumerate() {
        let logarithm = |probability: &f32| f64::from(probability.max(f32::MIN_POSITIVE)).ln();
        scores.row_mut(row).iter_mut().zip(probabilities).for_each(|(score, value)| *score = logarithm(value));
    }
    fit(&scores, gold) as f32
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_that_are_too_sure_are_cooled_to_their_accuracy() {
        // Three of four are right, and each was 99 % sure.
        let gold = [0, 1, 0, 1];
        let sure = |label: usize| if label == 0 { vec![0.99, 0.01] } else { vec![0.01, 0.99] };
        let probabilities: Vec<Vec<f32>> = [0, 1, 0, 0].into_iter().map(sure).collect();
        let temperature = f64::from(temperature_of(&probabilities, &gold));
        let odds = (0.99_f64 / 0.01).powf(1.0 / temperature);
        assert!((odds / (1.0 + odds) - 0.75).abs() < 1e-3, "temperature {temperature}");
        assert_eq!(temperature_of(&[], &[]), 1.0);
    }
}

//! Scores of rows by fits that did not see them.

use crate::error::Error;
use crate::logistic;
use crate::matrix::Matrix;
use crate::random::Random;

/// Parts into which the rows are divided.
pub(crate) const FOLDS: usize = 5;
/// Gradient at which a fit of a part ends: more would not change a prediction.
pub(crate) const TOLERANCE: f64 = 1e-4;

/// Returns the part of each row. Rows of one label are spread evenly over the parts.
pub(crate) fn folds(gold: &[usize], seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..gold.len()).collect();
    Random::new(seed).shuffle(&mut order);
    order.sort_by_key(|&row| gold[row]);
    let mut folds = vec![0; gold.len()];
    order.iter().enumerate().for_each(|(position, &row)| folds[row] = position % FOLDS);
    folds
}

/// Returns the scores of the first rows, one for each entry of `folds`, by fits without their part.
/// Further rows are in every fit.
pub(crate) fn held_out_scores(
    features: &Matrix,
    targets: &Matrix,
    folds: &[usize],
    c: f64,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Matrix, Error> {
    let mut held_out = Matrix::zeros(folds.len(), targets.columns);
    for fold in 0..FOLDS {
        let inside = |&row: &usize| folds.get(row) == Some(&fold);
        let train: Vec<usize> = (0..features.rows()).filter(|row| !inside(row)).collect();
        let test: Vec<usize> = (0..folds.len()).filter(inside).collect();
        if test.is_empty() {
            continue;
        }
        let weights = logistic::fit(&features.select(&train), &targets.select(&train), c, TOLERANCE, cancelled)?;
        let scores = logistic::scores(&features.select(&test), &weights);
        for (index, &row) in test.iter().enumerate() {
            held_out.row_mut(row).copy_from_slice(scores.row(index));
        }
    }
    Ok(held_out)
}

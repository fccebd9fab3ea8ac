//! Multinomial logistic regression with an L2 penalty, fitted by L-BFGS.
//!
//! The objective is scikit-learn's: `C · Σ cross-entropy + ½ · Σ weight²`, with an intercept that is
//! not penalized. Targets are probabilities, so a row may belong to several labels.

use crate::error::Error;
use crate::matrix::{Matrix, add_scaled, dot, softmax};

/// Pairs of steps that L-BFGS remembers.
const MEMORY: usize = 10;
/// Iterations after which the fit stops, converged or not. Real tasks need 10 to 40.
const MAX_ITERATIONS: usize = 500;
/// Halvings of a step that does not lower the objective.
const MAX_HALVINGS: usize = 30;

/// Fits weights, `[features + 1, labels]`; the last row is the intercept.
///
/// `features` is `[rows, features]` and `targets` is `[rows, labels]`. The fit ends when no entry of
/// the gradient, divided by `c` and the number of rows, is above `tolerance`.
pub(crate) fn fit(
    features: &Matrix,
    targets: &Matrix,
    c: f64,
    tolerance: f64,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Matrix, Error> {
    let mut weights = Matrix::zeros(features.columns + 1, targets.columns);
    let (mut value, mut gradient) = objective(features, targets, c, &weights);
    let mut memory: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    let limit = tolerance * c * features.rows() as f64;
    for _ in 0..MAX_ITERATIONS {
        if cancelled() {
            return Err(Error::Cancelled);
        }
        if gradient.values.iter().all(|entry| entry.abs() <= limit) {
            break;
        }
        let direction = descent(&gradient.values, &memory);
        let slope = dot(&direction, &gradient.values);
        let mut step = if memory.is_empty() { 1.0 / dot(&direction, &direction).sqrt().max(1.0) } else { 1.0 };
        let mut improved = false;
        for _ in 0..MAX_HALVINGS {
            let mut next = weights.clone();
            add_scaled(&mut next.values, step, &direction);
            let (next_value, next_gradient) = objective(features, targets, c, &next);
            if next_value <= value + 1e-4 * step * slope {
                let moved: Vec<f64> = direction.iter().map(|entry| entry * step).collect();
                let change: Vec<f64> =
                    next_gradient.values.iter().zip(&gradient.values).map(|(next, last)| next - last).collect();
                if dot(&moved, &change) > 0.0 {
                    memory.push((moved, change));
                    if memory.len() > MEMORY {
                        memory.remove(0);
                    }
                }
                (weights, value, gradient, improved) = (next, next_value, next_gradient, true);
                break;
            }
            step /= 2.0;
        }
        if !improved {
            break;
        }
    }
    Ok(weights)
}

/// Returns the scores of each row, `[rows, labels]`.
pub(crate) fn scores(features: &Matrix, weights: &Matrix) -> Matrix {
    let mut scores = features.times(weights);
    let intercept = weights.row(features.columns);
    for row in 0..scores.rows() {
        add_scaled(scores.row_mut(row), 1.0, intercept);
    }
    scores
}

/// Returns the objective and its gradient, which has the shape of `weights`.
fn objective(features: &Matrix, targets: &Matrix, c: f64, weights: &Matrix) -> (f64, Matrix) {
    let mut errors = scores(features, weights);
    let mut loss = 0.0;
    for row in 0..errors.rows() {
        let (scores, target) = (errors.row_mut(row), targets.row(row));
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mass: f64 = target.iter().sum();
        loss += mass * (largest + scores.iter().map(|score| (score - largest).exp()).sum::<f64>().ln());
        loss -= dot(scores, target);
        softmax(scores);
        for (score, target) in scores.iter_mut().zip(target) {
            *score = c * (mass * *score - target);
        }
    }
    let penalized = features.columns * weights.columns;
    let mut gradient = features.transposed_times(&errors);
    add_scaled(&mut gradient.values, 1.0, &weights.values[..penalized]);
    let mut intercept = vec![0.0; weights.columns];
    (0..errors.rows()).for_each(|row| add_scaled(&mut intercept, 1.0, errors.row(row)));
    gradient.values.extend(intercept);
    let penalty = dot(&weights.values[..penalized], &weights.values[..penalized]);
    (c * loss + 0.5 * penalty, gradient)
}

/// Returns the direction of L-BFGS: minus the gradient, times the estimated inverse curvature.
fn descent(gradient: &[f64], memory: &[(Vec<f64>, Vec<f64>)]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|entry| -entry).collect();
    let mut factors = Vec::with_capacity(memory.len());
    for (moved, change) in memory.iter().rev() {
        let factor = dot(moved, &direction) / dot(moved, change);
        add_scaled(&mut direction, -factor, change);
        factors.push(factor);
    }
    if let Some((moved, change)) = memory.last() {
        let scale = dot(moved, change) / dot(change, change);
        direction.iter_mut().for_each(|entry| *entry *= scale);
    }
    for ((moved, change), factor) in memory.iter().zip(factors.iter().rev()) {
        let correction = factor - dot(change, &direction) / dot(moved, change);
        add_scaled(&mut direction, correction, moved);
    }
    direction
}

//! Multinomial logistic regression with an L2 penalty, fitted by L-BFGS.
//!
//! The objective is scikit-learn's: `C · Σ cross-entropy + ½ · Σ weight²`, with an intercept that is
//! not penalized. Targets are shares of labels and need not sum to 1: a row's sum is its weight.
//! L-BFGS starts from the curvature of the first point (Böhning 1992), which saves most iterations.

use crate::cholesky::Cholesky;
use crate::error::Error;
use crate::matrix::{Matrix, add_scaled, dot, softmax};

/// Pairs of steps that L-BFGS remembers.
const MEMORY: usize = 8;
/// Iterations after which the fit stops, converged or not. Real tasks need 5 to 30.
const MAX_ITERATIONS: usize = 500;
/// Halvings of a step that does not lower the objective.
const MAX_HALVINGS: usize = 30;

/// Fits weights, `[features, labels]`.
///
/// `features` is `[rows, features]`, whose last column is 1 for the intercept; `targets` is
/// `[rows, labels]`. The fit ends when no entry of the gradient, divided by `c` and the weight of
/// all rows, is above `tolerance`.
pub(crate) fn fit(
    features: &Matrix,
    targets: &Matrix,
    c: f64,
    tolerance: f64,
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<Matrix, Error> {
    let mass: Vec<f64> = (0..targets.rows()).map(|row| targets.row(row).iter().sum()).collect();
    let problem = Problem { features, targets, mass: &mass, c };
    let curvature = problem.curvature();
    let mut weights = Matrix::zeros(features.columns, targets.columns);
    let (mut value, mut gradient) = problem.objective(&weights);
    let mut memory: Vec<Pair> = Vec::new();
    let limit = tolerance * c * mass.iter().sum::<f64>();
    for _ in 0..MAX_ITERATIONS {
        if cancelled() {
            return Err(Error::Cancelled);
        }
        if gradient.values.iter().all(|entry| entry.abs() <= limit) {
            break;
        }
        let direction = descent(&gradient, &memory, &curvature);
        let slope = dot(&direction.values, &gradient.values);
        let mut step = 1.0;
        let mut improved = false;
        for _ in 0..MAX_HALVINGS {
            let mut next = weights.clone();
            add_scaled(&mut next.values, step, &direction.values);
            let (next_value, next_gradient) = problem.objective(&next);
            if next_value <= value + 1e-4 * step * slope {
                if memory.len() == MEMORY {
                    memory.remove(0);
                }
                memory.extend(Pair::new(&weights, &next, &gradient, &next_gradient));
                (weights, value, gradient, improved) = (next, next_value, next_gradient, true);
                break;
            }
            step /= 2.0;
        }
        // The objective cannot fall any further in 64 bits.
        if !improved {
            break;
        }
    }
    Ok(weights)
}

struct Problem<'a> {
    features: &'a Matrix,
    targets: &'a Matrix,
    /// Weight of each row.
    mass: &'a [f64],
    c: f64,
}

impl Problem<'_> {
    /// Returns the objective and its gradient, which has the shape of `weights`.
    fn objective(&self, weights: &Matrix) -> (f64, Matrix) {
        let mut errors = self.features.times(weights);
        let mut loss = 0.0;
        for (row, &mass) in self.mass.iter().enumerate() {
            let (scores, target) = (errors.row_mut(row), self.targets.row(row));
            let at_target = dot(scores, target);
            loss += mass * softmax(scores) - at_target;
            for (score, target) in scores.iter_mut().zip(target) {
                *score = self.c * (mass * *score - target);
            }
        }
        let penalized = &weights.values[..weights.values.len() - weights.columns];
        let mut gradient = self.features.transposed_times(&errors);
        add_scaled(&mut gradient.values[..penalized.len()], 1.0, penalized);
        (self.c * loss + 0.5 * dot(penalized, penalized), gradient)
    }

    /// Returns the curvature of one label's weights where all labels are equally likely.
    fn curvature(&self) -> Cholesky {
        let share = 1.0 / self.targets.columns as f64;
        let mut scaled = self.features.clone();
        for (row, &mass) in self.mass.iter().enumerate() {
            scaled.row_mut(row).iter_mut().for_each(|entry| *entry *= self.c * mass * share * (1.0 - share));
        }
        let mut curvature = scaled.transposed_times(self.features);
        (0..curvature.columns - 1).for_each(|index| curvature.row_mut(index)[index] += 1.0);
        Cholesky::new(curvature)
    }
}

/// A step and how the gradient changed over it.
struct Pair {
    moved: Vec<f64>,
    change: Vec<f64>,
    product: f64,
}

impl Pair {
    /// Returns nothing if the gradient did not grow in the direction of the step.
    fn new(last: &Matrix, next: &Matrix, last_gradient: &Matrix, next_gradient: &Matrix) -> Option<Self> {
        let difference = |next: &Matrix, last: &Matrix| {
            next.values.iter().zip(&last.values).map(|(next, last)| next - last).collect()
        };
        let (moved, change): (Vec<f64>, Vec<f64>) = (difference(next, last), difference(next_gradient, last_gradient));
        let product = dot(&moved, &change);
        (product > 0.0).then_some(Self { moved, change, product })
    }
}

/// Returns the direction of L-BFGS: minus the gradient, times the estimated inverse curvature.
fn descent(gradient: &Matrix, memory: &[Pair], curvature: &Cholesky) -> Matrix {
    let mut direction = gradient.clone();
    direction.values.iter_mut().for_each(|entry| *entry = -*entry);
    let mut factors = Vec::with_capacity(memory.len());
    for pair in memory.iter().rev() {
        let factor = dot(&pair.moved, &direction.values) / pair.product;
        add_scaled(&mut direction.values, -factor, &pair.change);
        factors.push(factor);
    }
    curvature.solve(&mut direction);
    if let Some(last) = memory.last() {
        let mut change = Matrix { columns: gradient.columns, values: last.change.clone() };
        curvature.solve(&mut change);
        let scale = last.product / dot(&last.change, &change.values);
        direction.values.iter_mut().for_each(|entry| *entry *= scale);
    }
    for (pair, factor) in memory.iter().zip(factors.iter().rev()) {
        let correction = factor - dot(&pair.change, &direction.values) / pair.product;
        add_scaled(&mut direction.values, correction, &pair.moved);
    }
    direction
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn matrix(rows: &Value, tail: &[f64]) -> Matrix {
        let rows: Vec<Vec<f64>> = serde_json::from_value(rows.clone()).unwrap();
        let rows: Vec<Vec<f64>> = rows.into_iter().map(|row| [&row, tail].concat()).collect();
        Matrix { columns: rows[0].len(), values: rows.concat() }
    }

    #[test]
    fn fits_are_those_of_scikit_learn() {
        let goldens: Value = serde_json::from_str(include_str!("../tests/goldens.json")).unwrap();
        for (number, golden) in goldens["fits"].as_array().unwrap().iter().enumerate() {
            let gold: Vec<usize> = serde_json::from_value(golden["gold"].clone()).unwrap();
            let weights: Vec<f64> = serde_json::from_value(golden["weights"].clone()).unwrap();
            let intercept: Vec<f64> = serde_json::from_value(golden["intercept"].clone()).unwrap();
            let (features, expected) = (matrix(&golden["features"], &[1.0]), matrix(&golden["coefficients"], &[]));
            let mut targets = Matrix::zeros(gold.len(), intercept.len());
            gold.iter()
                .zip(weights)
                .enumerate()
                .for_each(|(row, (&label, weight))| targets.row_mut(row)[label] = weight);
            let fitted = fit(&features, &targets, golden["c"].as_f64().unwrap(), 1e-10, &|| false).unwrap();
            let last = fitted.row(features.columns - 1);
            let mean = last.iter().sum::<f64>() / last.len() as f64;
            for label in 0..intercept.len() {
                for feature in 0..expected.columns {
                    let difference = fitted.row(feature)[label] - expected.row(label)[feature];
                    assert!(difference.abs() < 1e-6, "fit {number}, label {label}, feature {feature}: {difference}");
                }
                let difference = last[label] - mean - intercept[label];
                assert!(difference.abs() < 1e-6, "fit {number}, intercept {label}: {difference}");
            }
            let mut predicted = features.times(&fitted);
            (0..predicted.rows()).for_each(|row| _ = softmax(predicted.row_mut(row)));
            let expected = matrix(&golden["probabilities"], &[]);
            let differences = predicted.values.iter().zip(&expected.values).map(|(left, right)| (left - right).abs());
            assert!(differences.fold(0.0, f64::max) < 1e-6, "fit {number}");
        }
    }

    #[test]
    fn a_cancelled_fit_ends() {
        let features = Matrix { columns: 2, values: vec![1.0, 1.0, -1.0, 1.0] };
        let targets = Matrix { columns: 2, values: vec![1.0, 0.0, 0.0, 1.0] };
        assert_eq!(fit(&features, &targets, 1.0, 1e-6, &|| true), Err(Error::Cancelled));
    }
}

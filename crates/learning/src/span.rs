//! Short coordinates of rows: the span of the labelled rows in the space of all features.
//!
//! A fit of a few hundred rows never leaves their span, so it needs as many numbers a row as there
//! are rows, instead of thousands. Pivoted Cholesky factorization of the inner products finds such
//! coordinates, exactly while there are at most [`MAX_DIMENSIONS`].

use crate::matrix::{Matrix, dot};

/// Most coordinates of a row. The sentence vectors alone have 384 dimensions and are never cut.
const MAX_DIMENSIONS: usize = 512;
/// A rest below this share of the largest squared length counts as rounding error.
const NEGLIGIBLE: f64 = 1e-12;

/// Coordinates of rows, and the way back to weights of features.
pub(crate) struct Span {
    /// `[rows, dimensions]`; their inner products are those of the rows.
    pub(crate) coordinates: Matrix,
    /// The rows that span the space; coordinates of the first is the first row of a triangle, and so on.
    pub(crate) pivots: Vec<usize>,
}

impl Span {
    /// Finds coordinates of `count` rows with the given inner products.
    pub(crate) fn new(count: usize, product: impl Fn(usize, usize) -> f64) -> Self {
        let mut rest: Vec<f64> = (0..count).map(|row| product(row, row)).collect();
        let negligible = NEGLIGIBLE * rest.iter().copied().fold(0.0, f64::max);
        let dimensions = count.min(MAX_DIMENSIONS);
        let mut coordinates = Matrix::zeros(count, dimensions);
        let mut pivots = Vec::new();
        for dimension in 0..dimensions {
            let pivot = crate::matrix::largest(&rest);
            if rest[pivot] <= negligible {
                break;
            }
            let scale = rest[pivot].sqrt();
            let base = coordinates.row(pivot)[..dimension].to_vec();
            for (row, rest) in rest.iter_mut().enumerate() {
                let known = dot(&base, &coordinates.row(row)[..dimension]);
                let coordinate = if row == pivot { scale } else { (product(row, pivot) - known) / scale };
                coordinates.row_mut(row)[dimension] = coordinate;
                *rest -= coordinate * coordinate;
            }
            for &earlier in &pivots {
                coordinates.row_mut(earlier)[dimension] = 0.0;
            }
            rest[pivot] = f64::NEG_INFINITY;
            pivots.push(pivot);
        }
        let used = pivots.len();
        let values = (0..count).flat_map(|row| coordinates.row(row)[..used].to_vec()).collect();
        Self { coordinates: Matrix { columns: used, values }, pivots }
    }

    /// Returns what each pivot's row contributes to the weights, `[pivots, labels]`: the weights of
    /// all features are the sum of the pivots' rows, each times its contribution.
    pub(crate) fn contributions(&self, weights: &Matrix) -> Matrix {
        let triangle = self.coordinates.select(&self.pivots);
        let mut solved = Matrix::zeros(self.pivots.len(), weights.columns);
        for index in (0..self.pivots.len()).rev() {
            let mut sum = weights.row(index).to_vec();
            for later in index + 1..self.pivots.len() {
                crate::matrix::add_scaled(&mut sum, -triangle.row(later)[index], solved.row(later));
            }
            sum.iter_mut().for_each(|entry| *entry /= triangle.row(index)[index]);
            solved.row_mut(index).copy_from_slice(&sum);
        }
        solved
    }
}

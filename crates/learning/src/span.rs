//! Short coordinates of rows: the span of the labelled rows in the space of all features.
//!
//! A fit of a few hundred rows never leaves their span, so it needs as many numbers a row as there
//! are rows, instead of thousands. Pivoted Cholesky factorization of the inner products finds such
//! coordinates, exactly while there are at most [`MAX_DIMENSIONS`].

use crate::error::Error;
use crate::matrix::{Matrix, add_scaled, dot, largest};

/// Most coordinates of a row. The sentence vectors alone have 384 dimensions and are never cut.
const MAX_DIMENSIONS: usize = 512;
/// A rest below this share of the largest squared length counts as rounding error.
const NEGLIGIBLE: f64 = 1e-12;

/// Coordinates of rows, and the way back to weights of features.
pub(crate) struct Span {
    /// `[rows, dimensions + 1]`; the inner products of the dimensions are those of the rows, and
    /// the last column is 1, for the intercept.
    pub(crate) coordinates: Matrix,
    /// The rows that span the space. Their coordinates are a lower triangle.
    pub(crate) pivots: Vec<usize>,
}

impl Span {
    /// Finds coordinates of `count` rows with the given inner products.
    pub(crate) fn new(
        count: usize,
        product: impl Fn(usize, usize) -> f64,
        cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Self, Error> {
        let mut rest: Vec<f64> = (0..count).map(|row| product(row, row)).collect();
        let negligible = NEGLIGIBLE * rest.iter().copied().fold(0.0, f64::max);
        let most = count.min(MAX_DIMENSIONS);
        let mut found = Matrix::zeros(count, most);
        let mut pivots = Vec::new();
        while pivots.len() < most {
            if cancelled() {
                return Err(Error::Cancelled);
            }
            let (pivot, dimension) = (largest(&rest), pivots.len());
            if rest[pivot] <= negligible {
                break;
            }
            let scale = rest[pivot].sqrt();
            let base = found.row(pivot)[..dimension].to_vec();
            for (row, rest) in rest.iter_mut().enumerate() {
                if *rest > f64::NEG_INFINITY {
                    let known = dot(&base, &found.row(row)[..dimension]);
                    let coordinate = (product(row, pivot) - known) / scale;
                    found.row_mut(row)[dimension] = coordinate;
                    *rest -= coordinate * coordinate;
                }
            }
            found.row_mut(pivot)[dimension] = scale;
            rest[pivot] = f64::NEG_INFINITY;
            pivots.push(pivot);
        }
        let row = |row: usize| found.row(row)[..pivots.len()].iter().copied().chain([1.0]);
        let values = (0..count).flat_map(row).collect();
        Ok(Self { coordinates: Matrix { columns: pivots.len() + 1, values }, pivots })
    }

    /// Returns what each pivot contributes to the weights, `[pivots, labels]`: the weights of all
    /// features are the sum of the pivots' rows, each times its contribution.
    pub(crate) fn contributions(&self, weights: &Matrix) -> Matrix {
        let triangle = self.coordinates.select(&self.pivots);
        let mut solved = Matrix::zeros(self.pivots.len(), weights.columns);
        for index in (0..self.pivots.len()).rev() {
            let mut sum = weights.row(index).to_vec();
            for later in index + 1..self.pivots.len() {
                add_scaled(&mut sum, -triangle.row(later)[index], solved.row(later));
            }
            sum.iter_mut().for_each(|entry| *entry /= triangle.row(index)[index]);
            solved.row_mut(index).copy_from_slice(&sum);
        }
        solved
    }
}

//! Solving linear equations with a positive definite matrix.

use crate::matrix::{Matrix, add_scaled, dot};

/// The lower triangle whose product with its transpose is the matrix.
pub(crate) struct Cholesky(Matrix);

impl Cholesky {
    /// Factorizes a positive definite matrix; only its lower triangle is read.
    pub(crate) fn new(mut matrix: Matrix) -> Self {
        let size = matrix.columns;
        for row in 0..size {
            for column in 0..=row {
                let known = dot(&matrix.row(row)[..column], &matrix.row(column)[..column]);
                let rest = matrix.row(row)[column] - known;
                let entry =
                    if row == column { rest.max(f64::MIN_POSITIVE).sqrt() } else { rest / matrix.row(column)[column] };
                matrix.row_mut(row)[column] = entry;
            }
        }
        Self(matrix)
    }

    /// Replaces each column of `right` by the solution for it.
    pub(crate) fn solve(&self, right: &mut Matrix) {
        let (size, width) = (self.0.columns, right.columns);
        for row in 0..size {
            let (known, rest) = right.values.split_at_mut(row * width);
            for (column, &factor) in self.0.row(row)[..row].iter().enumerate() {
                add_scaled(&mut rest[..width], -factor, &known[column * width..(column + 1) * width]);
            }
            rest[..width].iter_mut().for_each(|entry| *entry /= self.0.row(row)[row]);
        }
        for row in (0..size).rev() {
            let (rest, known) = right.values.split_at_mut((row + 1) * width);
            let target = &mut rest[row * width..];
            for later in row + 1..size {
                add_scaled(target, -self.0.row(later)[row], &known[(later - row - 1) * width..(later - row) * width]);
            }
            target.iter_mut().for_each(|entry| *entry /= self.0.row(row)[row]);
        }
    }
}

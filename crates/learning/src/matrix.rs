//! Dense matrices of 64-bit floats, row by row, with the few products that learning needs.
//!
//! Every sum runs in one fixed order, so that results do not depend on threads.

/// A matrix whose rows follow one another in `values`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matrix {
    pub(crate) columns: usize,
    pub(crate) values: Vec<f64>,
}

impl Matrix {
    pub(crate) fn zeros(rows: usize, columns: usize) -> Self {
        Self { columns, values: vec![0.0; rows * columns] }
    }

    pub(crate) fn rows(&self) -> usize {
        self.values.len().checked_div(self.columns).unwrap_or(0)
    }

    pub(crate) fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// Returns the given rows, in this order.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let values = rows.iter().flat_map(|&row| self.row(row)).copied().collect();
        Self { columns: self.columns, values }
    }

    /// Returns `self · other`.
    pub(crate) fn times(&self, other: &Self) -> Self {
        let mut product = Self::zeros(self.rows(), other.columns);
        for row in 0..self.rows() {
            let target = &mut product.values[row * other.columns..(row + 1) * other.columns];
            for (index, &factor) in self.row(row).iter().enumerate() {
                add_scaled(target, factor, other.row(index));
            }
        }
        product
    }

    /// Returns the transpose of `self`, times `other`.
    pub(crate) fn transposed_times(&self, other: &Self) -> Self {
        let mut product = Self::zeros(self.columns, other.columns);
        for row in 0..self.rows() {
            for (index, &factor) in self.row(row).iter().enumerate() {
                add_scaled(&mut product.values[index * other.columns..][..other.columns], factor, other.row(row));
            }
        }
        product
    }
}

/// Adds `factor * source` to `target`.
pub(crate) fn add_scaled(target: &mut [f64], factor: f64, source: &[f64]) {
    for (target, source) in target.iter_mut().zip(source) {
        *target += factor * source;
    }
}

/// Returns the inner product of two vectors.
pub(crate) fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

/// Returns the inner product of two vectors of 32-bit floats, summed in 64 bits.
pub(crate) fn dot_f32(left: &[f32], right: &[f32]) -> f64 {
    left.iter().zip(right).map(|(&left, &right)| f64::from(left) * f64::from(right)).sum()
}

/// Turns scores into probabilities that sum to 1.
pub(crate) fn softmax(scores: &mut [f64]) {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
}

/// Returns the index of the largest value; of equal ones, the first.
pub(crate) fn largest(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, index| if values[index] > values[best] { index } else { best })
}

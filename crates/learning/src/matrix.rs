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
    lanes(left, right, |&left, &right| left * right)
}

/// Returns the inner product of two vectors of 32-bit floats, summed in 64 bits.
pub(crate) fn dot_f32(left: &[f32], right: &[f32]) -> f64 {
    lanes(left, right, |&left, &right| f64::from(left) * f64::from(right))
}

/// Sums products in eight lanes, which the compiler turns into vector instructions.
fn lanes<T>(left: &[T], right: &[T], product: impl Fn(&T, &T) -> f64) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (left_chunks, right_chunks) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest = left_chunks.remainder().iter().zip(right_chunks.remainder());
    let rest: f64 = rest.map(|(left, right)| product(left, right)).sum();
    for (left, right) in left_chunks.zip(right_chunks) {
        for lane in 0..LANES {
            sums[lane] += product(&left[lane], &right[lane]);
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// Turns scores into probabilities that sum to 1, and returns the logarithm of the sum of the
/// exponentials of the scores.
pub(crate) fn softmax(scores: &mut [f64]) -> f64 {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|score| *score = (*score - largest).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|score| *score /= sum);
    largest + sum.ln()
}

/// Returns the index of the largest value; of equal ones, the first.
pub(crate) fn largest(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |best, index| if values[index] > values[best] { index } else { best })
}

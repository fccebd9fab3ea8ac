//! What the pool says about its own vectors, labelled or not: centres, scales and a view.
//!
//! Every part of a row is centred and scaled so that its mean squared length over the pool is 1.
//! Parts then weigh the same in every file, and one strength of the fit suits all.

use crate::matrix::{Matrix, add_scaled, dot};
use crate::row::{Row, SparseVector};
use crate::words::idf;

/// Rows from which the view is learned, spread evenly over the pool. More cost time only.
const VIEW_ROWS: usize = 2_000;

/// Centres, scales and the view of a pool.
pub(crate) struct Pool {
    pub(crate) sentence: Center,
    pub(crate) state: Option<Center>,
    /// The mean of the unit matrix and the covariance of the sentence vectors, which is scaled so
    /// that `x · view · x` is 1 on average. Two rows are alike if their vectors are, and also if the
    /// same rows of the pool resemble them: label propagation by one step that stays linear.
    view: Matrix,
    /// Weights of the columns of words.
    pub(crate) idf: Vec<f64>,
}

/// The mean of vectors and the factor that gives them unit length on average.
pub(crate) struct Center {
    pub(crate) mean: Vec<f64>,
    pub(crate) scale: f64,
}

/// The parts of a row on the pool's scales.
pub(crate) struct Parts {
    pub(crate) sentence: Vec<f64>,
    /// The sentence vector times the pool's view.
    pub(crate) seen: Vec<f64>,
    pub(crate) state: Vec<f64>,
    pub(crate) words: SparseVector,
}

impl Pool {
    /// Learns from all rows; there is at least one.
    pub(crate) fn learn(rows: &[Row]) -> Self {
        let sentence = Center::learn(rows.iter().map(|row| row.sentence.as_slice()));
        let state = rows[0].state.is_some().then(|| Center::learn(rows.iter().filter_map(|row| row.state.as_deref())));
        let step = rows.len().div_ceil(VIEW_ROWS);
        let sample: Vec<Vec<f64>> = rows.iter().step_by(step).map(|row| sentence.apply(&row.sentence)).collect();
        let centered = Matrix { columns: sentence.mean.len(), values: sample.concat() };
        let mut view = centered.transposed_times(&centered);
        let mean = dot(&centered.values, &centered.times(&view).values) / sample.len() as f64;
        view.values.iter_mut().for_each(|entry| *entry /= 2.0 * mean.max(f64::MIN_POSITIVE));
        (0..view.columns).for_each(|index| view.row_mut(index)[index] += 0.5);
        Self { sentence, state, view, idf: idf(rows) }
    }

    /// Returns the parts of `row`.
    pub(crate) fn parts(&self, row: &Row) -> Parts {
        let sentence = self.sentence.apply(&row.sentence);
        let state = match (&self.state, &row.state) {
            (Some(center), Some(state)) => center.apply(state),
            _ => Vec::new(),
        };
        let weigh = |(column, value): (usize, f32)| (f64::from(value) * self.idf[column]) as f32;
        let words = SparseVector { indices: row.words.indices.clone(), values: row.words.iter().map(weigh).collect() };
        Parts { seen: self.seen(&sentence), sentence, state, words }
    }

    fn seen(&self, sentence: &[f64]) -> Vec<f64> {
        let mut seen = vec![0.0; sentence.len()];
        for (index, &factor) in sentence.iter().enumerate() {
            add_scaled(&mut seen, factor, self.view.row(index));
        }
        seen
    }
}

impl Center {
    fn learn<'a>(vectors: impl Iterator<Item = &'a [f32]> + Clone) -> Self {
        let count = vectors.clone().count() as f64;
        let mut mean = vec![0.0; vectors.clone().next().map_or(0, <[f32]>::len)];
        for vector in vectors.clone() {
            mean.iter_mut().zip(vector).for_each(|(sum, &value)| *sum += f64::from(value) / count);
        }
        let center = Self { mean, scale: 1.0 };
        let spread =
            vectors.map(|vector| center.apply(vector)).map(|vector| dot(&vector, &vector)).sum::<f64>() / count;
        Self { scale: if spread > 1e-12 { 1.0 / spread.sqrt() } else { 0.0 }, ..center }
    }

    fn apply(&self, vector: &[f32]) -> Vec<f64> {
        vector.iter().zip(&self.mean).map(|(&value, mean)| (f64::from(value) - mean) * self.scale).collect()
    }

    /// Returns weights of raw vectors for `weights` of centred ones, and what to add to the bias.
    pub(crate) fn undo(&self, weights: &[f64]) -> (Vec<f32>, f64) {
        let raw: Vec<f64> = weights.iter().map(|weight| weight * self.scale).collect();
        (raw.iter().map(|&weight| weight as f32).collect(), -dot(&raw, &self.mean))
    }
}

//! The sets of features among which a fit chooses, and the inner products of rows in each.

use crate::matrix::dot_f32;
use crate::row::{Row, SparseVector};
use crate::words::idf;

/// How much each part of a row counts; the weights multiply inner products.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mix {
    pub(crate) name: &'static str,
    pub(crate) sentence: f64,
    pub(crate) state: f64,
    pub(crate) words: f64,
}

/// From the simplest to the least simple: ties go to the earlier.
pub(crate) const MIXES: [Mix; 5] = [
    Mix { name: "sentence", sentence: 1.0, state: 0.0, words: 0.0 },
    Mix { name: "state", sentence: 0.0, state: 1.0, words: 0.0 },
    Mix { name: "sentence and words", sentence: 1.0, state: 0.0, words: 0.25 },
    Mix { name: "sentence and state", sentence: 1.0, state: 1.0, words: 0.0 },
    Mix { name: "sentence, state and words", sentence: 1.0, state: 1.0, words: 0.25 },
];

/// Strengths of the fit, as scikit-learn's `C`.
pub(crate) const STRENGTHS: [f64; 2] = [1.0, 10.0];

/// One way to learn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) mix: Mix,
    pub(crate) c: f64,
}

impl Candidate {
    pub(crate) fn name(&self) -> String {
        format!("{}, C = {}", self.mix.name, self.c)
    }
}

/// What the pool says about scales: the mean state, its spread and the weights of words.
pub(crate) struct Scales {
    pub(crate) state_mean: Vec<f64>,
    pub(crate) state_scale: f64,
    pub(crate) idf: Vec<f64>,
}

impl Scales {
    /// Learns from all rows of the pool.
    pub(crate) fn learn(rows: &[Row]) -> Self {
        let states: Vec<&[f32]> = rows.iter().filter_map(|row| row.state.as_deref()).collect();
        let count = states.len().max(1) as f64;
        let mut mean = vec![0.0; states.first().map_or(0, |state| state.len())];
        for state in &states {
            mean.iter_mut().zip(*state).for_each(|(sum, &value)| *sum += f64::from(value) / count);
        }
        let distance =
            |state: &[f32]| state.iter().zip(&mean).map(|(&x, mean)| (f64::from(x) - mean).powi(2)).sum::<f64>();
        let spread = states.iter().map(|state| distance(state)).sum::<f64>() / count;
        let state_scale = if spread > 0.0 { 1.0 / spread.sqrt() } else { 0.0 };
        Self { state_mean: mean, state_scale, idf: idf(rows) }
    }

    /// Scales the features of a row so that each part has about unit length.
    pub(crate) fn apply(&self, row: &Row) -> Row {
        let center = |(&value, mean): (&f32, &f64)| ((f64::from(value) - mean) * self.state_scale) as f32;
        let state = row.state.as_ref().map(|state| state.iter().zip(&self.state_mean).map(center).collect());
        let weigh = |(column, value): (usize, f32)| (f64::from(value) * self.idf[column]) as f32;
        let words = SparseVector { indices: row.words.indices.clone(), values: row.words.iter().map(weigh).collect() };
        Row { sentence: row.sentence.clone(), state, words }
    }
}

impl Mix {
    /// Returns the inner product of two scaled rows.
    pub(crate) fn product(&self, left: &Row, right: &Row) -> f64 {
        let mut sum = 0.0;
        if self.sentence > 0.0 {
            sum += self.sentence * dot_f32(&left.sentence, &right.sentence);
        }
        if let (true, Some(left), Some(right)) = (self.state > 0.0, &left.state, &right.state) {
            sum += self.state * dot_f32(left, right);
        }
        if self.words > 0.0 {
            sum += self.words * left.words.dot(&right.words);
        }
        sum
    }
}

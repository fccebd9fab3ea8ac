//! The vectors of one text.

use serde::{Deserialize, Serialize};

/// The vectors of one text, as the encoders and [`hashed_words`](crate::hashed_words) give them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Vector of the sentence encoder, of unit length. All rows have the same number of dimensions.
    pub sentence: Vec<f32>,
    /// Vector of the sentiment model, of any length; all rows have one, or none has.
    pub state: Option<Vec<f32>>,
    /// Counts of words and parts of words; may be empty.
    pub words: SparseVector,
}

/// A sparse vector: ascending indices and their values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SparseVector {
    pub(crate) indices: Vec<u16>,
    pub(crate) values: Vec<f32>,
}

impl SparseVector {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        self.indices.iter().map(|&index| usize::from(index)).zip(self.values.iter().copied())
    }

    /// Scales the vector to unit length; a vector of zeros stays as it is.
    pub(crate) fn normalize(&mut self) {
        let length = self.values.iter().map(|value| value * value).sum::<f32>().sqrt();
        if length > 0.0 {
            self.values.iter_mut().for_each(|value| *value /= length);
        }
    }

    pub(crate) fn dot(&self, other: &Self) -> f64 {
        let (mut left, mut right, mut sum) = (0, 0, 0.0);
        while left < self.indices.len() && right < other.indices.len() {
            let (one, two) = (self.indices[left], other.indices[right]);
            if one == two {
                sum += f64::from(self.values[left]) * f64::from(other.values[right]);
            }
            left += usize::from(one <= two);
            right += usize::from(two <= one);
        }
        sum
    }
}

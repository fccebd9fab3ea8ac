//! The sets of features among which a fit chooses, as weights of inner products.

use crate::matrix::dot;
use crate::pool::Parts;

/// How much each part of a row counts in the inner product of two rows; the sentence vector, as the
/// pool sees it, counts 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mix {
    pub(crate) name: &'static str,
    pub(crate) words: f64,
    pub(crate) state: f64,
}

/// Further sets were hardly ever better, and with few labels each one more is one more to be chosen
/// by mistake. The last one takes the place of the third where words may not be used.
pub(crate) const MIXES: [Mix; 4] = [
    Mix { name: "sentence", words: 0.0, state: 0.0 },
    Mix { name: "sentence and words", words: 0.25, state: 0.0 },
    Mix { name: "sentence, words and state", words: 0.25, state: 1.0 },
    Mix { name: "sentence and state", words: 0.0, state: 1.0 },
];

/// Strengths of the fit, as scikit-learn's `C`.
pub(crate) const STRENGTHS: [f64; 2] = [1.0, 10.0];

impl Mix {
    /// Returns the inner product of two rows.
    pub(crate) fn product(&self, left: &Parts, right: &Parts) -> f64 {
        let mut product = dot(&left.sentence, &right.seen);
        if self.words > 0.0 {
            product += self.words * left.words.dot(&right.words);
        }
        if self.state > 0.0 {
            product += self.state * dot(&left.state, &right.state);
        }
        product
    }
}

//! The sets of features among which a fit chooses, as weights of inner products.

use crate::matrix::dot;
use crate::pool::Parts;

/// How much each part of a row counts in the inner product of two rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mix {
    pub(crate) name: &'static str,
    pub(crate) sentence: f64,
    /// The sentence vectors once more, seen through the pool: two rows are alike if the same rows
    /// of the pool resemble them. It is label propagation by one step in a form that stays linear.
    pub(crate) shared: f64,
    pub(crate) state: f64,
    pub(crate) words: f64,
}

const fn mix(name: &'static str, sentence: f64, shared: f64, state: f64, words: f64) -> Mix {
    Mix { name, sentence, shared, state, words }
}

/// From the simplest to the least simple: ties go to the earlier.
pub(crate) const MIXES: [Mix; 7] = [
    mix("sentence", 1.0, 0.0, 0.0, 0.0),
    mix("sentence and pool", 0.5, 0.5, 0.0, 0.0),
    mix("state", 0.0, 0.0, 1.0, 0.0),
    mix("sentence and words", 1.0, 0.0, 0.0, 0.25),
    mix("sentence, pool and words", 0.5, 0.5, 0.0, 0.25),
    mix("sentence, pool and state", 0.5, 0.5, 0.25, 0.0),
    mix("sentence, pool, state and words", 0.5, 0.5, 0.25, 0.25),
];

/// Strengths of the fit, as scikit-learn's `C`.
pub(crate) const STRENGTHS: [f64; 2] = [1.0, 10.0];

impl Mix {
    /// Returns the inner product of two rows.
    pub(crate) fn product(&self, left: &Parts, right: &Parts) -> f64 {
        let mut sum = 0.0;
        let mut add = |weight: f64, product: &dyn Fn() -> f64| {
            if weight > 0.0 {
                sum += weight * product();
            }
        };
        add(self.sentence, &|| dot(&left.sentence, &right.sentence));
        add(self.shared, &|| dot(&left.sentence, &right.shared));
        add(self.state, &|| dot(&left.state, &right.state));
        add(self.words, &|| left.words.dot(&right.words));
        sum
    }
}

//! The candidates of a fit, and the choice among them.

use crate::mix::{MIXES, Mix, STRENGTHS};
use crate::teaching::{Features, Teaching};

/// One way to learn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) mix: Mix,
    pub(crate) c: f64,
}

impl Candidate {
    /// Returns the candidates whose vectors exist and may be used.
    pub(crate) fn all(teaching: &Teaching<'_>) -> Vec<Self> {
        let has_state = teaching.rows[0].state.is_some();
        let takes_words = teaching.features == Features::All;
        let usable = |mix: &&Mix| (mix.state == 0.0 || has_state) && (mix.words == 0.0 || takes_words);
        let with = |mix: &Mix| STRENGTHS.map(|c| Self { mix: *mix, c });
        MIXES.iter().filter(usable).flat_map(with).collect()
    }

    pub(crate) fn name(&self) -> String {
        format!("{}, C = {}", self.mix.name, self.c)
    }
}

/// Returns the indices of the candidates to use, the best one first. `right` has a list for each
/// candidate: how often each example got its label.
pub(crate) fn choose(right: &[Vec<f64>]) -> Vec<usize> {
    let sums: Vec<f64> = right.iter().map(|right| right.iter().sum()).collect();
    vec![crate::matrix::largest(&sums)]
}

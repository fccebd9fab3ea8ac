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
        let wanted = |mix: &Mix| match teaching.features {
            Features::All => mix.state == 0.0 || mix.words > 0.0,
            Features::Dense => mix.words == 0.0,
        };
        let usable = |mix: &&Mix| (mix.state == 0.0 || has_state) && wanted(mix);
        let with = |mix: &Mix| STRENGTHS.map(|c| Self { mix: *mix, c });
        MIXES.iter().filter(usable).flat_map(with).collect()
    }

    pub(crate) fn name(&self) -> String {
        format!("{}, C = {}", self.mix.name, self.c)
    }
}

/// Accuracy that a candidate may lack for its share to fall to 1/e of the best one's share. Few
/// labels cannot tell candidates apart that differ by less, and their mean errs less than any of
/// them.
const SLACK: f64 = 0.03;
/// Candidates with a smaller share are left out, which saves time.
const LEAST_SHARE: f64 = 0.05;

/// A candidate's place in the list, and its share of the head.
pub(crate) type Share = (usize, f64);

/// Returns the candidates that make up the head, the best one first. `accuracies` has the share of
/// right labels for each candidate. The shares sum to 1.
pub(crate) fn choose(accuracies: &[f64]) -> Vec<Share> {
    let best = accuracies.iter().copied().fold(0.0, f64::max);
    let weight = |accuracy: &f64| ((accuracy - best) / SLACK).exp();
    let least = LEAST_SHARE * accuracies.iter().map(weight).sum::<f64>();
    let mut chosen: Vec<Share> = accuracies.iter().map(weight).enumerate().filter(|share| share.1 >= least).collect();
    chosen.sort_by(|left, right| right.1.total_cmp(&left.1));
    let total: f64 = chosen.iter().map(|share| share.1).sum();
    chosen.iter_mut().for_each(|share| share.1 /= total);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_candidates_share_the_head_and_distant_ones_have_no_part() {
        let chosen = choose(&[0.80, 0.83, 0.60, 0.83]);
        assert_eq!(chosen.iter().map(|share| share.0).collect::<Vec<_>>(), [1, 3, 0]);
        assert!((chosen[0].1 - chosen[1].1).abs() < 1e-12, "{chosen:?}");
        assert!((chosen[2].1 / chosen[0].1 - (-1.0_f64).exp()).abs() < 1e-9, "{chosen:?}");
        assert!((chosen.iter().map(|share| share.1).sum::<f64>() - 1.0).abs() < 1e-12);
    }
}

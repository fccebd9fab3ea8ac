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

/// Accuracy by which the best candidate that reads the state must lead the others, or none of them
/// takes part: without the state, a prediction needs one encoder instead of two.
const STATE_LEAD: f64 = 0.01;
/// Examples below which the state always takes part, because the lead is too uncertain.
const CERTAIN: usize = 50;

/// A candidate's place in the list, and its share of the head.
pub(crate) type Share = (usize, f64);

/// Returns the candidates that make up the head, the best one first. `accuracies` has the share of
/// right labels for each candidate, among `examples`. The shares sum to 1.
pub(crate) fn choose(candidates: &[Candidate], accuracies: &[f64], examples: usize) -> Vec<Share> {
    let reads_state = |index: &usize| candidates[*index].mix.state > 0.0;
    let best = |with_state: bool| {
        let of_kind = (0..candidates.len()).filter(|index| reads_state(index) == with_state);
        of_kind.map(|index| accuracies[index]).fold(0.0, f64::max)
    };
    let with_state = examples < CERTAIN || best(true) >= best(false) + STATE_LEAD;
    let best = if with_state { best(true).max(best(false)) } else { best(false) };
    let weight = |index: usize| (index, ((accuracies[index] - best) / SLACK).exp());
    let mut chosen: Vec<Share> =
        (0..candidates.len()).filter(|index| with_state || !reads_state(index)).map(weight).collect();
    let least = LEAST_SHARE * chosen.iter().map(|share| share.1).sum::<f64>();
    chosen.retain(|share| share.1 >= least);
    chosen.sort_by(|left, right| right.1.total_cmp(&left.1));
    let total: f64 = chosen.iter().map(|share| share.1).sum();
    chosen.iter_mut().for_each(|share| share.1 /= total);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(states: &[f64]) -> Vec<Candidate> {
        states.iter().map(|&state| Candidate { mix: Mix { state, ..MIXES[0] }, c: 1.0 }).collect()
    }

    #[test]
    fn near_candidates_share_the_head_and_distant_ones_have_no_part() {
        let chosen = choose(&candidates(&[0.0; 4]), &[0.80, 0.83, 0.60, 0.83], 100);
        assert_eq!(chosen.iter().map(|share| share.0).collect::<Vec<_>>(), [1, 3, 0]);
        assert!((chosen[0].1 - chosen[1].1).abs() < 1e-12, "{chosen:?}");
        assert!((chosen[2].1 / chosen[0].1 - (-1.0_f64).exp()).abs() < 1e-9, "{chosen:?}");
        assert!((chosen.iter().map(|share| share.1).sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_state_is_read_only_where_it_is_clearly_better() {
        let chosen = |accuracy, examples| {
            let chosen = choose(&candidates(&[0.0, 1.0]), &[0.80, accuracy], examples);
            chosen.into_iter().map(|share| share.0).collect::<Vec<_>>()
        };
        assert_eq!(chosen(0.805, 100), [0]);
        assert_eq!(chosen(0.83, 100), [1, 0]);
        assert_eq!(chosen(0.79, 20), [0, 1]);
    }
}

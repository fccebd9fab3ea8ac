//! One fit: from the examples of a pool to a head on the disk, and what changed by it.

use learning::{Row, Teaching};

use crate::digest::Digest;
use crate::encode::Encode;
use crate::error::Error;
use crate::pool::{Examples, Pool};
use crate::state::{RoundFacts, State, TaughtHead};
use crate::vectors::Vectors;
use crate::watch::{Stage, Watch};

/// A text whose familiarity is in this share of the least familiar ones of the file is marked
/// uncertain.
const UNFAMILIAR_SHARE: f64 = 0.01;
/// Teaching may stop once this many labels have changed less than [`SETTLED_SHARE`].
const SETTLED_LABELS: usize = 30;
/// A share of the sample, summed over rounds. With 2 %, teaching six labels went on beyond 400 rows.
const SETTLED_SHARE: f64 = 0.05;
/// Rounds that are kept.
const MAX_ROUNDS: usize = 100;

/// A label that looks wrong.
pub(crate) struct Doubt {
    pub item: usize,
    pub likely: String,
}

/// The head of the fit before, with its predictions for the pool.
pub(crate) struct Before {
    pub head: TaughtHead,
    pub digest: String,
    pub probabilities: Vec<Vec<f32>>,
}

/// The head after a fit, with its predictions for the pool.
pub(crate) struct Fit {
    pub head: TaughtHead,
    /// Digest of the head's file.
    pub digest: String,
    pub probabilities: Vec<Vec<f32>>,
    pub doubts: Vec<Doubt>,
    /// Whether the head is another one than before.
    pub is_new: bool,
}

/// The parts of a fit.
pub(crate) struct Fitting<'a> {
    pub pool: &'a Pool,
    pub vectors: &'a mut Vectors,
    pub encode: &'a dyn Encode,
    pub watch: &'a Watch<'a>,
}

impl Fitting<'_> {
    /// Fits the examples, unless the head on the disk was fitted on the same ones. Returns `None`
    /// while fewer than two labels have examples. The caller writes head and state.
    ///
    /// # Errors
    /// `Cancelled`, or vectors that nothing can be learned from.
    pub(crate) fn fit(
        &mut self,
        state: &mut State,
        examples: &Examples,
        before: Option<Before>,
    ) -> Result<Option<Fit>, Error> {
        if examples.labels.len() < 2 {
            return Ok(None);
        }
        if let Some(before) = before.as_ref().filter(|before| before.head.taught_sha256 == examples.sha256) {
            let (head, digest) = (before.head.clone(), before.digest.clone());
            let probabilities = before.probabilities.clone();
            return Ok(Some(Fit { head, digest, probabilities, doubts: Vec::new(), is_new: false }));
        }
        let fit = self.learn(state, examples, None)?;
        let moved = before.map_or(1.0, |before| moved(&before, &fit));
        state.rounds.push(RoundFacts { labels: examples.given.len(), moved });
        state.rounds.drain(..state.rounds.len().saturating_sub(MAX_ROUNDS));
        Ok(Some(fit))
    }

    /// Fits the examples, and names the best candidate in the state. `accuracies` are those of the
    /// candidates, if they are known.
    ///
    /// # Errors
    /// As [`Self::fit`].
    pub(crate) fn learn(
        &mut self,
        state: &mut State,
        examples: &Examples,
        accuracies: Option<&[f64]>,
    ) -> Result<Fit, Error> {
        self.watch.at(Stage::Learning, 0)?;
        let names = self.label_names(state, &examples.labels)?;
        let cancellation = self.watch.cancellation;
        let teaching = Teaching {
            labels: &examples.given,
            label_count: examples.labels.len(),
            label_names: Some(&names),
            accuracies,
            seed: state.seed,
            ..Teaching::new(&self.pool.rows)
        };
        let fitted = learning::fit(&teaching, &|| cancellation.is_cancelled())?;
        state.head = fitted.chosen.first().and_then(|&best| fitted.candidates.get(best).cloned());
        let mut head =
            TaughtHead::new(state.encoder.clone(), examples.labels.clone(), examples.sha256.clone(), fitted.head);
        head.least_familiarity = self.least_familiarity(&head);
        let probabilities: Vec<Vec<f32>> = self.pool.rows.iter().map(|row| head.head.probabilities(row)).collect();
        let doubt = |doubt: &learning::Suspicion| Doubt {
            item: doubt.row,
            likely: examples.labels.get(doubt.likely).cloned().unwrap_or_default(),
        };
        let doubts = fitted.suspicious.iter().map(doubt).collect();
        Ok(Fit { head, digest: String::new(), probabilities, doubts, is_new: true })
    }

    /// Returns the rows of the names and meanings of labels.
    pub(crate) fn label_names(&mut self, state: &State, labels: &[String]) -> Result<Vec<Row>, Error> {
        let texts = state.names(labels);
        let digests: Vec<Digest> = texts.iter().map(|text| Digest::of(text)).collect();
        let both = digests.iter().copied().zip(texts.iter().map(String::as_str));
        self.vectors.add(both, self.encode, self.watch)?;
        Ok(digests.iter().zip(&texts).map(|(digest, text)| self.vectors.row(digest, text)).collect())
    }

    /// Returns the familiarity below which a text is unlike those of the file.
    fn least_familiarity(&self, head: &TaughtHead) -> f32 {
        let sampled = self.pool.items.iter().zip(&self.pool.rows).filter(|(item, _)| item.rows > 0);
        let mut found: Vec<f32> = sampled.map(|(_, row)| head.head.familiarity(row)).collect();
        found.sort_by(f32::total_cmp);
        // Examples alone are not a sample of anything.
        found.get((UNFAMILIAR_SHARE * found.len() as f64) as usize).copied().unwrap_or(-1.0)
    }
}

/// Returns the share of the pool whose predicted label changed.
fn moved(before: &Before, now: &Fit) -> f64 {
    let both = before.probabilities.iter().zip(&now.probabilities);
    let changed = both.filter(|(old, new)| before.head.labels[best(old)] != now.head.labels[best(new)]).count();
    changed as f64 / now.probabilities.len().max(1) as f64
}

/// Returns whether the last labels changed little.
pub(crate) fn is_settled(rounds: &[RoundFacts]) -> bool {
    let Some(last) = rounds.last() else { return false };
    let mut moved = 0.0;
    for (number, round) in rounds.iter().enumerate().rev() {
        moved += round.moved;
        let before = number.checked_sub(1).map(|before| rounds[before].labels);
        if moved > SETTLED_SHARE {
            return false;
        }
        if before.is_some_and(|before| last.labels >= before + SETTLED_LABELS) {
            return true;
        }
    }
    false
}

/// Returns the number of the largest score.
pub(crate) fn best(scores: &[f32]) -> usize {
    (0..scores.len()).fold(0, |best, number| if scores[number] > scores[best] { number } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(rounds: &[(usize, f64)]) -> Vec<RoundFacts> {
        rounds.iter().map(|&(labels, moved)| RoundFacts { labels, moved }).collect()
    }

    #[test]
    fn teaching_has_settled_once_thirty_labels_changed_little() {
        assert!(!is_settled(&rounds(&[])));
        assert!(!is_settled(&rounds(&[(20, 1.0), (35, 0.02)])), "15 labels are not enough");
        assert!(is_settled(&rounds(&[(20, 1.0), (35, 0.02), (50, 0.02)])));
        assert!(!is_settled(&rounds(&[(20, 1.0), (35, 0.03), (50, 0.03)])));
        assert!(is_settled(&rounds(&[(20, 1.0), (50, 0.05)])));
    }
}

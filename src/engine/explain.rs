//! Which words moved an answer: each is left out in turn, and the score without it compared with the score of the whole.
//!
//! That asks the model itself and needs nothing of its inside, so it holds for every graph. Runs go through the cache like
//! any call.

use std::ops::Range;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use unicode_segmentation::UnicodeSegmentation;

use crate::engine::{Answer, Engine, Lane, Request};
use crate::error::Error;
pub use crate::prediction::WordWeight as Weight;
use crate::prediction::{Input, Outcome, Task};

/// Runs for one explanation at most. Words of longer texts are left out several at a time.
const MOST_RUNS: usize = 64;
/// Words that are shown.
const SHOWN: usize = 8;

impl Engine {
    /// The words that moved an answer most, the strongest first.
    ///
    /// # Errors
    /// `ExplainNotTaken` for taggers, and whatever a run may give.
    pub(super) async fn explain(&self, answer: &Answer) -> Result<Vec<Weight>, Error> {
        let Outcome::Scores(scores) = &answer.prediction.outcome else {
            return Err(Error::ExplainNotTaken { model: answer.model.clone() });
        };
        let best = best(&answer.verdict().prediction, answer);
        let whole = scores[best];
        let text = &answer.input.text;
        let weigh = |range: Range<usize>| async move {
            let input = Input { text: without(text, &range), ..Input::clone(&answer.input) };
            // A text of one word leaves nothing to compare with.
            if input.text.trim().is_empty() {
                return Ok::<_, Error>(None);
            }
            let model = Some(answer.model.clone());
            let without = self.once(Request { model, input, lane: Lane::Batch, ..Request::default() }).await?;
            let Outcome::Scores(scores) = &without.prediction.outcome else { return Ok(None) };
            Ok(Some(Weight { text: text[range].to_owned(), weight: whole - scores[best] }))
        };
        let runs = stream::iter(groups(text)).map(weigh).buffered(4 * self.settings.workers);
        let weights: Vec<Option<Weight>> = runs.try_collect().await?;
        let mut weights: Vec<Weight> = weights.into_iter().flatten().collect();
        weights.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
        weights.truncate(SHOWN);
        Ok(weights)
    }
}

/// Which score the answer's label has.
fn best(label: &str, answer: &Answer) -> usize {
    let candidates = &answer.input.labels;
    let number = match (answer.info.task, candidates.is_empty()) {
        (Task::Regression, _) => None,
        (_, true) => answer.info.labels.iter().position(|known| **known == *label),
        (_, false) => candidates.iter().position(|known| known == label),
    };
    number.unwrap_or_default()
}

/// Words by Unicode's rules (UAX 29), as many together as the number of runs allows.
fn groups(text: &str) -> Vec<Range<usize>> {
    let words: Vec<Range<usize>> = text.unicode_word_indices().map(|(start, word)| start..start + word.len()).collect();
    let together = words.len().div_ceil(MOST_RUNS).max(1);
    words.chunks(together).map(|words| words[0].start..words[words.len() - 1].end).collect()
}

fn without(text: &str, range: &Range<usize>) -> String {
    // Of the spaces on both sides one is enough, and none at an end.
    let before = &text[..range.start];
    let after = &text[range.end..];
    let after =
        if before.is_empty() || before.ends_with(' ') { after.strip_prefix(' ').unwrap_or(after) } else { after };
    if after.is_empty() { before.trim_end().to_owned() } else { format!("{before}{after}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_leaves_without_a_gap() {
        let text = "I don't like it, 真的";
        let left: Vec<String> = groups(text).iter().map(|range| without(text, range)).collect();
        let expected = [
            "don't like it, 真的",
            "I like it, 真的",
            "I don't it, 真的",
            "I don't like , 真的",
            "I don't like it, 的",
            "I don't like it, 真",
        ];
        assert_eq!(left, expected);
    }

    #[test]
    fn a_long_text_takes_no_more_runs_than_allowed() {
        let text = "word ".repeat(1000);
        let groups = groups(&text);
        assert!(groups.len() <= MOST_RUNS);
        assert_eq!((groups[0].start, groups[groups.len() - 1].end), (0, text.trim_end().len()));
    }
}

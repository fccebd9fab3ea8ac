//! Finds the words that moved an answer: leaves out each word in turn and compares the scores.
//!
//! This needs only predictions, so it works for every graph.

use std::ops::Range;

use classifier::{Input, Outcome, Task, WordWeight};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use unicode_segmentation::UnicodeSegmentation;

use crate::error::Error;
use crate::request::Answer;

/// Predictions for one explanation. In longer texts several words are left out at a time.
const MAX_RUNS: usize = 64;
const MAX_WORDS: usize = 8;

/// Returns the words that moved an answer most, the strongest first. `predict` answers the texts
/// without them, `in_flight` at a time.
///
/// # Errors
/// `ExplainNotTaken` for taggers, and any error of `predict`.
pub(crate) async fn explain<F>(
    answer: &Answer,
    in_flight: usize,
    predict: impl Fn(Input) -> F,
) -> Result<Vec<WordWeight>, Error>
where
    F: Future<Output = Result<Answer, Error>>,
{
    let Outcome::Scores(scores) = &answer.prediction.outcome else {
        return Err(Error::ExplainNotTaken { model: answer.model.clone() });
    };
    // Splitting a long text or ranking thousands of labels takes milliseconds.
    let prepare = {
        let answer = answer.clone();
        move || (predicted_index(&answer), word_groups(&answer.input.text))
    };
    let (best, groups) = match tokio::task::spawn_blocking(prepare).await {
        Ok(prepared) => prepared,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let score = scores[best];
    let text = &answer.input.text;
    let weigh = |range: Range<usize>| {
        let input = Input { text: without(text, &range), ..Input::clone(&answer.input) };
        // A text of one word leaves nothing to compare with.
        let answer = (!input.text.trim().is_empty()).then(|| predict(input));
        async move {
            let Some(answer) = answer else { return Ok(None) };
            let answer = answer.await?;
            let Outcome::Scores(scores) = &answer.prediction.outcome else { return Ok(None) };
            Ok::<_, Error>(Some(WordWeight { text: text[range].to_owned(), weight: score - scores[best] }))
        }
    };
    let runs = stream::iter(groups).map(weigh).buffered(in_flight);
    let mut weights: Vec<WordWeight> = runs.try_filter_map(|weight| async { Ok(weight) }).try_collect().await?;
    weights.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    weights.truncate(MAX_WORDS);
    Ok(weights)
}

/// Returns the index of the predicted label's score.
fn predicted_index(answer: &Answer) -> usize {
    let label = answer.info.label(&answer.input, &answer.prediction).prediction;
    let labels = || answer.info.labels_of(&answer.input.labels, answer.input.question.as_deref());
    let index = match answer.info.task {
        Task::Regression => None,
        _ => labels().iter().position(|known| **known == *label),
    };
    index.unwrap_or_default()
}

/// Splits a text into words by Unicode's rules (UAX 29), grouped so that `MAX_RUNS` are enough.
fn word_groups(text: &str) -> Vec<Range<usize>> {
    let words: Vec<Range<usize>> = text.unicode_word_indices().map(|(start, word)| start..start + word.len()).collect();
    let group = words.len().div_ceil(MAX_RUNS).max(1);
    words.chunks(group).map(|words| words[0].start..words[words.len() - 1].end).collect()
}

/// Leaves out a range, and one of the spaces around it.
fn without(text: &str, range: &Range<usize>) -> String {
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
    fn leaving_out_a_word_leaves_no_gap() {
        let text = "I don't like it, 真的";
        let left: Vec<String> = word_groups(text).iter().map(|range| without(text, range)).collect();
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
    fn a_long_text_is_explained_within_the_limit_of_runs() {
        let text = "word ".repeat(1000);
        let groups = word_groups(&text);
        assert!(groups.len() <= MAX_RUNS);
        assert_eq!((groups[0].start, groups[groups.len() - 1].end), (0, text.trim_end().len()));
    }
}

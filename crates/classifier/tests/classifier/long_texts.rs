//! Texts over a model's limit: the tokens that each rule reads, and the entities of taggers.

use classifier::testing::with_settings;
use classifier::{Cancellation, Error, Input, LabeledPrediction, LoadedModel, Truncation};

use crate::{label, load, predict};

/// 64 tokens at most, two of them special.
const CLASSIFIER: &str = "wordpiece-pairs";
/// 48 tokens at most.
const TAGGER: &str = "ner-wordpiece";

fn loaded(name: &str, settings: &str) -> LoadedModel {
    load(with_settings(name, settings).path()).unwrap()
}

/// Returns `count` words that differ enough for position and content to matter.
fn words(count: usize) -> Vec<String> {
    (0..count).map(|number| ["a", "b", "c", "d", "e", "f", "g"][number * number % 7].to_owned()).collect()
}

fn read(settings: &str, text: &str) -> LabeledPrediction {
    label(&mut loaded(CLASSIFIER, settings), &Input::single(text))
}

#[test]
fn head_tail_reads_both_ends() {
    let words = words(200);
    let ends = [&words[..31], &words[169..]].concat().join(" ");
    let answer = read("overflow = \"head-tail\"", &words.join(" "));
    assert_eq!(answer.confidence, read("", &ends).confidence);
    assert_eq!(answer.truncated, Some(Truncation { tokens: 202, limit: 64 }));
}

#[test]
fn windows_read_everything_and_average_by_tokens() {
    let words = words(100);
    let whole = read("overflow = \"windows\"", &words.join(" "));
    assert_eq!(whole.truncated, None);
    // 62 words fit between the special tokens: two windows, and the second ends with the text.
    let [first, second] = [&words[..62], &words[38..]].map(|part| read("", &part.join(" ")));
    let score = |answer: &LabeledPrediction, label: &str| {
        if answer.prediction == label {
            return answer.confidence.unwrap();
        }
        answer.alternatives.iter().find(|other| &*other.label == label).unwrap().confidence
    };
    for label in std::iter::once(whole.prediction.as_str()).chain(whole.alternatives.iter().map(|other| &*other.label))
    {
        let mean = f32::midpoint(score(&first, label), score(&second, label));
        assert!((score(&whole, label) - mean).abs() < 1e-6, "{label}");
    }
}

#[test]
fn the_error_rule_refuses_long_texts() {
    let mut model = loaded(CLASSIFIER, "overflow = \"error\"");
    let error = model.first.predict(&Input::single(words(63).join(" ")), &Cancellation::default()).unwrap_err();
    assert_eq!(error, Error::TextTooLong { tokens: 65, limit: 64 });
    predict(&mut model, &Input::single(words(62).join(" ")));
}

#[test]
fn the_token_limit_can_be_lowered_only() {
    assert_eq!(loaded(CLASSIFIER, "max_tokens = 10").info.max_tokens, Some(10));
    assert_eq!(loaded(CLASSIFIER, "max_tokens = 1000").info.max_tokens, Some(64));
    let error = load(with_settings(CLASSIFIER, "max_tokens = 2").path()).err().unwrap();
    assert_eq!(error, Error::TokenLimitTooLow { limit: 2, special: 2 });
}

#[test]
fn windows_neither_lose_nor_repeat_entities() {
    let text = "Anna Karlsson met Tomas in Vienna on Monday. ".repeat(12);
    for aggregation in ["none", "simple", "average"] {
        let settings = format!("aggregation = \"{aggregation}\"\noverflow = \"windows\"");
        let answer = label(&mut loaded(TAGGER, &settings), &Input::single(text.as_str()));
        assert_eq!(answer.truncated, None);
        let entities = answer.entities.unwrap();
        let last = entities.last().unwrap().end as usize;
        assert!(last > text.len() - 50, "the end of the text was read: {last} of {}", text.len());
        for pair in entities.windows(2) {
            assert!(pair[0].end <= pair[1].start, "{aggregation}: {pair:?}");
        }
    }
    let head = label(&mut loaded(TAGGER, "aggregation = \"none\""), &Input::single(text.as_str()));
    assert!(head.truncated.is_some_and(|cut| cut.limit == 48 && cut.tokens > 100));
}

#[test]
fn no_entity_spans_text_that_was_not_read() {
    let text = "Anna Karlsson met Tomas in Vienna on Monday. ".repeat(12);
    for aggregation in ["simple", "max"] {
        let settings = format!("aggregation = \"{aggregation}\"\noverflow = \"head-tail\"");
        let answer = label(&mut loaded(TAGGER, &settings), &Input::single(text.as_str()));
        assert!(answer.truncated.is_some());
        let longest = answer.entities.unwrap().iter().map(|entity| entity.end - entity.start).max().unwrap();
        assert!(longest < 100, "{aggregation}: {longest}");
    }
}

#[test]
fn the_first_window_has_the_entities_of_the_beginning() {
    let text = "Anna Karlsson met Tomas in Vienna on Monday. ".repeat(12);
    let mut by_windows = loaded(TAGGER, "aggregation = \"none\"\noverflow = \"windows\"");
    let mut by_head = loaded(TAGGER, "aggregation = \"none\"");
    let whole = label(&mut by_windows, &Input::single(text.as_str())).entities.unwrap();
    let head = label(&mut by_head, &Input::single(text.as_str())).entities.unwrap();
    // The first window decides up to the middle of the overlap.
    let sure = 46 * 3 / 4;
    let in_first = head.iter().take(sure / 2);
    assert!(in_first.zip(&whole).all(|(head, whole)| head == whole));
}

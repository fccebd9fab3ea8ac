//! Models with a vocabulary of their own give the scores of PyTorch and Keras.
//!
//! `tests/fixtures/make_words.py` makes them, with the frameworks' own scores.

use std::fs;

use classifier::testing::{fixture, with_settings};
use classifier::{Input, Outcome, Task};
use serde_json::Value;

use crate::{assert_refused, label, load, predict};

#[track_caller]
fn agrees(name: &str, labels: &[&str], activation: &str, max_tokens: usize) {
    let golden: Value =
        serde_json::from_str(&fs::read_to_string(fixture(name).join("expected.json")).unwrap()).unwrap();
    let mut loaded = load(&fixture(name)).unwrap();
    assert_eq!(loaded.info.labels.iter().map(|label| &**label).collect::<Vec<_>>(), labels);
    assert_eq!((loaded.info.activation.as_str(), loaded.info.task), (activation, Task::SingleLabel));
    assert_eq!(loaded.info.max_tokens, Some(max_tokens));
    assert!(loaded.info.warnings.is_empty(), "{:?}", loaded.info.warnings);
    for case in golden["cases"].as_array().unwrap() {
        let prediction = predict(&mut loaded, &Input::single(case["text"].as_str().unwrap()));
        let Outcome::Scores(scores) = &prediction.outcome else { panic!("not scores") };
        for (found, expected) in scores.iter().zip(case["scores"].as_array().unwrap()) {
            assert!((f64::from(*found) - expected.as_f64().unwrap()).abs() < 1e-5, "{case}: {scores:?}");
        }
    }
}

#[test]
fn a_cnn_in_pytorch() {
    agrees("words-pytorch", &["negative", "positive", "question"], "softmax (the default of the task)", 16);
}

#[test]
fn a_keras_model_with_one_probability_for_two_labels() {
    agrees("words-keras", &["other", "question"], "none (one probability, that of the second label)", 12);
}

#[test]
fn one_logit_for_two_labels_is_a_choice() {
    let settings = "activation = \"sigmoid\"\nlabels = [\"a\", \"b\"]\n[vocabulary]\nstandardize = \"lower\"";
    let loaded = load(with_settings("words-keras", settings).path()).unwrap();
    assert_eq!(loaded.info.activation, "softmax (one logit, that of the second label)");
}

#[test]
fn the_sources_of_a_models_facts_are_told() {
    let sources = load(&fixture("words-pytorch")).unwrap().info.sources;
    let expected = [
        ("labels_from", "`labels` in local-model.toml"),
        ("task_from", "of several labels one applies"),
        ("tokenizer", "vocab.txt, read as words, as local-model.toml says"),
        ("max_tokens_from", "`length` in local-model.toml"),
    ];
    assert_eq!(sources, expected);
    let sources = load(&fixture("ner-wordpiece")).unwrap().info.sources;
    let expected = [
        ("labels_from", "`id2label` in config.json"),
        ("task_from", "the graph gives a row for each token"),
        ("tokenizer", "tokenizer.json"),
        ("max_tokens_from", "`model_max_length` in tokenizer_config.json"),
    ];
    assert_eq!(sources, expected);
}

#[test]
fn words_that_were_not_read_are_told() {
    let mut loaded = load(&fixture("words-keras")).unwrap();
    let long = label(&mut loaded, &Input::single("very ".repeat(40)));
    let truncated = long.truncated.unwrap();
    assert_eq!((truncated.tokens, truncated.limit), (40, 12));
}

#[test]
fn short_texts_can_be_padded_on_the_left() {
    let score = |settings: &str| {
        let settings = format!("labels = [\"a\", \"b\", \"c\"]\n[vocabulary]\nsplit = \"words\"\n{settings}");
        label(&mut load(with_settings("words-pytorch", &settings).path()).unwrap(), &Input::single("love it"))
    };
    // The convolution reads three words, and the padding has the number 0 without being named.
    let [right, left] = ["length = 3", "length = 3\npadding_side = \"left\""].map(score);
    assert!((right.confidence.unwrap() - left.confidence.unwrap()).abs() > 1e-3, "{right:?} {left:?}");
}

#[test]
fn a_vocabulary_must_fit_its_description() {
    let refused = |settings: &str, expected: &str| {
        assert_refused(with_settings("words-pytorch", settings).path(), expected);
    };
    refused("[vocabulary]\nunknown = \"[OOV]\"", "`vocab.txt` has none of the entries `[OOV]`; name the right one");
    refused("[vocabulary]\nlength = 0", "`length` in `vocabulary` is out of range, expected 1 to 65536");
    assert_refused(
        with_settings("xlm-roberta-multilabel", "[vocabulary]").path(),
        "has no `vocab.txt`; write one word a line, or",
    );
    refused("inputs = { tokens = \"ids\" }", "`inputs` has `ids`, expected one of input_ids, attention_mask");
}

//! Graphs that take the text itself give the scores of scikit-learn.
//!
//! `tests/fixtures/make_text.py` makes them, with the scores of scikit-learn and of ONNX Runtime in
//! Python.

use std::fs;

use classifier::testing::onnx::{graph_of_text, integer_attribute, node};
use classifier::testing::{fixture, with_settings};
use classifier::{Cancellation, Error, Input, Outcome, Task};
use serde_json::Value;

use crate::{assert_refused, label, load, predict};

fn softmax(numbers: &[f64]) -> Vec<f64> {
    let sum: f64 = numbers.iter().map(|number| number.exp()).sum();
    numbers.iter().map(|number| number.exp() / sum).collect()
}

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// Asserts that all scores are those of scikit-learn and of ONNX Runtime in Python.
#[track_caller]
fn agrees(name: &str, labels: &[&str], activation: &str, convert: fn(&[f64]) -> Vec<f64>) {
    let golden: Value =
        serde_json::from_str(&fs::read_to_string(fixture(name).join("expected.json")).unwrap()).unwrap();
    let mut loaded = load(&fixture(name)).unwrap();
    assert_eq!(loaded.info.labels.iter().map(|label| &**label).collect::<Vec<_>>(), labels);
    assert_eq!((loaded.info.activation.as_str(), loaded.info.task), (activation, Task::SingleLabel));
    assert_eq!(loaded.info.max_tokens, None);
    for case in golden["cases"].as_array().unwrap() {
        let prediction = predict(&mut loaded, &Input::single(case["text"].as_str().unwrap()));
        let Outcome::Scores(scores) = &prediction.outcome else { panic!("not scores") };
        for (expected, tolerance) in [("scores", 1e-5), ("runtime", 1e-6)] {
            let expected = convert(&numbers(&case[expected]));
            assert_eq!(scores.len(), expected.len());
            for (found, expected) in scores.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() <= tolerance, "{}: {scores:?}", case["text"]);
            }
        }
    }
}

const TONES: [&str; 3] = ["negative", "positive", "question"];

#[test]
fn scikit_learns_probabilities_without_a_tokenizer_or_a_configuration() {
    agrees("text-tfidf", &TONES, "none (the graph gives probabilities)", <[f64]>::to_vec);
    agrees("text-union", &TONES, "none (the graph gives probabilities)", <[f64]>::to_vec);
    agrees("text-calibrated", &TONES, "none (the graph gives probabilities)", <[f64]>::to_vec);
}

#[test]
fn maps_from_labels_to_probabilities() {
    agrees("text-zipmap", &TONES, "none (the graph gives probabilities)", <[f64]>::to_vec);
    agrees("text-zipmap-numbers", &["0", "1", "2"], "none (the graph gives probabilities)", <[f64]>::to_vec);
}

#[test]
fn decision_scores_get_a_softmax_and_a_warning() {
    agrees("text-svm", &TONES, "softmax (the graph gives decision scores)", softmax);
    let warnings = load(&fixture("text-svm")).unwrap().info.warnings;
    assert!(warnings[0].starts_with("decision scores are no probabilities"), "{warnings:?}");
}

#[test]
fn votes_of_a_support_vector_machine_may_differ_from_its_probabilities() {
    agrees("text-svc", &TONES, "none (the graph gives probabilities)", <[f64]>::to_vec);
}

#[test]
fn labels_that_are_numbers_are_told_until_they_are_named() {
    let warnings = load(&fixture("text-zipmap-numbers")).unwrap().info.warnings;
    assert!(warnings[0].starts_with("the labels have no names; write `labels = "), "{warnings:?}");
    let folder = with_settings("text-zipmap-numbers", "labels = [\"bad\", \"good\", \"ask\"]\nthreshold = 0.9");
    let mut named = load(folder.path()).unwrap();
    assert!(named.info.warnings.is_empty(), "{:?}", named.info.warnings);
    let answer = label(&mut named, &Input::single("I love it"));
    assert_eq!((answer.prediction.as_str(), answer.uncertain, answer.truncated), ("good", true, None));
}

#[test]
fn a_temperature_changes_confidence_and_not_the_label() {
    let score = |settings: &str| {
        let folder = with_settings("text-tfidf", settings);
        let answer = label(&mut load(folder.path()).unwrap(), &Input::single("I love it"));
        assert_eq!(answer.prediction, "positive");
        answer.confidence.unwrap()
    };
    let table = "[calibration]\ntemperature = 2.0\ndata = \"x\"\ndata_sha256 = \"x\"\nrows = 1\ndate = \"2026-01-31\"";
    assert!(score(table) < score("") - 0.1, "{} {}", score(table), score(""));
}

#[test]
fn pairs_and_candidate_labels_are_refused() {
    let mut loaded = load(&fixture("text-tfidf")).unwrap();
    let pair = Input { text_pair: Some("b".into()), ..Input::single("a") };
    let labels = Input { labels: vec!["b".into()], ..Input::single("a") };
    let mut error = |input: &Input| loaded.first.predict(input, &Cancellation::default()).unwrap_err();
    assert!(matches!(error(&pair), Error::PairNotTaken { .. }));
    assert!(matches!(error(&labels), Error::LabelsNotTaken { .. }));
}

#[test]
fn replicas_agree_with_the_first() {
    let mut loaded = load(&fixture("text-tfidf")).unwrap();
    let input = Input::single("The UPDATE crashes");
    let mut replica = loaded.replicas.replica(2).unwrap();
    assert_eq!(replica.predict(&input, &Cancellation::default()).unwrap(), predict(&mut loaded, &input));
}

#[test]
fn other_graphs_of_strings_are_refused() {
    let refused = |graph: Vec<u8>, expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.onnx"), graph).unwrap();
        assert_refused(folder.path(), expected);
    };
    let scores = [node("Identity", &["l"], &["logits"], vec![])];
    let graph = |inputs: &[(&str, &[i64])]| graph_of_text(inputs, &scores, &[-1, 3]);
    refused(
        graph(&[("a", &[-1, 1]), ("b", &[-1, 1])]),
        "the graph has the inputs `a Tensor<String>(any, 1)`, `b Tensor<String>(any, 1)`; expected one of strings",
    );
    refused(graph(&[("a", &[-1, 3])]), "of shape [texts] or [texts, 1]");
    refused(graph(&[("a", &[-1])]), "the folder names 2 labels, but the graph gives 3 scores");
    let of_tokens = [
        node("Shape", &["l"], &["one"], integer_attribute("end", 1)),
        node("Unsqueeze", &["l", "one"], &["logits"], vec![]),
    ];
    refused(graph_of_text(&[("a", &[-1])], &of_tokens, &[-1, -1, 3]), "logits Tensor<f32>(1, 1, 3)");
}

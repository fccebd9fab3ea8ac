//! The function from a graph's numbers to scores: found in the graph, or named by its owner.

use std::fs;

use classifier::testing::onnx::{floats, model, node};
use classifier::testing::with_settings;
use classifier::{Cancellation, Error, Input, LabeledPrediction, LoadedModel, Task};
use tempfile::TempDir;

use crate::{label, load};

/// Returns a folder whose graph gives the result of `nodes` for every text.
fn folder(nodes: &[Vec<u8>], settings: &str) -> TempDir {
    let folder = with_settings("wordpiece-pairs", settings);
    fs::write(folder.path().join("model.onnx"), model(nodes, &[], &[])).unwrap();
    folder
}

fn answer(loaded: &mut LoadedModel) -> LabeledPrediction {
    label(loaded, &Input::single("a text"))
}

/// The graph's logits are 0.1, 0.2 and 0.3. Their softmax is 0.3006, 0.3322 and 0.3672.
fn ending_in(operator: &str) -> Vec<Vec<u8>> {
    vec![node(operator, &["l"], &["s"], vec![]), node("Identity", &["s"], &["logits"], vec![])]
}

#[track_caller]
fn check(nodes: &[Vec<u8>], settings: &str, activation: &str, task: Task, confidence: f32) -> Vec<String> {
    let mut loaded = load(folder(nodes, settings).path()).unwrap();
    let found = answer(&mut loaded).confidence.unwrap();
    assert!((found - confidence).abs() < 1e-4, "{found}");
    assert_eq!((loaded.info.activation.as_str(), loaded.info.task), (activation, task));
    loaded.info.warnings
}

#[test]
fn a_graph_that_ends_in_a_softmax_gets_no_second_one() {
    check(&ending_in("Identity"), "", "softmax (the default of the task)", Task::SingleLabel, 0.3672);
    check(&ending_in("Softmax"), "", "none (the graph ends in a softmax)", Task::SingleLabel, 0.3672);
    check(&ending_in("LogSoftmax"), "", "softmax (the default of the task)", Task::SingleLabel, 0.3672);
}

#[test]
fn a_graph_that_ends_in_a_sigmoid_has_independent_labels() {
    let nodes = ending_in("Sigmoid");
    check(&nodes, "", "none (the graph ends in a sigmoid)", Task::MultiLabel, 0.5744);
    check(
        &ending_in("Identity"),
        "activation = \"sigmoid\"",
        "sigmoid (set in local-model.toml)",
        Task::MultiLabel,
        0.5744,
    );
}

#[test]
fn the_owner_can_name_the_function() {
    let set = "none (set in local-model.toml)";
    check(&ending_in("Identity"), "activation = \"none\"", set, Task::SingleLabel, 0.3);
    check(
        &ending_in("Softmax"),
        "activation = \"softmax\"",
        "softmax (set in local-model.toml)",
        Task::SingleLabel,
        0.3447,
    );
}

#[test]
fn the_owner_can_bring_a_regression_into_a_range() {
    let value = |settings: &str| {
        let mut loaded = load(with_settings("regression", settings).path()).unwrap();
        answer(&mut loaded).value.unwrap()
    };
    let plain = value("");
    assert!((value("activation = \"sigmoid\"") - 1.0 / (1.0 + (-plain).exp())).abs() < 1e-6);
}

#[test]
fn numbers_that_look_like_probabilities_are_told() {
    // A softmax in pieces is not recognised.
    let shares = |values: &[f32]| {
        let folder = with_settings("wordpiece-pairs", "");
        let nodes = [node("Mul", &["l", "w"], &["logits"], vec![])];
        fs::write(folder.path().join("model.onnx"), model(&nodes, &[floats("w", &[1, 3], values)], &[])).unwrap();
        load(folder.path()).unwrap().info.warnings
    };
    let warnings = shares(&[2.0, 1.0, 2.0]);
    assert!(warnings[0].contains("look like probabilities") && warnings[0].contains("`activation = \"none\"`"));
    assert!(shares(&[2.0, 1.0, 2.5]).is_empty());
}

#[test]
fn a_temperature_applies_to_probabilities_of_the_graph_too() {
    let table = "[calibration]\ntemperature = 0.5\ndata = \"x\"\ndata_sha256 = \"x\"\nrows = 1\ndate = \"2026-01-31\"";
    check(&ending_in("Identity"), table, "softmax (the default of the task)", Task::SingleLabel, 0.4018);
    check(&ending_in("Softmax"), table, "none (the graph ends in a softmax)", Task::SingleLabel, 0.4018);
}

#[test]
fn numbers_outside_their_range_are_an_error() {
    let nodes = [node("Neg", &["l"], &["logits"], vec![])];
    let mut loaded = load(folder(&nodes, "activation = \"none\"").path()).unwrap();
    let error = loaded.first.predict(&Input::single("a"), &Cancellation::default()).unwrap_err();
    assert!(matches!(&error, Error::Inference { .. }));
    assert!(error.to_string().contains("its scores are not probabilities, see `activation` in"), "{error}");
}

#[test]
fn labels_without_names_and_fixed_lengths_are_told() {
    let warnings = |name: &str| load(&classifier::testing::fixture(name)).unwrap().info.warnings;
    assert!(warnings("output-0")[0].starts_with("the labels have no names; write `labels = [\"…\", …]` into"));
    assert!(warnings("fixed-sequence")[0].starts_with("the graph reads exactly 48 tokens: shorter texts are padded"));
    assert!(warnings("wordpiece-pairs").is_empty(), "{:?}", warnings("wordpiece-pairs"));
}

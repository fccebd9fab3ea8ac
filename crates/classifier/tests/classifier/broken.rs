//! Folders that are missing, incomplete or damaged, and the error that each gives.

use std::fs;
use std::path::Path;

use classifier::testing::built_in_copy;
use classifier::{Input, LabeledPrediction};
use tempfile::TempDir;

use crate::{assert_refused, label, load};

/// Returns a copy of the built-in model's folder after a change.
fn changed(change: impl FnOnce(&Path)) -> TempDir {
    let folder = built_in_copy();
    change(folder.path());
    folder
}

#[test]
fn a_missing_folder_or_file_is_named() {
    assert_refused(Path::new("/nowhere/at/all"), "model folder `DIR` does not exist; check the path");
    for (file, expected) in [
        ("model.onnx", "model folder `DIR` has no `model.onnx`; export the model again with `optimum-cli"),
        ("tokenizer.json", "model folder `DIR` has no `tokenizer.json`; write it with `python -c"),
        ("config.json", "model folder `DIR` has no `config.json`; export the model again"),
    ] {
        assert_refused(changed(|folder| fs::remove_file(folder.join(file)).unwrap()).path(), expected);
    }
}

#[test]
fn invalid_files_are_named_with_the_reason() {
    for (file, content, expected) in [
        ("model.onnx", "<html>not found</html>", "`DIR/model.onnx` is invalid"),
        ("tokenizer.json", "{}", "`DIR/tokenizer.json` is invalid: Model missing"),
        ("config.json", "{\"id2label\": ", "`DIR/config.json` is invalid: EOF"),
        ("config.json", r#"{"id2label": {"0": "a", "2": "b"}}"#, "`id2label` is empty or skips a number"),
        ("config.json", r#"{"id2label": {"0": "a"}}"#, "the folder names 1 label, but the graph gives 3 scores"),
        ("local-model.toml", "treshold = 0.5", "unknown field `treshold`, expected one of"),
    ] {
        assert_refused(changed(|folder| fs::write(folder.join(file), content).unwrap()).path(), expected);
    }
}

#[test]
fn a_truncated_graph_is_refused() {
    let cut = changed(|folder| {
        let graph = fs::read(folder.join("model.onnx")).unwrap();
        fs::write(folder.join("model.onnx"), &graph[..graph.len() / 2]).unwrap();
    });
    assert_refused(cut.path(), "`DIR/model.onnx` is invalid");
}

#[test]
fn several_graphs_are_ambiguous_until_one_is_named() {
    let several = changed(|folder| {
        fs::copy(folder.join("model.onnx"), folder.join("model_a.onnx")).unwrap();
        fs::rename(folder.join("model.onnx"), folder.join("model_b.onnx")).unwrap();
    });
    let settings = several.path().join("local-model.toml");
    assert_refused(several.path(), "several graphs and no `model.onnx`: `model_a.onnx`, `model_b.onnx`; name one");
    fs::write(&settings, "graph = \"model_b.onnx\"").unwrap();
    let answer: LabeledPrediction = label(&mut load(several.path()).unwrap(), &Input::single("I love this"));
    assert_eq!(answer.prediction, "positive");
    fs::write(&settings, "graph = \"../model_b.onnx\"").unwrap();
    assert_refused(several.path(), "names `../model_b.onnx`, which lies outside it; copy");
}

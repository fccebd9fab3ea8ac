//! Every way in which a model, the library or a directory can be missing or broken: the sentence it gets, a server that
//! stays up, and exit status 2 from `predict` and `check`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::client::{Server, call, command, predict, run, text};

const SENTIMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/sentiment");

/// A copy of the default model's folder with something done to it.
fn folder(change: impl FnOnce(&Path)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(Path::new(SENTIMENT).join(file), folder.path().join(file)).unwrap();
    }
    change(folder.path());
    folder
}

/// `predict` with this folder cannot run and says why, naming the folder as `DIR`.
#[track_caller]
fn refused(folder: &Path, expected: &str) {
    let model = format!("m={}", folder.display());
    let output = run(&["predict", "--model", &model, "hello"]);
    // One sentence and nothing else: no log line beside it.
    let said = text(&output.stderr).trim_end().replace(&folder.display().to_string(), "DIR");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("error: model `m` cannot be used: ") && said.contains(expected), "{said}");
    assert_eq!(text(&output.stdout), "");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_folder_that_is_missing_or_lacks_a_file() {
    refused(Path::new("/nowhere/at/all"), "model folder `DIR` does not exist; check the path");
    for (file, expected) in [
        ("model.onnx", "model folder `DIR` has no `model.onnx`; export the model again with `optimum-cli"),
        ("tokenizer.json", "model folder `DIR` has no `tokenizer.json`; write it with `python -c"),
        ("config.json", "model folder `DIR` has no `config.json`; export the model again"),
    ] {
        refused(folder(|dir| fs::remove_file(dir.join(file)).unwrap()).path(), expected);
    }
}

#[test]
fn files_that_are_not_what_they_should_be() {
    let with = |file: &'static str, content: &'static str| {
        folder(move |dir| {
            fs::write(dir.join(file), content).unwrap();
        })
    };
    for (file, content, expected) in [
        ("model.onnx", "<html>not found</html>", "`DIR/model.onnx` is invalid"),
        ("tokenizer.json", "{}", "`DIR/tokenizer.json` is invalid: Model missing"),
        ("config.json", "{\"id2label\": ", "`DIR/config.json` is invalid: EOF"),
        ("config.json", r#"{"id2label": {"0": "a", "2": "b"}}"#, "`id2label` is empty or skips a number"),
        ("config.json", r#"{"id2label": {"0": "a"}}"#, "the folder names 1 label, but the graph gives 3 scores"),
        ("local-model.toml", "treshold = 0.5", "unknown field `treshold`, expected one of"),
    ] {
        refused(with(file, content).path(), expected);
    }
}

#[test]
fn a_truncated_graph_is_not_onnx() {
    let cut = folder(|dir| {
        let graph = fs::read(dir.join("model.onnx")).unwrap();
        fs::write(dir.join("model.onnx"), &graph[..graph.len() / 2]).unwrap();
    });
    refused(cut.path(), "`DIR/model.onnx` is invalid");
}

#[test]
fn several_graphs_are_ambiguous_until_one_is_named() {
    let several = folder(|dir| {
        fs::copy(dir.join("model.onnx"), dir.join("model_a.onnx")).unwrap();
        fs::rename(dir.join("model.onnx"), dir.join("model_b.onnx")).unwrap();
    });
    refused(several.path(), "several graphs and no `model.onnx`: `model_a.onnx`, `model_b.onnx`; name one");
    fs::write(several.path().join("local-model.toml"), "graph = \"model_b.onnx\"").unwrap();
    let output = run(&["predict", "--model", several.path().to_str().unwrap(), "I love this"]);
    assert!(text(&output.stdout).contains(r#""prediction":"positive""#), "{}", text(&output.stderr));
    fs::write(several.path().join("local-model.toml"), "graph = \"../model_b.onnx\"").unwrap();
    refused(several.path(), "names `../model_b.onnx`, which lies outside it; copy");
}

#[test]
fn a_bad_model_leaves_the_good_ones_serving_and_is_loaded_once_it_is_mended() {
    let place = tempfile::tempdir().unwrap();
    let later = place.path().join("later");
    let model = format!("later={}", later.display());
    let good = format!("good={SENTIMENT}");
    let mut server = Server::over_pipes({
        let mut command = command(&["serve", "--log-level", "off", "--model", &model, "--model", &good]);
        command.stderr(std::process::Stdio::null());
        command
    });
    let answer = server.ask(&predict(1, "hello"))["result"].take();
    assert_eq!(answer["isError"], true);
    let said = answer["content"][0]["text"].as_str().unwrap();
    assert!(said.starts_with("model `later` cannot be used: model folder"), "{said}");
    let other = call(2, "local_model_predict", json!({ "text": "I love this", "model": "good" }));
    assert_eq!(server.ask(&other)["result"]["structuredContent"]["prediction"], "positive");
    let status = server.ask(&call(3, "local_model_status", json!({})))["result"]["structuredContent"].take();
    assert_eq!(status["models"][0]["state"], "failed");
    assert!(status["models"][0]["problem"].as_str().unwrap().ends_with("check the path, set by `--model`"));

    fs::rename(folder(|_| ()).keep(), &later).unwrap();
    // A failed load is repeated a second after the last attempt at the earliest.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(server.ask(&predict(4, "I love this"))["result"]["structuredContent"]["prediction"], "positive");
}

#[test]
fn a_library_that_cannot_be_opened_is_named_with_the_way_out() {
    let place = tempfile::tempdir().unwrap();
    let not_a_library = place.path().join("libonnxruntime.so");
    fs::write(&not_a_library, "not a library").unwrap();
    for path in [PathBuf::from("/nowhere/libonnxruntime.so"), not_a_library] {
        let output = command(&["predict", "hello"]).env("ORT_DYLIB_PATH", &path).output().unwrap();
        let said = text(&output.stderr);
        assert!(said.contains(&format!("ONNX Runtime cannot be opened from `{}`", path.display())), "{said}");
        assert!(said.contains("use another library, or the built-in one"), "{said}");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn where_nothing_can_be_written_the_library_is_opened_from_memory() {
    let place = tempfile::tempdir().unwrap();
    let a_file = place.path().join("not-a-directory");
    fs::write(&a_file, "").unwrap();
    let output = command(&["predict", "I love this"]).env("LOCAL_MODEL_MCP_CACHE_DIR", &a_file).output().unwrap();
    assert!(text(&output.stdout).contains(r#""prediction":"positive""#), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn arguments_that_make_no_sense_are_refused_before_anything_is_loaded() {
    for (arguments, expected) in [
        (&["predict", "--model", "a b=/x", "hello"][..], "is not of the form NAME=DIR"),
        (&["predict", "--deadline-ms", "0", "hello"], "0 is not in 1.."),
        (&["predict", "--top-k", "0", "hello"], "number would be zero for non-zero type"),
        (&["predict", "--use", "tone", "hello"], "no model is called `tone`; known: `sentiment`"),
        (&["serve", "--model", "x=/a", "--model", "x=/b"], "two models are called `x`"),
    ] {
        let output = run(arguments);
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(2));
    }
}

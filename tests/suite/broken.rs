//! The executable with a broken model, library or directory: one sentence, exit status 2, and a
//! server that stays up.
//!
//! The error of each broken folder is tested in the classifier's crate.

use std::fs;
use std::path::PathBuf;

use classifier::testing::built_in_copy;
use serde_json::json;

use crate::support::client::{Server, call, command, predict, run, text};

const SENTIMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/sentiment");

#[test]
fn a_missing_folder_is_one_sentence_and_exit_status_2() {
    let output = run(&["predict", "--model", "m=/nowhere/at/all", "hello"]);
    let expected = "error: model `m` cannot be used: model folder `/nowhere/at/all` does not exist; check the path, set by `--model`\n";
    assert_eq!((text(&output.stderr), text(&output.stdout), output.status.code()), (expected, "", Some(2)));
}

#[test]
fn a_missing_model_is_loaded_once_it_exists_while_others_serve() {
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
    let message = answer["content"][0]["text"].as_str().unwrap();
    assert!(message.starts_with("model `later` cannot be used: model folder"), "{message}");
    let status = server.ask(&call(9, "local_model_status", json!({})));
    assert_eq!(status["result"]["structuredContent"]["models"][1]["state"], "idle", "it is loaded when first used");
    let other = call(2, "local_model_predict", json!({ "text": "I love this", "model": "good" }));
    assert_eq!(server.ask(&other)["result"]["structuredContent"]["prediction"], "positive");
    let status = server.ask(&call(3, "local_model_status", json!({})))["result"]["structuredContent"].take();
    assert_eq!(status["models"][0]["state"], "failed");
    assert!(status["models"][0]["problem"].as_str().unwrap().ends_with("check the path, set by `--model`"));

    fs::rename(built_in_copy().keep(), &later).unwrap();
    // A failed load is retried after one second at the earliest.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(server.ask(&predict(4, "I love this"))["result"]["structuredContent"]["prediction"], "positive");
}

#[test]
fn an_unusable_library_is_named_with_a_remedy() {
    let place = tempfile::tempdir().unwrap();
    let not_a_library = place.path().join("libonnxruntime.so");
    fs::write(&not_a_library, "not a library").unwrap();
    for path in [PathBuf::from("/nowhere/libonnxruntime.so"), not_a_library] {
        let output = command(&["predict", "hello"]).env("ORT_DYLIB_PATH", &path).output().unwrap();
        let message = text(&output.stderr);
        assert!(message.contains(&format!("ONNX Runtime cannot be opened from `{}`", path.display())), "{message}");
        assert!(message.contains("use another library, or the built-in one"), "{message}");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_writable_cache_the_library_is_opened_from_memory() {
    let place = tempfile::tempdir().unwrap();
    let a_file = place.path().join("not-a-directory");
    fs::write(&a_file, "").unwrap();
    let output = command(&["predict", "I love this"]).env("LOCAL_MODEL_MCP_CACHE_DIR", &a_file).output().unwrap();
    assert!(text(&output.stdout).contains(r#""prediction":"positive""#), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn invalid_arguments_are_refused_before_anything_is_loaded() {
    for (arguments, expected) in [
        (&["predict", "--model", "a b=/x", "hello"][..], "is not of the form NAME=DIR"),
        (&["predict", "--deadline-ms", "0", "hello"], "0 is not in 1.."),
        (&["predict", "--top-k", "0", "hello"], "0 is not in 1..=65535"),
        (&["predict", "--use", "tone", "hello"], "no model is called `tone`; known: `sentiment`"),
        (&["serve", "--model", "x=/a", "--model", "x=/b"], "two models are called `x`"),
    ] {
        let output = run(arguments);
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
        assert_eq!(output.status.code(), Some(2));
    }
}

//! Malicious folders against the executable: memory and time stay bounded, and other models answer.
//!
//! Folders that are refused before anything is run are tested in the classifier's crate.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use classifier::testing::onnx::{
    depending_on, endless, endless_model, floats, graph_attribute, integer_attribute, integers, model, node, truth,
    turns,
};
use classifier::testing::with_settings;
use classifier::{Input, LibrarySettings, Location, loader};
use engine::testing::settings;
use engine::{EngineSettings, Request};
use serde_json::{Value, json};

use crate::faults::{AT_ONCE, ended};
use crate::support::client::{Server, call, command, predict, shared_cache};

/// Long enough for the slowest machine; all cases except the endless loops take a second.
const MAX_DURATION: Duration = Duration::from_secs(120);
/// The memory of a rejection: the library, and files of the largest size that is read.
const MAX_REFUSAL_MB: u64 = 400;
/// The limit given to the process, and its maximum memory.
const LIMIT_BYTES: &str = "1073741824";
const MAX_LIMITED_MB: u64 = 1200;

struct Finished {
    status: Option<i32>,
    output: String,
    peak_mb: u64,
}

/// Runs `predict` on one text and watches the peak of its memory.
#[track_caller]
fn run_watched(folder: &Path, text: &str, more: &[&str]) -> Finished {
    let model = format!("m={}", folder.display());
    let mut command = command(&["predict", "--model", &model, text]);
    // A file, because a full pipe would block the process.
    let mut output = tempfile::tempfile().unwrap();
    let end = || output.try_clone().unwrap();
    command.env("LOCAL_MODEL_MCP_MAX_MEMORY_BYTES", LIMIT_BYTES).args(more);
    command.stdin(Stdio::null()).stdout(end()).stderr(end());
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak_kb = 0;
    let status = loop {
        let lines = fs::read_to_string(&status_file).unwrap_or_default();
        let peak = lines.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        peak_kb = peak_kb.max(peak.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > MAX_DURATION {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("still running after {MAX_DURATION:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(peak_kb > 0, "its memory was not read");
    let mut content = String::new();
    output.rewind().unwrap();
    output.read_to_string(&mut content).unwrap();
    Finished { status: status.code(), output: content, peak_mb: peak_kb >> 10 }
}

fn with_graph(graph: &[u8], settings: &str) -> tempfile::TempDir {
    let folder = with_settings("wordpiece-pairs", settings);
    fs::write(folder.path().join("model.onnx"), graph).unwrap();
    folder
}

#[test]
fn constants_of_gigabytes_are_refused_within_bounded_memory() {
    for shape in [[1 << 15, 1 << 15], [1 << 31, 1 << 31]] {
        for (operator, inputs, tensors) in [
            ("ConstantOfShape", &["shape"][..], vec![integers("shape", &shape)]),
            ("Expand", &["one", "shape"], vec![integers("shape", &shape), floats("one", &[], &[1.0])]),
            ("Tile", &["one", "shape"], vec![integers("shape", &shape), floats("one", &[1, 1], &[1.0])]),
        ] {
            let folder = with_graph(&depending_on(&[node(operator, inputs, &["big"], vec![])], &tensors), "");
            let Finished { status, output, peak_mb } = run_watched(folder.path(), "hello", &[]);
            assert!(output.starts_with("error: model `m` cannot be used: ") && output.contains(operator), "{output}");
            assert_eq!((output.trim_end().lines().count(), status), (1, Some(2)), "{output}");
            assert!(peak_mb <= MAX_REFUSAL_MB, "{peak_mb} MB");
        }
    }
}

#[test]
fn a_graph_that_needs_gigabytes_for_a_text_fails_the_call() {
    let nodes = [
        node("Shape", &["input_ids"], &["own"], vec![]),
        node("Mul", &["own", "times"], &["shape"], vec![]),
        node("ConstantOfShape", &["shape"], &["big"], vec![]),
    ];
    // 32 kB for each token: little for the first run, and too much for the text.
    let graph = depending_on(&nodes, &[integers("times", &[1, 8192])]);
    let folder = with_graph(&graph, "max_tokens = 60000\noverflow = \"error\"");
    let config = json!({ "max_position_embeddings": 60000, "vocab_size": 420, "num_labels": 3 });
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    fs::write(folder.path().join("tokenizer_config.json"), "{}").unwrap();
    let Finished { status, output, peak_mb } = run_watched(folder.path(), &"a ".repeat(50_000), &[]);
    let error = &output[output.len().saturating_sub(900)..];
    assert!(output.contains("\"error\":\"model `m` could not run this text: "), "{error}");
    assert_eq!(status, Some(1));
    assert!(peak_mb <= MAX_LIMITED_MB, "{peak_mb} MB");
}

/// The time limit or the memory limit ends the run. At the memory limit the runtime may end the
/// process.
#[test]
fn an_endless_loop_that_keeps_its_results_is_ended() {
    let folder = with_graph(&endless_model(true), "");
    let Finished { status, output, peak_mb } = run_watched(folder.path(), "hello", &[]);
    assert!(status != Some(0) && peak_mb <= MAX_LIMITED_MB, "{peak_mb} MB, {output}");
}

#[test]
fn other_models_answer_while_one_does_not_end() {
    let folder = with_graph(&endless_model(false), "");
    let bad = format!("bad={}", folder.path().display());
    let good = format!("good={}/models/sentiment", env!("CARGO_MANIFEST_DIR"));
    let mut server = Server::over_pipes(command(&["serve", "--model", &bad, "--model", &good]));
    server.send(&call(1, "local_model_predict", json!({ "text": "I love this" })));
    let answer = server.ask(&call(2, "local_model_predict", json!({ "text": "I love this", "model": "good" })));
    assert_eq!(answer["result"]["structuredContent"]["prediction"], "positive");
    let other = server.receive();
    assert_eq!((&other["id"], &other["result"]["isError"]), (&json!(1), &json!(true)), "{other}");
    assert_eq!(server.finish(), (Some(0), String::new()));
}

/// Returns a folder whose graph loops 2^62 times if the text contains `!` (token 5), otherwise not
/// at all.
fn endless_for_some_texts() -> tempfile::TempDir {
    let nodes = [
        node("Equal", &["input_ids", "mark"], &["marks"], vec![]),
        node("Cast", &["marks"], &["counted"], integer_attribute("to", 7)),
        node("ReduceMax", &["counted"], &["any"], integer_attribute("keepdims", 0)),
        node("Mul", &["any", "many"], &["turns"], vec![]),
        node("Loop", &["turns", "go", "l"], &["logits"], graph_attribute("body", &endless(false))),
    ];
    let tensors = [integers("mark", &[5]), turns("many", 1 << 62), truth("go")];
    with_graph(&model(&nodes, &tensors, &[]), "")
}

#[tokio::test]
async fn a_loop_that_only_some_texts_start_costs_their_deadline_and_no_other_call() {
    let folder = endless_for_some_texts();
    let library = LibrarySettings { path: None, cache_dir: Some(shared_cache().to_owned()) };
    let load = |name: &str, location| (name.to_owned(), loader(name.to_owned(), location, library.clone(), 1));
    let models = vec![load("bad", Location::Folder(folder.path().into())), load("good", Location::BuiltIn)];
    let deadline = Duration::from_secs(2);
    let engine = crate::support::start_forever(models, EngineSettings { deadline, ..settings() });
    for name in engine.names() {
        engine.ready(Some(&name)).await.unwrap();
    }
    let ask = |model: &str, text: String| {
        engine.predict(Request { model: Some(model.into()), input: Input::single(text), ..Request::default() })
    };
    for number in 0..8 {
        ask("bad", format!("hello {number}")).await.unwrap();
    }
    let started = Instant::now();
    let (looping, other) = tokio::join!(ask("bad", "hello !".into()), ask("good", "I love this".into()));
    assert!(matches!(looping, Err(engine::Error::Deadline { .. })), "{looping:?}");
    assert_eq!(other.unwrap().label().prediction, "positive");
    ask("bad", "hello again".into()).await.unwrap();
    assert!(started.elapsed() < deadline + Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn a_loop_holds_up_neither_the_end_of_input_nor_a_signal() {
    use rustix::process::{Pid, Signal, kill_process};

    let folder = endless_for_some_texts();
    let model = folder.path().to_str().unwrap();
    let deadline = Duration::from_secs(1);
    for signal in [false, true] {
        let mut server = Server::over_pipes(command(&["serve", "--deadline-ms", "1000", "--model", model]));
        server.ask(&predict(1, "hello"));
        server.send(&predict(2, "hello !"));
        std::thread::sleep(Duration::from_millis(50));
        if signal {
            kill_process(Pid::from_child(&server.child), Signal::TERM).unwrap();
        } else {
            server.close_input();
        }
        let (status, took) = ended(&mut server);
        assert_eq!(status, Some(0));
        assert!(took < AT_ONCE + if signal { Duration::ZERO } else { deadline }, "{took:?}, by signal: {signal}");
    }
}

#[test]
fn a_pattern_without_end_costs_its_calls_the_deadline() {
    let folder = with_settings("wordpiece-pairs", "");
    let path = folder.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    tokenizer["pre_tokenizer"] =
        json!({ "type": "Split", "pattern": { "Regex": "(?=(a+)+b)" }, "behavior": "Isolated", "invert": false });
    fs::write(path, tokenizer.to_string()).unwrap();
    let model = folder.path().to_str().unwrap();
    let mut server =
        Server::over_pipes(command(&["serve", "--workers", "1", "--deadline-ms", "500", "--model", model]));
    for id in 0..2 {
        let late = server.ask(&predict(id, &"a".repeat(100_000 + id)));
        let text = late["result"]["content"][0]["text"].as_str().unwrap_or_default();
        assert!(text.contains("did not answer within 500 ms"), "{late}");
    }
}

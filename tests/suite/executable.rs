//! The executable over real pipes and sockets, with the real default model in the real ONNX
//! Runtime.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use classifier::{Cancellation, Location};
use classifier::{Input, Truncation};
use onnx_runtime::LibrarySettings;
use serde_json::{Value, json};

use crate::support::client::{Server, call, command, predict, request, run, shared_cache, text};
use crate::support::project::Project;

fn rows(stdout: &[u8]) -> Vec<Value> {
    text(stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_filter_keeps_the_order_and_reports_errors_in_place() {
    let mut child = command(&["predict"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines: Vec<String> = (0..200).map(|number| format!("sentence number {number}")).collect();
    lines[100].clear();
    child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let rows = rows(&output.stdout);
    let texts: Vec<_> = rows.iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(texts, lines);
    assert_eq!(rows[100], json!({ "text": "", "error": "`text` is empty or blank; send the text to classify" }));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_filter_answers_a_line_before_the_next_one_arrives() {
    let mut server = Server::over_pipes(command(&["predict"]));
    for _ in 0..2 {
        server.send_line("I love this");
        assert_eq!(server.receive()["prediction"], "positive");
    }
    assert_eq!(server.finish(), (Some(0), String::new()));
}

#[cfg(unix)]
#[test]
fn sockets_without_a_command_are_served_like_pipes_with_serve() {
    let mut over_sockets = Server::over_sockets(command(&[]));
    let mut over_pipes = Server::over_pipes(command(&["serve"]));
    let question = predict("a", "the answer does not depend on the wire");
    let mut answers = [over_sockets.ask(&question), over_pipes.ask(&question)].map(|answer| answer["result"].clone());
    for answer in &mut answers {
        answer["_meta"].take();
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(over_sockets.finish(), (Some(0), String::new()));
}

#[cfg(unix)]
#[test]
fn a_socket_for_input_alone_is_served_too() {
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let answers = tempfile::NamedTempFile::new().unwrap();
    let mut command = command(&["serve"]);
    command.stdin(std::os::fd::OwnedFd::from(theirs)).stdout(answers.reopen().unwrap());
    let mut child = command.spawn().unwrap();
    drop(command);
    writeln!(ours, "{}", predict(1, "I love this")).unwrap();
    drop(ours);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let answer = fs::read_to_string(answers.path()).unwrap();
    assert!(answer.contains(r#""prediction":"positive""#), "{answer}");
}

#[test]
fn the_log_has_one_event_per_call_and_texts_only_with_log_inputs() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = command(&["serve", "--log-level", "info"]);
    command.env("LOCAL_MODEL_MCP_CACHE_DIR", cache.path()).stderr(Stdio::piped());
    let mut server = Server::over_pipes(command);
    let secret = "a text that must not be logged";
    for id in 1..=2 {
        server.ask(&predict(id, secret));
    }
    server.ask(&predict(3, " "));
    let mut stderr = server.child.stderr.take().unwrap();
    assert_eq!(server.finish(), (Some(0), String::new()));
    let mut log = String::new();
    std::io::Read::read_to_string(&mut stderr, &mut log).unwrap();
    assert!(!log.contains(secret), "{log}");
    let calls: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("every line of the log is JSON"))
        .filter(|event: &Value| event["message"] == "model_called")
        .collect();
    let outcomes: Vec<_> = calls.iter().map(|call| (call["source"].as_str(), call["outcome"].as_str())).collect();
    let expected = [(Some("model"), Some("ok")), (Some("cache"), Some("ok")), (None, Some("caller_error"))];
    assert_eq!(outcomes, expected);
    assert_eq!(calls[0]["model"], "sentiment");
    for field in ["tokens", "queue_ms", "inference_ms", "duration_ms"] {
        assert!(calls[0][field].is_number(), "{field}: {}", calls[0]);
    }
    assert_eq!(calls[0]["input"], calls[1]["input"]);
    let output = run(&["predict", "--log-level", "info", "--log-inputs", "I love this"]);
    assert!(text(&output.stderr).contains(r#""input":"I love this""#), "{}", text(&output.stderr));
}

#[cfg(unix)]
#[test]
fn an_interrupted_file_job_says_how_to_resume() {
    let place = Project::new();
    let rows: String = (0..2000).map(|row| format!("sentence number {row} says this and that\n")).collect();
    place.write("in.csv", format!("text\n{rows}"));
    let mut job = command(&["predict", "--file", "in.csv"]);
    let mut child = job.current_dir(place.root()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // The finished rows are kept in a file next to the output.
    let kept = || {
        place
            .names()
            .iter()
            .any(|name| name != "in.csv" && fs::metadata(place.path(name)).is_ok_and(|file| file.len() > 5_000))
    };
    while !kept() {
        assert_eq!(child.try_wait().unwrap(), None, "it finished before it could be interrupted");
        std::thread::sleep(Duration::from_millis(2));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let message = "error: interrupted; run the same command with `--resume` to continue\n";
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), message));
    let resumed = command(&["predict", "--file", "in.csv", "--resume"]).current_dir(place.root()).output().unwrap();
    let summary: Value = serde_json::from_slice(&resumed.stdout).unwrap();
    assert!(summary["resumed_rows"].as_u64().unwrap() > 0, "{summary}");
}

#[cfg(unix)]
#[test]
fn a_signal_during_optimize_leaves_nothing_behind() {
    let place = Project::new();
    let model = classifier::testing::fixture("wordpiece-pairs");
    let mut optimize = command(&["optimize", model.to_str().unwrap(), "-o", "out"]);
    let mut child = optimize.current_dir(place.root()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while place.names().is_empty() {
        assert_eq!(child.try_wait().unwrap(), None, "it finished before it could be interrupted");
        std::thread::sleep(Duration::from_millis(2));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(place.names(), [""; 0]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(2), "error: interrupted; nothing was written\n"));
}

#[test]
fn a_text_scores_the_same_alone_among_others_and_in_another_session() {
    let output = run(&["predict", "--top-k", "3", "an ordinary day"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let alone = rows(&output.stdout);
    let mut arguments = vec!["predict", "--top-k", "3"];
    let others: Vec<String> = (0..30).map(|number| format!("{number} {}", "more words ".repeat(number))).collect();
    arguments.extend(others.iter().map(String::as_str));
    arguments.push("an ordinary day");
    assert_eq!(rows(&run(&arguments).stdout).last(), alone.first());
    let mut server = Server::over_pipes(command(&["serve"]));
    let question = call(1, "local_model_predict", json!({ "text": "an ordinary day", "top_k": 3 }));
    for _ in 0..2 {
        let answer = server.ask(&question)["result"]["structuredContent"].take();
        assert_eq!(answer["alternatives"], alone[0]["alternatives"]);
        assert_eq!(answer["confidence"], alone[0]["confidence"]);
    }
}

/// With the built-in model, in this process.
#[test]
fn a_long_text_is_truncated_at_the_limit_and_the_answer_says_so() {
    let library = LibrarySettings { path: None, cache_dir: Some(shared_cache().to_owned()) };
    let mut loaded = classifier::load("sentiment", &Location::BuiltIn, &library, 1).unwrap();
    let mut label = |words: usize| {
        let input = Input::single("word ".repeat(words).trim());
        let prediction = loaded.first.predict(&input, &Cancellation::default()).unwrap();
        loaded.info.label(&input, &prediction)
    };
    let (whole, beginning) = (label(600), label(510));
    assert_eq!(whole.truncated, Some(Truncation { tokens: 602, limit: 512 }));
    assert_eq!((beginning.confidence, beginning.truncated), (whole.confidence, None));
}

#[test]
fn each_of_many_calls_in_flight_is_answered_once() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = command(&["serve"]);
    command.env("LOCAL_MODEL_MCP_CACHE_DIR", cache.path());
    let mut server = Server::over_pipes(command);
    for id in 0..300 {
        server.send(&predict(id, &format!("text {}", id % 100)));
    }
    let ids: HashSet<i64> = (0..300).map(|_| server.receive()["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), 300);
    let status = server.ask(&call("s", "local_model_status", json!({})))["result"]["structuredContent"].take();
    let calls = &status["models"][0]["calls"];
    assert_eq!(calls["model"], 100, "every distinct text ran once: {calls}");
    assert_eq!(calls["cache"].as_i64().unwrap() + calls["joined"].as_i64().unwrap(), 200);
    assert_eq!(server.finish(), (Some(0), String::new()));
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_server_while_stdin_stays_open() {
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        for ready in [false, true] {
            let mut server = Server::over_pipes(command(&["serve"]));
            // Handlers are in place once anything is answered; the model may still be loading.
            server.ask(&request(0, "server/discover", json!({})));
            if ready {
                server.ask(&predict(1, "hello"));
            }
            let process = rustix::process::Pid::from_child(&server.child);
            rustix::process::kill_process(process, signal).unwrap();
            assert_eq!(server.child.wait().unwrap().code(), Some(0), "{signal:?}, ready: {ready}");
        }
    }
}

#[test]
fn the_end_of_input_during_loading_is_a_clean_exit() {
    for wait_ms in [0, 5, 20, 40, 80, 120] {
        let server = Server::over_pipes(command(&["serve"]));
        std::thread::sleep(Duration::from_millis(wait_ms));
        assert_eq!(server.finish(), (Some(0), String::new()), "after {wait_ms} ms");
    }
}

#[test]
fn check_reports_what_serve_would_use() {
    let output = run(&["check", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let model = &report["models"][0];
    assert_eq!(model["labels"], json!(["negative", "neutral", "positive"]));
    assert_eq!((&model["precision"], &model["max_tokens"]), (&json!("int8"), &json!(512)));
    assert_eq!(output.status.code(), Some(0));
    let readable = run(&["check", "--explain"]);
    let lines = text(&readable.stdout);
    assert!(lines.contains("labels          negative, neutral, positive\n"), "{lines}");
    assert!(lines.contains("labels_from     `id2label` in config.json\n"), "{lines}");
}

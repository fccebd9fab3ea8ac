//! The executable over real pipes and sockets, with the real default model in the real ONNX Runtime.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Server, call, command, predict, request, run, text};

fn rows(stdout: &[u8]) -> Vec<Value> {
    text(stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn predict_writes_one_json_line_a_text() {
    let output = run(&["predict", "I love this", "I hate this"]);
    let found: Vec<_> =
        rows(&output.stdout).iter().map(|row| [row["text"].clone(), row["prediction"].clone()]).collect();
    assert_eq!(found, [[json!("I love this"), json!("positive")], [json!("I hate this"), json!("negative")]]);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn predict_reads_lines_keeps_their_order_and_reports_bad_ones_in_place() {
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
fn predict_answers_a_line_before_the_next_one_comes() {
    let mut server = Server::over_pipes(command(&["predict"]));
    for _ in 0..2 {
        server.send_line("I love this");
        assert_eq!(server.receive()["prediction"], "positive");
    }
    assert_eq!(server.finish(), (Some(0), String::new()));
}

#[test]
fn serving_is_what_happens_without_a_command() {
    let mut server = Server::over_pipes(command(&[]));
    let answer = server.ask(&predict(1, "I love this"));
    assert_eq!(answer["result"]["structuredContent"]["prediction"], "positive");
    assert_eq!(server.finish(), (Some(0), String::new()));
}

#[cfg(unix)]
#[test]
fn sockets_are_served_like_pipes() {
    let mut over_sockets = Server::over_sockets(command(&["serve"]));
    let mut over_pipes = Server::over_pipes(command(&["serve"]));
    let question = predict("a", "the answer must not depend on the wire");
    let mut answers = [over_sockets.ask(&question), over_pipes.ask(&question)].map(|answer| answer["result"].clone());
    for answer in &mut answers {
        answer["_meta"].take();
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(over_sockets.finish(), (Some(0), String::new()));
}

#[cfg(unix)]
#[test]
fn a_socket_on_one_side_only_is_served_too() {
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
fn stdout_carries_only_protocol_messages_and_the_log_one_event_a_call() {
    let cache = tempfile::tempdir().unwrap();
    let mut command = command(&["serve", "--log-level", "info"]);
    command.env("LOCAL_MODEL_MCP_CACHE_DIR", cache.path()).stderr(Stdio::piped());
    let mut server = Server::over_pipes(command);
    let secret = "the text itself is nobody's business";
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
}

#[test]
fn the_same_text_scores_the_same_alone_in_company_and_in_the_next_session() {
    let alone = rows(&run(&["predict", "--top-k", "3", "an ordinary day"]).stdout);
    let mut arguments = vec!["predict", "--top-k", "3"];
    let company: Vec<String> = (0..30).map(|number| format!("{number} {}", "more words ".repeat(number))).collect();
    arguments.extend(company.iter().map(String::as_str));
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

#[test]
fn a_long_text_is_cut_at_the_limit_and_the_answer_says_so() {
    let long = "word ".repeat(600);
    let row = rows(&run(&["predict", &long]).stdout).remove(0);
    assert_eq!(row["truncated"], json!({ "tokens": 602, "limit": 512 }));
    let beginning = rows(&run(&["predict", "word ".repeat(510).trim()]).stdout).remove(0);
    assert_eq!(beginning["confidence"], row["confidence"]);
}

#[test]
fn many_calls_in_flight_are_each_answered_once() {
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
fn a_signal_ends_the_server_although_stdin_stays_open() {
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
fn leaving_while_the_model_loads_is_a_clean_end() {
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
    let readable = run(&["check"]);
    assert!(text(&readable.stdout).contains("labels          negative, neutral, positive\n"));
}

#[test]
fn texts_come_into_the_log_when_asked_for() {
    let output = run(&["predict", "--log-level", "info", "--log-inputs", "I love this"]);
    assert!(text(&output.stderr).contains(r#""input":"I love this""#), "{}", text(&output.stderr));
}

//! Unusual lines from clients, and clients that disconnect: over the scripted model in memory,
//! except where the process itself is tested.

use std::io::{Seek, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use engine::EngineSettings;
use engine::testing::{Script, settings};
use serde_json::{Value, json};

use crate::faults::{AT_ONCE, ended};
use crate::protocol::{Session, error_text};
use crate::support::client::{Server, call, command, predict, request, text};
use crate::support::project::Project;

fn session() -> Session {
    Session::new(&Arc::default())
}

/// A call whose text is written as given.
fn with_text(id: &str, text: &[u8]) -> Vec<u8> {
    let line = predict(0, "TEXT").to_string().replace("\"id\":0", &format!("\"id\":{id}"));
    let (before, after) = line.split_once("TEXT").unwrap();
    [before.as_bytes(), text, after.as_bytes()].concat()
}

/// Ids of the messages, sorted as numbers.
fn ids(messages: &[Value]) -> Vec<i64> {
    let mut ids: Vec<i64> = messages.iter().map(|message| message["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_line_that_is_not_a_request_is_answered_if_its_id_is_found() {
    const REQUEST: &str = "the line is not a JSON-RPC request";
    let deep = |levels: usize| format!("{{\"id\":1,\"params\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let unknown = request(1, "x", json!({})).to_string();
    let list = json!([predict(1, "a"), predict(2, "b")]).to_string();
    type Case = (&'static str, Vec<u8>, Option<(Value, i64, &'static str)>);
    let cases: Vec<Case> = vec![
        ("cut off", br#"{"jsonrpc":"2.0","id":1,"method":"#.to_vec(), Some((json!(1), -32700, "EOF"))),
        ("cut off in a text", br#"{"id":"a","params":{"text":"x"#.to_vec(), Some((json!("a"), -32700, "EOF"))),
        ("two in a line", [with_text("1", b"x"), with_text("2", b"y")].concat(), Some((json!(1), -32700, "trailing"))),
        ("a text that is not UTF-8", with_text("2", b"caf\xe9"), Some((json!(2), -32700, "in UTF-8"))),
        ("half a character", with_text("3", br"a \ud83d"), Some((json!(3), -32700, "inside a surrogate pair"))),
        ("the other half", with_text("4", br"\ude00 a"), Some((json!(4), -32700, "inside a surrogate pair"))),
        ("a raw tab", with_text("5", b"a\tb"), Some((json!(5), -32700, "control character"))),
        ("a NUL", with_text("6", b"a\0b"), Some((json!(6), -32700, "control character"))),
        ("129 lists", deep(129).into_bytes(), Some((json!(1), -32700, "recursion limit exceeded"))),
        ("20,000 lists", deep(20_000).into_bytes(), Some((json!(1), -32700, "recursion limit exceeded"))),
        ("a million lists", deep(1_000_000).into_bytes(), Some((json!(1), -32600, "more than 65536 values"))),
        ("no version", br#"{"id":7,"method":"ping"}"#.to_vec(), Some((json!(7), -32600, REQUEST))),
        ("version 1", br#"{"jsonrpc":"1.0","id":8,"method":"ping"}"#.to_vec(), Some((json!(8), -32600, REQUEST))),
        ("no method", br#"{"jsonrpc":"2.0","id":9}"#.to_vec(), Some((json!(9), -32600, REQUEST))),
        ("a method of 5", br#"{"jsonrpc":"2.0","id":9,"method":5}"#.to_vec(), Some((json!(9), -32600, REQUEST))),
        ("an id of 1.5", with_text("1.5", b"x"), Some((json!(1.5), -32600, REQUEST))),
        (
            "an id of 65 bits",
            with_text("18446744073709551616", b"x"),
            Some((json!(18_446_744_073_709_551_616.0), -32600, "64-bit integer")),
        ),
        ("an unknown method", unknown.into_bytes(), Some((json!(1), -32601, "unknown method `x`"))),
        ("not JSON", b"hello".to_vec(), None),
        ("not UTF-8", b"\xff\xfe\xfd".to_vec(), None),
        ("blank", b"".to_vec(), None),
        ("spaces", b" \t \r".to_vec(), None),
        ("a number", b"7".to_vec(), None),
        ("an empty object", b"{}".to_vec(), None),
        ("an id of null", with_text("null", b"x"), None),
        ("an id of true", with_text("true", b"x"), None),
        ("an id of {}", with_text("{}", b"x"), None),
        ("an empty list", b"[]".to_vec(), None),
        ("a list of requests", list.into_bytes(), None),
        ("an answer", br#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_vec(), None),
        ("a broken answer", br#"{"jsonrpc":"2.0","id":1,"error":7}"#.to_vec(), None),
        ("an unknown notification", br#"{"jsonrpc":"2.0","method":"$/x"}"#.to_vec(), None),
    ];
    let mut session = session();
    session.ask(&predict("first", "hello")).await;
    for (name, line, expected) in cases {
        session.send_bytes(&[&line[..], b"\n"].concat()).await;
        session.send(&predict("next", "hello")).await;
        let mut found = vec![session.receive().await];
        while found.iter().all(|message| message["id"] != "next") || found.len() < 1 + usize::from(expected.is_some()) {
            found.push(session.receive().await);
        }
        found.retain(|message| message["id"] != "next");
        assert_eq!(found.len(), usize::from(expected.is_some()), "{name}: {found:?}");
        if let (Some(found), Some((id, code, message))) = (found.pop(), expected) {
            assert_eq!((&found["id"], &found["error"]["code"]), (&id, &json!(code)), "{name}: {found}");
            assert!(found["error"]["message"].as_str().unwrap().contains(message), "{name}: {found}");
        }
    }
    session.close_input();
    assert_eq!(session.rest().await, [] as [Value; 0]);
}

#[tokio::test]
async fn unusual_but_valid_ids_come_back_unchanged() {
    let mut session = session();
    let ids =
        [json!(""), json!("é\u{0}\"\\"), json!(-1), json!(0), json!(i64::MAX), json!("1"), json!("x".repeat(5000))];
    for id in &ids {
        assert_eq!(session.ask(&predict(id.clone(), "hello")).await["result"]["isError"], false, "{id}");
    }
}

#[tokio::test]
async fn a_second_request_with_an_id_in_flight_is_refused_and_the_first_continues() {
    let script = Arc::new(Script::default());
    let mut session = Session::new(&script);
    session.send(&predict(1, "held")).await;
    let refused = session.ask(&predict(1, "hello")).await;
    assert_eq!(refused["error"]["code"], -32600);
    assert!(refused["error"]["message"].as_str().unwrap().starts_with("another request with this `id` is in flight"));
    script.release();
    assert_eq!(session.receive().await["result"]["structuredContent"]["prediction"], "short");
    assert_eq!(session.ask(&predict(1, "one two three")).await["result"]["structuredContent"]["prediction"], "middle");
}

#[tokio::test]
async fn notifications_may_come_first_and_between_discovery_and_the_first_call() {
    let mut session = session();
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    session.send(&note).await;
    session.ask(&request(1, "server/discover", json!({}))).await;
    session.send(&note).await;
    let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    session.send(&cancelled).await;
    session.send(&json!({ "jsonrpc": "2.0", "id": 1, "result": {} })).await;
    assert_eq!(session.ask(&predict(2, "hello")).await["result"]["isError"], false);
}

#[tokio::test]
async fn requests_before_initialization_are_refused_and_initialization_still_succeeds() {
    let mut session = session();
    for id in 1..=3 {
        let early =
            json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "local_model_status" } });
        assert_eq!(session.ask(&early).await["error"]["code"], -32602);
    }
    let hello = json!({ "jsonrpc": "2.0", "id": 4, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } });
    assert_eq!(session.ask(&hello).await["result"]["protocolVersion"], "2025-11-25");
    let plain = json!({ "jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {
        "name": "local_model_predict", "arguments": { "text": "hello" } } });
    assert_eq!(session.ask(&plain).await["result"]["structuredContent"]["prediction"], "short");
}

#[tokio::test]
async fn every_wrong_kind_of_argument_gets_an_answer() {
    let mut session = session();
    let params = [
        json!(null),
        json!([]),
        json!("x"),
        json!({}),
        json!({ "name": null }),
        json!({ "name": "local_model_predict", "arguments": [] }),
        json!({ "name": "local_model_predict", "arguments": { "text": null } }),
        json!({ "name": "local_model_predict", "arguments": { "text": "a", "top_k": -1 } }),
        json!({ "name": "local_model_predict", "arguments": { "text": "a", "top_k": 1e300 } }),
        json!({ "name": "local_model_predict", "arguments": { "text": "a", "more": {} } }),
        json!({ "name": "local_model_predict_batch", "arguments": { "texts": [1] } }),
        json!({ "name": "local_model_predict_file", "arguments": { "path": "\u{0}" } }),
        json!({ "name": "local_model_status", "arguments": { "x": 1 } }),
        json!({ "name": "", "arguments": {} }),
    ];
    for (number, params) in params.iter().enumerate() {
        for method in ["tools/call", "tools/list", "server/discover", "initialize", "ping"] {
            let id = format!("{number} {method}");
            session.ask(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        }
        let with_meta = request(number, "tools/call", if params.is_object() { params.clone() } else { json!({}) });
        let answer = session.ask(&with_meta).await;
        assert!(answer["result"]["isError"] == true || answer["error"]["code"] == -32602, "{params}: {answer}");
    }
}

#[tokio::test]
async fn a_line_above_the_limit_is_answered_wherever_its_id_is() {
    let mut session = session();
    session.ask(&predict("first", "hello")).await;
    for (number, id_first) in [true, false].into_iter().enumerate() {
        let id = format!("\"id\":{number}");
        let (head, tail) = if id_first { (format!("{{{id},"), "}".into()) } else { ("{".into(), format!(",{id}}}")) };
        session.send_bytes(format!("{head}\"params\":\"").as_bytes()).await;
        let part = vec![b'x'; 1 << 20];
        for _ in 0..9 {
            session.send_bytes(&part).await;
        }
        session.send_bytes(format!("\"{tail}\n").as_bytes()).await;
        let answer = session.receive().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(number), &json!(-32600)));
        assert!(answer["error"]["message"].as_str().unwrap().starts_with("the line is longer than 4194304 bytes"));
    }
    assert_eq!(session.ask(&predict("last", "hello")).await["result"]["isError"], false);
}

#[tokio::test]
async fn a_long_line_is_parsed_on_another_thread_and_keeps_its_place() {
    let mut session = session();
    // The line is above the size that is parsed in place; the text is below the fake's limit.
    let padded = format!("{}{}", " ".repeat(1 << 20), predict(1, "hello"));
    session.send_line(&padded).await;
    let cancel = json!({ "requestId": 1, "_meta": crate::support::client::modern_meta() });
    session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel })).await;
    session.send(&predict(2, "hello")).await;
    session.close_input();
    // Parsed in the wrong order, the cancellation would come before its request and do nothing.
    assert_eq!(ids(&session.rest().await), [2]);
}

#[tokio::test]
async fn a_line_of_more_than_65536_values_is_refused() {
    let mut session = session();
    session.ask(&predict("first", "hello")).await;
    let labels = |count: usize| call(count, "local_model_predict", json!({ "text": "a", "labels": vec![""; count] }));
    let refused = session.ask(&labels(1_000_000)).await;
    assert_eq!(refused["error"]["code"], -32600);
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("the line has more than 65536 values; expected fewer"), "{message}");
    assert!(error_text(&session.ask(&labels(60_000)).await["result"]).starts_with("`labels` has 60000 entries"));
}

#[tokio::test]
async fn labels_are_checked_once_for_a_batch() {
    let mut session = session();
    let arguments = json!({ "texts": vec!["a"; 256], "labels": vec!["b"; 65] });
    let answer = session.ask(&call(1, "local_model_predict_batch", arguments)).await;
    assert!(error_text(&answer["result"]).starts_with("`labels` has 65 entries"), "{answer}");
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let mut session = session();
    for byte in format!("{}\n", predict(1, "hello")).bytes() {
        session.send_bytes(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(session.receive().await["result"]["structuredContent"]["prediction"], "short");
}

#[tokio::test]
async fn requests_above_the_limit_in_flight_are_refused_and_each_is_answered_once() {
    let script = Arc::new(Script::default());
    let settings = EngineSettings { queue_capacity: 10_000, ..settings() };
    let mut session = Session::with(&script, settings, std::env::temp_dir());
    session.send(&predict(0, "held")).await;
    let mut answers = Vec::new();
    for id in 1..4200 {
        session.send(&predict(id, "held")).await;
        if id > 4095 {
            answers.push(session.receive().await);
        }
    }
    assert!(answers.iter().all(|answer| answer["error"]["code"] == -32000), "{}", answers[0]);
    script.release();
    session.close_input();
    answers.append(&mut session.rest().await);
    assert_eq!(ids(&answers), (0..4200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_from_and_loses_nothing() {
    let mut session = session();
    // Answers carry the `id`, so these answers are large.
    let id = |number: usize| format!("{number:016384}");
    let mut sent = 0;
    loop {
        let line = format!("{}\n", call(id(sent), "nothing", json!({})));
        // With the server idle, a write that does not complete soon waits for the server to read.
        match tokio::time::timeout(Duration::from_millis(500), session.send_bytes(line.as_bytes())).await {
            Ok(()) => sent += 1,
            Err(_) => break,
        }
        assert!(sent < 10_000, "the server keeps reading");
    }
    session.close_input();
    let answers = session.rest().await;
    // The last line was cut off.
    assert!(answers.len() >= sent, "{} of {sent}", answers.len());
}

#[tokio::test]
async fn calls_in_flight_are_answered_after_the_end_of_input() {
    let script = Arc::new(Script::default());
    let mut session = Session::new(&script);
    session.send(&predict(0, "held")).await;
    for id in 1..50 {
        session.send(&predict(id, &format!("text {id}"))).await;
    }
    // The last line needs no newline.
    session.send_bytes(predict(50, "the last one").to_string().as_bytes()).await;
    session.close_input();
    script.release();
    assert_eq!(ids(&session.rest().await), (0..=50).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_end_of_input_stops_a_file_job_and_resume_continues_it() {
    let place = Project::new();
    place.write("in.txt", "one\nheld\n");
    let mut session = Session::with(&place.script, settings(), place.root().to_owned());
    let mut classify = call(1, "local_model_predict_file", json!({ "path": "in.txt" }));
    classify["params"]["_meta"]["progressToken"] = json!("p");
    session.send(&classify).await;
    // The first row is in the journal when it is reported.
    while session.receive().await["params"]["progress"].as_f64() < Some(1.0) {}
    session.close_input();
    let answers = session.rest().await;
    let error = error_text(&answers.last().unwrap()["result"]);
    assert!(error.starts_with("the input ended before the file was finished"), "{error}");
    // The finished row is in the file before the call is answered.
    assert_eq!(place.read("in.predicted.csv.progress").lines().count(), 3);
    place.script.release();
    let mut session = Session::with(&place.script, settings(), place.root().to_owned());
    let resumed = call(2, "local_model_predict_file", json!({ "path": "in.txt", "resume": true }));
    let summary = session.ask(&resumed).await["result"]["structuredContent"].take();
    assert_eq!((&summary["rows"], &summary["resumed_rows"]), (&json!(2), &json!(1)), "{summary}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_neither_reads_nor_writes_does_not_keep_the_server() {
    let mut session = session();
    for id in 0..10 {
        session.send(&call(format!("{id:016384}"), "nothing", json!({}))).await;
    }
    session.close_input();
    (&mut session.server).await.unwrap();
}

#[tokio::test]
async fn a_failed_write_ends_the_server_while_a_call_is_in_flight() {
    let script = Arc::new(Script::default());
    let mut session = Session::new(&script);
    session.send(&predict(0, "held")).await;
    session.close_output();
    session.send(&request(1, "server/discover", json!({}))).await;
    (&mut session.server).await.unwrap();
    script.release();
}

#[test]
fn requests_in_a_file_are_all_answered() {
    let mut requests = tempfile::tempfile().unwrap();
    // More than one read, so the first request is answered before the others have been read.
    write!(requests, "{}{}", request("first", "server/discover", json!({})), "\n".repeat(20_000)).unwrap();
    (0..40).for_each(|id| writeln!(requests, "{}", predict(id, &format!("{id} {}", "word ".repeat(100)))).unwrap());
    requests.rewind().unwrap();
    let output = command(&["serve"]).stdin(requests).output().unwrap();
    let answers = text(&output.stdout);
    let results = answers.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(results.filter(|answer| answer["result"]["isError"] == false).count(), 40, "{answers}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_client_that_dies_ends_the_server_at_once_while_it_computes() {
    for over in [Server::over_pipes, Server::over_sockets] {
        let mut server = over(command(&["serve", "--workers", "1"]));
        server.ask(&predict("first", "hello"));
        (0..100).for_each(|id| server.send(&predict(id, &format!("{id} {}", "word ".repeat(500)))));
        // Keeps the input open, so the server must notice that its output is not read.
        server.close_output();
        let (status, took) = ended(&mut server);
        assert_eq!(status, Some(0));
        assert!(took < AT_ONCE, "{took:?}");
    }
}

#[test]
fn a_stderr_that_is_closed_or_not_read_holds_up_no_call() {
    for closed in [true, false] {
        let mut command = command(&["serve", "--log-level", "trace"]);
        command.stderr(Stdio::piped());
        let mut server = Server::over_pipes(command);
        let stderr = server.child.stderr.take();
        if closed {
            drop(stderr);
        }
        // Their log is far larger than a pipe.
        for id in 0..1000 {
            server.ask(&predict(id, &format!("text {}", id % 7)));
        }
        assert_eq!(server.finish(), (Some(0), String::new()));
    }
}

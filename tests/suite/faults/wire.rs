//! What clients send and how they leave: the executable over real pipes and sockets, the fake where a run has to be held.

use std::io::{Seek, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Server, call, command, predict, request, text};
use crate::fake::{Script, settings};
use crate::faults::{AT_ONCE, answers, ended};
use crate::protocol::Session;

fn server() -> Server {
    Server::over_pipes(command(&["serve"]))
}

/// A call whose text is written as it stands.
fn with_text(id: &str, text: &[u8]) -> Vec<u8> {
    let line = predict(0, "TEXT").to_string().replace("\"id\":0", &format!("\"id\":{id}"));
    let (before, after) = line.split_once("TEXT").unwrap();
    [before.as_bytes(), text, after.as_bytes()].concat()
}

#[test]
fn a_line_that_is_no_request_gets_one_answer_or_none() {
    const REQUEST: &str = "the line is no JSON-RPC request";
    let deep = |levels: usize| format!("{{\"id\":1,\"params\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    let unknown = request(1, "x", json!({})).to_string();
    let none = Value::Null;
    type Case = (&'static str, Vec<u8>, Option<(Value, i64, &'static str)>);
    let cases: Vec<Case> = vec![
        ("not JSON", b"hello".to_vec(), Some((none.clone(), -32700, "the line is not JSON"))),
        ("cut off", br#"{"jsonrpc":"2.0","id":1,"method":"#.to_vec(), Some((json!(1), -32700, "EOF"))),
        ("cut off in a text", br#"{"id":"a","params":{"text":"x"#.to_vec(), Some((json!("a"), -32700, "EOF"))),
        ("two in a line", [with_text("1", b"x"), with_text("2", b"y")].concat(), Some((json!(1), -32700, "trailing"))),
        ("not UTF-8", b"\xff\xfe\xfd".to_vec(), Some((none.clone(), -32700, "not UTF-8 at byte 1"))),
        ("a text that is not UTF-8", with_text("2", b"caf\xe9"), Some((json!(2), -32700, "not UTF-8 at byte"))),
        ("half a character", with_text("3", br"a \ud83d"), Some((json!(3), -32700, "half of a surrogate pair"))),
        ("the other half", with_text("4", br"\ude00 a"), Some((json!(4), -32700, "half of a surrogate pair"))),
        ("a raw tab", with_text("5", b"a\tb"), Some((json!(5), -32700, "control character"))),
        ("a NUL", with_text("6", b"a\0b"), Some((json!(6), -32700, "control character"))),
        ("129 lists", deep(129).into_bytes(), Some((json!(1), -32700, "nests too deep"))),
        ("a million lists", deep(1_000_000).into_bytes(), Some((json!(1), -32700, "nests too deep"))),
        ("blank", b"".to_vec(), None),
        ("spaces", b" \t \r".to_vec(), None),
        ("a number", b"7".to_vec(), Some((none.clone(), -32600, REQUEST))),
        ("nothing in it", b"{}".to_vec(), Some((none.clone(), -32600, REQUEST))),
        ("an empty list", b"[]".to_vec(), Some((none.clone(), -32600, REQUEST))),
        ("no version", br#"{"id":7,"method":"ping"}"#.to_vec(), Some((json!(7), -32600, REQUEST))),
        ("version 1", br#"{"jsonrpc":"1.0","id":8,"method":"ping"}"#.to_vec(), Some((json!(8), -32600, REQUEST))),
        ("no method", br#"{"jsonrpc":"2.0","id":9}"#.to_vec(), Some((json!(9), -32600, REQUEST))),
        ("a method of 5", br#"{"jsonrpc":"2.0","id":9,"method":5}"#.to_vec(), Some((json!(9), -32600, REQUEST))),
        ("an id of null", with_text("null", b"x"), Some((none.clone(), -32600, "`id` is neither"))),
        ("an id of true", with_text("true", b"x"), Some((none.clone(), -32600, "`id` is neither"))),
        ("an id of {}", with_text("{}", b"x"), Some((none, -32600, "`id` is neither"))),
        ("an id of 1.5", with_text("1.5", b"x"), Some((json!(1.5), -32600, "`id` is 1.5; expected a string"))),
        (
            "an id of 65 bits",
            with_text("18446744073709551616", b"x"),
            Some((json!(18_446_744_073_709_551_616.0), -32600, "integer of at most 64 bits")),
        ),
        ("an answer", br#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_vec(), None),
        ("an unknown notification", br#"{"jsonrpc":"2.0","method":"$/x"}"#.to_vec(), None),
        ("an unknown method", unknown.into_bytes(), Some((json!(1), -32601, "unknown method `x`"))),
    ];
    let mut server = server();
    server.ask(&predict("first", "hello"));
    for (name, line, expected) in cases {
        server.send_bytes(&[&line[..], b"\n"].concat());
        server.send(&predict("next", "hello"));
        let mut found = vec![server.receive()];
        while found.iter().all(|message| message["id"] != "next") || found.len() < 1 + usize::from(expected.is_some()) {
            found.push(server.receive());
        }
        found.retain(|message| message["id"] != "next");
        assert_eq!(found.len(), usize::from(expected.is_some()), "{name}: {found:?}");
        if let (Some(found), Some((id, code, message))) = (found.pop(), expected) {
            assert_eq!((&found["id"], &found["error"]["code"]), (&id, &json!(code)), "{name}: {found}");
            assert!(found["error"]["message"].as_str().unwrap().contains(message), "{name}: {found}");
        }
    }
    assert_eq!(server.finish(), (Some(0), String::new()));
}

#[test]
fn ids_that_are_odd_but_allowed_come_back_as_they_were() {
    let mut server = server();
    let ids =
        [json!(""), json!("é\u{0}\"\\"), json!(-1), json!(0), json!(i64::MAX), json!("1"), json!("x".repeat(5000))];
    for id in &ids {
        server.send(&predict(id.clone(), "hello"));
    }
    let found = answers(&mut server, ids.len());
    for id in &ids {
        assert_eq!(found[&id.to_string()]["result"]["isError"], false, "{id}");
    }
}

#[test]
fn each_message_of_a_list_is_answered_by_itself() {
    let mut server = server();
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let list = json!([predict(1, "a"), note, predict(2, "b"), 3, [predict(4, "c")], predict(5, "d")]);
    server.send(&list);
    server.send(&predict(6, "behind the list"));
    // One each for the 3 and for the list within the list, without an `id`.
    let found: Vec<Value> = (0..6).map(|_| server.receive()).collect();
    let mut ids: Vec<Option<i64>> = found.iter().map(|message| message["id"].as_i64()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [None, None, Some(1), Some(2), Some(5), Some(6)]);
    assert_eq!(server.finish(), (Some(0), String::new()));
}

#[tokio::test]
async fn a_second_request_under_an_id_in_flight_is_refused_and_the_first_goes_on() {
    let script = Arc::new(Script::default());
    let mut session = Session::with(&script, settings(), std::env::temp_dir());
    session.send(&predict(1, "held")).await;
    session.send(&predict(1, "hello")).await;
    let refused = session.receive().await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(1), &json!(-32600)));
    assert!(
        refused["error"]["message"].as_str().unwrap().starts_with("a request with this `id` is still being answered")
    );
    script.release();
    assert_eq!(session.receive().await["result"]["structuredContent"]["prediction"], "short");
    assert_eq!(session.ask(&predict(1, "one two three")).await["result"]["structuredContent"]["prediction"], "middle");
}

#[test]
fn notifications_may_come_first_and_between_discovery_and_the_first_call() {
    let mut server = server();
    let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    server.send(&note);
    server.ask(&request(1, "server/discover", json!({})));
    server.send(&note);
    server.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } }));
    server.send(&json!({ "jsonrpc": "2.0", "id": 1, "result": {} }));
    assert_eq!(server.ask(&predict(2, "hello"))["result"]["isError"], false);
}

#[test]
fn requests_before_initialization_are_refused_and_it_still_succeeds() {
    let mut server = server();
    for id in 1..=3 {
        let early =
            json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "local_model_status" } });
        assert_eq!(server.ask(&early)["error"]["code"], -32602);
    }
    let hello = json!({ "jsonrpc": "2.0", "id": 4, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } });
    assert_eq!(server.ask(&hello)["result"]["protocolVersion"], "2025-11-25");
    let plain = json!({ "jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {
        "name": "local_model_predict", "arguments": { "text": "I love this" } } });
    assert_eq!(server.ask(&plain)["result"]["structuredContent"]["prediction"], "positive");
}

#[test]
fn arguments_of_every_wrong_kind_get_an_answer_each() {
    let mut server = server();
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
    for (id, params) in params.iter().enumerate() {
        for method in ["tools/call", "tools/list", "server/discover", "initialize", "ping"] {
            let message =
                json!({ "jsonrpc": "2.0", "id": format!("{id} {method}"), "method": method, "params": params });
            server.send(&message);
        }
        server.send(&request(id, "tools/call", if params.is_object() { params.clone() } else { json!({}) }));
    }
    let found = answers(&mut server, params.len() * 6);
    for id in 0..params.len() {
        let answer = &found[&id.to_string()];
        assert!(answer["result"]["isError"] == true || answer["error"]["code"] == -32602, "{}: {answer}", params[id]);
    }
}

#[test]
fn a_line_above_the_limit_is_answered_without_being_kept() {
    let mut server = server();
    server.ask(&predict("first", "hello"));
    let before = super::peak(&server);
    for (number, id_first) in [true, false].into_iter().enumerate() {
        let id = format!("\"id\":{number}");
        let (head, tail) = if id_first { (format!("{{{id},"), "}".into()) } else { ("{".into(), format!(",{id}}}")) };
        server.send_bytes(format!("{head}\"params\":\"").as_bytes());
        let part = vec![b'x'; 1 << 20];
        (0..64).for_each(|_| server.send_bytes(&part));
        server.send_bytes(format!("\"{tail}\n").as_bytes());
        let answer = server.receive();
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(number), &json!(-32600)));
        assert!(answer["error"]["message"].as_str().unwrap().starts_with("the line is longer than 16777216 bytes"));
    }
    let grown = super::peak(&server) - before;
    assert!(grown < 48 << 20, "{grown} bytes for lines of 64 MiB");
    assert_eq!(server.ask(&predict("last", "hello"))["result"]["isError"], false);
}

#[test]
fn a_text_above_the_limit_is_a_tool_error() {
    let mut server = server();
    let answer = server.ask(&predict(1, &"word ".repeat(200_000)));
    assert_eq!(answer["result"]["isError"], true);
    let said = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(said.starts_with("text, pair and labels have 1000000 bytes together"), "{said}");
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let mut server = server();
    for byte in format!("{}\n{}\n", predict(1, "I love this"), predict(2, "I hate this")).bytes() {
        server.send_bytes(&[byte]);
    }
    let found = answers(&mut server, 2);
    let prediction = |id: &str| found[id]["result"]["structuredContent"]["prediction"].clone();
    assert_eq!((prediction("1"), prediction("2")), (json!("positive"), json!("negative")));
}

#[test]
fn ten_thousand_requests_in_flight_are_answered_once_each() {
    let mut server = server();
    let requests: String = (0..10_000).map(|id| format!("{}\n", predict(id, &format!("text {}", id % 50)))).collect();
    // All before the first answer is read, as the simplest of clients does it.
    server.send_bytes(requests.as_bytes());
    let found = answers(&mut server, 10_000);
    let refused = found.values().filter(|answer| answer["error"]["code"] == -32000).count();
    let busy = found.values().filter(|answer| answer["result"]["isError"] == true).count();
    assert!(refused + busy < 10_000, "some are served");
    assert_eq!(server.finish(), (Some(0), String::new()));
}

#[cfg(unix)]
#[test]
fn a_client_that_never_reads_fills_no_memory_and_loses_nothing() {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    let (mut writer, stdin) = UnixStream::pair().unwrap();
    let mut command = command(&["serve"]);
    let mut server = Server::over(command.stdin(OwnedFd::from(stdin)).stdout(Stdio::piped()));
    // Answers carry the `id`, so that these are large.
    let id = |number: usize| format!("{number:016384}");
    writer.set_write_timeout(Some(Duration::from_millis(700))).unwrap();
    let mut sent = 0;
    let mut line = format!("{}\n", call(id(0), "nothing", json!({})));
    let mut rest = loop {
        match writer.write(line.as_bytes()) {
            Ok(written) if written == line.len() => sent += 1,
            Ok(written) => break line.split_off(written),
            Err(_) => break line,
        }
        assert!(sent < 100_000, "it reads on and on");
        line = format!("{}\n", call(id(sent), "nothing", json!({})));
    };
    rest.push('\n');
    let peak = super::peak(&server);
    assert!(peak < 250 << 20, "{peak} bytes");
    let finishing = std::thread::spawn(move || {
        writer.set_write_timeout(None).unwrap();
        writer.write_all(rest.as_bytes()).unwrap();
        writer
    });
    answers(&mut server, sent + 1);
    // Only now: one that leaves has no more than moments to take its last answers.
    drop(finishing.join().unwrap());
    assert_eq!(ended(&mut server).0, Some(0));
}

#[test]
fn a_client_that_closes_its_writing_end_still_gets_its_answers() {
    let mut server = server();
    (0..50).for_each(|id| server.send(&predict(id, &format!("text {id}"))));
    // A last line needs no end.
    server.send_bytes(predict(50, "the last one").to_string().as_bytes());
    let (status, rest) = server.finish();
    let mut ids: Vec<i64> =
        rest.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!((status, ids), (Some(0), (0..=50).collect()));
}

#[test]
fn a_client_that_leaves_a_conversation_gets_an_answer_each_and_the_server_ends_at_once() {
    for over in [Server::over_pipes, Server::over_sockets] {
        let mut server = over(command(&["serve", "--workers", "1"]));
        server.ask(&predict("first", "hello"));
        server.send(&predict("short", "hello"));
        (0..100).for_each(|id| server.send(&predict(id, &format!("{id} {}", "word ".repeat(500)))));
        server.close_input();
        let (status, took) = ended(&mut server);
        assert_eq!(status, Some(0));
        assert!(took < AT_ONCE, "{took:?}");
        let answers = answers(&mut server, 101);
        assert_eq!(answers["\"short\""]["result"]["isError"], false);
        let said = answers["99"]["error"]["message"].as_str().unwrap();
        assert!(said.starts_with("the input ended before this request was answered"), "{said}");
    }
}

#[test]
fn a_client_that_never_reads_and_leaves_holds_up_nothing() {
    let mut server = server();
    server.ask(&predict("first", "hello"));
    let lines = (0..1000).map(|id| format!("{}\n", predict(id, &format!("{id} {}", "word ".repeat(30)))));
    server.send_bytes(lines.collect::<String>().as_bytes());
    server.close_input();
    let (status, took) = ended(&mut server);
    assert_eq!(status, Some(0));
    assert!(took < AT_ONCE, "{took:?}");
}

#[test]
fn requests_in_a_file_are_all_answered() {
    let mut requests = tempfile::tempfile().unwrap();
    // More than is read at once, so that the first request is answered before the others are there.
    write!(requests, "{}{}", request("first", "server/discover", json!({})), "\n".repeat(20_000)).unwrap();
    (0..40).for_each(|id| writeln!(requests, "{}", predict(id, &format!("{id} {}", "word ".repeat(100)))).unwrap());
    requests.rewind().unwrap();
    let output = command(&["serve"]).stdin(requests).output().unwrap();
    let answers = text(&output.stdout);
    let results = answers.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(results.filter(|answer| answer["result"]["isError"] == false).count(), 40, "{answers}");
}

#[test]
fn a_client_that_closes_its_reading_end_ends_the_server() {
    let mut server = server();
    server.ask(&predict(0, "hello"));
    server.close_output();
    server.send(&predict(1, "hello"));
    assert_eq!(ended(&mut server).0, Some(0));
}

#[cfg(unix)]
#[test]
fn a_client_that_dies_ends_the_server_at_once_whatever_runs() {
    for over in [Server::over_pipes, Server::over_sockets] {
        let mut server = over(command(&["serve", "--workers", "1"]));
        server.ask(&predict("first", "hello"));
        (0..100).for_each(|id| server.send(&predict(id, &format!("{id} {}", "word ".repeat(500)))));
        std::thread::sleep(Duration::from_millis(30));
        server.close_output();
        server.close_input();
        let (status, took) = ended(&mut server);
        assert_eq!(status, Some(0));
        assert!(took < AT_ONCE, "{took:?}");
    }
}

#[test]
fn a_stderr_that_nobody_drains_holds_up_nothing() {
    let mut command = command(&["serve", "--log-level", "trace"]);
    let mut server = Server::over_pipes({
        command.stderr(Stdio::piped());
        command
    });
    // Far more than a pipe holds.
    for id in 0..1000 {
        server.ask(&predict(id, &format!("text {}", id % 7)));
    }
    assert_eq!(server.finish(), (Some(0), String::new()));
}

#[test]
fn a_stderr_that_is_closed_holds_up_nothing() {
    let mut command = command(&["serve", "--log-level", "trace"]);
    command.stderr(Stdio::piped());
    let mut server = Server::over_pipes(command);
    drop(server.child.stderr.take());
    for id in 0..100 {
        server.ask(&predict(id, "hello"));
    }
    assert_eq!(server.finish(), (Some(0), String::new()));
}

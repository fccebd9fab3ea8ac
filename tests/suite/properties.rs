//! The server with arbitrary lines on its wire, over the scripted model. Properties of single
//! parsers are in their crates.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};
use serde_json::{Value, json};

use crate::protocol::Session;
use crate::support::client::{call, request};
use engine::testing::{Script, settings};

/// Arbitrary JSON, some of it under names that the tools know.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec!["panic", "fail", "hello there", " "]).prop_map(Value::from),
    ];
    let name = "text|texts|text_pair|model|labels|top_k|path|only|limit|corrections|[a-z]{1,4}";
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A line with a valid request and its own id, or an arbitrary line.
#[derive(Clone, Debug)]
enum Sent {
    Request(Value),
    Other(String),
}

fn sent() -> impl Strategy<Value = Sent> {
    let tool = prop::sample::select(vec![
        "local_model_predict",
        "local_model_predict_batch",
        "local_model_predict_file",
        "local_model_status",
        "nothing",
    ]);
    let method = prop::sample::select(vec!["tools/list", "tools/call", "server/discover", "ping", "prompts/get", ""]);
    let params = value().prop_map(|value| if value.is_object() { value } else { json!({ "value": value }) });
    prop_oneof![
        4 => (tool, value()).prop_map(|(tool, arguments)| Sent::Request(call(0, tool, arguments))),
        2 => (tool_text(), any::<u8>()).prop_map(|(text, top_k)| {
            Sent::Request(call(0, "local_model_predict", json!({ "text": text, "top_k": top_k })))
        }),
        2 => (method, params).prop_map(|(method, params)| Sent::Request(request(0, method, params))),
        1 => "[^\\r\\n]{0,60}".prop_map(Sent::Other),
        1 => value().prop_map(|params| {
            Sent::Other(json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }).to_string())
        }),
    ]
}

fn tool_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), Just("panic".to_owned()), Just("one two three".to_owned())]
}

proptest! {
    #[test]
    fn every_request_with_an_id_is_answered_once(lines in prop::collection::vec(sent(), 0..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let counts: HashMap<String, usize> = runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let mut session = Session::with(&Arc::new(Script::default()), settings(), folder.path().to_owned());
            let mut open = 0;
            for (number, line) in lines.iter().enumerate() {
                match line {
                    Sent::Request(message) => {
                        let mut message = message.clone();
                        message["id"] = format!("r{number}").into();
                        session.send(&message).await;
                        open += 1;
                    }
                    Sent::Other(line) => session.send_line(line).await,
                }
            }
            let mut counts = HashMap::new();
            let mut ours = 0;
            while ours < open {
                let message = session.receive().await;
                if let Some(id) = message["id"].as_str() {
                    *counts.entry(id.to_owned()).or_default() += 1;
                    ours += 1;
                }
            }
            // One more request. After its answer, no earlier request may be answered again.
            session.send(&request("last", "server/discover", json!({}))).await;
            loop {
                let message = session.receive().await;
                match message["id"].as_str() {
                    Some("last") => break,
                    Some(id) => *counts.entry(id.to_owned()).or_default() += 1,
                    None => {}
                }
            }
            counts
        });
        let expected = lines.iter().enumerate().filter(|(_, line)| matches!(line, Sent::Request(_)));
        prop_assert_eq!(counts, expected.map(|(number, _)| (format!("r{number}"), 1)).collect::<HashMap<_, _>>());
    }
}

//! Cancelled runs over the wire and of the real model. What the engine does with them is tested in its crate.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use local_model_mcp::model::{self, Cancellation, Location};
use local_model_mcp::onnxruntime::LibrarySettings;
use local_model_mcp::prediction::Input;
use serde_json::json;

use crate::client::{Server, call, command, modern_meta, predict, shared_cache};
use crate::protocol::Session;
use engine::testing::{Script, settings};

async fn until(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "waited in vain");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn cancelling_a_call_ends_its_run_and_frees_its_id() {
    let script = Arc::new(Script::default());
    let mut session = Session::with(&script, settings(), std::env::temp_dir());
    session.send(&predict(1, "held")).await;
    until(|| script.runs() == 1).await;
    let params = json!({ "requestId": 1, "_meta": modern_meta() });
    session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params })).await;
    let answer = session.ask(&predict(1, "one two three")).await;
    assert_eq!(answer["result"]["structuredContent"]["prediction"], "middle", "of the second call");
    assert_eq!(script.cancelled.load(Ordering::SeqCst), 1);
}

#[test]
fn a_cancelled_forward_pass_ends_early_and_the_session_stays_correct() {
    let library = LibrarySettings { path: None, cache_dir: Some(shared_cache().to_owned()) };
    let mut model = model::load("m", &Location::BuiltIn, &library, 1).unwrap().first;
    let (short, long) = (Input::single("I love this"), Input::single("word ".repeat(510)));
    let expected = [
        model.predict(&short, &Cancellation::default()).unwrap(),
        model.predict(&long, &Cancellation::default()).unwrap(),
    ];
    let started = Instant::now();
    model.predict(&long, &Cancellation::default()).unwrap();
    let whole = started.elapsed();
    let mut ended_early = 0;
    for _ in 0..40 {
        let cancellation = Cancellation::default();
        let other = cancellation.clone();
        let canceller = std::thread::spawn(move || {
            std::thread::sleep(whole / 4);
            other.cancel();
        });
        let started = Instant::now();
        match model.predict(&long, &cancellation) {
            Err(model::Error::Cancelled) => ended_early += usize::from(started.elapsed() < whole * 3 / 4),
            outcome => assert_eq!(outcome.as_ref(), Ok(&expected[1])),
        }
        canceller.join().unwrap();
        assert_eq!(model.predict(&short, &Cancellation::default()).unwrap(), expected[0]);
    }
    assert!(ended_early > 0, "not once, of {whole:?}");
    assert_eq!(model.predict(&long, &Cancellation::default()).unwrap(), expected[1]);
}

#[test]
fn a_text_of_many_windows_ends_at_its_deadline_and_frees_its_worker() {
    let folder = classifier::testing::built_in_copy();
    std::fs::write(folder.path().join("local-model.toml"), "overflow = \"windows\"").unwrap();
    let model = folder.path().to_str().unwrap();
    let mut server =
        Server::over_pipes(command(&["serve", "--workers", "1", "--deadline-ms", "1000", "--model", model]));
    server.ask(&predict(0, "hello"));
    let long = "word ".repeat(20_000);
    let started = Instant::now();
    let late = server.ask(&predict(1, &long));
    let said = late["result"]["content"][0]["text"].as_str().unwrap();
    assert!(said.contains("did not answer within 1000 ms"), "{said}");
    // A hundred windows would take seconds; the one worker is at the next call long before.
    let next = server.ask(&call(2, "local_model_predict", json!({ "text": "and another text" })));
    assert_eq!(next["result"]["isError"], false, "{next}");
    let took = started.elapsed();
    assert!(took < Duration::from_millis(1900), "{took:?}");
}

//! Cancelled runs over the wire and with the real model. The engine's own tests are in its crate.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use classifier::{Input, Location, loader};
use engine::testing::{Script, settings};
use engine::{EngineSettings, Request};
use onnx_runtime::LibrarySettings;
use serde_json::json;

use crate::protocol::Session;
use crate::support::client::{modern_meta, predict, shared_cache};

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

#[tokio::test]
async fn a_text_of_many_windows_ends_at_its_deadline_and_frees_its_worker() {
    let folder = classifier::testing::built_in_copy();
    std::fs::write(folder.path().join("local-model.toml"), "overflow = \"windows\"").unwrap();
    let library = LibrarySettings { path: None, cache_dir: Some(shared_cache().to_owned()) };
    let load = loader("m".into(), Location::Folder(folder.path().into()), library, 1);
    let settings = EngineSettings { deadline: Duration::from_millis(500), max_text_bytes: 1 << 20, ..settings() };
    let engine = crate::support::start_forever(vec![("m".into(), load)], settings);
    engine.ready(None).await.unwrap();
    let ask = |text: String| engine.predict(Request { input: Input::single(text), ..Request::default() });
    ask("hello".into()).await.unwrap();
    let started = Instant::now();
    // More than 50 windows, which take seconds. There is one worker.
    let late = ask("word ".repeat(20_000)).await.unwrap_err();
    assert_eq!(late, engine::Error::Deadline { model: "m".into(), deadline_ms: 500 });
    ask("another text".into()).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(1500), "{:?}", started.elapsed());
}

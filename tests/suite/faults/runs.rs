//! What becomes of a run: ended by deadline and withdrawal, shared, crashed, or one of too many.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use local_model_mcp::engine::{Answer, Engine, EngineSettings, Lane, Request, State};
use local_model_mcp::error::Error;
use local_model_mcp::model::{self, Cancellation, Location};
use local_model_mcp::onnxruntime::LibrarySettings;
use local_model_mcp::prediction::Input;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::client::{Server, call, command, modern_meta, predict, shared_cache};
use crate::fake::{Script, settings, start};
use crate::protocol::Session;

fn spawn(engine: &Arc<Engine>, text: &str, lane: Lane) -> JoinHandle<Result<Answer, Error>> {
    let engine = Arc::clone(engine);
    let input = Input::single(text);
    tokio::spawn(async move { engine.predict(Request { input, lane, ..Request::default() }).await })
}

async fn ask(engine: &Arc<Engine>, text: &str) -> Result<Answer, Error> {
    spawn(engine, text, Lane::Interactive).await.unwrap()
}

async fn until(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "waited for in vain");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_deadline_ends_the_run_and_its_worker_is_free() {
    let script = Arc::new(Script::default());
    let engine = start(&script, EngineSettings { deadline: Duration::from_millis(300), ..settings() });
    let late = ask(&engine, "held").await.unwrap_err();
    assert_eq!(late, Error::Deadline { model: "fake".into(), deadline_ms: 300 });
    // There is one worker, and nobody releases the text that it was at.
    ask(&engine, "hello").await.unwrap();
    assert_eq!(script.cancelled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_withdrawn_call_ends_the_run_and_its_id_is_free() {
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
async fn a_run_goes_on_while_one_of_its_callers_is_left_and_ends_with_the_last() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    let calls: Vec<_> = (0..3).map(|_| spawn(&engine, "held 1", Lane::Interactive)).collect();
    until(|| script.runs() == 1).await;
    calls[0].abort();
    calls[1].abort();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!((script.runs(), script.cancelled.load(Ordering::SeqCst)), (1, 0));
    script.release();
    let [_, _, last] = calls.try_into().unwrap();
    last.await.unwrap().unwrap();
    assert_eq!(script.runs(), 1, "the run of the first was the last one's too");

    script.hold_again();
    let calls: Vec<_> = (0..3).map(|_| spawn(&engine, "held 2", Lane::Interactive)).collect();
    until(|| script.runs() == 2).await;
    calls.iter().for_each(JoinHandle::abort);
    until(|| script.cancelled.load(Ordering::SeqCst) == 1).await;
    script.release();
    ask(&engine, "held 2").await.unwrap();
    assert_eq!(script.runs(), 3, "what was withdrawn left nothing");
}

#[tokio::test]
async fn a_replica_that_panicked_is_made_anew() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    ask(&engine, "hello").await.unwrap();
    assert_eq!(script.replicas.load(Ordering::SeqCst), 1);
    for round in 1..=3 {
        assert!(matches!(ask(&engine, "panic").await, Err(Error::Panicked { .. })));
        ask(&engine, &format!("text {round}")).await.unwrap();
        assert_eq!(script.replicas.load(Ordering::SeqCst), 1 + round);
    }
}

#[tokio::test]
async fn a_panic_on_the_callers_own_thread_is_no_worse() {
    let script = Arc::new(Script::default());
    let settings = EngineSettings { inline_below: Duration::from_secs(1), precompute: false, ..settings() };
    let engine = start(&script, settings);
    for text in ["tests", "about", "panic", "after"] {
        assert_eq!(ask(&engine, text).await.is_ok(), text != "panic", "{text}");
    }
    let here = std::thread::current().name().unwrap().to_owned();
    let threads = script.threads.lock().unwrap().clone();
    assert_eq!(threads, ["inference", &here, &here, "inference"], "a worker makes the new replica");
}

#[tokio::test]
async fn a_model_that_fails_every_time_is_taken_out_of_service_and_loaded_anew_on_request() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    ask(&engine, "hello").await.unwrap();
    let holders = Arc::strong_count(&script);
    script.broken.store(true, Ordering::SeqCst);
    for number in 0..9 {
        assert!(matches!(ask(&engine, &format!("text {number}")).await, Err(Error::Panicked { .. })));
    }
    script.broken.store(false, Ordering::SeqCst);
    ask(&engine, "one that succeeds").await.unwrap();
    script.broken.store(true, Ordering::SeqCst);
    for number in 0..10 {
        assert!(matches!(engine.state("fake"), Some(State::Ready(_))), "{number}");
        assert!(matches!(ask(&engine, &format!("other {number}")).await, Err(Error::Panicked { .. })));
    }
    let error = ask(&engine, "hello").await.unwrap_err().to_string();
    assert!(
        error.starts_with(
            "model `fake` cannot be used: it failed on 10 calls in a row and was taken out of service, the last time so: \
             model `fake` crashed on this text (it always does)"
        ),
        "{error}"
    );
    assert!(matches!(engine.state("fake"), Some(State::Failed(_))));
    script.broken.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1050)).await;
    ask(&engine, "a new text").await.unwrap();
    assert_eq!(script.loads.load(Ordering::SeqCst), 2);
    // The workers of the first load have ended, and their replicas with them.
    until(|| Arc::strong_count(&script) == holders).await;
}

#[tokio::test]
async fn a_call_of_one_text_passes_the_texts_of_batches() {
    let script = Arc::new(Script::default());
    let engine = start(&script, EngineSettings { precompute: false, ..settings() });
    let held = spawn(&engine, "held", Lane::Interactive);
    until(|| script.runs() == 1).await;
    let batch: Vec<_> = (0..40).map(|number| spawn(&engine, &format!("of a batch {number}"), Lane::Batch)).collect();
    tokio::task::yield_now().await;
    let single = spawn(&engine, "a single call", Lane::Interactive);
    tokio::task::yield_now().await;
    script.release();
    single.await.unwrap().unwrap();
    for call in batch {
        call.await.unwrap().unwrap();
    }
    held.await.unwrap().unwrap();
    assert_eq!(script.texts.lock().unwrap()[1], "a single call");
}

#[test]
fn a_pass_through_the_graph_ends_when_it_is_cancelled_and_the_session_stays_right() {
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
fn a_large_text_that_is_withdrawn_while_it_is_made_tokens_frees_its_worker() {
    let library = LibrarySettings { path: None, cache_dir: Some(shared_cache().to_owned()) };
    let mut model = model::load("m", &Location::BuiltIn, &library, 1).unwrap().first;
    let large = Input::single("word ".repeat(200_000));
    let started = Instant::now();
    model.predict(&large, &Cancellation::default()).unwrap();
    let whole = started.elapsed();
    // One that is withdrawn before it is begun leaves nothing, so as many as it takes are withdrawn.
    let refused = (0..40).find_map(|_| {
        let cancellation = Cancellation::default();
        let withdrawn = cancellation.clone();
        let canceller = std::thread::spawn(move || {
            std::thread::sleep(whole / 20);
            withdrawn.cancel();
        });
        let started = Instant::now();
        let outcome = model.predict(&large, &cancellation);
        let took = started.elapsed();
        canceller.join().unwrap();
        match outcome {
            Err(model::Error::Cancelled) => {
                assert!(took < whole * 3 / 4, "{took:?} of {whole:?}");
                None
            }
            Err(refused) => Some(refused),
            Ok(_) => panic!("was not left: {took:?} of {whole:?}"),
        }
    });
    // Two are still being made tokens, and nobody waits for them; no third is begun, short ones are.
    assert_eq!(refused, Some(model::Error::StillBusy { model: "m".into(), left: 2 }));
    model.predict(&Input::single("hello"), &Cancellation::default()).unwrap();
    while let Err(busy) = model.predict(&large, &Cancellation::default()) {
        assert!(matches!(busy, model::Error::StillBusy { .. }), "{busy}");
        assert!(started.elapsed() < Duration::from_secs(30), "waited for in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_text_of_many_windows_ends_at_its_deadline_and_frees_its_worker() {
    let folder = tempfile::tempdir().unwrap();
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/sentiment");
    for file in ["model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(source.join(file), folder.path().join(file)).unwrap();
    }
    std::fs::write(folder.path().join("local-model.toml"), "overflow = \"windows\"").unwrap();
    let model = folder.path().to_str().unwrap();
    let mut server =
        Server::over_pipes(command(&["serve", "--workers", "1", "--deadline-ms", "1000", "--model", model]));
    server.ask(&predict(0, "hello"));
    let long = "word ".repeat(50_000);
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

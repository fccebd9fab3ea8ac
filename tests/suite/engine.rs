//! Readiness, cache, workers, deadlines: the engine over the scripted fake.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use local_model_mcp::engine::{Answer, Engine, EngineSettings, Request};
use local_model_mcp::error::Error;
use local_model_mcp::prediction::{Input, Source};

use crate::fake::{Script, settings, start};

async fn ask(engine: &Engine, text: &str) -> Result<Answer, Error> {
    engine.predict(Request { input: Input::single(text), ..Request::default() }).await
}

fn spawn(engine: &Arc<Engine>, text: &'static str) -> tokio::task::JoinHandle<Result<Answer, Error>> {
    let engine = Arc::clone(engine);
    tokio::spawn(async move { ask(&engine, text).await })
}

/// Lets other tasks go on until `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "waited for in vain");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_repeated_text_is_answered_from_the_cache() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    let first = ask(&engine, "one two three").await.unwrap();
    let second = ask(&engine, "one two three").await.unwrap();
    assert_eq!((first.source, second.source), (Source::Model, Source::Cache));
    assert_eq!(first.prediction, second.prediction);
    assert_eq!(script.runs(), 1);
}

#[tokio::test]
async fn identical_concurrent_texts_run_the_model_once() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    let calls: Vec<_> = (0..20).map(|_| spawn(&engine, "held")).collect();
    until(|| script.runs() == 1).await;
    script.release();
    let mut sources = Vec::new();
    for call in calls {
        sources.push(call.await.unwrap().unwrap().source);
    }
    assert_eq!(script.runs(), 1);
    assert_eq!(sources.iter().filter(|&&source| source == Source::Model).count(), 1);
    assert_eq!(engine.cache_counts().await.joined, 19);
}

#[tokio::test]
async fn a_withdrawn_call_does_not_withdraw_its_twins() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    let first = spawn(&engine, "held");
    until(|| script.runs() == 1).await;
    let second = spawn(&engine, "held");
    tokio::task::yield_now().await;
    first.abort();
    script.release();
    assert_eq!(second.await.unwrap().unwrap().verdict().confidence, Some(0.7));
}

#[tokio::test]
async fn a_withdrawn_call_that_waits_for_a_worker_never_runs() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    let running = spawn(&engine, "held");
    until(|| script.runs() == 1).await;
    let waiting = spawn(&engine, "another");
    tokio::task::yield_now().await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    script.release();
    running.await.unwrap().unwrap();
    ask(&engine, "a third").await.unwrap();
    assert_eq!(script.runs(), 2);
    assert_eq!(engine.statistics()[0].2.cancelled, 1);
}

#[tokio::test]
async fn failures_are_not_kept() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    for _ in 0..2 {
        let error = ask(&engine, "fail").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "model `fake` could not run this text: it was told to; other texts are still answered, and `local-model-mcp \
             check` shows whether the model is sound"
        );
    }
    assert_eq!(script.runs(), 2);
}

#[tokio::test]
async fn a_panic_is_one_failed_call() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    let error = ask(&engine, "panic").await.unwrap_err();
    assert!(matches!(&error, Error::Panicked { message, .. } if message == "the fake was told to"), "{error}");
    assert_eq!(ask(&engine, "hello").await.unwrap().source, Source::Model);
}

#[tokio::test]
async fn a_call_made_while_loading_waits_for_the_model() {
    let script = Arc::new(Script { hold_load: true, ..Script::default() });
    let engine = start(&script, settings());
    let call = spawn(&engine, "hello");
    until(|| script.loads.load(Ordering::SeqCst) == 1).await;
    assert!(!call.is_finished());
    script.release();
    assert_eq!(call.await.unwrap().unwrap().source, Source::Model);
}

#[tokio::test(start_paused = true)]
async fn a_load_longer_than_the_deadline_is_said() {
    let script = Arc::new(Script { hold_load: true, ..Script::default() });
    let engine = start(&script, settings());
    let error = ask(&engine, "hello").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "model `fake` is still loading and this call's 10000 ms are over; call again, or raise `--deadline-ms`"
    );
    script.release();
}

#[tokio::test]
async fn a_run_longer_than_the_deadline_is_said_and_its_worker_serves_on() {
    let script = Arc::new(Script::default());
    let engine = start(&script, EngineSettings { deadline: Duration::from_millis(300), ..settings() });
    ask(&engine, "warm").await.unwrap();
    let error = ask(&engine, "held").await.unwrap_err();
    assert_eq!(error, Error::Deadline { model: "fake".into(), deadline_ms: 300 });
    script.release();
    ask(&engine, "hello").await.unwrap();
}

#[tokio::test]
async fn a_failed_load_is_tried_again_when_somebody_asks() {
    let script = Arc::new(Script { failing_loads: 1.into(), ..Script::default() });
    let engine = start(&script, settings());
    let error = ask(&engine, "hello").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "model `fake` cannot be used: model folder `/models/fake` does not exist; check the path given with `--model`"
    );
    // A second attempt is due a second after the first; calls before that get the known reason.
    assert!(ask(&engine, "hello").await.is_err());
    assert_eq!(script.loads.load(Ordering::SeqCst), 1);
    tokio::time::sleep(Duration::from_millis(1050)).await;
    assert_eq!(ask(&engine, "hello").await.unwrap().source, Source::Model);
    assert_eq!(script.loads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let script = Arc::new(Script::default());
    let engine = start(&script, EngineSettings { queue_capacity: 1, ..settings() });
    let running = spawn(&engine, "held 1");
    until(|| script.runs() == 1).await;
    let waiting = spawn(&engine, "held 2");
    tokio::task::yield_now().await;
    let error = ask(&engine, "held 3").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 texts are waiting for model `fake` already; send fewer at a time, or call again in a moment"
    );
    script.release();
    assert!(running.await.unwrap().is_ok() && waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn blank_and_oversized_texts_never_reach_the_model() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    assert_eq!(ask(&engine, " \n\t").await.unwrap_err(), Error::TextBlank);
    let oversized = "x".repeat(1001);
    assert_eq!(ask(&engine, &oversized).await.unwrap_err(), Error::TextTooLarge { bytes: 1001, limit: 1000 });
    assert_eq!(script.runs(), 0);
    assert_eq!(engine.statistics()[0].2.caller_errors, 2);
}

#[tokio::test]
async fn frequent_texts_are_precomputed_after_the_first_call() {
    let frequent_texts = vec!["hello".into(), "thank you".into()];
    let script = Arc::new(Script { frequent_texts, ..Script::default() });
    let engine = start(&script, settings());
    engine.ready(None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(script.runs(), 0, "clients start many sessions that never call");
    ask(&engine, "anything").await.unwrap();
    until(|| script.runs() == 3).await;
    // They run one after the other, so the first is in the cache by the time the second runs.
    let answer = ask(&engine, "hello").await.unwrap();
    assert_eq!(answer.source, Source::Precomputed);
    assert_eq!(engine.cache_counts().await.precomputed_hits, 1);
}

#[tokio::test]
async fn frequent_texts_are_precomputed_once_a_failed_model_was_mended() {
    let frequent_texts = vec!["hello".into()];
    let script = Arc::new(Script { frequent_texts, failing_loads: 1.into(), ..Script::default() });
    let engine = start(&script, settings());
    assert!(ask(&engine, "anything").await.is_err());
    tokio::time::sleep(Duration::from_millis(1050)).await;
    ask(&engine, "anything").await.unwrap();
    until(|| script.runs() == 2).await;
    assert!(matches!(ask(&engine, "hello").await.unwrap().source, Source::Precomputed | Source::Joined));
}

#[tokio::test]
async fn hot_results_survive_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let settings = EngineSettings { snapshot_dir: Some(folder.path().join("results")), ..settings() };
    let first = start(&Arc::new(Script::default()), settings.clone());
    for text in ["a hot text", "a hot text", "a cold one"] {
        ask(&first, text).await.unwrap();
    }
    first.save();

    let script = Arc::new(Script { frequent_texts: vec!["after the kept ones".into()], ..Script::default() });
    let second = start(&script, settings);
    ask(&second, "anything").await.unwrap();
    until(|| script.runs() == 2).await;
    let hot = ask(&second, "a hot text").await.unwrap();
    assert_eq!((hot.source, hot.verdict().confidence), (Source::Precomputed, Some(0.55)));
    let kept = std::fs::read_dir(folder.path().join("results")).unwrap();
    let content: String = kept.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(!content.contains("hot"), "texts must not be written to disk: {content}");
}

#[tokio::test]
async fn models_are_told_apart_by_name_and_fail_on_their_own() {
    let good = Arc::new(Script::default());
    let bad = Arc::new(Script { failing_loads: 9.into(), ..Script::default() });
    let engine = Engine::start(vec![("good".into(), good.load()), ("bad".into(), bad.load())], settings());
    let to = |model: &str| Request { model: Some(model.into()), input: Input::single("hello"), ..Request::default() };
    assert_eq!(engine.predict(to("good")).await.unwrap().model, "good");
    assert!(matches!(engine.predict(to("bad")).await, Err(Error::ModelFailed { .. })));
    let unknown = engine.predict(to("other")).await.unwrap_err();
    assert_eq!(unknown.to_string(), "no model is called `other`; known: `good`, `bad`");
}

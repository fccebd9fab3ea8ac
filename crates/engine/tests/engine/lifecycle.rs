//! Loading, deadlines, failures in a row, results before the first call and between sessions.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::{ask, eventually, skip, spawn};
use classifier::{Input, ModelLoader};
use engine::testing::{Script, ScriptedLoader, settings, start};
use engine::{AnsweredBy, Engine, EngineSettings, Error, Request, State};

const RETRY_AFTER: Duration = Duration::from_secs(1);

fn with_retry() -> EngineSettings {
    EngineSettings { retry_after: RETRY_AFTER, ..settings() }
}

#[tokio::test]
async fn a_call_made_while_loading_waits_for_the_model() {
    let script = Arc::new(Script { hold_load: true, ..Script::default() });
    let engine = start(&script, settings());
    let call = spawn(&engine, "hello");
    eventually(|| script.loads.load(Ordering::SeqCst) == 1).await;
    assert!(!call.is_finished());
    script.release();
    assert_eq!(call.await.unwrap().unwrap().answered_by, AnsweredBy::Model);
}

#[tokio::test(start_paused = true)]
async fn a_load_longer_than_the_deadline_is_reported() {
    let script = Arc::new(Script { hold_load: true, ..Script::default() });
    let engine = start(&script, settings());
    let error = ask(&engine, "hello").await.unwrap_err();
    assert_eq!(error, Error::StillLoading { model: "fake".into(), deadline_ms: 10_000 });
    script.release();
}

#[tokio::test]
async fn a_deadline_cancels_the_run_and_frees_its_worker() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    let late = spawn(&engine, "held");
    eventually(|| script.runs() == 1).await;
    skip(settings().deadline).await;
    let late = late.await.unwrap().unwrap_err();
    assert_eq!(late, Error::Deadline { model: "fake".into(), deadline_ms: 10_000 });
    ask(&engine, "hello").await.unwrap();
    assert_eq!(script.cancelled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_failed_load_is_repeated_when_a_call_asks_for_it() {
    let script = Arc::new(Script { failing_loads: 1.into(), ..Script::default() });
    let engine = start(&script, with_retry());
    for _ in 0..2 {
        let error = ask(&engine, "hello").await.unwrap_err().to_string();
        assert!(error.starts_with("model `fake` cannot be used: model folder `/models/fake`"), "{error}");
    }
    assert_eq!(script.loads.load(Ordering::SeqCst), 1, "calls soon after a failure cost no load");
    skip(RETRY_AFTER).await;
    assert_eq!(ask(&engine, "hello").await.unwrap().answered_by, AnsweredBy::Model);
    assert_eq!(script.loads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_model_that_fails_on_every_call_is_disabled_and_reloaded_on_request() {
    let script = Arc::new(Script::default());
    let engine = start(&script, EngineSettings { precompute: false, ..with_retry() });
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
            "model `fake` cannot be used: disabled after 10 consecutive failures (last: model `fake` crashed on this \
             text (every run does)"
        ),
        "{error}"
    );
    assert!(matches!(engine.state("fake"), Some(State::Failed(_))));
    script.broken.store(false, Ordering::SeqCst);
    skip(RETRY_AFTER).await;
    ask(&engine, "a new text").await.unwrap();
    assert_eq!(script.loads.load(Ordering::SeqCst), 2);
    // The threads of the first load end, and its sessions with them.
    eventually(|| Arc::strong_count(&script) == holders).await;
}

#[tokio::test]
async fn frequent_texts_are_precomputed_after_the_first_call() {
    let frequent_texts = vec!["hello".into(), "thank you".into()];
    let script = Arc::new(Script { frequent_texts, failing_loads: 1.into(), ..Script::default() });
    let engine = start(&script, with_retry());
    assert!(ask(&engine, "anything").await.is_err());
    skip(RETRY_AFTER).await;
    engine.ready(None).await.unwrap();
    assert_eq!(script.runs(), 0, "clients start many sessions that never call");
    ask(&engine, "anything").await.unwrap();
    eventually(|| script.runs() == 3).await;
    // They run in sequence, so the first is in the cache when the second runs.
    assert_eq!(ask(&engine, "hello").await.unwrap().answered_by, AnsweredBy::Precomputed);
    assert_eq!(engine.cache_counts().await.precomputed_hits, 1);
}

#[tokio::test]
async fn results_of_frequent_texts_survive_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let settings = EngineSettings { cache_dir: Some(folder.path().to_owned()), ..settings() };
    let first = start(&Arc::new(Script::default()), settings.clone());
    for text in ["a hot text", "a hot text", "a cold one"] {
        ask(&first, text).await.unwrap();
    }
    first.save();

    let script = Arc::new(Script { frequent_texts: vec!["after the restored ones".into()], ..Script::default() });
    let second = start(&script, settings);
    ask(&second, "anything").await.unwrap();
    eventually(|| script.runs() == 2).await;
    let hot = ask(&second, "a hot text").await.unwrap();
    assert_eq!((hot.answered_by, hot.label().confidence), (AnsweredBy::Precomputed, Some(0.55)));
    let files = std::fs::read_dir(folder.path().join("results")).unwrap();
    let content: String = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(!content.contains("hot"), "texts must not be written to disk: {content}");
}

#[tokio::test]
async fn an_added_model_is_loaded_when_first_used_and_replaces_its_namesake() {
    let (default, old, new) = (Arc::default(), Arc::default(), Arc::default());
    let engine = start(&default, settings());
    let add = |script: &Arc<Script>| engine.add_model("added".into(), Arc::new(ScriptedLoader(Arc::clone(script))));
    let request = |text| Request { model: Some("added".into()), input: Input::single(text), ..Request::default() };

    add(&old);
    assert_eq!(engine.names(), ["fake", "added"]);
    assert!(matches!(engine.state("added"), Some(State::Idle)));
    assert_eq!(old.loads.load(Ordering::SeqCst), 0);
    let in_flight = tokio::spawn({
        let (engine, request) = (Arc::clone(&engine), request("held"));
        async move { engine.predict(request).await }
    });
    eventually(|| old.runs() == 1).await;

    add(&new);
    assert_eq!(engine.names(), ["fake", "added"]);
    engine.predict(request("hello")).await.unwrap();
    assert_eq!((old.runs(), new.runs(), default.runs()), (1, 1, 0));
    old.release();
    assert_eq!(in_flight.await.unwrap().unwrap().model, "added");
}

/// The runtime library takes tens of milliseconds to end a large session.
#[tokio::test]
async fn the_sessions_of_a_replaced_model_end_on_another_thread() {
    let [old, new] = [(); 2].map(|()| Arc::new(Script::default()));
    let engine = start(&old, EngineSettings { precompute: false, ..settings() });
    engine.ready(None).await.unwrap();
    engine.add_model("fake".into(), Arc::new(ScriptedLoader(Arc::clone(&new))));
    let ended_on = || old.ended_on.lock().unwrap().clone();
    eventually(|| !ended_on().is_empty()).await;
    assert_eq!(ended_on(), ["close"]);
}

/// Starts an engine with the models `a`, `b` and `c`, and returns the number of loads of each.
fn three(settings: EngineSettings) -> (Arc<Engine>, impl Fn() -> [usize; 3]) {
    let scripts = [(); 3].map(|()| Arc::new(Script::default()));
    let loader = |(name, script): (&str, &Arc<Script>)| {
        let loader: Arc<dyn ModelLoader> = Arc::new(ScriptedLoader(Arc::clone(script)));
        (name.to_owned(), loader)
    };
    let engine = Engine::start(["a", "b", "c"].into_iter().zip(&scripts).map(loader).collect(), settings);
    let loads = move || scripts.each_ref().map(|script| script.loads.load(Ordering::SeqCst));
    (engine, loads)
}

async fn ask_model(engine: &Engine, model: &str) {
    let request = Request { model: Some(model.into()), input: Input::single(model), ..Request::default() };
    engine.predict(request).await.unwrap();
}

#[tokio::test]
async fn the_first_model_is_loaded_at_the_start_and_others_when_they_are_used() {
    let (engine, loads) = three(settings());
    ask_model(&engine, "a").await;
    assert!(matches!(engine.state("b"), Some(State::Idle)));
    ask_model(&engine, "c").await;
    assert_eq!(loads(), [1, 0, 1]);
    let (_engine, loads) = three(EngineSettings { preload: true, ..settings() });
    eventually(|| loads() == [1, 1, 1]).await;
}

#[tokio::test]
async fn above_the_memory_limit_the_model_unused_for_longest_is_unloaded() {
    let (engine, loads) = three(EngineSettings { unload_above_bytes: 0, ..settings() });
    let ready = |names: &str| {
        let is_ready = |name: &&str| matches!(engine.state(name), Some(State::Ready(_)));
        assert_eq!(["a", "b", "c"].into_iter().filter(is_ready).collect::<String>(), names);
    };
    ask_model(&engine, "a").await;
    ready("a");
    ask_model(&engine, "b").await;
    ready("b");
    ask_model(&engine, "a").await;
    assert_eq!(loads(), [2, 1, 0], "it is loaded again");
    ready("a");
    let unlimited = three(settings()).0;
    for model in ["a", "b", "c", "a"] {
        ask_model(&unlimited, model).await;
    }
    assert!(["a", "b", "c"].iter().all(|name| matches!(unlimited.state(name), Some(State::Ready(_)))));
}

#[tokio::test]
async fn models_are_unloaded_one_a_second_until_memory_is_below_its_limit() {
    let (engine, loads) = three(EngineSettings { unload_above_bytes: 0, preload: true, ..settings() });
    eventually(|| loads() == [1, 1, 1]).await;
    let loaded = || {
        let is_ready = |name: &&&str| matches!(engine.state(name), Some(State::Ready(_)));
        ["a", "b", "c"].iter().filter(is_ready).count()
    };
    eventually(|| loaded() == 3).await;
    for left in [2, 1] {
        ask_model(&engine, "a").await;
        assert_eq!(loaded(), left);
        skip(Duration::from_secs(1)).await;
    }
}

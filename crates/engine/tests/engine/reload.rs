//! Files of a model that change while it serves.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::pool::get_stuck;
use crate::{ask, eventually, skip, spawn};
use engine::testing::{STUCK_AFTER, Script, settings, start};
use engine::{Engine, EngineSettings, State};

/// At least the time between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

fn served(engine: &Engine) -> Option<String> {
    match engine.state("fake") {
        Some(State::Ready(info)) => info.description.clone(),
        state => panic!("{state:?}"),
    }
}

/// Makes calls until the files have been loaded so many times. A look that is under way lets the next
/// call take none.
async fn look(engine: &Engine, script: &Script, loads: usize) {
    for _ in 0..100 {
        skip(LOOK).await;
        let _ = ask(engine, "hello").await;
        tokio::time::sleep(Duration::from_millis(2)).await;
        if script.loads.load(Ordering::SeqCst) >= loads {
            break;
        }
    }
    assert_eq!(script.loads.load(Ordering::SeqCst), loads);
}

#[tokio::test]
async fn changed_files_are_loaded_and_calls_in_flight_finish_on_the_old_model() {
    let script = Arc::new(Script::default());
    script.change_files();
    let engine = start(&script, EngineSettings { workers: 2, ..settings() });
    let mut held: Vec<_> = Vec::new();
    ask(&engine, "hello").await.unwrap();
    // Few enough for the runtime to poll all of them, with its other tasks, before this test goes on.
    for number in 0..20 {
        held.push(spawn(&engine, &format!("held {number}")));
    }
    eventually(|| script.runs() >= 2).await;
    script.change_files();
    look(&engine, &script, 2).await;
    eventually(|| served(&engine).as_deref() == Some("load 2")).await;
    script.release();
    for call in held {
        assert_eq!(call.await.unwrap().unwrap().info.description.as_deref(), Some("load 1"));
    }
    assert_eq!(ask(&engine, "another").await.unwrap().info.description.as_deref(), Some("load 2"));
    look(&engine, &script, 2).await;
}

/// An engine whose model changed once and could not be loaded again.
async fn failed_reload() -> (Arc<Script>, Arc<Engine>) {
    let script = Arc::new(Script::default());
    script.change_files();
    let engine = start(&script, settings());
    ask(&engine, "hello").await.unwrap();
    script.failing_loads.store(1, Ordering::SeqCst);
    script.change_files();
    look(&engine, &script, 2).await;
    eventually(|| engine.reload_error("fake").is_some()).await;
    (script, engine)
}

#[tokio::test]
async fn files_that_cannot_be_used_leave_the_old_model_and_say_why_until_they_change_again() {
    let (script, engine) = failed_reload().await;
    let error = engine.reload_error("fake").unwrap().to_string();
    assert!(error.starts_with("model folder `/models/fake`"), "{error}");
    look(&engine, &script, 2).await;
    assert_eq!(served(&engine).as_deref(), Some("load 1"));
    script.change_files();
    look(&engine, &script, 3).await;
    eventually(|| served(&engine).as_deref() == Some("load 3")).await;
    eventually(|| engine.reload_error("fake").is_none()).await;
}

#[tokio::test]
async fn files_that_could_not_be_loaded_are_tried_again_after_a_minute() {
    let (script, engine) = failed_reload().await;
    skip(Duration::from_secs(60)).await;
    look(&engine, &script, 3).await;
    eventually(|| served(&engine).as_deref() == Some("load 3")).await;
    eventually(|| engine.reload_error("fake").is_none()).await;
}

#[tokio::test]
async fn other_files_bring_back_a_model_that_got_stuck_too_often() {
    let script = Arc::new(Script::default());
    script.change_files();
    let engine = start(&script, settings());
    for loads in 1..=4 {
        get_stuck(&engine, &script, 1).await;
        skip(STUCK_AFTER + LOOK).await;
        ask(&engine, "a text that waits").await.unwrap_err();
        assert_eq!(script.loads.load(Ordering::SeqCst), loads);
        skip(settings().retry_after).await;
        let _ = ask(&engine, &format!("a text {loads}")).await;
    }
    look(&engine, &script, 4).await;
    script.change_files();
    look(&engine, &script, 5).await;
    eventually(|| matches!(engine.state("fake"), Some(State::Ready(_)))).await;
    assert_eq!(served(&engine).as_deref(), Some("load 5"));
    script.release();
}

//! On which thread a run takes place: the caller's own, a worker's, or one that gives way to all others.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use local_model_mcp::engine::{Engine, EngineSettings, Lane, Request};
use local_model_mcp::error::Error;
use local_model_mcp::prediction::Input;

use crate::fake::{Script, settings, start};

const WORKER: &str = "inference";

fn with_inline() -> EngineSettings {
    EngineSettings { inline_below: Duration::from_secs(1), precompute: false, ..settings() }
}

async fn ask(engine: &Engine, text: &str, lane: Lane) {
    engine.predict(Request { input: Input::single(text), lane, ..Request::default() }).await.unwrap();
}

fn threads(script: &Script) -> Vec<String> {
    script.threads.lock().unwrap().clone()
}

#[tokio::test]
async fn a_short_run_takes_place_where_the_call_is_once_its_length_is_known() {
    let script = Arc::new(Script::default());
    let engine = start(&script, with_inline());
    for text in ["a b 1", "a b 2", "a much longer text", "a b 3"] {
        ask(&engine, text, Lane::Interactive).await;
    }
    let here = std::thread::current().name().unwrap().to_owned();
    assert_eq!(threads(&script), [WORKER, &here, WORKER, &here]);
}

#[tokio::test]
async fn calls_that_come_together_go_to_workers() {
    let script = Arc::new(Script::default());
    let engine = start(&script, with_inline());
    ask(&engine, "a b 0", Lane::Interactive).await;
    let calls = (1..=9).map(|number| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move { ask(&engine, &format!("a b {number}"), Lane::Interactive).await })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let on_workers = threads(&script).iter().filter(|thread| *thread == WORKER).count();
    assert!(on_workers >= 9, "all but the last may go to a worker: {:?}", threads(&script));
}

#[tokio::test]
async fn a_few_calls_together_share_the_first_replica_and_a_crowd_gets_more() {
    for (calls, weights_copied, replicas) in [(30, false, 1), (40, false, 3), (40, true, 1)] {
        let script = Arc::new(Script { weights_copied, ..Script::default() });
        let engine = start(&script, EngineSettings { workers: 2, ..with_inline() });
        ask(&engine, "a b 0", Lane::Interactive).await;
        let calls = (1..=calls).map(|number| {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move { ask(&engine, &format!("held {number}"), Lane::Interactive).await })
        });
        let calls: Vec<_> = calls.collect();
        let arrived = std::time::Instant::now();
        let made = || script.replicas.load(Ordering::SeqCst);
        while made() < replicas || arrived.elapsed() < Duration::from_millis(100) {
            tokio::task::yield_now().await;
        }
        assert_eq!(made(), replicas);
        script.release();
        for call in calls {
            call.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_run_that_cannot_be_stopped_holds_up_nobody_but_its_caller() {
    let script = Arc::new(Script::default());
    let deadline = Duration::from_millis(300);
    let engine = start(&script, EngineSettings { workers: 2, deadline, ..with_inline() });
    let request = Request { input: Input::single("stuck"), ..Request::default() };
    assert!(matches!(engine.predict(request).await, Err(Error::Deadline { .. })));
    ask(&engine, "a text", Lane::Interactive).await;
    ask(&engine, "another text", Lane::Interactive).await;
    script.release();
}

#[tokio::test]
async fn rows_of_a_file_and_calls_do_not_wait_for_each_other() {
    let script = Arc::new(Script::default());
    let engine = start(&script, with_inline());
    ask(&engine, "warm", Lane::Interactive).await;
    for (held, free) in [(Lane::Background, Lane::Interactive), (Lane::Interactive, Lane::Background)] {
        let other = Arc::clone(&engine);
        let text = format!("held {held:?} and of another length");
        let before = script.runs();
        let waiting = tokio::spawn(async move { ask(&other, &text, held).await });
        while script.runs() == before {
            tokio::task::yield_now().await;
        }
        tokio::time::timeout(Duration::from_secs(10), ask(&engine, &format!("free {free:?}"), free)).await.unwrap();
        assert!(!waiting.is_finished());
        script.release();
        waiting.await.unwrap();
        script.hold_again();
    }
}

#[tokio::test]
async fn rows_of_a_file_cost_no_second_copy_of_the_weights() {
    for (weights_copied, replicas) in [(true, 1), (false, 2)] {
        let script = Arc::new(Script { weights_copied, ..Script::default() });
        let engine = start(&script, with_inline());
        ask(&engine, "a row", Lane::Background).await;
        assert_eq!(script.replicas.load(Ordering::SeqCst), replicas);
    }
}

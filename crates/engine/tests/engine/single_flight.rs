//! Identical calls share one run, whichever of them is cancelled.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::{ask, ask_as, eventually, spawn, spawn_as};
use engine::testing::{Script, settings, start};
use engine::{AnsweredBy, EngineSettings, Priority};

#[tokio::test]
async fn identical_concurrent_texts_run_the_model_once() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    let calls: Vec<_> = (0..20).map(|_| spawn(&engine, "held")).collect();
    eventually(|| script.runs() == 1).await;
    script.release();
    let mut runs = 0;
    for call in calls {
        runs += usize::from(call.await.unwrap().unwrap().answered_by == AnsweredBy::Model);
    }
    assert_eq!((script.runs(), runs), (1, 1));
    assert_eq!(engine.cache_counts().await.joined, 19);
}

#[tokio::test]
async fn cancelling_a_call_that_joined_leaves_the_run_alone() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    let first = spawn(&engine, "held");
    eventually(|| script.runs() == 1).await;
    let joined = spawn(&engine, "held");
    tokio::task::yield_now().await;
    joined.abort();
    assert!(joined.await.unwrap_err().is_cancelled());
    script.release();
    assert_eq!(first.await.unwrap().unwrap().answered_by, AnsweredBy::Model);
    assert_eq!((script.runs(), script.cancelled.load(Ordering::SeqCst)), (1, 0));
}

/// The cost of moka's `try_get_with`: the second run begins from the start.
#[tokio::test]
async fn when_the_running_call_is_cancelled_one_that_joined_runs_again() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    // Loaded, so that the first call is the one that runs.
    engine.ready(None).await.unwrap();
    let calls: Vec<_> = (0..4).map(|_| spawn(&engine, "held")).collect();
    eventually(|| script.runs() == 1).await;
    calls[0].abort();
    eventually(|| script.runs() == 2).await;
    assert_eq!(script.cancelled.load(Ordering::SeqCst), 1);
    script.release();
    let mut answers = Vec::new();
    for call in calls.into_iter().skip(1) {
        answers.push(call.await.unwrap().unwrap().answered_by);
    }
    answers.sort_by_key(|answer| answer.name());
    assert_eq!(answers, [AnsweredBy::Joined, AnsweredBy::Joined, AnsweredBy::Model]);
    assert_eq!(script.runs(), 2);
}

#[tokio::test]
async fn when_every_caller_is_cancelled_nothing_is_left() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    // Loaded, so that the first call is the one that runs.
    engine.ready(None).await.unwrap();
    let calls: Vec<_> = (0..3).map(|_| spawn(&engine, "held")).collect();
    eventually(|| script.runs() == 1).await;
    // In reverse order, so that no call that joined starts its own run.
    for call in calls.into_iter().rev() {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    eventually(|| script.cancelled.load(Ordering::SeqCst) == 1).await;
    script.release();
    assert_eq!(ask(&engine, "held").await.unwrap().answered_by, AnsweredBy::Model);
    assert_eq!(script.runs(), 2);
    assert_eq!(engine.statistics()[0].2.cancelled, 3);
}

#[tokio::test]
async fn a_cancelled_call_that_waits_for_a_worker_never_runs() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    let running = spawn(&engine, "held");
    eventually(|| script.runs() == 1).await;
    let waiting = spawn(&engine, "another");
    tokio::task::yield_now().await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    script.release();
    running.await.unwrap().unwrap();
    ask(&engine, "a third").await.unwrap();
    assert_eq!(script.texts(), ["held", "a third"]);
    assert_eq!(engine.statistics()[0].2.cancelled, 1);
}

#[tokio::test]
async fn a_call_does_not_wait_for_the_row_that_has_its_text() {
    let script = Arc::new(Script::default());
    let engine = start(&script, EngineSettings { workers: 2, ..settings() });
    engine.ready(None).await.unwrap();
    let rows = ["held 1", "held 2", "the text"].map(|text| spawn_as(&engine, text, Priority::Background));
    eventually(|| script.runs() == 2).await;
    assert_eq!(ask(&engine, "the text").await.unwrap().answered_by, AnsweredBy::Model);
    script.release();
    for row in rows {
        row.await.unwrap().unwrap();
    }
    assert_eq!(ask_as(&engine, "held 1", Priority::Background).await.unwrap().answered_by, AnsweredBy::Cache);
}

//! The session that runs each job, the order of jobs, and the loss of sessions and workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::{ask, ask_as, eventually, skip, spawn, spawn_as};
use engine::testing::{STUCK_AFTER, Script, WIDE, settings, start};
use engine::{Engine, EngineSettings, Error, Priority, ProcessHooks};

/// Longer than the pool's idle time before it releases memory.
const IDLE: Duration = Duration::from_secs(11);

fn workers(workers: usize) -> EngineSettings {
    EngineSettings { workers, precompute: false, ..settings() }
}

fn replicas(script: &Script) -> usize {
    script.replicas.load(Ordering::SeqCst)
}

#[tokio::test]
async fn calls_one_after_the_other_all_use_the_wide_session() {
    let script = Arc::new(Script::default());
    let engine = start(&script, workers(4));
    for text in ["one", "two", "three"] {
        ask(&engine, text).await.unwrap();
        assert_eq!(script.threads_of(text), Some(WIDE));
    }
    assert_eq!(replicas(&script), 1);
}

#[tokio::test]
async fn calls_that_overlap_run_side_by_side_on_narrow_sessions() {
    let script = Arc::new(Script::default());
    let engine = start(&script, workers(2));
    engine.ready(None).await.unwrap();
    let run = async |text: &str, threads| {
        let call = spawn(&engine, text);
        eventually(|| script.threads_of(text).is_some()).await;
        assert_eq!(script.threads_of(text), Some(threads), "{text}");
        Some(call)
    };
    let cancel = async |call: Option<JoinHandle<_>>| {
        let before = script.cancelled.load(Ordering::SeqCst);
        call.unwrap().abort();
        eventually(|| script.cancelled.load(Ordering::SeqCst) > before).await;
    };
    let first = run("held 1", WIDE).await;
    let second = run("held 2", 1).await;
    assert_eq!(replicas(&script), 2);
    cancel(first).await;
    // The wide session is idle and takes the next call while the second narrow one is made.
    let third = run("held 3", WIDE).await;
    eventually(|| replicas(&script) == 3).await;
    cancel(third).await;
    let fourth = run("held 4", 1).await;
    script.release();
    for call in [second, fourth].into_iter().flatten() {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_job_takes_the_wide_session_before_a_narrow_one_is_made() {
    let script = Arc::new(Script { failing_replicas: 1.into(), ..Script::default() });
    let engine = start(&script, workers(2));
    let first = spawn(&engine, "held");
    eventually(|| script.runs() == 1).await;
    let second = spawn(&engine, "a text");
    eventually(|| script.failing_replicas.load(Ordering::SeqCst) == 0).await;
    script.release();
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    assert_eq!((script.threads_of("a text"), replicas(&script)), (Some(WIDE), 1));
}

#[tokio::test]
async fn a_model_whose_weights_would_be_copied_has_one_session() {
    let script = Arc::new(Script { weights_copied: true, ..Script::default() });
    let engine = start(&script, workers(4));
    let held = spawn(&engine, "held");
    eventually(|| script.runs() == 1).await;
    let row = spawn_as(&engine, "a row", Priority::Background);
    tokio::task::yield_now().await;
    let call = spawn(&engine, "a call");
    tokio::task::yield_now().await;
    script.release();
    for job in [held, row, call] {
        job.await.unwrap().unwrap();
    }
    assert_eq!(script.texts(), ["held", "a call", "a row"]);
    assert_eq!(replicas(&script), 1);
}

#[tokio::test]
async fn a_single_call_passes_the_texts_of_a_batch() {
    let script = Arc::new(Script::default());
    let engine = start(&script, workers(1));
    let held = spawn(&engine, "held");
    eventually(|| script.runs() == 1).await;
    let batch: Vec<_> =
        (0..40).map(|number| spawn_as(&engine, &format!("of a batch {number}"), Priority::Batch)).collect();
    tokio::task::yield_now().await;
    let single = spawn(&engine, "a single call");
    tokio::task::yield_now().await;
    script.release();
    for call in batch.into_iter().chain([held, single]) {
        call.await.unwrap().unwrap();
    }
    assert_eq!(script.texts()[1], "a single call");
}

#[tokio::test]
async fn rows_and_calls_do_not_wait_for_each_other() {
    let script = Arc::new(Script::default());
    let engine = start(&script, workers(1));
    for (held, free) in [(Priority::Background, Priority::Interactive), (Priority::Interactive, Priority::Background)] {
        let runs = script.runs();
        let waiting = spawn_as(&engine, &format!("held {held:?}"), held);
        eventually(|| script.runs() > runs).await;
        ask_as(&engine, &format!("free {free:?}"), free).await.unwrap();
        assert!(!waiting.is_finished());
        script.release();
        waiting.await.unwrap().unwrap();
        script.hold_again();
    }
}

#[tokio::test]
async fn any_number_of_rows_makes_no_call_find_the_queue_full() {
    let script = Arc::new(Script::default());
    let engine = start(&script, EngineSettings { queue_capacity: 1, ..workers(1) });
    let rows: Vec<_> =
        (0..300).map(|number| spawn_as(&engine, &format!("held {number}"), Priority::Background)).collect();
    eventually(|| script.runs() == 1).await;
    for number in 0..20 {
        ask(&engine, &format!("call {number}")).await.unwrap();
    }
    script.release();
    for row in rows {
        row.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn background_threads_call_their_hook_once_each() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let count = || _ = CALLS.fetch_add(1, Ordering::SeqCst);
    let hooks = ProcessHooks { on_background_thread: count, ..Default::default() };
    let engine = start(&Arc::default(), EngineSettings { hooks, ..workers(1) });
    ask(&engine, "a call").await.unwrap();
    assert_eq!(CALLS.load(Ordering::SeqCst), 0);
    for row in ["row 1", "row 2"] {
        ask_as(&engine, row, Priority::Background).await.unwrap();
    }
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_session_that_panicked_is_replaced_for_the_next_job() {
    let script = Arc::new(Script::default());
    let engine = start(&script, workers(1));
    for round in 1..=3 {
        assert!(matches!(ask(&engine, "panic").await, Err(Error::Panicked { .. })));
        ask(&engine, &format!("text {round}")).await.unwrap();
        assert_eq!(replicas(&script), 1 + round);
    }
}

#[tokio::test]
async fn a_session_that_cannot_be_made_answers_only_where_no_other_serves() {
    let script = Arc::new(Script::default());
    let engine = start(&script, workers(2));
    assert!(ask(&engine, "panic").await.is_err());
    script.failing_replicas.store(1, Ordering::SeqCst);
    let error = ask(&engine, "no session").await.unwrap_err().to_string();
    assert!(error.starts_with("model folder `/models/fake` does not exist"), "{error}");
    ask(&engine, "made again").await.unwrap();

    let script = Arc::new(Script { failing_replicas: 1.into(), ..Script::default() });
    let engine = start(&script, workers(2));
    let held = spawn(&engine, "held");
    eventually(|| script.texts().contains(&"held".into())).await;
    let waiting = spawn(&engine, "waits for the wide session");
    eventually(|| script.failing_replicas.load(Ordering::SeqCst) == 0).await;
    script.release();
    held.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn memory_is_released_once_after_ten_idle_seconds() {
    static RELEASED: AtomicUsize = AtomicUsize::new(0);
    let count = || _ = RELEASED.fetch_add(1, Ordering::SeqCst);
    let hooks = ProcessHooks { release_memory: count, ..Default::default() };
    let script = Arc::new(Script::default());
    let engine = start(&script, EngineSettings { hooks, ..workers(2) });
    let overlapping = ["held 1", "held 2"].map(|text| spawn(&engine, text));
    eventually(|| script.runs() == 2).await;
    script.release();
    for call in overlapping {
        call.await.unwrap().unwrap();
    }
    let made = replicas(&script);
    assert_eq!((made, RELEASED.load(Ordering::SeqCst)), (2, 0));
    skip(IDLE).await;
    eventually(|| RELEASED.load(Ordering::SeqCst) == 1).await;
    assert_eq!(script.releases.load(Ordering::SeqCst), 1);
    skip(10 * IDLE).await;
    assert_eq!(RELEASED.load(Ordering::SeqCst), 1, "nothing happens while nothing comes");
    ask(&engine, "wide again").await.unwrap();
    assert_eq!((script.threads_of("wide again"), replicas(&script)), (Some(WIDE), made));
}

/// Starts `runs` runs that do not end although their callers are gone.
pub(crate) async fn get_stuck(engine: &Arc<Engine>, script: &Script, runs: usize) {
    for number in 0..runs {
        let before = script.runs();
        let call = spawn(engine, &format!("stuck {before} {number}"));
        eventually(|| script.runs() > before).await;
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
}

#[tokio::test]
async fn a_run_that_cannot_be_cancelled_holds_up_only_its_caller() {
    let script = Arc::new(Script::default());
    let engine = start(&script, workers(2));
    let stuck = spawn(&engine, "stuck");
    eventually(|| script.runs() == 1).await;
    skip(settings().deadline).await;
    assert!(matches!(stuck.await.unwrap(), Err(Error::Deadline { .. })));
    skip(STUCK_AFTER + Duration::from_secs(1)).await;
    for text in ["a text", "another text"] {
        ask(&engine, text).await.unwrap();
        assert_eq!(script.threads_of(text), Some(1));
    }
    script.release();
}

#[tokio::test]
async fn when_every_worker_is_stuck_the_model_is_reloaded_three_times() {
    let script = Arc::new(Script::default());
    let engine = start(&script, workers(2));
    for loads in 1..=4 {
        get_stuck(&engine, &script, 2).await;
        skip(STUCK_AFTER + Duration::from_secs(1)).await;
        let error = ask(&engine, "a text that waits").await.unwrap_err();
        assert_eq!(error, Error::Stuck { model: "fake".into(), runs: 2 });
        assert_eq!(script.loads.load(Ordering::SeqCst), loads);
        skip(settings().retry_after).await;
        let reloaded = ask(&engine, &format!("a text {loads}")).await;
        assert_eq!(reloaded.is_ok(), loads < 4, "{reloaded:?}");
    }
    script.release();
}

//! Whatever a client, a model or a machine does: every request gets one answer, and the server stays or leaves as it should.
//!
//! One test for each case, by name. The executable over real pipes and sockets where the wire or the process is meant, the
//! engine over the scripted fake where a moment has to be hit.

/// How a process ends, and what it meets on the machine.
mod life;
/// What becomes of a run.
mod runs;
/// What clients send and how they leave.
mod wire;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Server;

/// Answers by `id`, as text; fails where one comes twice or a message has none.
#[track_caller]
fn answers(server: &mut Server, count: usize) -> HashMap<String, Value> {
    let mut answers = HashMap::new();
    for _ in 0..count {
        let answer = server.receive();
        assert!(answer.get("result").is_some() != answer.get("error").is_some(), "{answer}");
        let id = answer["id"].to_string();
        assert!(answers.insert(id, answer.clone()).is_none(), "answered twice: {answer}");
    }
    answers
}

/// Waits for the process to end by itself; returns its status and how long it took.
#[track_caller]
fn ended(server: &mut Server) -> (Option<i32>, Duration) {
    let started = Instant::now();
    loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            return (status.code(), started.elapsed());
        }
        assert!(started.elapsed() < Duration::from_secs(30), "it does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Leaving takes a few milliseconds; the rest is for machines with other things to do.
const AT_ONCE: Duration = Duration::from_secs(1);

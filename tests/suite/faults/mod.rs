//! Faults of clients, models and machines: every request gets one answer, and the server continues
//! or ends as documented.
//!
//! Most tests use the scripted fake, in memory. The executable is started only to test the process
//! or its pipes.

/// The end of the process, and conditions of the machine that it tolerates.
mod life;
/// Runs that end early, crash or are shared.
mod runs;
/// Unusual lines, and clients that leave.
mod wire;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client::Server;

/// Returns answers by `id`. Fails if one comes twice or a message has no `id`.
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

/// Waits for the process to end by itself. Returns its status and the time it took.
#[track_caller]
pub(crate) fn ended(server: &mut Server) -> (Option<i32>, Duration) {
    let started = Instant::now();
    loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            return (status.code(), started.elapsed());
        }
        assert!(started.elapsed() < Duration::from_secs(30), "the process does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Exiting takes a few milliseconds; the rest is for busy machines.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(1);

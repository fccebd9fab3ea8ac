//! Memory of a session after its first prediction, of a second session, and processor time of an
//! idle one.

use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::corpus::distinct_texts;
use crate::server::{Candidate, Server, Wire, predictions};
use crate::system::{memory, processor_ticks};

/// After this time without calls, a server has returned the memory that it does not need.
const SETTLED_AFTER: Duration = Duration::from_secs(12);

#[derive(Serialize)]
pub(crate) struct MemoryUse {
    pub resident_mb: f64,
    pub second_private_mb: f64,
    pub second_written_mb: f64,
    /// Of 10 ms.
    pub idle_ticks: u64,
    pub idle_seconds: u64,
}

/// Starts two sessions of each server. `None` if the system does not report memory.
pub(crate) fn measure(candidates: &[Candidate], idle_seconds: u64) -> anyhow::Result<Vec<Option<MemoryUse>>> {
    let requests = predictions(&distinct_texts(1, 12, 77));
    let mut pairs: Vec<[Server; 2]> = Vec::new();
    for candidate in candidates {
        let mut pair = [candidate.start(Wire::Sockets)?, candidate.start(Wire::Sockets)?];
        for server in &mut pair {
            server.one_by_one(&requests)?;
        }
        pairs.push(pair);
    }
    thread::sleep(SETTLED_AFTER);
    let ticks = || pairs.iter().map(|[first, _]| processor_ticks(first.pid())).collect::<Vec<_>>();
    let before = ticks();
    thread::sleep(Duration::from_secs(idle_seconds));
    let after = ticks();
    let uses = pairs.iter().zip(before.into_iter().zip(after)).map(|([first, second], (before, after))| {
        let (first, second) = (memory(first.pid())?, memory(second.pid())?);
        Some(MemoryUse {
            resident_mb: first.resident,
            second_private_mb: second.private,
            second_written_mb: second.private_dirty,
            idle_ticks: after? - before?,
            idle_seconds,
        })
    });
    Ok(uses.collect())
}

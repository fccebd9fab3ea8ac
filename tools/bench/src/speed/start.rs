//! Measures the time from a server's start to its first answers, and from the end of its input to
//! its exit.

use serde::Serialize;
use serde_json::json;

use super::in_turns;
use crate::percentiles::Percentiles;
use crate::server::{Candidate, Wire, predictions, request};

/// Medians of one server.
#[derive(Serialize)]
pub(crate) struct StartupTimes {
    pub discover_ms: f64,
    pub first_prediction_ms: f64,
    pub exit_ms: f64,
}

pub(crate) fn measure(candidates: &[Candidate], empty_cache: bool, times: usize) -> anyhow::Result<Vec<StartupTimes>> {
    let mut measured: Vec<[Vec<_>; 3]> = candidates.iter().map(|_| Default::default()).collect();
    for round in 0..times {
        for place in in_turns(candidates.len(), round) {
            if empty_cache {
                candidates[place].clear_cache();
            }
            let mut server = candidates[place].start(Wire::Sockets)?;
            server.ask(&request(0, "server/discover", json!({})))?;
            let discover = server.started.elapsed();
            server.one_by_one(&predictions(&vec![format!("a first text, number {round}")]))?;
            let first = server.started.elapsed();
            for (times, time) in measured[place].iter_mut().zip([discover, first, server.exit()?]) {
                times.push(time);
            }
        }
    }
    let medians = measured.iter().map(|times| {
        let [discover_ms, first_prediction_ms, exit_ms] = [0, 1, 2].map(|kind| Percentiles::new(&times[kind]).p50);
        StartupTimes { discover_ms, first_prediction_ms, exit_ms }
    });
    Ok(medians.collect())
}

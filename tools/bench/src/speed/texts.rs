//! Round trips of single texts: new ones, each next to the same text in process, and cached ones.

use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::in_turns;
use crate::baseline::Baseline;
use crate::corpus::distinct_texts;
use crate::percentiles::{Percentiles, median};
use crate::server::{Candidate, Server, Wire, predictions};

/// Before each run of a new text, the server's and the baseline's alike. An assistant's calls do
/// not come within microseconds of each other, so a run starts on a processor that slept and takes
/// 0.1 to 0.3 ms longer.
const PAUSE: Duration = Duration::from_millis(5);
/// Uncounted texts at the start, because a server may need some to settle.
const WARM_UP: usize = 8;
/// Cached texts that one server answers before the next server's turn.
const CACHED_TURN: usize = 500;
const IN_FLIGHT: usize = 64;

#[derive(Serialize)]
pub(crate) struct NewText {
    pub tokens: usize,
    pub servers: Vec<Percentiles>,
    pub one_thread: Percentiles,
    /// On as many threads as there are workers; `None` with one worker.
    pub all_threads: Option<Percentiles>,
}

/// Times texts that were never sent before, one at a time.
pub(crate) fn uncached(
    candidates: &[Candidate],
    baseline: &mut Baseline,
    tokens: usize,
    count: usize,
) -> anyhow::Result<NewText> {
    let mut servers = started(candidates, Wire::Sockets)?;
    let texts = distinct_texts(count + WARM_UP, tokens, tokens as u64);
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); candidates.len()];
    let (mut one_thread, mut all_threads) = (Vec::new(), Vec::new());
    let participants = candidates.len() + if baseline.workers() > 1 { 2 } else { 1 };
    for (number, text) in texts.iter().enumerate() {
        let request = predictions([text]);
        for place in in_turns(participants, number) {
            thread::sleep(PAUSE);
            match servers.get_mut(place) {
                Some(server) => times[place].extend(server.one_by_one(&request)?),
                None if place == candidates.len() => one_thread.push(baseline.time(text, false)?),
                None => all_threads.push(baseline.time(text, true)?),
            }
        }
    }
    let percentiles = |times: &Vec<Duration>| Percentiles::new(&times[WARM_UP..]);
    Ok(NewText {
        tokens,
        servers: times.iter().map(percentiles).collect(),
        one_thread: percentiles(&one_thread),
        all_threads: (baseline.workers() > 1).then(|| percentiles(&all_threads)),
    })
}

#[derive(Serialize)]
pub(crate) struct CachedText {
    pub sockets: Percentiles,
    pub pipes: Percentiles,
    pub in_flight_per_s: f64,
}

/// Times one text that is sent again and again.
pub(crate) fn cached(candidates: &[Candidate], count: usize) -> anyhow::Result<Vec<CachedText>> {
    let requests = predictions(&vec!["the same text again and again".to_owned(); count]);
    let [(sockets, in_flight), (pipes, _)] =
        [one_wire(candidates, Wire::Sockets, &requests)?, one_wire(candidates, Wire::Pipes, &requests)?];
    let both = sockets.into_iter().zip(pipes).zip(in_flight);
    Ok(both.map(|((sockets, pipes), in_flight_per_s)| CachedText { sockets, pipes, in_flight_per_s }).collect())
}

fn one_wire(candidates: &[Candidate], wire: Wire, requests: &[String]) -> anyhow::Result<(Vec<Percentiles>, Vec<f64>)> {
    let mut servers = started(candidates, wire)?;
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); candidates.len()];
    for server in &mut servers {
        server.one_by_one(&requests[..requests.len().min(100)])?;
    }
    for (round, turn) in requests.chunks(CACHED_TURN).enumerate() {
        for place in in_turns(servers.len(), round) {
            times[place].extend(servers[place].one_by_one(turn)?);
        }
    }
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); candidates.len()];
    for round in 0..5 {
        for place in in_turns(servers.len(), round) {
            let batch = servers[place].in_flight(requests, IN_FLIGHT)?;
            rates[place].push(requests.len() as f64 / batch.duration.as_secs_f64());
        }
    }
    Ok((times.iter().map(|times| Percentiles::new(times)).collect(), rates.into_iter().map(median).collect()))
}

fn started(candidates: &[Candidate], wire: Wire) -> anyhow::Result<Vec<Server>> {
    candidates.iter().map(|candidate| candidate.start(wire)).collect()
}

//! The measurements: each is taken beside its floor, in turns, so that whatever else the machine does meets both alike.
//!
//! The floor is the same graph and texts, tokenized and run in this process, without server, queue or cache.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use serde_json::json;

use crate::args::Options;
use crate::commands::bench::process;
use crate::commands::bench::server::{Server, Wire, predictions, request};
use crate::commands::bench::texts::distinct;
use crate::model::{self, Cancellation, LoadedModel, Location, Model};
use crate::onnxruntime::LibrarySettings;
use crate::prediction::Input;

/// Before each run of a new text, the server's and the floor's alike: calls of an assistant do not come within microseconds of each
/// other, so a run begins on a processor that slept, where it takes 0.1 to 0.3 ms longer than behind another one.
const PAUSE: Duration = Duration::from_millis(5);

/// Lengths in tokens: a title, a sentence or two, a paragraph, a page.
pub(super) const LENGTHS: [usize; 4] = [8, 32, 128, 480];
pub(super) const IN_FLIGHT: usize = 64;

/// Times in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Spread {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

impl Spread {
    pub(super) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let last = times.len().saturating_sub(1);
        let at = |share: f64| {
            let time = times.get((share * last as f64).round() as usize).copied().unwrap_or_default();
            (time.as_secs_f64() * 1e6).round() / 1e3
        };
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Starts {
    pub cache_directory: &'static str,
    pub discover_ms: f64,
    pub first_prediction_ms: f64,
    /// As `local_model_status` splits the load.
    pub load_ms: serde_json::Value,
    pub exit_ms: f64,
}

/// Starts a server as often as wanted; medians, with the split of the last load.
pub(super) fn starts(options: &Options, cache: &Path, empty: bool, times: usize) -> anyhow::Result<Starts> {
    let (mut discover, mut first, mut exit, mut load_ms) = (Vec::new(), Vec::new(), Vec::new(), json!(null));
    for number in 0..times {
        if empty {
            let _ = std::fs::remove_dir_all(cache);
        }
        let mut server = Server::start(options, cache, Wire::Sockets)?;
        server.ask(&request(0, "server/discover", json!({})))?;
        discover.push(server.started.elapsed());
        let text = vec![format!("a first text, number {number}")];
        server.one_by_one(&predictions(&text))?;
        first.push(server.started.elapsed());
        load_ms = server.status()?["models"][0]["load_ms"].clone();
        exit.push(server.leave()?);
    }
    Ok(Starts {
        cache_directory: if empty { "empty" } else { "filled" },
        discover_ms: Spread::of(discover).p50,
        first_prediction_ms: Spread::of(first).p50,
        load_ms,
        exit_ms: Spread::of(exit).p50,
    })
}

/// The model in this process.
pub(super) struct Floor {
    loaded: LoadedModel,
    single: Box<dyn Model>,
    pub workers: usize,
}

impl Floor {
    pub(super) fn new(location: &Location, library: &LibrarySettings, workers: usize) -> anyhow::Result<Self> {
        let loaded = model::load("floor", location, library, workers)?;
        let single = loaded.replicas.replica(1)?;
        Ok(Self { loaded, single, workers })
    }

    pub(super) fn max_tokens(&self) -> usize {
        self.loaded.info.max_tokens
    }

    /// Texts a second with so many replicas, each on a thread of its own.
    fn throughput(&self, texts: &[String]) -> anyhow::Result<f64> {
        let replicas = (0..self.workers).map(|_| self.loaded.replicas.replica(1)).collect::<Result<Vec<_>, _>>()?;
        let started = Instant::now();
        let share = texts.len().div_ceil(replicas.len());
        thread::scope(|scope| {
            for (mut replica, texts) in replicas.into_iter().zip(texts.chunks(share)) {
                scope.spawn(move || {
                    for text in texts {
                        // What cannot run here cannot run in the server either, which says so.
                        let _ = replica.predict(&Input::single(text.as_str()), &Cancellation::default());
                    }
                });
            }
        });
        Ok(texts.len() as f64 / started.elapsed().as_secs_f64())
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Uncached {
    pub tokens: usize,
    pub served_ms: Spread,
    pub floor_ms: Spread,
    /// The same on as many threads as there are workers.
    pub floor_wide_ms: Option<Spread>,
    /// To the floor of one thread; below zero where several threads gain more than the server costs.
    pub added_ms: f64,
    /// Over the faster of the two floors.
    pub ratio: f64,
}

/// Round trips of texts that were never seen, one at a time.
pub(super) fn uncached(
    server: &mut Server,
    floor: &mut Floor,
    tokens: usize,
    count: usize,
) -> anyhow::Result<Uncached> {
    // The first few teach the server how long such texts take.
    let texts = distinct(count + 8, tokens, tokens as u64);
    server.one_by_one(&predictions(&texts[..8]))?;
    let texts = &texts[8..];
    let (mut served, mut single, mut wide, mut read) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (number, text) in texts.iter().enumerate() {
        let request = predictions([text]);
        let input = Input::single(text.as_str());
        let mut run = |replica: &mut dyn Model| -> anyhow::Result<Duration> {
            let started = Instant::now();
            read = replica.predict(&input, &Cancellation::default())?.tokens_read as usize;
            Ok(started.elapsed())
        };
        // Another is first each time: whoever comes after another finds the weights in the processor's caches.
        for turn in 0..3 {
            thread::sleep(PAUSE);
            match (number + turn) % 3 {
                0 => served.extend(server.one_by_one(&request)?),
                1 => single.push(run(&mut *floor.single)?),
                _ if floor.workers > 1 => wide.push(run(&mut *floor.loaded.first)?),
                _ => {}
            }
        }
    }
    let (served_ms, floor_ms) = (Spread::of(served), Spread::of(single));
    let floor_wide_ms = (floor.workers > 1).then(|| Spread::of(wide));
    let best = floor_wide_ms.map_or(floor_ms.p50, |wide| wide.p50.min(floor_ms.p50));
    let added_ms = served_ms.p50 - floor_ms.p50;
    Ok(Uncached { tokens: read, served_ms, floor_ms, floor_wide_ms, added_ms, ratio: served_ms.p50 / best })
}

#[derive(Debug, Serialize)]
pub(super) struct Cached {
    pub sockets_ms: Spread,
    pub pipes_ms: Spread,
    pub in_flight_per_s: f64,
}

pub(super) fn cached(options: &Options, cache: &Path, count: usize) -> anyhow::Result<Cached> {
    let text = vec!["the same text again and again".to_owned(); count];
    let requests = predictions(&text);
    let mut spreads = Vec::new();
    let mut in_flight_per_s = 0.0_f64;
    for wire in [Wire::Sockets, Wire::Pipes] {
        let mut server = Server::start(options, cache, wire)?;
        server.one_by_one(&requests[..100.min(count)])?;
        spreads.push(Spread::of(server.one_by_one(&requests)?));
        if wire == Wire::Sockets {
            let (_, took, _) = server.in_flight(&requests, IN_FLIGHT)?;
            in_flight_per_s = count as f64 / took.as_secs_f64();
        }
    }
    Ok(Cached { sockets_ms: spreads[0], pipes_ms: spreads[1], in_flight_per_s })
}

#[derive(Debug, Serialize)]
pub(super) struct Crowd {
    pub per_s: f64,
    pub floor_per_s: f64,
    pub ratio: f64,
    pub latency_ms: Spread,
    pub errors: usize,
}

/// Floor and server take so many turns; the machine's other work changes within seconds. Odd, so that one is in the middle.
const TURNS: usize = 5;

/// Distinct texts of mixed lengths with many in flight: the turn whose ratio is in the middle, and the errors of all.
pub(super) fn crowd(server: &mut Server, floor: &Floor, count: usize) -> anyhow::Result<Crowd> {
    let share = count / TURNS / 3;
    let series = |number: usize| -> Vec<String> {
        let kinds: Vec<Vec<String>> = [8, 16, 32].map(|tokens| distinct(share, tokens, 1000 + number as u64)).into();
        (0..share).flat_map(|place| kinds.iter().map(move |kind| kind[place].clone())).collect()
    };
    // For its workers to be there.
    server.in_flight(&predictions(&series(0)), IN_FLIGHT)?;
    let mut turns = (0..TURNS)
        .map(|turn| {
            let floor_per_s = floor.throughput(&series(2 * turn + 1))?;
            let texts = series(2 * turn + 2);
            let (times, took, errors) = server.in_flight(&predictions(&texts), IN_FLIGHT)?;
            let per_s = texts.len() as f64 / took.as_secs_f64();
            Ok(Crowd { per_s, floor_per_s, ratio: per_s / floor_per_s, latency_ms: Spread::of(times), errors })
        })
        .collect::<anyhow::Result<Vec<Crowd>>>()?;
    turns.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
    let errors = turns.iter().map(|turn| turn.errors).sum();
    Ok(Crowd { errors, ..turns.swap_remove(TURNS / 2) })
}

#[derive(Debug, Serialize)]
pub(super) struct MemoryUse {
    pub resident_mb: f64,
    /// Of a second server beside the first: what it does not share.
    pub second_private_mb: f64,
    pub second_written_mb: f64,
    pub idle_ticks: u64,
    pub idle_s: u64,
}

/// Memory after a first prediction, what a second session adds, and what doing nothing costs.
pub(super) fn memory(options: &Options, cache: &Path, idle_s: u64) -> anyhow::Result<Option<MemoryUse>> {
    let text = distinct(1, 12, 77);
    let mut servers = Vec::new();
    for _ in 0..2 {
        let mut server = Server::start(options, cache, Wire::Sockets)?;
        server.one_by_one(&predictions(&text))?;
        servers.push(server);
    }
    // Precomputing ends, and the workers it needed.
    thread::sleep(Duration::from_secs(12));
    let [first, second] = [servers[0].pid(), servers[1].pid()];
    let Some((resident, beside)) = process::memory(first).zip(process::memory(second)) else { return Ok(None) };
    let before = process::processor_ticks(first).context("processor time is not known")?;
    thread::sleep(Duration::from_secs(idle_s));
    let idle_ticks = process::processor_ticks(first).context("processor time is not known")? - before;
    Ok(Some(MemoryUse {
        resident_mb: megabytes(resident.resident),
        second_private_mb: megabytes(beside.private),
        second_written_mb: megabytes(beside.written),
        idle_ticks,
        idle_s,
    }))
}

pub(super) fn megabytes(bytes: u64) -> f64 {
    (bytes as f64 / 1e5).round() / 10.0
}

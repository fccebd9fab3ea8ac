//! The figures of the speed table, for each server and the baseline.

mod concurrent;
mod memory;
mod start;
mod texts;

use std::path::Path;
use std::thread;

use clap::Args;
use serde::Serialize;

use crate::baseline::Baseline;
use crate::server::Candidate;
use crate::{Target, markdown_table, progress};
use concurrent::ConcurrentLoad;
use memory::MemoryUse;
use start::StartupTimes;
use texts::{CachedText, NewText};

/// Lengths in tokens: a title, a sentence or two, a paragraph, a page.
const LENGTHS: [usize; 4] = [8, 32, 128, 480];

#[derive(Args)]
pub(crate) struct SpeedArgs {
    /// A tenth of the repetitions
    #[arg(long)]
    quick: bool,
    /// Seconds during which the processor time of an idle server is measured
    #[arg(long, value_name = "S", default_value_t = 10)]
    idle_seconds: u64,
}

#[derive(Serialize)]
pub(crate) struct Report {
    servers: Vec<String>,
    processors: usize,
    workers: usize,
    empty_cache: Vec<StartupTimes>,
    filled_cache: Vec<StartupTimes>,
    new_texts: Vec<NewText>,
    cached: Vec<CachedText>,
    concurrent: ConcurrentLoad,
    memory: Vec<Option<MemoryUse>>,
}

pub(crate) fn run(
    candidates: &[Candidate],
    target: &Target,
    library_cache: &Path,
    arguments: &SpeedArgs,
) -> anyhow::Result<Report> {
    let repeat = |count: usize| if arguments.quick { count.div_ceil(10) } else { count };
    progress("starts");
    let empty_cache = start::measure(candidates, true, repeat(5))?;
    let filled_cache = start::measure(candidates, false, repeat(21))?;
    progress("cached texts");
    let cached = texts::cached(candidates, repeat(20_000))?;
    let mut baseline = Baseline::load(target, library_cache)?;
    let longest = baseline.max_tokens().min(LENGTHS[3]);
    let mut new_texts = Vec::new();
    for tokens in LENGTHS.into_iter().filter(|&tokens| tokens <= longest) {
        progress(&format!("texts of {tokens} tokens"));
        let count = repeat(if tokens > 100 { 120 } else { 400 });
        new_texts.push(texts::uncached(candidates, &mut baseline, tokens, count)?);
    }
    progress("texts with 64 in flight");
    // Not fewer in a quick run: a turn starts and ends with fewer in flight, which must not
    // dominate.
    let concurrent = concurrent::measure(candidates, &baseline, 1000)?;
    let workers = baseline.workers();
    drop(baseline);
    progress("memory");
    let memory = memory::measure(candidates, arguments.idle_seconds)?;
    Ok(Report {
        servers: candidates.iter().map(|candidate| candidate.name.clone()).collect(),
        processors: thread::available_parallelism().map_or(1, std::num::NonZero::get),
        workers,
        empty_cache,
        filled_cache,
        new_texts,
        cached,
        concurrent,
        memory,
    })
}

impl Report {
    /// Returns one row per figure and one column per server; the last column is the baseline.
    pub(crate) fn table(&self) -> comfy_table::Table {
        let headings = std::iter::once("figure").chain(self.servers.iter().map(String::as_str));
        let mut table = markdown_table(headings.chain(["in process"]));
        let mut row = |figure: String, servers: Vec<String>, baseline: String| {
            table.add_row(std::iter::once(figure).chain(servers).chain([baseline]));
        };
        let nothing = String::new;
        for (cache, starts) in [("filled", &self.filled_cache), ("empty", &self.empty_cache)] {
            let column = |figure: fn(&StartupTimes) -> f64| starts.iter().map(|one| ms(figure(one))).collect();
            row(format!("start to server/discover, cache {cache}"), column(|one| one.discover_ms), nothing());
            let first = column(|one| one.first_prediction_ms);
            row(format!("start to first prediction, cache {cache}"), first, nothing());
            row(format!("end of input to exit, cache {cache}"), column(|one| one.exit_ms), nothing());
        }
        for text in &self.new_texts {
            let all_threads =
                text.all_threads.map_or_else(nothing, |times| format!(", {} threads {}", self.workers, ms(times.p50)));
            let baseline = format!("1 thread {}{all_threads}", ms(text.one_thread.p50));
            let best = text.all_threads.map_or(text.one_thread.p50, |times| times.p50.min(text.one_thread.p50));
            let server =
                |p50: f64, p95: f64| format!("{} (p95 {p95:.2}), {:+.2} ms, {:.3} ×", ms(p50), p50 - best, p50 / best);
            let servers = text.servers.iter().map(|times| server(times.p50, times.p95)).collect();
            row(format!("new text of {} tokens", text.tokens), servers, baseline);
        }
        let micros = |milliseconds: f64| format!("{:.0} µs", milliseconds * 1e3);
        for (wire, times) in [("sockets", 0), ("pipes", 1)] {
            let servers = self.cached.iter().map(|cached| [cached.sockets, cached.pipes][times]);
            let servers = servers.map(|times| format!("{} (p99 {})", micros(times.p50), micros(times.p99)));
            row(format!("cached text, {wire}"), servers.collect(), nothing());
        }
        let servers = self.cached.iter().map(|cached| format!("{:.0}/s", cached.in_flight_per_s)).collect();
        row("cached texts, 64 in flight".into(), servers, nothing());
        let servers = self.concurrent.servers.iter();
        let servers = servers.map(|one| format!("{:.0}/s, {:.2} × (p95 {:.1} ms)", one.per_s, one.ratio, one.p95_ms));
        let baseline = format!("{:.0}/s", self.concurrent.baseline_per_s);
        row("new texts of 8 to 32 tokens, 64 in flight".into(), servers.collect(), baseline);
        let memory = |figure: fn(&MemoryUse) -> String| -> Vec<String> {
            self.memory.iter().map(|memory| memory.as_ref().map_or("unknown".into(), figure)).collect()
        };
        row("resident after a first prediction".into(), memory(|one| format!("{:.1} MB", one.resident_mb)), nothing());
        let second = memory(|one| format!("{:.1} MB, {:.1} written", one.second_private_mb, one.second_written_mb));
        row("private memory of a second session".into(), second, nothing());
        let idle = memory(|one| format!("{} ticks in {} s", one.idle_ticks, one.idle_seconds));
        row("processor time of an idle session".into(), idle, nothing());
        table
    }
}

fn ms(milliseconds: f64) -> String {
    format!("{milliseconds:.2} ms")
}

/// Returns the indices below `count`, starting with another one in each round. A measurement that
/// follows another finds the weights in the processor's caches, so each participant must go first
/// equally often.
fn in_turns(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (turn + round) % count)
}

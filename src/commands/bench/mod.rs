//! `bench`: drives this executable as a client would, and says how fast it is, beside the floor that no server can beat.
//!
//! `server` is the client, `figures`, `soak` and `faults` are the measurements, `texts` what is sent, `dice` what is left to
//! chance, `process` what the system says.

mod dice;
mod faults;
mod figures;
mod process;
mod server;
mod soak;
mod texts;

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use serde::Serialize;

use crate::args::Options;
use crate::commands::Outcome;
use faults::Faults;
use figures::{Cached, Crowd, Floor, LENGTHS, MemoryUse, Starts, Uncached};
use server::{Server, Wire};
use soak::Soak;

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Go on with mixed texts for so long, to see what becomes of the memory
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub soak_s: u64,
    /// Nothing but a soak with faults mixed in: withdrawn calls, garbage, ids used twice, clients that leave
    #[arg(long)]
    pub faults: bool,
    /// Calls of a soak with faults, at least
    #[arg(long, value_name = "N", default_value_t = 100_000, requires = "faults")]
    pub soak_calls: usize,
    /// The same seed gives the same faults
    #[arg(long, value_name = "N", default_value_t = 1, requires = "faults")]
    pub seed: u64,
    /// How long to look at the processor time of an idle server
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub idle_s: u64,
    /// A tenth of the repetitions
    #[arg(long)]
    pub quick: bool,
    /// Write one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// What no use should see exceeded, on any machine that is fit for the model.
const MOST_P95_MS: f64 = 500.0;
const MOST_ERRORS: f64 = 0.001;
const MOST_SLOPE_MB_PER_MIN: f64 = 5.0;

#[derive(Serialize)]
struct Report {
    model: String,
    processors: usize,
    starts: Vec<Starts>,
    cached: Cached,
    uncached: Vec<Uncached>,
    crowd: Crowd,
    memory: Option<MemoryUse>,
    soak: Soak,
    missed: Vec<String>,
}

pub(super) fn run(options: &Options, arguments: &BenchArgs) -> anyhow::Result<Outcome> {
    let (name, location) =
        options.models().map_err(|problem| anyhow!(problem))?.into_iter().next().context("no model is named")?;
    // A directory of its own: the user's keeps results of earlier sessions, which would answer for the model.
    let place = tempfile::tempdir().context("no temporary directory can be made")?;
    let cache = place.path().join("cache");
    if arguments.faults {
        let duration = Duration::from_secs(arguments.soak_s);
        let faults = faults::soak(options, &cache, arguments.seed, duration, arguments.soak_calls)?;
        return told(&faults, arguments.json);
    }
    let few = |count: usize| if arguments.quick { count.div_ceil(10) } else { count };

    progress("starts");
    let starts =
        vec![figures::starts(options, &cache, true, few(3))?, figures::starts(options, &cache, false, few(15))?];
    progress("cached texts");
    let cached = figures::cached(options, &cache, few(20_000))?;
    let mut library = options.library();
    library.cache_dir = Some(cache.clone());
    let mut floor = Floor::new(&location, &library, options.engine().workers)?;
    let mut server = Server::start(options, &cache, Wire::Sockets)?;
    let mut uncached = Vec::new();
    let longest = floor.max_tokens().min(LENGTHS[3]);
    for tokens in LENGTHS.into_iter().filter(|&tokens| tokens <= longest) {
        progress(&format!("texts of {tokens} tokens"));
        uncached.push(figures::uncached(&mut server, &mut floor, tokens, few(if tokens > 100 { 120 } else { 400 }))?);
    }
    progress("many texts at once");
    // As many in a quick run: a turn begins and ends with fewer in flight, which must not count for much.
    let crowd = figures::crowd(&mut server, &floor, 5000)?;
    drop(floor);
    progress("mixed texts");
    let soak = soak::soak(&mut server, Duration::from_secs(arguments.soak_s), few(10_000), longest)?;
    drop(server);
    progress("memory");
    let memory = figures::memory(options, &cache, arguments.idle_s)?;

    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut report =
        Report { model: name, processors, starts, cached, uncached, crowd, memory, soak, missed: Vec::new() };
    report.missed = missed(&report);
    let text = if arguments.json { serde_json::to_string(&report)? } else { readable(&report) };
    writeln!(io::stdout().lock(), "{text}").context("the report could not be written to stdout")?;
    Ok(if report.missed.is_empty() { Outcome::Done } else { Outcome::SomeFailed })
}

/// Writes what a soak with faults has shown, and whether it is as it should be.
fn told(faults: &Faults, as_json: bool) -> anyhow::Result<Outcome> {
    let value = serde_json::to_value(faults)?;
    let mut out = io::stdout().lock();
    match value.as_object().filter(|_| !as_json) {
        Some(fields) => fields.iter().try_for_each(|(name, figure)| writeln!(out, "{name:<18} {figure}")),
        None => writeln!(out, "{value}"),
    }
    .context("the report could not be written to stdout")?;
    let slope = faults.slope_mb_per_min.filter(|_| faults.duration_s >= 60.0).unwrap_or(0.0);
    let sound = faults.lost == 0 && faults.doubled == 0 && slope < MOST_SLOPE_MB_PER_MIN;
    Ok(if sound { Outcome::Done } else { Outcome::SomeFailed })
}

/// One line a step on stderr: a whole run takes minutes.
fn progress(step: &str) {
    let _ = writeln!(io::stderr().lock(), "measuring {step} …");
}

fn missed(report: &Report) -> Vec<String> {
    let soak = &report.soak;
    let slope = soak.slope_mb_per_min.filter(|_| soak.duration_s >= 60.0).unwrap_or(0.0);
    let errors = (soak.errors + report.crowd.errors) as f64 / soak.calls as f64;
    let targets = [
        (soak.latency_ms.p95 < MOST_P95_MS, format!("p95 {} ms, target under {MOST_P95_MS} ms", soak.latency_ms.p95)),
        (errors < MOST_ERRORS, format!("{} % errors, target under {} %", errors * 100.0, MOST_ERRORS * 100.0)),
        (slope < MOST_SLOPE_MB_PER_MIN, format!("{slope} MB/min, target under {MOST_SLOPE_MB_PER_MIN} MB/min")),
    ];
    targets.into_iter().filter(|(met, _)| !met).map(|(_, text)| text).collect()
}

fn readable(report: &Report) -> String {
    let mut lines = vec![format!("model {} on {} processors", report.model, report.processors)];
    let mut line = |what: &str, figure: String| lines.push(format!("{what:<46} {figure}"));
    for start in &report.starts {
        let cache = start.cache_directory;
        line(&format!("start to server/discover, cache {cache}"), format!("{:.1} ms", start.discover_ms));
        line(&format!("start to first prediction, cache {cache}"), format!("{:.1} ms", start.first_prediction_ms));
        line("  of which loading", start.load_ms.to_string());
        line("  end of input to exit", format!("{:.1} ms", start.exit_ms));
    }
    for one in &report.uncached {
        let wide = one.floor_wide_ms.map_or_else(String::new, |wide| format!(", {:.2} on several threads", wide.p50));
        let (served, floor) = (one.served_ms.p50, one.floor_ms.p50);
        line(
            &format!("new text of {} tokens", one.tokens),
            format!(
                "{served:.2} ms, p95 {:.2} (floor {floor:.2}{wide}): {:+.2} ms to one thread, {:.2} × the better",
                one.served_ms.p95, one.added_ms, one.ratio
            ),
        );
    }
    let cached = &report.cached;
    for (wire, times) in [("sockets", cached.sockets_ms), ("pipes", cached.pipes_ms)] {
        line(&format!("cached text, {wire}"), format!("{:.0} µs, p99 {:.0} µs", times.p50 * 1e3, times.p99 * 1e3));
    }
    line("cached texts, 64 in flight", format!("{:.0}/s", cached.in_flight_per_s));
    let crowd = &report.crowd;
    line(
        "new texts of 8 to 32 tokens, 64 in flight",
        format!(
            "{:.0}/s (floor {:.0}/s): {:.2} ×, p95 {:.1} ms",
            crowd.per_s, crowd.floor_per_s, crowd.ratio, crowd.latency_ms.p95
        ),
    );
    if let Some(memory) = &report.memory {
        line("resident memory after the first prediction", format!("{} MB", memory.resident_mb));
        line(
            "private memory of a second session",
            format!("{} MB, of which written {} MB", memory.second_private_mb, memory.second_written_mb),
        );
        line(&format!("processor time in {} s idle", memory.idle_s), format!("{} ticks", memory.idle_ticks));
    }
    let soak = &report.soak;
    let shown = |figure: Option<f64>| figure.map_or_else(|| "unknown".into(), |figure| figure.to_string());
    line(
        &format!("{} mixed texts in {} s", soak.calls, soak.duration_s),
        format!("p50 {:.1} ms, p95 {:.1} ms, {} errors", soak.latency_ms.p50, soak.latency_ms.p95, soak.errors),
    );
    line(
        "resident memory after 500, 10000, and all",
        format!(
            "{}, {}, {} MB; {} MB/min",
            shown(soak.early_mb),
            shown(soak.after_10000_mb),
            shown(soak.late_mb),
            shown(soak.slope_mb_per_min)
        ),
    );
    lines.extend(report.missed.iter().map(|missed| format!("missed: {missed}")));
    lines.join("\n")
}

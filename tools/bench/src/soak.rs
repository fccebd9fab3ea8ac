//! A long run of mixed texts: latencies, errors and memory growth.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::corpus::distinct_texts;
use crate::percentiles::{MemorySample, Percentiles, memory_slope};
use crate::server::{Candidate, Server, Wire, predictions};
use crate::{markdown_table, progress, system};

/// Calls between two memory samples.
const ROUND: usize = 200;
const IN_FLIGHT: usize = 4;

#[derive(Serialize)]
pub(crate) struct SoakReport {
    server: String,
    duration_s: f64,
    calls: usize,
    errors: usize,
    latency_ms: Percentiles,
    /// Resident memory after 500 calls, after 10,000 and at the end.
    memory_mb: [Option<f64>; 3],
    /// Over the second half.
    slope_mb_per_min: Option<f64>,
}

/// Soaks the servers one after the other.
pub(crate) fn run(candidates: &[Candidate], duration: Duration) -> anyhow::Result<Vec<SoakReport>> {
    let soaks = candidates.iter().map(|candidate| {
        progress(&format!("mixed texts with {}", candidate.name));
        soak(candidate.name.clone(), &mut candidate.start(Wire::Sockets)?, duration)
    });
    soaks.collect()
}

fn soak(name: String, server: &mut Server, duration: Duration) -> anyhow::Result<SoakReport> {
    let started = Instant::now();
    let (mut errors, mut times, mut samples) = (0, Vec::new(), Vec::new());
    while started.elapsed() < duration {
        let batch = server.in_flight(&predictions(&mixed_texts(times.len() as u64)), IN_FLIGHT)?;
        errors += batch.errors;
        times.extend(batch.times);
        if let Some(memory) = system::memory(server.pid()) {
            let minutes = started.elapsed().as_secs_f64() / 60.0;
            samples.push(MemorySample { calls: times.len(), minutes, megabytes: memory.resident });
        }
    }
    let after = |calls| samples.iter().find(|sample| sample.calls >= calls).map(|sample| sample.megabytes);
    Ok(SoakReport {
        server: name,
        duration_s: started.elapsed().as_secs_f64(),
        calls: times.len(),
        errors,
        latency_ms: Percentiles::new(&times),
        memory_mb: [after(500), after(10_000), samples.last().map(|sample| sample.megabytes)],
        slope_mb_per_min: memory_slope(&samples),
    })
}

/// Returns texts of all lengths, long and short ones mixed; one in three comes from a set of fifty
/// that repeats.
fn mixed_texts(series: u64) -> Vec<String> {
    const LENGTHS: [usize; 10] = [8, 16, 24, 40, 64, 12, 128, 20, 256, 480];
    let repeated = distinct_texts(50, 20, 5000);
    let new = |tokens: usize| distinct_texts(ROUND / 15, tokens, 10_000 + 1000 * series + tokens as u64);
    let mut texts: Vec<String> = LENGTHS.into_iter().flat_map(new).collect();
    texts.extend((0..ROUND - texts.len()).map(|place| repeated[place % repeated.len()].clone()));
    fastrand::Rng::with_seed(series).shuffle(&mut texts);
    texts
}

pub(crate) fn table(reports: &[SoakReport]) -> comfy_table::Table {
    let mut table = markdown_table(["figure"].into_iter().chain(reports.iter().map(|report| &*report.server)));
    let mut row = |figure: &str, value: &dyn Fn(&SoakReport) -> String| {
        table.add_row(std::iter::once(figure.to_owned()).chain(reports.iter().map(value)));
    };
    let known = |figure: Option<f64>| figure.map_or("unknown".into(), |figure| format!("{figure:.1}"));
    row("calls", &|report| format!("{} in {:.0} s", report.calls, report.duration_s));
    row("errors", &|report| report.errors.to_string());
    let latency = |Percentiles { p50, p95, p99 }| format!("{p50:.1}, {p95:.1}, {p99:.1} ms");
    row("p50, p95, p99", &|report| latency(report.latency_ms));
    row("MB after 500, 10,000, all calls", &|report| report.memory_mb.map(known).join(", "));
    row("MB per minute", &|report| known(report.slope_mb_per_min));
    table
}

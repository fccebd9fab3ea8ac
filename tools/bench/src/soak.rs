//! A long run of mixed texts: latencies, errors and memory growth.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;
use serde_json::json;

use crate::corpus::distinct_texts;
use crate::percentiles::{MemorySample, Percentiles, memory_slope};
use crate::server::{Candidate, Server, Wire, predictions, tool_call};
use crate::{markdown_table, progress, system};

/// Length of a turn with or without a file job.
const TURN: Duration = Duration::from_secs(10);
/// Rows of the file, more than a server classifies in a turn.
const FILE_ROWS: usize = 100_000;
/// The id of the file job's call. Those of the other calls begin at 0.
const FILE_JOB: usize = 1_000_000;
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
    /// With a file job, if there was one. `latency_ms` is then that without.
    latency_with_file_ms: Option<Percentiles>,
    /// Resident memory after 500 calls, after 10,000 and at the end.
    memory_mb: [Option<f64>; 3],
    /// Over the second half.
    slope_mb_per_min: Option<f64>,
}

/// Soaks the servers one after the other. With `files`, every second turn has a file job.
pub(crate) fn run(candidates: &[Candidate], duration: Duration, files: bool) -> anyhow::Result<Vec<SoakReport>> {
    let folder = tempfile::tempdir().context("cannot create a temporary directory")?;
    if files {
        fs::write(folder.path().join("in.csv"), format!("text\n{}\n", distinct_texts(FILE_ROWS, 24, 3).join("\n")))?;
    }
    let soaks = candidates.iter().map(|candidate| {
        progress(&format!("mixed texts with {}", candidate.name));
        soak(candidate.name.clone(), &mut candidate.start_in(folder.path(), Wire::Sockets)?, duration, files)
    });
    soaks.collect()
}

fn soak(name: String, server: &mut Server, duration: Duration, files: bool) -> anyhow::Result<SoakReport> {
    let started = Instant::now();
    let (mut errors, mut calls, mut samples) = (0, 0, Vec::new());
    // Without a file job, and with one.
    let mut times = [Vec::new(), Vec::new()];
    let mut with_file = false;
    let mut turn = Instant::now();
    while started.elapsed() < duration {
        if files && turn.elapsed() > TURN {
            with_file = !with_file;
            let switched = if with_file { start_file_job(server) } else { cancel_file_job(server) };
            switched?;
            turn = Instant::now();
        }
        let batch = server.in_flight(&predictions(&mixed_texts(calls as u64)), IN_FLIGHT)?;
        errors += batch.errors;
        calls += batch.times.len();
        times[usize::from(with_file)].extend(batch.times);
        if let Some(memory) = system::memory(server.pid()) {
            let minutes = started.elapsed().as_secs_f64() / 60.0;
            samples.push(MemorySample { calls, minutes, megabytes: memory.resident });
        }
    }
    let after = |calls| samples.iter().find(|sample| sample.calls >= calls).map(|sample| sample.megabytes);
    Ok(SoakReport {
        server: name,
        duration_s: started.elapsed().as_secs_f64(),
        calls,
        errors,
        latency_ms: Percentiles::new(&times[0]),
        latency_with_file_ms: files.then(|| Percentiles::new(&times[1])),
        memory_mb: [after(500), after(10_000), samples.last().map(|sample| sample.megabytes)],
        slope_mb_per_min: memory_slope(&samples),
    })
}

fn start_file_job(server: &mut Server) -> anyhow::Result<()> {
    server.send(tool_call(FILE_JOB, "local_model_predict_file", &json!({ "path": "in.csv" })))
}

/// Cancels the job, which then gets no answer and leaves no file.
fn cancel_file_job(server: &mut Server) -> anyhow::Result<()> {
    let params = json!({ "requestId": FILE_JOB });
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
    server.send(format!("{cancel}\n"))
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
    let known = |figure: Option<f64>| figure.map_or("unknown".into(), |figure| format!("{figure:.2}"));
    row("calls", &|report| format!("{} in {:.0} s", report.calls, report.duration_s));
    row("errors", &|report| report.errors.to_string());
    let latency = |Percentiles { p50, p95, p99 }| format!("{p50:.1}, {p95:.1}, {p99:.1} ms");
    row("p50, p95, p99", &|report| latency(report.latency_ms));
    row("with a file job", &|report| report.latency_with_file_ms.map_or("not measured".into(), latency));
    row("p95, with to without a file job", &|report| {
        known(report.latency_with_file_ms.map(|with| with.p95 / report.latency_ms.p95))
    });
    row("MB after 500, 10,000, all calls", &|report| report.memory_mb.map(known).join(", "));
    row("MB per minute", &|report| known(report.slope_mb_per_min));
    table
}

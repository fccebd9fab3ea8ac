//! `bench`: drives `serve` with the user's model for a given time, and compares latency, errors and
//! memory growth with fixed targets. Comparisons with the model in process are in `tools/bench`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use clap::{ArgMatches, Args};
use serde_json::{Value, json};

use crate::args::Options;
use crate::commands::{Outcome, print, register};

/// Lengths of the generated texts in words.
const LENGTHS: [usize; 8] = [250, 8, 16, 64, 24, 128, 12, 32];
const WORDS: &str = "the service was good but not very fast today and we had to wait for a long time before they";
const GENERATED: usize = 10_000;
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Larger than the id of any call.
const STATUS_ID: usize = 1 << 30;

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Duration of the measurement
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
    /// Number of calls in flight
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub in_flight: u16,
    /// File with one text per line to send (default: generated texts of 8 to 250 words)
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Write one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

pub(super) fn run(options: &Options, arguments: &BenchArgs, matches: &ArgMatches) -> anyhow::Result<Outcome> {
    let texts = arguments.file.as_deref().map_or_else(|| Ok(generated_texts()), lines)?;
    // A separate directory and no cache, so that results of earlier calls do not answer for the
    // model.
    let cache = tempfile::tempdir().context("cannot create a temporary directory")?;
    let mut flags = register::flags(options, matches, &["cache_dir", "cache_bytes"])?;
    flags.extend(["--cache-bytes=0".into(), format!("--cache-dir={}", cache.path().display())]);
    let mut server = Server::start(&flags)?;
    let duration = Duration::from_secs(arguments.seconds);
    let measured = measure(&mut server, &texts, duration, arguments.in_flight.into())?;
    let figures = measured.figures();
    let text = if arguments.json { json_text(&figures, &measured) } else { aligned_text(&figures, &measured) };
    print(format!("{text}\n").as_bytes())?;
    Ok(if figures.iter().any(Figure::misses_target) { Outcome::SomeFailed } else { Outcome::Done })
}

fn json_text(figures: &[Figure], measured: &Measured) -> String {
    let missed: Vec<_> = figures.iter().filter(|figure| figure.misses_target()).map(|figure| figure.name).collect();
    let others = [("missed".to_owned(), json!(missed)), ("first_error".to_owned(), json!(measured.first_error))];
    let fields = figures.iter().filter_map(|figure| Some((figure.name.to_owned(), json!(figure.value?))));
    Value::Object(fields.chain(others).collect()).to_string()
}

fn aligned_text(figures: &[Figure], measured: &Measured) -> String {
    let line = |figure: &Figure| {
        let value = figure.value.map_or_else(|| "unknown".to_owned(), |value| value.to_string());
        let target = figure.target.map_or_else(String::new, |target| format!("target < {target}"));
        let missed = if figure.misses_target() { ", missed" } else { "" };
        format!("{:<32} {value:<10} {target}{missed}", figure.name).trim_end().to_owned()
    };
    let first_error = measured.first_error.iter().map(|error| format!("{:<32} {error}", "first_error"));
    figures.iter().map(line).chain(first_error).collect::<Vec<_>>().join("\n")
}

fn lines(file: &Path) -> anyhow::Result<Vec<String>> {
    let content = fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let lines = content.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned);
    let lines: Vec<_> = lines.collect();
    if lines.is_empty() {
        bail!("`{}` has no texts; expected one per line", file.display());
    }
    Ok(lines)
}

/// Returns texts that differ in their first word.
fn generated_texts() -> Vec<String> {
    let words = |length: usize| WORDS.split(' ').cycle().take(length - 1);
    let text =
        |number: usize| words(LENGTHS[number % LENGTHS.len()]).fold(number.to_string(), |text, word| text + " " + word);
    (0..GENERATED).map(text).collect()
}

#[derive(Default)]
struct Measured {
    duration: Duration,
    latencies_ms: Vec<f64>,
    errors: usize,
    first_error: Option<String>,
    /// Minutes since the start, and MB.
    memory: Vec<(f64, f64)>,
}

/// Keeps calls in flight until the time is over, and takes a sample of the memory every second.
fn measure(server: &mut Server, texts: &[String], duration: Duration, in_flight: usize) -> anyhow::Result<Measured> {
    // Not counted: loading, and the first long text.
    server.predict(0, texts.iter().max_by_key(|text| text.len()))?;
    if let Some(problem) = error_text(&server.receive()?) {
        bail!("the first call failed: {problem}");
    }
    let started = Instant::now();
    let (mut measured, mut sent, mut sampled) = (Measured::default(), Vec::new(), started);
    while started.elapsed() < duration || measured.latencies_ms.len() < sent.len() {
        while started.elapsed() < duration && sent.len() - measured.latencies_ms.len() < in_flight {
            server.predict(sent.len(), texts.get(sent.len() % texts.len()))?;
            sent.push(Instant::now());
        }
        if sampled.elapsed() >= STATUS_EVERY {
            sampled = Instant::now();
            server.call(STATUS_ID, "local_model_status", json!({}))?;
        }
        let answer = server.receive()?;
        let id = answer["id"].as_u64().and_then(|id| usize::try_from(id).ok()).context("an answer has no id")?;
        if id == STATUS_ID {
            let megabytes = answer["result"]["structuredContent"]["memory_mb"].as_f64();
            measured.memory.extend(megabytes.map(|megabytes| (started.elapsed().as_secs_f64() / 60.0, megabytes)));
            continue;
        }
        let call: &Instant = sent.get(id).context("an answer has an unknown id")?;
        measured.latencies_ms.push(call.elapsed().as_secs_f64() * 1e3);
        if let Some(problem) = error_text(&answer) {
            measured.errors += 1;
            measured.first_error.get_or_insert(problem);
        }
    }
    Ok(Measured { duration: started.elapsed(), ..measured })
}

struct Figure {
    name: &'static str,
    /// `None` if unknown: the system does not report memory, or the run was too short.
    value: Option<f64>,
    /// The value must stay below it.
    target: Option<f64>,
}

impl Figure {
    fn misses_target(&self) -> bool {
        self.value.zip(self.target).is_some_and(|(value, target)| value >= target)
    }
}

impl Measured {
    fn figures(&self) -> Vec<Figure> {
        let mut latencies = self.latencies_ms.clone();
        latencies.sort_by(f64::total_cmp);
        let last = (latencies.len() - 1) as f64;
        let percentile = |share: f64| Some(latencies[(share * last).round() as usize]);
        let calls = latencies.len() as f64;
        let slope = slope(&self.memory[self.memory.len() / 2..]);
        let figures = [
            ("calls", Some(calls), None),
            ("calls_per_second", Some(calls / self.duration.as_secs_f64()), None),
            ("p50_ms", percentile(0.5), None),
            ("p95_ms", percentile(0.95), Some(500.0)),
            ("p99_ms", percentile(0.99), None),
            ("error_percent", Some(100.0 * self.errors as f64 / calls), Some(0.1)),
            ("memory_mb", self.memory.last().map(|(_, megabytes)| *megabytes), None),
            ("memory_mb_per_min", slope.map(|[slope, _]| slope), None),
            // Memory fluctuates by several MB as sessions work; growth within twice its standard
            // error is not significant.
            ("memory_mb_per_min_at_least", slope.map(|[slope, error]| slope - 2.0 * error), Some(5.0)),
        ];
        let rounded = |value: f64| (value * 1e3).round() / 1e3;
        figures.map(|(name, value, target)| Figure { name, value: value.map(rounded), target }).into()
    }
}

/// Returns the slope of the least-squares line through points of (x, y), and its standard error;
/// `None` for fewer than ten points, where the error would be a guess.
fn slope(points: &[(f64, f64)]) -> Option<[f64; 2]> {
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let slope = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
    let residuals: f64 = points.iter().map(|(x, y)| (y - mean_y - slope * (x - mean_x)).powi(2)).sum();
    (points.len() >= 10 && spread > 0.0).then(|| [slope, (residuals / (count - 2.0) / spread).sqrt()])
}

/// A server over two pipes. Dropping it kills the process, so the server ends with the command.
struct Server {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start(flags: &[String]) -> anyhow::Result<Self> {
        let executable = std::env::current_exe().context("cannot determine the path of this executable")?;
        let mut command = Command::new(executable);
        command.arg("serve").args(flags).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the server")?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (stdin, stdout) = pipes.ok_or_else(|| anyhow!("the server has no pipes"))?;
        Ok(Self { child, stdin, stdout: BufReader::new(stdout) })
    }

    fn predict(&mut self, id: usize, text: Option<&String>) -> anyhow::Result<()> {
        self.call(id, "local_model_predict", json!({ "text": text }))
    }

    fn call(&mut self, id: usize, tool: &str, arguments: Value) -> anyhow::Result<()> {
        // This revision of the protocol needs no handshake.
        let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                           "io.modelcontextprotocol/clientCapabilities": {} });
        let params = json!({ "name": tool, "arguments": arguments, "_meta": meta });
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
        writeln!(self.stdin, "{call}").context("the server does not read its input")
    }

    fn receive(&mut self) -> anyhow::Result<Value> {
        let mut line = String::new();
        self.stdout.read_line(&mut line).context("cannot read the server's answer")?;
        serde_json::from_str(&line).context("the server ended early; see its messages above")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the message of a failed call, whether it is a tool error or a protocol error.
fn error_text(answer: &Value) -> Option<String> {
    if answer["result"]["structuredContent"].is_object() {
        return None;
    }
    let text = answer["result"]["content"][0]["text"].as_str().or_else(|| answer["error"]["message"].as_str());
    Some(text.unwrap_or("no message").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope_and_no_error() {
        let points: Vec<_> = (0..10).map(|minute| (f64::from(minute), 50.0 + 2.0 * f64::from(minute))).collect();
        let [slope, error] = slope(&points).unwrap();
        assert!((slope - 2.0).abs() < 1e-9 && error < 1e-9, "{slope} {error}");
    }
}

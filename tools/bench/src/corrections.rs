//! Corrections of one output from several servers at once, while some of them are ended.
//!
//! Every correction that was answered must be in the output, whatever happens next to it or after
//! it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use fastrand::Rng;
use serde::Serialize;
use serde_json::{Value, json};

use crate::corpus::distinct_texts;
use crate::server::{Candidate, End, Server, Wire, tool_call};

const INPUT: &str = "in.csv";
const OUTPUT: &str = "in.predicted.csv";
const TOOL: &str = "local_model_predict_file";

#[derive(Args)]
pub(crate) struct CorrectionArgs {
    /// Corrections to be answered, each of another row
    #[arg(long, value_name = "N", default_value_t = 6000)]
    corrections: u64,
    /// Servers that correct the same output
    #[arg(long, value_name = "N", default_value_t = 6)]
    servers: usize,
    /// Calls in flight in each server
    #[arg(long, value_name = "N", default_value_t = 4)]
    in_flight: usize,
    /// The same seed gives the same ends of servers
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct CorrectionReport {
    seed: u64,
    duration_s: f64,
    answered: usize,
    /// Corrections that were answered and are not in the output.
    lost: usize,
    /// Rows whose text changed.
    damaged: usize,
    /// Calls without an answer, because their server was ended.
    unanswered: usize,
    refused: usize,
    first_refusal: Option<String>,
    killed: usize,
    terminated: usize,
    inputs_closed: usize,
    /// Files other than the input and the output, after one more correction.
    left_over: Vec<String>,
}

/// What the clients share.
struct Shared<'a> {
    candidate: &'a Candidate,
    folder: PathBuf,
    arguments: &'a CorrectionArgs,
    /// The next row to correct, and the number of rows.
    next_row: AtomicU64,
    rows: u64,
    answered: Mutex<Vec<u64>>,
    report: Mutex<CorrectionReport>,
}

pub(crate) fn run(candidate: &Candidate, arguments: &CorrectionArgs) -> anyhow::Result<CorrectionReport> {
    let folder = tempfile::tempdir().context("cannot create a temporary directory")?;
    // Calls whose server is ended use up a row too.
    let rows = 2 * arguments.corrections + 100;
    let texts = distinct_texts(50, 8, 1);
    let text = |row: u64| format!("{row} {}", texts[row as usize % texts.len()]);
    let input: String = (1..=rows).map(|row| text(row) + "\n").collect();
    fs::write(folder.path().join(INPUT), format!("text\n{input}"))?;
    // As if the server had classified the file, which takes long on a busy machine.
    let output: String = (1..=rows).map(|row| text(row) + ",neutral,0.5\n").collect();
    fs::write(folder.path().join(OUTPUT), format!("text,prediction,confidence\n{output}"))?;
    let shared = Shared {
        candidate,
        folder: folder.path().to_owned(),
        arguments,
        next_row: AtomicU64::new(1),
        rows,
        answered: Mutex::default(),
        report: Mutex::new(CorrectionReport { seed: arguments.seed, ..CorrectionReport::default() }),
    };
    let started = Instant::now();
    thread::scope(|scope| {
        let shared = &shared;
        let seeds = (0..arguments.servers as u64).map(|number| arguments.seed.wrapping_mul(1000) + number);
        let clients: Vec<_> = seeds.map(|seed| scope.spawn(move || client(shared, seed))).collect();
        clients.into_iter().try_for_each(|client| client.join().unwrap_or_else(|_| bail!("a client crashed")))
    })?;
    let mut report = shared.report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.duration_s = started.elapsed().as_secs_f64();
    // Clears what the last server left.
    let mut last = candidate.start_in(folder.path(), Wire::Pipes)?;
    let decision = json!({ rows.to_string(): decision(rows) });
    last.ask(&tool_call(1, TOOL, &json!({ "path": INPUT, "corrections": decision })))?;
    let answered = shared.answered.into_inner().unwrap_or_else(PoisonError::into_inner);
    compare(folder.path(), &answered, &mut report)?;
    last.exit()?;
    Ok(report)
}

/// The label that a row is corrected to.
fn decision(row: u64) -> &'static str {
    if row.is_multiple_of(2) { "positive" } else { "negative" }
}

/// Corrects rows through one server after the other.
fn client(shared: &Shared<'_>, seed: u64) -> anyhow::Result<()> {
    let mut random = Rng::with_seed(seed);
    loop {
        let wire = if random.bool() { Wire::Pipes } else { Wire::Sockets };
        let mut session =
            Session { shared, server: shared.candidate.start_in(&shared.folder, wire)?, open: HashSet::new() };
        for _ in 0..random.usize(20..80) {
            if !session.fill()? {
                return session.server.exit().map(drop);
            }
            session.take_next()?;
        }
        thread::sleep(Duration::from_micros(random.u64(..20_000)));
        session.end(&mut random)?;
    }
}

struct Session<'a> {
    shared: &'a Shared<'a>,
    server: Server,
    /// Rows whose correction is not answered yet.
    open: HashSet<u64>,
}

impl Session<'_> {
    /// Sends calls up to the limit. Returns false once enough corrections were answered and none is
    /// open.
    fn fill(&mut self) -> anyhow::Result<bool> {
        while self.open.len() < self.shared.arguments.in_flight && !self.shared.is_done() {
            let row = self.shared.next_row.fetch_add(1, Ordering::Relaxed);
            if row >= self.shared.rows {
                bail!("all rows are used up");
            }
            let arguments = json!({ "path": INPUT, "corrections": { row.to_string(): decision(row) } });
            self.server.send(tool_call(row as usize, TOOL, &arguments))?;
            self.open.insert(row);
        }
        Ok(!self.open.is_empty())
    }

    fn take_next(&mut self) -> anyhow::Result<()> {
        let line = self.server.receive()?.to_owned();
        self.take(&line);
        Ok(())
    }

    /// Takes an answer. The last line of a killed server may be incomplete.
    fn take(&mut self, line: &str) {
        let Ok(answer) = serde_json::from_str::<Value>(line) else { return };
        let Some(row) = answer["id"].as_u64().filter(|row| self.open.remove(row)) else { return };
        if answer["result"]["structuredContent"]["corrected"] == 1 {
            self.shared.answered.lock().unwrap_or_else(PoisonError::into_inner).push(row);
        } else {
            let mut report = self.shared.report.lock().unwrap_or_else(PoisonError::into_inner);
            report.refused += 1;
            report.first_refusal.get_or_insert_with(|| answer.to_string());
        }
    }

    fn end(mut self, random: &mut Rng) -> anyhow::Result<()> {
        let end = [End::Kill, End::Terminate, End::CloseInput][random.usize(..3)];
        for line in self.server.end(end)? {
            self.take(&line);
        }
        let mut report = self.shared.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.unanswered += self.open.len();
        *match end {
            End::Kill => &mut report.killed,
            End::Terminate => &mut report.terminated,
            End::CloseInput => &mut report.inputs_closed,
        } += 1;
        Ok(())
    }
}

impl Shared<'_> {
    fn is_done(&self) -> bool {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner).len();
        answered as u64 >= self.arguments.corrections
    }
}

/// Compares the output with the input and the answered corrections.
fn compare(folder: &Path, answered: &[u64], report: &mut CorrectionReport) -> anyhow::Result<()> {
    let input = fs::read_to_string(folder.join(INPUT))?;
    let output = fs::read_to_string(folder.join(OUTPUT))?;
    let names: Vec<&str> = output.lines().next().unwrap_or_default().split(',').collect();
    let column = |name: &str| names.iter().position(|own| *own == name).with_context(|| format!("no column {name}"));
    let (prediction, before) = (column("prediction")?, column("corrected_from")?);
    // The texts have neither delimiters nor quotes.
    let rows: Vec<Vec<&str>> = output.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let is_corrected = |number: u64| {
        let cell = |column: usize| rows.get(number as usize - 1).and_then(|row| row.get(column)).copied();
        cell(prediction) == Some(decision(number)) && cell(before).is_some_and(|label| !label.is_empty())
    };
    report.answered = answered.len();
    report.lost = answered.iter().filter(|row| !is_corrected(**row)).count();
    let texts: Vec<&str> = input.lines().skip(1).collect();
    let same = rows.iter().zip(&texts).filter(|(row, text)| row.first() == Some(*text)).count();
    report.damaged = texts.len().max(rows.len()) - same;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if ![INPUT, OUTPUT].contains(&name.as_str()) {
            report.left_over.push(name);
        }
    }
    Ok(())
}

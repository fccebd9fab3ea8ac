//! Measures one or more server executables over stdio, against the same model run in this process.
//!
//! ```text
//! cargo build --release --workspace
//! target/release/bench-tool speed
//! target/release/bench-tool speed --server OLD --server NEW
//! ```
//!
//! Several servers are measured alternately, so that other load on the machine affects all of them
//! alike. Nothing here is part of the product; `local-model-mcp bench` is for users.

mod baseline;
mod corpus;
mod corrections;
mod faults;
mod file_jobs;
mod percentiles;
mod pieces;
mod server;
mod soak;
mod speed;
#[cfg(target_os = "linux")]
mod swaps;
mod system;
mod teach;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::server::Candidate;

#[derive(Parser)]
#[command(name = "bench-tool", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    target: Target,
}

#[derive(Args)]
struct Target {
    /// Server executable; repeat to compare several in one run
    #[arg(long, global = true, value_name = "PATH", default_value = "target/release/local-model-mcp")]
    server: Vec<PathBuf>,
    /// Model folder, as for the server
    #[arg(long, global = true, value_name = "DIR")]
    model: Option<OsString>,
    /// Workers of the servers and threads of the baseline (default: number of processors, 1 to 4)
    #[arg(long, global = true, value_name = "N")]
    workers: Option<u16>,
    /// Write one JSON object instead of a table
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Start-up, new and cached texts, concurrent texts, memory, idle time and exit
    Speed(speed::SpeedArgs),
    /// Mixed texts for a given time: latencies, errors and memory growth
    Soak {
        #[arg(long, value_name = "S", default_value_t = 600)]
        seconds: u64,
        /// Also classify a file during every second turn of ten seconds
        #[arg(long)]
        files: bool,
    },
    /// Corrections of one output from several servers, while some of them are killed: none may be lost
    Corrections(corrections::CorrectionArgs),
    /// Many file jobs with progress: no message about a call may follow its answer
    FileJobs(file_jobs::FileJobArgs),
    /// File jobs in a folder that is swapped with a link to the outside: none may get there
    #[cfg(target_os = "linux")]
    Swaps(swaps::SwapArgs),
    /// Calls mixed with cancellations, invalid lines, repeated ids and clients that disconnect
    Faults {
        /// Minimum number of calls
        #[arg(long, value_name = "N", default_value_t = 100_000)]
        calls: usize,
        /// Minimum duration
        #[arg(long, value_name = "S", default_value_t = 0)]
        seconds: u64,
        /// The same seed gives the same faults
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
    },
    /// Parts of a call in this process: the model's run and a cache hit
    Pieces,
    /// Teaches tasks from few labels: accuracy by number of labels, and audits
    Teach(teach::TeachArgs),
}

fn main() -> anyhow::Result<()> {
    // The baseline gets malloc's settings of the servers.
    local_model_mcp::process::prepare();
    let Cli { command, target } = Cli::parse();
    // Separate directories, because a user's cache keeps results of earlier sessions, which would
    // answer for the model.
    let folder = tempfile::tempdir().context("cannot create a temporary directory")?;
    let candidates: Vec<Candidate> = (target.server.iter().enumerate())
        .map(|(number, path)| Candidate::new(path, &folder.path().join(number.to_string()), &target))
        .collect();
    let library_cache = folder.path().join("baseline");
    match command {
        Command::Speed(arguments) => {
            let report = speed::run(&candidates, &target, &library_cache, &arguments)?;
            print(&report, &report.table(), target.json)
        }
        Command::Soak { seconds, files } => {
            let reports = soak::run(&candidates, Duration::from_secs(seconds), files)?;
            print(&reports, &soak::table(&reports), target.json)
        }
        Command::Faults { calls, seconds, seed } => {
            for candidate in &candidates {
                let report = faults::run(candidate, seed, Duration::from_secs(seconds), calls)?;
                print(&report, &figures(&report), target.json)?;
            }
            Ok(())
        }
        Command::Corrections(arguments) => {
            let report = corrections::run(&candidates[0], &arguments)?;
            print(&report, &figures(&report), target.json)
        }
        Command::FileJobs(arguments) => {
            let report = file_jobs::run(&candidates[0], &arguments)?;
            print(&report, &figures(&report), target.json)
        }
        #[cfg(target_os = "linux")]
        Command::Swaps(arguments) => {
            let report = swaps::run(&candidates[0], &arguments)?;
            print(&report, &figures(&report), target.json)
        }
        Command::Pieces => {
            let report = pieces::run(&target, &library_cache)?;
            print(&report, &pieces::table(&report), target.json)
        }
        Command::Teach(arguments) => {
            let options = baseline::options(&target, &library_cache);
            let report = teach::run(&arguments, &options.library(), options.engine().workers)?;
            print(&report, &teach::table(&report), target.json)
        }
    }
}

fn print(report: &impl Serialize, table: &impl ToString, as_json: bool) -> anyhow::Result<()> {
    let text = if as_json { serde_json::to_string(report)? } else { table.to_string() };
    writeln!(std::io::stdout().lock(), "{text}").context("cannot write to stdout")
}

/// Reports the current step on stderr, since a whole run takes minutes.
fn progress(step: &str) {
    let _ = writeln!(std::io::stderr().lock(), "measuring {step} …");
}

/// Returns a table with one row for each field of a report.
fn figures(report: &impl Serialize) -> comfy_table::Table {
    let mut table = markdown_table(["figure", "value"]);
    let fields = serde_json::to_value(report).unwrap_or_default();
    for (name, value) in fields.as_object().into_iter().flatten() {
        table.add_row([name.replace('_', " "), value.to_string()]);
    }
    table
}

/// Returns an empty table in Markdown's form with one column for each heading.
fn markdown_table<T: ToString>(headings: impl IntoIterator<Item = T>) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::ASCII_MARKDOWN)
        .set_header(headings.into_iter().map(|text| text.to_string()));
    table
}

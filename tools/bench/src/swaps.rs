//! File jobs in a folder whose name is swapped with a link to the outside all the time. No job may
//! read, write or create a file outside.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Instant, SystemTime};

use anyhow::{Context, bail};
use clap::Args;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::Serialize;
use serde_json::{Value, json};

use crate::server::{Candidate, Server, Wire, tool_call};

/// Different outputs, so that jobs seldom wait for each other.
const OUTPUTS: usize = 64;
/// Part of each text outside, and of none inside.
const SECRET: &str = "secret";

#[derive(Args)]
pub(crate) struct SwapArgs {
    /// File jobs
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    jobs: usize,
    /// Jobs in flight
    #[arg(long, value_name = "N", default_value_t = 8)]
    in_flight: usize,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct SwapReport {
    duration_s: f64,
    jobs: usize,
    swaps: u64,
    done: usize,
    /// Jobs that found the link.
    refused: usize,
    /// Jobs that found another one with the same output.
    busy: usize,
    other_errors: usize,
    first_other_error: Option<String>,
    /// Answers or outputs with a text from outside.
    read_outside: usize,
    /// Files that were created, changed or removed outside, at any time.
    written_outside: usize,
}

/// A folder and its content as it was first.
struct Outside {
    folder: tempfile::TempDir,
    files: Vec<(String, String)>,
    /// Changes whenever a name is created or removed.
    modified: SystemTime,
}

impl Outside {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot create a temporary directory")?;
        let text = format!("text\n{SECRET} one\n{SECRET} two\n");
        let output = format!("text,prediction,confidence\n{SECRET} one,positive,0.6\n{SECRET} two,negative,0.6\n");
        let files = [("a.csv", text), ("a.predicted.csv", output.clone()), ("out-0.csv", output)];
        for (name, content) in &files {
            fs::write(folder.path().join(name), content)?;
        }
        let modified = fs::metadata(folder.path())?.modified()?;
        Ok(Self { folder, files: files.map(|(name, content)| (name.to_owned(), content)).to_vec(), modified })
    }

    fn changes(&self) -> anyhow::Result<usize> {
        let touched = fs::metadata(self.folder.path())?.modified()? != self.modified;
        let changed = |(name, content): &&(String, String)| {
            fs::read_to_string(self.folder.path().join(name)).ok().as_ref() != Some(content)
        };
        Ok(usize::from(touched) + self.files.iter().filter(changed).count())
    }
}

pub(crate) fn run(candidate: &Candidate, arguments: &SwapArgs) -> anyhow::Result<SwapReport> {
    let outside = Outside::new()?;
    let project = tempfile::tempdir().context("cannot create a temporary directory")?;
    let (real, link) = (project.path().join("sub"), project.path().join("link"));
    fs::create_dir(&real)?;
    fs::write(real.join("a.csv"), "text\nmine\n")?;
    std::os::unix::fs::symlink(outside.folder.path(), &link)?;
    let mut report = SwapReport { jobs: arguments.jobs, ..SwapReport::default() };
    let mut server = candidate.start_in(project.path(), Wire::Sockets)?;
    // The row is then found in the cache.
    server.ask(&tool_call(0, "local_model_predict", &json!({ "text": "mine" })))?;
    let started = Instant::now();
    let (ended, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let swapping = scope.spawn(|| -> anyhow::Result<()> {
            let mut random = fastrand::Rng::with_seed(1);
            while !ended.load(Ordering::Relaxed) {
                // A job opens its files within some of these pauses, and across others.
                let pause = Instant::now();
                while pause.elapsed().as_micros() < u128::from(random.u8(..)) {
                    std::hint::spin_loop();
                }
                renameat_with(CWD, &real, CWD, &link, RenameFlags::EXCHANGE).context("cannot swap the names")?;
                swaps.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        let outcome = send_jobs(&mut server, arguments, &mut report);
        ended.store(true, Ordering::Relaxed);
        swapping.join().unwrap_or_else(|_| bail!("the swapping thread crashed"))?;
        outcome
    })?;
    server.exit()?;
    report.swaps = swaps.into_inner();
    report.duration_s = started.elapsed().as_secs_f64();
    let own = if link.is_symlink() { &real } else { &link };
    report.read_outside += secrets_in(own)?;
    report.written_outside = outside.changes()?;
    Ok(report)
}

fn send_jobs(server: &mut Server, arguments: &SwapArgs, report: &mut SwapReport) -> anyhow::Result<()> {
    let mut open = HashSet::new();
    for job in 0..arguments.jobs + arguments.in_flight {
        if job < arguments.jobs {
            server.send(tool_call(job, "local_model_predict_file", &job_arguments(job)))?;
            open.insert(job);
        }
        if open.len() >= arguments.in_flight || job >= arguments.jobs && !open.is_empty() {
            let line = server.receive()?;
            report.read_outside += usize::from(line.contains(SECRET));
            let answer: Value = serde_json::from_str(line)?;
            let id = answer["id"].as_u64().context("an answer without an id")? as usize;
            open.remove(&id);
            count(&answer["result"], report);
            // The file outside has two rows, the own one has one.
            report.read_outside += usize::from(answer["result"]["structuredContent"]["rows"] == 2);
        }
    }
    Ok(())
}

fn count(result: &Value, report: &mut SwapReport) {
    let text = result["content"][0]["text"].as_str().unwrap_or_default();
    *match text {
        _ if result.get("structuredContent").is_some() => &mut report.done,
        // The last two are those of a name that was the link when it was opened, or the folder when
        // it was looked at again.
        _ if ["goes through a link", "its folder cannot be used", "no output"]
            .iter()
            .any(|part| text.contains(part)) =>
        {
            &mut report.refused
        }
        _ if text.contains("another run is writing") => &mut report.busy,
        _ => {
            report.first_other_error.get_or_insert_with(|| text.to_owned());
            &mut report.other_errors
        }
    } += 1;
}

/// Classifications to two kinds of outputs, reviews and corrections, in turn.
fn job_arguments(job: usize) -> Value {
    match job % 4 {
        0 => json!({ "path": "sub/a.csv", "output_path": format!("sub/out-{}.csv", job % OUTPUTS), "overwrite": true }),
        1 => json!({ "path": "sub/a.csv", "overwrite": true }),
        2 => json!({ "path": "sub/a.csv", "only": "uncertain" }),
        _ => json!({ "path": "sub/a.csv", "corrections": { "1": "negative" } }),
    }
}

/// Returns the number of files with a text from outside.
fn secrets_in(folder: &Path) -> anyhow::Result<usize> {
    let mut found = 0;
    for entry in fs::read_dir(folder)? {
        found += usize::from(fs::read_to_string(entry?.path())?.contains(SECRET));
    }
    Ok(found)
}

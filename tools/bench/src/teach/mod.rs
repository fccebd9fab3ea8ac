//! Teaches tasks from few labels and measures the result: accuracy by number of labels and by who
//! chose the rows, texts of no label, and audits.
//!
//! `benches/teach` measures other tools on the draws that `--draws-to` writes.

mod audits;
mod encode;
mod measure;
mod task;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use classifier::LibrarySettings;
use serde::Serialize;
use serde_json::json;

use self::audits::Audits;
use self::encode::Encoders;
use self::measure::{Chosen, Line};
use self::task::Task;

#[derive(Args)]
pub(crate) struct TeachArgs {
    /// Task: a folder with train.jsonl and test.jsonl, or PATH for PATH_train.jsonl and PATH_test.jsonl
    #[arg(required = true, value_name = "PATH")]
    tasks: Vec<PathBuf>,
    /// Numbers of labels that are drawn at random
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "50,100,200")]
    random: Vec<usize>,
    /// Numbers of examples of each label
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "8")]
    per_label: Vec<usize>,
    /// Numbers of labels of rows that the learner chooses
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    chosen: Vec<usize>,
    /// Draws of each number; draw N has seed N
    #[arg(long, value_name = "N", default_value_t = 5)]
    draws: u64,
    /// Simulated audits of each task
    #[arg(long, value_name = "N", default_value_t = 0)]
    audits: usize,
    /// Most rows of a task that may be labelled
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    pool: usize,
    /// Most rows of a task that are tested
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    test: usize,
    /// Folder where vectors are kept between runs
    #[arg(long, value_name = "DIR", default_value = "target/teach-vectors")]
    vectors: PathBuf,
    /// Write the texts of all draws, for peers, instead of measuring
    #[arg(long, value_name = "FILE")]
    draws_to: Option<PathBuf>,
}

#[derive(Serialize)]
pub(crate) struct Report {
    lines: Vec<Line>,
    outside: Vec<Outside>,
    audits: Vec<Audits>,
}

/// How well texts of no label are told from others.
#[derive(Serialize)]
struct Outside {
    task: String,
    auroc: f64,
}

pub(crate) fn run(arguments: &TeachArgs, library: &LibrarySettings, threads: usize) -> anyhow::Result<Report> {
    let encoders = Encoders::new(&arguments.vectors, library, threads)?;
    let mut report = Report { lines: Vec::new(), outside: Vec::new(), audits: Vec::new() };
    let mut draws = match &arguments.draws_to {
        Some(path) => {
            Some(BufWriter::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?))
        }
        None => None,
    };
    for path in &arguments.tasks {
        let task = Task::read(path, (arguments.pool, arguments.test), &encoders)?;
        if let Some(draws) = &mut draws {
            write_draws(arguments, &task, draws)?;
            continue;
        }
        for (chosen, counts) in [
            (Chosen::AtRandom, &arguments.random),
            (Chosen::PerLabel, &arguments.per_label),
            (Chosen::ByTheLearner, &arguments.chosen),
        ] {
            for &count in counts {
                crate::progress(&format!("{} with {count} labels", task.name));
                report.lines.push(task.line(chosen, count, arguments.draws, threads)?);
            }
        }
        if !task.outside.is_empty() {
            let auroc = task.outside(arguments.draws, threads)?;
            report.outside.push(Outside { task: task.name.clone(), auroc });
        }
        if arguments.audits > 0 {
            crate::progress(&format!("audits of {}", task.name));
            report.audits.push(task.audits(arguments.audits, threads)?);
        }
    }
    Ok(report)
}

/// Writes one JSON line for the test rows and one for each draw.
fn write_draws(arguments: &TeachArgs, task: &Task, file: &mut impl Write) -> anyhow::Result<()> {
    let [pool, test] = &task.lines;
    writeln!(file, "{}", json!({ "task": task.name, "test": test }))?;
    for (per_label, counts) in [(false, &arguments.random), (true, &arguments.per_label)] {
        for (&count, seed) in counts.iter().flat_map(|count| (0..arguments.draws).map(move |seed| (count, seed))) {
            let rows: Vec<&task::Line> = task.draw(count, per_label, seed).iter().map(|&(row, _)| &pool[row]).collect();
            let draw =
                json!({ "task": task.name, "per_label": per_label, "labels": count, "seed": seed, "rows": rows });
            writeln!(file, "{draw}")?;
        }
    }
    file.flush().context("cannot write the draws")
}

pub(crate) fn table(report: &Report) -> String {
    let mut lines =
        crate::markdown_table(["task", "labels", "accuracy", "macro F1", "fit, s", "head of the first draw"]);
    for line in &report.lines {
        let labels = match line.chosen {
            Chosen::AtRandom => format!("{} at random", line.labels),
            Chosen::PerLabel => format!("{} a label", line.labels),
            Chosen::ByTheLearner => format!("{} chosen", line.labels),
        };
        lines.add_row([
            line.task.clone(),
            labels,
            format!("{:.1} ± {:.1}", line.accuracy, line.deviation),
            format!("{:.1}", line.macro_f1),
            format!("{:.2}", line.seconds),
            line.head.clone(),
        ]);
    }
    let mut text = lines.to_string();
    for Outside { task, auroc } in &report.outside {
        text += &format!("\n\n{task}: AUROC of texts of no label {auroc:.3}");
    }
    if !report.audits.is_empty() {
        let mut audits = crate::markdown_table([
            "task",
            "audits",
            "accuracy",
            "covered",
            "broken",
            "automatic",
            "without threshold",
        ]);
        for audit in &report.audits {
            let shares = [audit.accuracy, audit.covered, audit.broken, audit.automatic, audit.without_threshold];
            audits.add_row(
                [audit.task.clone(), audit.audits.to_string()]
                    .into_iter()
                    .chain(shares.map(|share| format!("{share:.1} %"))),
            );
        }
        text += &format!("\n\n{audits}");
    }
    text
}

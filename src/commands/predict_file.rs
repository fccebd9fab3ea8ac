//! `predict --file`: a whole file, with a progress bar at a terminal and a summary at the end.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use crate::args::Options;
use crate::commands::predict::PredictArgs;
use crate::commands::{Outcome, engine, runtime};
use crate::files::{Existing, Places, Reading};
use crate::job::{FileJob, JobSettings, RowSample, Running, Stage, Summary};
use crate::process;

const BAR_MOVES_EVERY: Duration = Duration::from_millis(100);

pub(super) fn run(options: &Options, arguments: &PredictArgs, file: &Path) -> anyhow::Result<Outcome> {
    let runtime = runtime()?;
    let settings = options.batch_engine();
    process::lower_priority();
    let job = FileJob {
        path: file.to_owned(),
        output: arguments.output.clone(),
        text_column: arguments.text_column.clone(),
        label_column: arguments.label_column.clone(),
        reading: Reading { delimiter: arguments.delimiter, header: !arguments.no_header },
        model: None,
        text_pair: arguments.text_pair.clone(),
        labels: arguments.labels.clone(),
        existing: match (arguments.overwrite, arguments.resume) {
            (true, _) => Existing::Overwrite,
            (_, true) => Existing::Resume,
            _ => Existing::Refuse,
        },
        settings: JobSettings::new(Places::Unrestricted, JobSettings::in_flight(settings.workers)),
    };
    let summary = runtime.block_on(async {
        let engine = engine(options, settings, arguments.model_name.as_deref())?;
        let mut running = job.start(engine);
        tokio::select! {
            outcome = watched(&mut running) => outcome,
            // The job is dropped, and keeps what is finished.
            _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted; the same command with `--resume` goes on")),
        }
    });
    runtime.shutdown_background();
    let summary = summary?;
    let text = if arguments.json || !io::stdout().is_terminal() {
        object(&summary).to_string()
    } else {
        readable(&object(&summary))
    };
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.context("the summary could not be written to stdout")?,
    }
    Ok(if summary.failed.count > 0 { Outcome::SomeFailed } else { Outcome::Done })
}

/// Waits for the end; at a terminal, with a bar that shows how far it is.
pub(super) async fn watched<T>(running: &mut Running<T>) -> anyhow::Result<T> {
    let progress = running.progress.clone();
    let bar = if io::stderr().is_terminal() { ProgressBar::new(1) } else { ProgressBar::hidden() };
    bar.set_style(
        ProgressStyle::with_template("{wide_bar:.dim} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let moving = async {
        loop {
            tokio::time::sleep(BAR_MOVES_EVERY).await;
            let progress = *progress.borrow();
            bar.set_message(progress.to_string());
            if let (Some(total), Stage::Predicting | Stage::Writing) = (progress.total, progress.stage) {
                bar.set_length(total);
                bar.set_position(progress.done);
            }
        }
    };
    let outcome = tokio::select! {
        outcome = running.finished() => outcome,
        () = moving => unreachable!("the bar moves until the job has ended"),
    };
    bar.finish_and_clear();
    outcome.map_err(|error| anyhow!(error))
}

/// The summary's fields in the order in which they are shown; what does not apply is left out.
fn object(summary: &Summary) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            fields.insert(name.to_owned(), value);
        }
    };
    let noted = |noted: &RowSample| match noted.count {
        0 => Value::Null,
        count => json!({ "count": count, "rows": noted.first }),
    };
    let rounded = |share: f64| (share * 1e4).round() / 1e4;
    let seconds = summary.duration.as_secs_f64();
    // As the person would name it.
    let here = std::env::current_dir().ok().and_then(|here| summary.output.strip_prefix(here).ok());
    put("output", json!(here.unwrap_or(&summary.output).display().to_string()));
    put("model", json!(summary.model));
    put("text_column", json!(summary.text_column));
    put("rows", json!(summary.rows));
    put("resumed_rows", Some(summary.resumed).filter(|rows| *rows > 0).map_or(Value::Null, Value::from));
    put(
        "labels",
        summary.labels.iter().map(|(label, rows)| (label.clone(), Value::from(*rows))).collect::<Map<_, _>>().into(),
    );
    put("mean_confidence", json!(summary.mean_confidence.map(rounded)));
    put("accuracy", json!(summary.accuracy.map(rounded)));
    put("uncertain", noted(&summary.uncertain));
    put("failed", noted(&summary.failed));
    put("reasons", if summary.reasons.is_empty() { Value::Null } else { json!(summary.reasons) });
    put("truncated", noted(&summary.truncated));
    put("seconds", json!((seconds * 10.0).round() / 10.0));
    put("rows_per_second", json!(((summary.rows - summary.resumed) as f64 / seconds.max(0.001)) as u64));
    Value::Object(fields)
}

/// One line a field, names aligned.
fn readable(summary: &Value) -> String {
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "),
        Value::Object(noted) if noted.contains_key("rows") && noted.contains_key("count") => {
            format!("{} (first rows: {})", noted["count"], noted["rows"])
        }
        Value::Object(counts) => {
            counts.iter().map(|(label, rows)| format!("{label} {rows}")).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    let lines = summary.as_object().into_iter().flatten().map(|(name, value)| format!("{name:<16} {}", shown(value)));
    lines.collect::<Vec<_>>().join("\n")
}

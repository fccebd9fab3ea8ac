//! `predict --file`: classifies a file, with a progress bar at a terminal and a summary at the end.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use batch::{FileJob, JobHandle, JobSettings, RowSample, Stage, Summary};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use tables::{CsvOptions, IfExists, PathPolicy};

use crate::args::Options;
use crate::commands::predict::PredictArgs;
use crate::commands::{Outcome, engine, print, print_lines, runtime, warn};
use crate::error::Error;
use crate::output::four_decimals;
use crate::process;

const BAR_INTERVAL: Duration = Duration::from_millis(100);

pub(super) fn run(options: &Options, arguments: &PredictArgs, file: &Path) -> anyhow::Result<Outcome> {
    let runtime = runtime()?;
    let settings = options.batch_engine();
    process::lower_priority();
    let (labels, question) = arguments.asked.split();
    let job = FileJob {
        path: file.to_owned(),
        output: arguments.output.clone(),
        text_column: arguments.text_column.clone(),
        pair_column: arguments.pair_column.clone(),
        label_column: arguments.label_column.clone(),
        csv_options: CsvOptions { delimiter: arguments.delimiter, header: !arguments.no_header },
        model: None,
        text_pair: arguments.text_pair.clone(),
        labels,
        question,
        if_exists: IfExists::new(arguments.overwrite, arguments.resume),
        settings: JobSettings::new(PathPolicy::Unrestricted, JobSettings::in_flight(settings.workers)),
    };
    let summary = runtime.block_on(async {
        let engine = engine(options, settings, arguments.model_name.as_deref())?;
        let mut running = job.start(Arc::clone(&engine));
        let outcome = tokio::select! {
            outcome = watched(&mut running) => outcome,
            _ = tokio::signal::ctrl_c() => running.stop_and_wait().await.map_err(|_| interrupted(arguments.overwrite)),
        };
        // The model is loaded if the job needed it.
        if outcome.is_ok()
            && let Ok(info) = engine.ready(None).await
        {
            warn(&info.warnings);
        }
        outcome
    });
    runtime.shutdown_background();
    let summary = summary?;
    let fields = fields(&summary);
    let is_json = arguments.json || !io::stdout().is_terminal();
    if is_json {
        print(format!("{}\n", Value::Object(fields)).as_bytes())?;
    } else {
        print_lines(&aligned_text(&fields))?;
    }
    Ok(if summary.failed.count > 0 { Outcome::SomeFailed } else { Outcome::Done })
}

fn interrupted(overwriting: bool) -> anyhow::Error {
    let flag = if overwriting { "`--resume` in place of `--overwrite`" } else { "`--resume`" };
    anyhow!("interrupted; run the same command with {flag} to continue")
}

/// Waits for the end of a job and shows a progress bar if stderr is a terminal.
pub(super) async fn watched<T>(running: &mut JobHandle<T>) -> anyhow::Result<T> {
    let progress = running.progress.clone();
    let bar = if io::stderr().is_terminal() { ProgressBar::new(1) } else { ProgressBar::hidden() };
    bar.set_style(
        ProgressStyle::with_template("{wide_bar:.dim} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let update = async {
        loop {
            tokio::time::sleep(BAR_INTERVAL).await;
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
        () = update => unreachable!("the bar is updated until the job has ended"),
    };
    bar.finish_and_clear();
    // The program's own error type adds the flags that help.
    outcome.map_err(|error| Error::from(error).into())
}

/// Returns the summary's fields in the order in which they are shown. Fields that do not apply are
/// omitted.
fn fields(summary: &Summary) -> Map<String, Value> {
    let sample = |rows: &RowSample| (rows.count > 0).then(|| json!({ "count": rows.count, "rows": rows.first }));
    let counts = summary.labels.iter().map(|(label, rows)| (label.clone(), Value::from(*rows)));
    // Relative to the working directory, as the user would type it.
    let here = std::env::current_dir().ok().and_then(|here| summary.output.strip_prefix(here).ok());
    let fields = [
        ("output", Some(json!(here.unwrap_or(&summary.output).display().to_string()))),
        ("model", Some(json!(summary.model))),
        ("text_column", Some(json!(summary.text_column))),
        ("rows", Some(json!(summary.rows))),
        ("resumed_rows", (summary.resumed > 0).then(|| json!(summary.resumed))),
        ("labels", Some(Value::Object(counts.collect()))),
        ("mean_confidence", summary.mean_confidence.map(|share| json!(four_decimals(share)))),
        ("accuracy", summary.accuracy.map(|share| json!(four_decimals(share)))),
        ("uncertain", sample(&summary.uncertain)),
        ("failed", sample(&summary.failed)),
        ("reasons", (!summary.reasons.is_empty()).then(|| json!(summary.reasons))),
        ("truncated", sample(&summary.truncated)),
        ("seconds", Some(json!((summary.duration.as_secs_f64() * 10.0).round() / 10.0))),
        ("rows_per_second", Some(json!(summary.rows_per_second()))),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Formats one field per line, names aligned.
fn aligned_text(fields: &Map<String, Value>) -> String {
    let format = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "),
        Value::Object(sample) if sample.contains_key("rows") && sample.contains_key("count") => {
            format!("{} (first rows: {})", sample["count"], sample["rows"])
        }
        Value::Object(counts) => {
            counts.iter().map(|(label, rows)| format!("{label} {rows}")).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    let lines = fields.iter().map(|(name, value)| format!("{name:<16} {}", format(value)));
    lines.collect::<Vec<_>>().join("\n")
}

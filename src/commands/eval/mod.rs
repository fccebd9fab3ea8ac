//! `eval`: how right the model is on a file with the right answers; a page about it; and a calibration for its folder. How
//! the measures read is `shown`'s business.

mod shown;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::{Value, json};

use crate::args::{Options, delimiter};
use crate::commands::predict_file::watched;
use crate::commands::{Outcome, engine, runtime};
use crate::digest::hex;
use crate::evaluation::{Coverage, Fit, GENERATOR, HtmlReport, MIN_ROWS, Measures, Threshold, measure, worst_mistakes};
use crate::files::Reading;
use crate::job::{JobSettings, Labelled, LabelledFile};
use crate::model::{Location, write_calibration};
use crate::prediction::Calibration;
use crate::process;

#[derive(Args, Debug)]
pub struct EvalArgs {
    /// A file with texts and right answers: CSV, TSV, JSON lines or Parquet, plain or as gzip or zstd
    #[arg(value_name = "LABELLED")]
    pub file: PathBuf,
    /// Which column holds the texts, by name or number; default: the only one that can
    #[arg(long, value_name = "COLUMN")]
    pub text_column: Option<String>,
    /// Which column holds second texts, for models trained on pairs
    #[arg(long, value_name = "COLUMN")]
    pub pair_column: Option<String>,
    /// Which column holds the right answers; default: the one called `label` or alike
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<String>,
    /// What separates the fields of a CSV file; default: found out
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// The CSV file has no header; its columns are called 1, 2, 3 and so on
    #[arg(long)]
    pub no_header: bool,
    /// Name of the model to use (default: the first)
    #[arg(long, alias = "use", value_name = "NAME")]
    pub model_name: Option<String>,
    /// Labels to choose from, comma between, for NLI models
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// Also write a page with charts and the worst mistakes
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Write the temperature and the threshold that were found into the model's `local-model.toml`
    #[arg(long)]
    pub calibrate: bool,
    /// How many of the answers that are not marked uncertain shall be right
    #[arg(long, value_name = "SHARE", default_value = "0.95", value_parser = probability)]
    pub target_accuracy: f64,
    /// Write one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

fn probability(argument: &str) -> Result<f64, String> {
    let number = argument.parse().ok().filter(|number| *number > 0.0 && *number < 1.0);
    number.ok_or_else(|| "expected a number between 0 and 1, such as 0.95".into())
}

/// All that was found out about a model with a file.
struct Found {
    model: String,
    data: String,
    labelled: Labelled,
    measures: Measures,
    /// Of a classifier with enough rows.
    threshold: Option<Result<Threshold, Option<Coverage>>>,
    target_accuracy: f64,
    /// Where the calibration was written, if it was.
    written: Option<PathBuf>,
}

pub(super) fn run(options: &Options, arguments: &EvalArgs) -> anyhow::Result<Outcome> {
    let (model, folder) = chosen(options, arguments.model_name.as_deref())?;
    if arguments.calibrate && folder.is_none() {
        return Err(anyhow!(
            "the built-in model is inside the executable and cannot be calibrated; calibrate a copy of its folder \
             (models/sentiment in the source) with `--model DIR`"
        ));
    }
    if arguments.calibrate && !arguments.labels.is_empty() {
        return Err(anyhow!(
            "`--calibrate` is for a model's own labels; leave `--labels` out, or evaluate without calibrating"
        ));
    }
    if let Some(report) = &arguments.report {
        may_be_replaced(report)?;
    }
    let labelled = answered(options, arguments)?;
    let measures = measure(&labelled.info, &labelled.labels, &labelled.judged);
    let data = arguments.file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let threshold = fit(&measures).map(|fit| fit.threshold(arguments.target_accuracy));
    let target_accuracy = arguments.target_accuracy;
    let mut found = Found { model, data, labelled, measures, threshold, target_accuracy, written: None };
    if let (true, Some(folder)) = (arguments.calibrate, folder) {
        found.written = Some(calibrate(&found, &folder)?);
    }
    if let Some(report) = &arguments.report {
        fs::write(report, page(&found)).with_context(|| format!("`{}` could not be written", report.display()))?;
    }
    let text = if arguments.json {
        object(&found).to_string()
    } else {
        let mut text = shown::readable(&found);
        if let Some(report) = &arguments.report {
            text += &format!("\nreport             {}", report.display());
        }
        text
    };
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.context("the result could not be written to stdout")?,
    }
    Ok(if found.labelled.failed.count > 0 { Outcome::SomeFailed } else { Outcome::Done })
}

/// The model's name, and its folder if it has one.
fn chosen(options: &Options, name: Option<&str>) -> anyhow::Result<(String, Option<PathBuf>)> {
    let models = options.models().map_err(|problem| anyhow!(problem))?;
    let known: Vec<String> = models.iter().map(|(name, _)| name.clone()).collect();
    let found = models.into_iter().find(|(known, _)| name.is_none_or(|name| name == known));
    let (name, location) =
        found.ok_or_else(|| crate::error::Error::UnknownModel { name: name.unwrap_or_default().to_owned(), known })?;
    match location {
        Location::BuiltIn => Ok((name, None)),
        Location::Folder(folder) => Ok((name, Some(folder))),
    }
}

/// Runs the model over the file.
fn answered(options: &Options, arguments: &EvalArgs) -> anyhow::Result<Labelled> {
    let runtime = runtime()?;
    let settings = options.batch_engine();
    process::lower_priority();
    let file = LabelledFile {
        path: arguments.file.clone(),
        text_column: arguments.text_column.clone(),
        pair_column: arguments.pair_column.clone(),
        label_column: arguments.label_column.clone(),
        reading: Reading { delimiter: arguments.delimiter, header: !arguments.no_header },
        model: None,
        labels: arguments.labels.clone(),
        in_flight: JobSettings::in_flight(settings.workers),
    };
    let labelled = runtime.block_on(async {
        let engine = engine(options, settings, arguments.model_name.as_deref())?;
        let mut running = file.start(engine);
        tokio::select! {
            outcome = watched(&mut running) => outcome,
            _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
        }
    });
    runtime.shutdown_background();
    labelled
}

fn fit(measures: &Measures) -> Option<&Fit> {
    match measures {
        Measures::Classification(found) => found.fit.as_ref(),
        Measures::MultiLabel(_) | Measures::Regression(_) | Measures::Tagging(_) => None,
    }
}

fn calibrate(found: &Found, folder: &Path) -> anyhow::Result<PathBuf> {
    let info = &found.labelled.info;
    let Some(fit) = fit(&found.measures) else {
        return Err(match &found.measures {
            Measures::Classification(_) => anyhow!(
                "{} rows with a right answer are too few to calibrate on; at least {MIN_ROWS} are needed",
                found.labelled.judged.len()
            ),
            _ => anyhow!(
                "model `{}` is for {}; a calibration is for models of which exactly one label applies",
                found.model,
                info.task.name()
            ),
        });
    };
    let calibration = Calibration {
        temperature: fit.temperature,
        data: found.data.clone(),
        data_sha256: hex(&found.labelled.digest),
        rows: found.labelled.judged.len() as u64,
        date: chrono::Utc::now().format("%Y-%m-%d").to_string(),
    };
    let threshold = found.threshold.as_ref().and_then(|threshold| threshold.as_ref().ok());
    Ok(write_calibration(folder, &calibration, threshold.map(|threshold| threshold.threshold))?)
}

/// Whether nothing but an earlier page of ours would be lost.
fn may_be_replaced(report: &Path) -> anyhow::Result<()> {
    match fs::read(report) {
        Ok(content) if String::from_utf8_lossy(&content).contains(GENERATOR) => Ok(()),
        Ok(_) => Err(anyhow!("`{}` exists and is not a report of this program; give another name", report.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(anyhow!("`{}` cannot be written: {error}", report.display())),
    }
}

fn page(found: &Found) -> String {
    let Labelled { info, labels, judged, texts, .. } = &found.labelled;
    let mistakes = worst_mistakes(info, labels, judged, texts);
    let notes = shown::notes(found);
    let page = HtmlReport {
        model: &found.model,
        data: &found.data,
        notes: &notes,
        measures: &found.measures,
        figures: &shown::figures(found),
        threshold: found.threshold.as_ref().and_then(|threshold| threshold.as_ref().ok()),
        rows: judged,
        mistakes: &mistakes,
    };
    page.html()
}

/// For machines: every measure with all its digits.
fn object(found: &Found) -> Value {
    let Labelled { info, labels, judged, texts, rows, unlabelled, failed, reasons, truncated, digest, .. } =
        &found.labelled;
    let mut object = json!({
        "model": found.model,
        "task": info.task.name(),
        "labels": labels.iter().map(|label| &**label).collect::<Vec<_>>(),
        "data": found.data,
        "data_sha256": hex(digest),
        "text_column": found.labelled.text_column,
        "label_column": found.labelled.label_column,
        "rows": rows,
        "judged": judged.len(),
        "unlabelled": unlabelled,
        "failed": failed.count,
        "reasons": reasons,
        "truncated": truncated,
        "seconds": found.labelled.duration.as_secs_f64(),
        "calibration": info.calibration.as_ref().map(ToString::to_string),
        "measures": found.measures,
        "target_accuracy": found.target_accuracy,
        "threshold": found.threshold.as_ref().and_then(|threshold| threshold.as_ref().ok()),
        "written": found.written.as_ref().map(|path| path.display().to_string()),
        "mistakes": worst_mistakes(info, labels, judged, texts),
    });
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    object
}

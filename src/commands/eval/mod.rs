//! `eval`: metrics of a model on a labelled file, as text, JSON or an HTML report, and a
//! calibration for the model's folder.

mod calibrate;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use batch::{EvaluationRun, JobSettings};
use clap::Args;
use classifier::Location;
use evaluation::{Evaluation, GENERATOR, ScoredFile};
use tables::CsvOptions;

use crate::args::{Options, delimiter};
use crate::commands::asked::Asked;
use crate::commands::predict_file::watched;
use crate::commands::{Outcome, engine, print, print_lines, runtime};
use crate::process;

#[derive(Args, Debug)]
pub struct EvalArgs {
    /// File with texts and labels: CSV, TSV, JSON lines or Parquet; gzip and zstd are detected
    #[arg(value_name = "LABELLED")]
    pub file: PathBuf,
    /// Column that holds the texts, by name or number (default: the only text column)
    #[arg(long, value_name = "COLUMN")]
    pub text_column: Option<String>,
    /// Column that holds second texts, for models trained on text pairs
    #[arg(long, value_name = "COLUMN")]
    pub pair_column: Option<String>,
    /// Column that holds the correct labels (default: the one named `label` or similar)
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<String>,
    /// CSV delimiter (default: detected)
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// The CSV file has no header; columns are named 1, 2, 3 and so on
    #[arg(long)]
    pub no_header: bool,
    /// Name of the model to use (default: the first)
    #[arg(long, alias = "use", value_name = "NAME")]
    pub model_name: Option<String>,
    #[command(flatten)]
    pub asked: Asked,
    /// Also write an HTML report with charts and the worst mistakes
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Write the fitted temperature and threshold into the model's `local-model.toml`
    #[arg(long)]
    pub calibrate: bool,
    /// Target accuracy of the predictions not marked uncertain
    #[arg(long, value_name = "SHARE", default_value = "0.95", value_parser = parse_share)]
    pub target_accuracy: f64,
    /// Write one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

fn parse_share(argument: &str) -> Result<f64, String> {
    let share = argument.parse().ok().filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| "expected a number between 0 and 1, such as 0.95".into())
}

pub(super) fn run(options: &Options, arguments: &EvalArgs) -> anyhow::Result<Outcome> {
    let (model, folder) = choose_model(options, arguments.model_name.as_deref())?;
    let folder = calibrate::target_folder(arguments, folder)?;
    if let Some(report) = &arguments.report {
        check_replaceable(report)?;
    }
    let file = classify_file(options, arguments)?;
    let mut evaluation = Evaluation::new(model, file, arguments.target_accuracy);
    if let Some(folder) = folder {
        evaluation.written = Some(calibrate::write(&evaluation, &folder)?);
    }
    if let Some(report) = &arguments.report {
        fs::write(report, evaluation.html()).with_context(|| format!("cannot write `{}`", report.display()))?;
    }
    match (&arguments.report, arguments.json) {
        (_, true) => print(format!("{}\n", evaluation.json()).as_bytes())?,
        (None, false) => print_lines(&evaluation.text())?,
        (Some(report), false) => {
            print_lines(&format!("{}\nreport             {}", evaluation.text(), report.display()))?;
        }
    }
    Ok(if evaluation.file.failed > 0 { Outcome::SomeFailed } else { Outcome::Done })
}

/// Returns the model's name, and its folder unless it is built in.
fn choose_model(options: &Options, name: Option<&str>) -> anyhow::Result<(String, Option<PathBuf>)> {
    let models = options.models().map_err(|problem| anyhow!(problem))?;
    let known: Vec<String> = models.iter().map(|(name, _)| name.clone()).collect();
    let chosen = models.into_iter().find(|(known, _)| name.is_none_or(|name| name == known));
    let (name, location) = chosen.ok_or_else(|| {
        let name = name.unwrap_or_default().to_owned();
        engine::Error::UnknownModel { name, known }
    })?;
    match location {
        Location::BuiltIn => Ok((name, None)),
        Location::Folder(folder) => Ok((name, Some(folder))),
    }
}

/// Runs the model over the file.
fn classify_file(options: &Options, arguments: &EvalArgs) -> anyhow::Result<ScoredFile> {
    let runtime = runtime()?;
    let settings = options.batch_engine();
    process::lower_priority();
    let (labels, question) = arguments.asked.split();
    let run = EvaluationRun {
        path: arguments.file.clone(),
        text_column: arguments.text_column.clone(),
        pair_column: arguments.pair_column.clone(),
        label_column: arguments.label_column.clone(),
        csv_options: CsvOptions { delimiter: arguments.delimiter, header: !arguments.no_header },
        labels,
        question,
        in_flight: JobSettings::in_flight(settings.workers),
    };
    let outcome = runtime.block_on(async {
        let engine = engine(options, settings, arguments.model_name.as_deref())?;
        let mut running = run.start(engine);
        tokio::select! {
            outcome = watched(&mut running) => outcome,
            _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
        }
    });
    runtime.shutdown_background();
    outcome
}

/// Refuses a report path with a file that is not a report.
fn check_replaceable(report: &Path) -> anyhow::Result<()> {
    let path = report.display();
    match fs::read(report) {
        Ok(content) if String::from_utf8_lossy(&content).contains(GENERATOR) => Ok(()),
        Ok(_) => Err(anyhow!(
            "`{path}` exists and is not a report of this program; expected a new name or an \
             earlier report; choose another `--report`"
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(anyhow!("cannot write `{path}`: {error}")),
    }
}

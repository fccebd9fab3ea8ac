//! `optimize`: writes a copy of a model folder with the graph in int8, after comparing both.

mod agreement;
mod report;
mod sample;
mod subject;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueHint};
use classifier::{Cancellation, LibrarySettings, RewrittenFolder};
use tables::CsvOptions;

use crate::args::{Options, delimiter};
use crate::commands::{Outcome, cancellable, print, print_lines};
use crate::error::Error;
use agreement::{Agreement, compare};
use report::Report;
use sample::Sample;
use subject::{Reading, Subject, time};

/// Differences of confidence up to this size leave a calibration valid: the temperature that a few
/// hundred rows give is less exact.
const CALIBRATION_TOLERANCE: f64 = 0.01;

#[derive(Args, Debug)]
pub struct OptimizeArgs {
    /// Model folder with an fp32 graph: a classifier, a tagger or a sentence encoder
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,
    /// Folder to write; it must not exist or be empty
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output: PathBuf,
    /// File with texts to compare the answers on: CSV, TSV, JSON lines, text or Parquet; 500 of its
    /// rows are used (default: 200 generated texts in English)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub sample: Option<PathBuf>,
    /// Column that holds the texts, by name or number (default: the only text column)
    #[arg(long, value_name = "COLUMN", requires = "sample")]
    pub text_column: Option<String>,
    /// CSV delimiter (default: detected)
    #[arg(long, value_name = "CHARACTER", requires = "sample", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// The CSV file has no header; columns are named 1, 2, 3 and so on
    #[arg(long, requires = "sample")]
    pub no_header: bool,
    /// Share of texts that must keep their label; with fewer, nothing is written
    #[arg(long, value_name = "SHARE", default_value = "0.99", value_parser = parse_share)]
    pub min_agreement: f64,
    /// Write one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

fn parse_share(argument: &str) -> Result<f64, String> {
    let share = argument.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1, such as 0.99".into())
}

pub(super) fn run(options: &Options, arguments: &OptimizeArgs) -> anyhow::Result<Outcome> {
    let csv_options = CsvOptions { delimiter: arguments.delimiter, header: !arguments.no_header };
    let samples = match &arguments.sample {
        Some(file) => sample::of_file(file, arguments.text_column.as_deref(), csv_options)?,
        None => sample::generated(),
    };
    let library = options.library();
    let job = Job {
        folder: arguments.folder.clone(),
        output: std::path::absolute(&arguments.output)?,
        samples,
        is_generated: arguments.sample.is_none(),
        min_agreement: arguments.min_agreement,
    };
    let work = move |cancellation: &Cancellation| {
        job.run(&library, cancellation).map_err(|error| match cancellation.is_cancelled() {
            true => anyhow!("interrupted; nothing was written"),
            false => error,
        })
    };
    let (report, refusal) = cancellable(work).context("the work crashed; please report this")??;
    match arguments.json {
        true => print(format!("{}\n", report.json()).as_bytes())?,
        false => print_lines(&report.text())?,
    }
    refusal.map_or(Ok(Outcome::Done), |refusal| Err(anyhow!(refusal)))
}

/// One run of the command.
struct Job {
    folder: PathBuf,
    output: PathBuf,
    samples: Vec<Sample>,
    is_generated: bool,
    min_agreement: f64,
}

impl Job {
    /// Writes the folder if the answers agree. Returns the findings, and why nothing was written.
    fn run(&self, library: &LibrarySettings, cancellation: &Cancellation) -> anyhow::Result<(Report, Option<String>)> {
        let open = |folder: &Path| -> Result<Subject, Error> {
            // A large graph takes seconds to open, and that cannot be interrupted.
            let opened = match cancellation.is_cancelled() {
                true => Err(classifier::Error::Cancelled),
                false => Subject::open(folder, library),
            };
            opened.map_err(Error::from)
        };
        let mut counts = (0, 0, 0);
        let new = RewrittenFolder::new(&self.folder, &self.output, |model, files| -> anyhow::Result<Vec<u8>> {
            let result = optimize::optimize(model, files).map_err(|refusal| classifier::Error::NotOptimizable {
                folder: self.folder.clone(),
                reason: refusal.to_string(),
            })?;
            counts = (result.matrices, result.tables, result.attentions);
            Ok(result.model)
        })?;
        let mut before = open(&self.folder)?;
        let mut after = open(&new.path())?;
        let timings = time(&mut before, &mut after, cancellation)?;
        let agreement = self.agreement(&mut before, &mut after, cancellation)?;
        let refusal = (agreement.share < self.min_agreement).then(|| self.refusal(&agreement));
        let mut report = Report {
            folder: self.folder.clone(),
            output: refusal.is_none().then(|| self.output.clone()),
            matrices: counts.0,
            tables: counts.1,
            attentions: counts.2,
            bytes_before: new.bytes_before,
            bytes: new.bytes,
            timings,
            texts: self.samples.len(),
            is_generated: self.is_generated,
            worst: self.rows(&agreement),
            agreement,
            calibration_removed: false,
        };
        if report.output.is_some() {
            if report.agreement.largest_difference > CALIBRATION_TOLERANCE {
                report.calibration_removed = new.remove_calibration()?;
            }
            new.publish()?;
        }
        Ok((report, refusal))
    }

    fn agreement(
        &self,
        before: &mut Subject,
        after: &mut Subject,
        cancellation: &Cancellation,
    ) -> anyhow::Result<Agreement> {
        let mut readings: Vec<(Reading, Reading, &str)> = Vec::new();
        for Sample { row, text } in &self.samples {
            let read = |subject: &mut Subject| match subject.read(text, cancellation) {
                // Texts over the limit of a model that refuses them say nothing about the graph.
                Err(classifier::Error::TextTooLong { .. }) => Ok(None),
                other => other.map(|(reading, _)| Some(reading)),
            };
            let both = read(before).and_then(|before| Ok(before.zip(read(after)?)));
            let both = both.with_context(|| format!("row {row}"))?;
            readings.extend(both.map(|(before, after)| (before, after, text.as_str())));
        }
        if readings.is_empty() {
            bail!("every text of the sample is longer than the model reads; expected at least one that fits");
        }
        let (task, threshold) = match before {
            Subject::Model { info, .. } => (Some(info.task), info.threshold),
            Subject::Encoder(_) => (None, None),
        };
        Ok(compare(task, threshold, &readings))
    }

    /// Returns the rows of the texts that disagree.
    fn rows(&self, agreement: &Agreement) -> Vec<usize> {
        agreement.worst.iter().filter_map(|&text| Some(self.samples.get(text)?.row)).collect()
    }

    fn refusal(&self, agreement: &Agreement) -> String {
        let rows: Vec<String> = self.rows(agreement).iter().take(5).map(ToString::to_string).collect();
        let sample = if self.is_generated { "give your own texts with `--sample FILE`, or " } else { "" };
        format!(
            "nothing was written: the agreement is {:.1} %, expected at least {:.1} % (worst rows: {}); {sample}accept \
             it with `--min-agreement {:.2}`; calibration does not help",
            100.0 * agreement.share,
            100.0 * self.min_agreement,
            rows.join(", "),
            (100.0 * agreement.share).floor() / 100.0,
        )
    }
}

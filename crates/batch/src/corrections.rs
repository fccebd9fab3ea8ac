//! Writes a reviewer's decisions into an output: the decision replaces the answer, and another
//! column keeps the model's own answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::FileJob;
use crate::columns::{Column, OutputColumns, is_formula};
use crate::error::Error;
use crate::handle::{Monitor, Progress, Stage};
use classifier::{ModelInfo, Task};
use tables::{Cell, CsvOptions, OutputFile, PartialFile, TableFile};

/// Written for a row without any label, and in `corrected_from` where the model had no answer.
const NONE: &str = "none";
/// How long a correction waits for others of the same output, and how often it checks.
const MAX_WAIT: Duration = Duration::from_secs(30);
const RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// Labels that an error names.
const MAX_NAMED: usize = 20;
/// The columns that a correction changes.
const CHANGED: [Column; 5] =
    [Column::Prediction, Column::Value, Column::Labels, Column::Uncertain, Column::CorrectedFrom];

/// The right answer for one row.
#[derive(Clone, Debug, PartialEq)]
enum Decision {
    Label(String),
    /// All labels that apply.
    Labels(Vec<String>),
    Value(f64),
}

/// A reviewer's decisions by row number, starting at 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Corrections(BTreeMap<u64, Decision>);

/// A finished correction.
#[derive(Clone, Debug, PartialEq)]
pub struct CorrectionReport {
    pub output: PathBuf,
    pub rows: u64,
}

impl Corrections {
    /// Checks decisions, each a row number and a label, against the labels of the model.
    ///
    /// For a multi-label model a decision names all labels, separated by commas, or `none`. For a
    /// regression model it is a number.
    ///
    /// # Errors
    /// `Correction` for the first decision that is not valid.
    pub fn parse<'a>(
        given: impl IntoIterator<Item = (&'a String, &'a String)>,
        model: &ModelInfo,
    ) -> Result<Self, Error> {
        let decide = |(row, label): (&String, &String)| {
            let wrong = |found, expected| Error::Correction { row: row.clone(), found, expected };
            let number = row.parse::<u64>().ok().filter(|number| *number > 0);
            let number = number.ok_or_else(|| wrong("it is not a row number".into(), "a positive number".into()))?;
            let decision = Decision::parse(label.trim(), model).map_err(|(found, expected)| wrong(found, expected))?;
            Ok((number, decision))
        };
        given.into_iter().map(decide).collect::<Result<_, _>>().map(Self)
    }
}

impl Decision {
    /// Errors are pairs of what was found and what was expected.
    fn parse(label: &str, model: &ModelInfo) -> Result<Self, (String, String)> {
        if model.task == Task::Regression {
            let value = label.parse::<f64>().ok().filter(|value| value.is_finite());
            return value.map(Self::Value).ok_or_else(|| (format!("`{label}` is not a number"), "a number".into()));
        }
        // Candidate labels and the labels of a tagger's row are not known here.
        let closed = matches!(model.task, Task::SingleLabel | Task::MultiLabel) && !model.supports_zero_shot;
        let known = |label: &str| !label.is_empty() && (!closed || model.labels.iter().any(|known| **known == *label));
        let several = model.task == Task::MultiLabel || model.supports_zero_shot && model.zero_shot_multi_label;
        let labels: Vec<&str> = match label {
            NONE if several && !model.labels.iter().any(|known| **known == *NONE) => Vec::new(),
            label if !several || closed && known(label) => vec![label],
            label => label.split(',').map(str::trim).collect(),
        };
        if let Some(unknown) = labels.iter().find(|label| !known(label)) {
            let names: Vec<String> = model.labels.iter().take(MAX_NAMED).map(|label| format!("`{label}`")).collect();
            let expected = if closed { format!("one of {}", names.join(", ")) } else { "a label".into() };
            return Err((format!("`{unknown}` is not a label of the model"), expected));
        }
        if let Some(label) = labels.iter().find(|label| !closed && is_formula(label)) {
            let expected = "a label that begins with another character".into();
            return Err((format!("`{label}` begins like a formula of a spreadsheet"), expected));
        }
        Ok(match several {
            true => Self::Labels(labels.into_iter().map(str::to_owned).collect()),
            false => Self::Label(label.to_owned()),
        })
    }
}

/// Rewrites the output with the decisions. They are on disk when this returns.
pub(crate) fn correct(
    job: &FileJob,
    corrections: Corrections,
    monitor: &mut Monitor,
) -> Result<CorrectionReport, Error> {
    let rows = corrections.0.len() as u64;
    let target = claim(job, monitor)?;
    // Opened only after the claim, so that no other correction can happen between reading and
    // writing.
    let mut output = TableFile::open_at(target.location(), CsvOptions { header: true, ..job.csv_options })?;
    let partial = write(&mut output, &target, corrections.0, monitor)?;
    target.commit(partial, &output)?;
    Ok(CorrectionReport { output: target.path().to_owned(), rows })
}

/// Claims the output. Another correction takes a moment, so this one waits for it.
fn claim(job: &FileJob, monitor: &mut Monitor) -> Result<OutputFile, Error> {
    let started = Instant::now();
    loop {
        match OutputFile::claim_existing(job.output_location()?) {
            Err(tables::Error::AlreadyRunning { .. }) if started.elapsed() < MAX_WAIT => {
                monitor.report(Progress::new(Stage::Waiting, 0))?;
                thread::sleep(RETRY_INTERVAL);
            }
            claimed => return Ok(claimed?),
        }
    }
}

fn write<'t>(
    output: &mut TableFile,
    target: &'t OutputFile,
    mut decisions: BTreeMap<u64, Decision>,
    monitor: &mut Monitor,
) -> Result<PartialFile<'t>, Error> {
    let columns = OutputColumns::new(output, &CHANGED)?;
    let partial = target.create()?;
    let several = decisions.values().any(|decision| matches!(decision, Decision::Labels(_)));
    let added = |column: &Column| match column {
        Column::CorrectedFrom => true,
        // Missing if every row failed.
        Column::Labels => several || columns.has(Column::Labels),
        column => columns.has(*column),
    };
    let added: Vec<Column> = CHANGED.into_iter().filter(added).collect();
    let mut writer =
        output.writer(target.path(), &partial, added.iter().map(|column| columns.names.added(*column)).collect())?;
    let mut row = 0;
    for chunk in output.rows(&columns.wanted)? {
        let chunk = chunk?;
        let mut values = Vec::with_capacity(chunk.rows.len());
        for cells in chunk.rows.iter().map(|row| &row.cells) {
            row += 1;
            let decision = decisions.remove(&row);
            let value = |column: &Column| value(*column, decision.as_ref(), &columns, cells);
            values.push(added.iter().map(value).collect());
        }
        writer.write(chunk, values)?;
        monitor.report(Progress::new(Stage::Writing, row))?;
    }
    if let Some((beyond, _)) = decisions.first_key_value() {
        let found = format!("the output has {row} rows");
        return Err(Error::Correction { row: beyond.to_string(), found, expected: format!("1 to {row}") });
    }
    writer.finish()?;
    Ok(partial)
}

/// Returns the value of a row in a column, with or without a decision. `Null` keeps the existing
/// text.
fn value(column: Column, decision: Option<&Decision>, columns: &OutputColumns, cells: &[Cell]) -> Value {
    let cell = |column| columns.cell(cells, column);
    match (column, decision) {
        (Column::Prediction, Some(Decision::Label(label))) => json!(label),
        (Column::Prediction, Some(Decision::Labels(labels))) => json!(labels.first().map_or(NONE, String::as_str)),
        (Column::Labels, Some(Decision::Labels(labels))) => json!(labels),
        (Column::Value, Some(Decision::Value(value))) => json!(value),
        (Column::Value, _) => json!(cell(Column::Value).and_then(|value| value.parse::<f64>().ok())),
        (Column::Uncertain, decision) => match cell(Column::Uncertain) {
            Some(mark) => json!(mark == "true" && decision.is_none()),
            None => Value::Null,
        },
        (Column::CorrectedFrom, Some(decision)) => {
            let answer = match decision {
                Decision::Value(_) => Column::Value,
                Decision::Label(_) | Decision::Labels(_) => Column::Prediction,
            };
            // A second decision on a row keeps the model's own answer.
            json!(cell(Column::CorrectedFrom).or_else(|| cell(answer)).unwrap_or(NONE))
        }
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(task: Task, supports_zero_shot: bool) -> ModelInfo {
        ModelInfo {
            supports_zero_shot,
            ..ModelInfo::new(task, ["spam", "rude, loud", "kind"].map(Into::into).to_vec())
        }
    }

    fn parse(row: &str, label: &str, model: &ModelInfo) -> Result<(u64, Decision), String> {
        let parsed = Corrections::parse([(&row.to_owned(), &label.to_owned())], model);
        parsed.map(|parsed| parsed.0.into_iter().next().unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_decision_is_what_the_task_of_the_model_takes() {
        let labels = |labels: &[&str]| Decision::Labels(labels.iter().map(ToString::to_string).collect());
        let single = model(Task::SingleLabel, false);
        assert_eq!(parse("2", " spam ", &single), Ok((2, Decision::Label("spam".into()))));
        let several = model(Task::MultiLabel, false);
        assert_eq!(parse("1", "rude, loud", &several), Ok((1, labels(&["rude, loud"]))));
        assert_eq!(parse("1", "spam,kind", &several), Ok((1, labels(&["spam", "kind"]))));
        assert_eq!(parse("1", "none", &several), Ok((1, labels(&[]))));
        assert_eq!(parse("1", "2.5", &model(Task::Regression, false)), Ok((1, Decision::Value(2.5))));
        for open in [model(Task::Tagging, false), model(Task::SingleLabel, true)] {
            for label in ["anything", "-1", "+0.5"] {
                assert_eq!(parse("1", label, &open), Ok((1, Decision::Label(label.into()))));
            }
        }
        // The model's own labels are what they are.
        let own = ModelInfo::new(Task::SingleLabel, ["=", "-none-"].map(Into::into).to_vec());
        assert_eq!(parse("1", "-none-", &own), Ok((1, Decision::Label("-none-".into()))));
    }

    #[test]
    fn a_decision_that_cannot_be_is_refused_with_what_can() {
        let known = "one of `spam`, `rude, loud`, `kind`";
        for (row, label, task, expected) in [
            ("0", "spam", Task::SingleLabel, "row `0` cannot be corrected: it is not a row number".to_owned()),
            ("x", "spam", Task::SingleLabel, "expected a positive number".to_owned()),
            ("1", "x", Task::SingleLabel, format!("`x` is not a label of the model; expected {known}")),
            ("1", "spam, x", Task::MultiLabel, format!("`x` is not a label of the model; expected {known}")),
            ("1", "", Task::MultiLabel, "`` is not a label".to_owned()),
            ("1", "spam", Task::Regression, "`spam` is not a number; expected a number".to_owned()),
            ("1", "inf", Task::Regression, "`inf` is not a number".to_owned()),
            ("1", "=HYPERLINK(1)", Task::Tagging, "`=HYPERLINK(1)` begins like a formula".to_owned()),
            ("1", "@SUM(1)", Task::Tagging, "expected a label that begins with another character".to_owned()),
            ("1", " ", Task::Tagging, "`` is not a label of the model; expected a label".to_owned()),
        ] {
            let error = parse(row, label, &model(task, false)).unwrap_err();
            assert!(error.contains(&expected), "{error}");
        }
    }
}

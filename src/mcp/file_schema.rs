//! What goes over the wire for whole files. The comments here are what the assistant reads; the size of a result does not
//! depend on the file.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::job::{Review, ReviewRow, RowSample, Summary};

/// Rows that one call can return.
pub(super) const MAX_ROWS: usize = 50;
pub(super) const DEFAULT_ROWS: usize = 20;

/// Labels that are counted one by one, and how much of a name or a sentence is shown: a summary stays below 400 tokens.
const LABELS_SHOWN: usize = 6;
const LABEL_CHARACTERS: usize = 24;
const NAME_CHARACTERS: usize = 32;
const REASON_CHARACTERS: usize = 90;
const PATH_CHARACTERS: usize = 120;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FileArguments {
    /// The file, in the project folder.
    pub path: String,
    /// Column with the texts, by name or number (nested fields: `a.b`); needed only where several could be it.
    #[serde(default)]
    #[schemars(with = "String")]
    pub text_column: Option<String>,
    /// Column with the right labels, if any, for the accuracy.
    #[serde(default)]
    #[schemars(with = "String")]
    pub label_column: Option<String>,
    /// Same format as the input; if left out, NAME.predicted.csv beside it.
    #[serde(default)]
    #[schemars(with = "String")]
    pub output_path: Option<String>,
    /// The first one if left out.
    #[serde(default)]
    #[schemars(with = "String")]
    pub model: Option<String>,
    /// Labels to choose from; only for models that take them.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub labels: Option<Vec<String>>,
    /// False: no header; columns are called 1, 2, 3.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub header: Option<bool>,
    /// Replace an output that is there.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub overwrite: Option<bool>,
    /// Go on with a run that was interrupted.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub resume: Option<bool>,
    /// Return the rows to decide; the output is made first if it is not there.
    #[serde(default)]
    #[schemars(with = "Only")]
    pub only: Option<Only>,
    /// How many rows `only` returns; 20 if left out.
    #[serde(default)]
    #[schemars(with = "usize", range(min = 1, max = 50))]
    pub limit: Option<usize>,
    /// Your decisions for the output: row number to label.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub corrections: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum Only {
    Uncertain,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
pub(super) struct FileResult {
    /// The file with the predictions.
    pub output: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub text_column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub rows: Option<u64>,
    /// Of these, rows that an earlier run had done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub resumed_rows: Option<u64>,
    /// Rows by prediction, the most frequent first.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schemars(with = "BTreeMap<String, u64>")]
    pub labels: Map<String, serde_json::Value>,
    /// Rows with predictions beyond those listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub other_labels: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64")]
    pub mean_confidence: Option<f64>,
    /// Share of predictions equal to the label column.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64")]
    pub accuracy: Option<f64>,
    /// Below the model's threshold: decide them yourself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RowsNoted")]
    pub uncertain: Option<RowsNoted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RowsNoted")]
    pub failed: Option<RowsNoted>,
    /// What was wrong with the first failed rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// Read up to the model's limit only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RowsNoted")]
    pub truncated: Option<RowsNoted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64")]
    pub seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub rows_per_second: Option<u64>,
    /// Rows that your corrections changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub corrected: Option<u64>,
    /// Rows that `only` asked for, the least certain first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<RowShown>")]
    pub review: Option<Vec<RowShown>>,
    /// Rows that still need a decision, those in `review` included.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub undecided: Option<u64>,
    /// What to do now.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub next: &'static str,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct RowsNoted {
    pub count: u64,
    /// Numbers of the first of them.
    pub rows: Vec<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct RowShown {
    pub row: u64,
    /// Cut after 300 characters.
    pub text: String,
    pub prediction: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64")]
    pub confidence: Option<f64>,
}

impl FileResult {
    pub(super) fn summed_up(summary: Summary) -> Self {
        let listed: u64 = summary.labels.iter().take(LABELS_SHOWN).map(|(_, rows)| rows).sum();
        let others = (summary.rows - summary.failed.count).saturating_sub(listed);
        let seconds = summary.duration.as_secs_f64();
        let next = if summary.uncertain.count > 0 {
            "call again with only: \"uncertain\" to read the uncertain rows, then send corrections"
        } else if summary.mean_confidence.is_some() {
            "no row is marked uncertain; only: \"uncertain\" returns the least certain ones"
        } else {
            ""
        };
        let label = |(label, rows): (String, u64)| (shortened(&label, LABEL_CHARACTERS), rows.into());
        Self {
            output: shown(&summary.output),
            model: Some(shortened(&summary.model, NAME_CHARACTERS)),
            text_column: Some(shortened(&summary.text_column, NAME_CHARACTERS)),
            rows: Some(summary.rows),
            resumed_rows: Some(summary.resumed).filter(|rows| *rows > 0),
            labels: summary.labels.into_iter().take(LABELS_SHOWN).map(label).collect(),
            other_labels: Some(others).filter(|rows| *rows > 0),
            mean_confidence: summary.mean_confidence.map(four_decimals),
            accuracy: summary.accuracy.map(four_decimals),
            uncertain: noted(summary.uncertain),
            failed: noted(summary.failed),
            reasons: summary.reasons.iter().map(|reason| shortened(reason, REASON_CHARACTERS)).collect(),
            truncated: noted(summary.truncated),
            seconds: Some((seconds * 10.0).round() / 10.0),
            rows_per_second: Some(((summary.rows - summary.resumed) as f64 / seconds.max(0.001)) as u64),
            next,
            ..Self::default()
        }
    }

    /// Adds the rows to decide.
    pub(super) fn with_review(self, review: Review) -> Self {
        let row = |row: ReviewRow| RowShown {
            row: row.row,
            text: row.text,
            prediction: shortened(&row.prediction, 4 * LABEL_CHARACTERS),
            confidence: row.confidence,
        };
        let next = match (review.rows.is_empty(), review.uncertain) {
            (true, _) => "nothing is left to decide",
            (false, true) => "send corrections {row: label}, with only: \"uncertain\" again for the next rows",
            (false, false) => {
                "the model marked no row uncertain; these are the least certain ones; send corrections {row: label} where it is wrong"
            }
        };
        Self {
            output: shown(&review.output),
            review: Some(review.rows.into_iter().map(row).collect()),
            undecided: Some(review.left),
            next,
            ..self
        }
    }
}

/// The end of a path, which is what tells it from others.
pub(super) fn shown(path: &Path) -> String {
    let path = path.display().to_string();
    match path.char_indices().rev().nth(PATH_CHARACTERS - 1) {
        Some((start, _)) if start > 0 => format!("…{}", &path[start..]),
        _ => path,
    }
}

fn noted(noted: RowSample) -> Option<RowsNoted> {
    (noted.count > 0).then_some(RowsNoted { count: noted.count, rows: noted.first })
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn four_decimals(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}

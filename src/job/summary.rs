//! What a run comes to, in a size that does not depend on the file: counts, and the numbers of the first rows to look at.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::files::Cell;
use crate::job::journal::Record;
use crate::prediction::ModelInfo;

/// Row numbers that a summary names.
const ROWS_NAMED: usize = 5;
/// Different failures that a summary quotes.
pub(super) const REASONS: usize = 2;
/// Different predictions that are counted one by one: a tagger's can be as many as there are rows.
const COUNTED: usize = 1000;

/// How many rows are of a kind, and which are the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    pub count: u64,
    pub first: Vec<u64>,
}

impl Noted {
    pub(super) fn add(&mut self, row: u64) {
        self.count += 1;
        if self.first.len() < ROWS_NAMED {
            self.first.push(row);
        }
    }
}

/// A finished run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub output: PathBuf,
    pub model: String,
    pub text_column: String,
    pub rows: u64,
    /// Rows taken over from an earlier run.
    pub resumed: u64,
    /// Predictions and how many rows got them, most frequent first.
    pub labels: Vec<(String, u64)>,
    pub mean_confidence: Option<f64>,
    pub uncertain: Noted,
    /// The row least certain of all, for models that call none uncertain.
    pub least_certain: Option<u64>,
    pub failed: Noted,
    /// What was wrong with the first of them, once each.
    pub reasons: Vec<String>,
    pub truncated: Noted,
    /// Share of the rows with a right label whose prediction is that label.
    pub accuracy: Option<f64>,
    pub labelled: u64,
    pub duration: Duration,
    names: Vec<String>,
    counts: HashMap<String, u64>,
    confidence: (f64, u64),
    correct: u64,
    least: Option<f64>,
    label_column: bool,
}

impl Summary {
    pub(super) fn new(text_column: String, model: &ModelInfo, label_column: bool) -> Self {
        let names = model.labels.iter().map(ToString::to_string).collect();
        Self { text_column, names, label_column, ..Self::default() }
    }

    pub(super) fn add(&mut self, record: &Record, label: Option<&Cell>) {
        self.rows += 1;
        if let Some(error) = &record.error {
            self.failed.add(self.rows);
            if self.reasons.len() < REASONS && !self.reasons.contains(error) {
                self.reasons.push(error.clone());
            }
        }
        if let Some(prediction) = &record.prediction {
            if let Some(count) = self.counts.get_mut(prediction) {
                *count += 1;
            } else if self.counts.len() < COUNTED {
                self.counts.insert(prediction.clone(), 1);
            }
        }
        if let Some(confidence) = record.confidence {
            self.confidence = (self.confidence.0 + confidence, self.confidence.1 + 1);
            if self.least.is_none_or(|least| confidence < least) {
                (self.least, self.least_certain) = (Some(confidence), Some(self.rows));
            }
        }
        if record.uncertain {
            self.uncertain.add(self.rows);
        }
        if record.truncated {
            self.truncated.add(self.rows);
        }
        if let Some(label) = label {
            self.compare(record, label);
        }
    }

    /// Rows whose right label is blank or cannot be read say nothing.
    fn compare(&mut self, record: &Record, label: &Cell) {
        let Ok(label) = label.as_deref().map(str::trim) else { return };
        if label.is_empty() {
            return;
        }
        self.labelled += 1;
        let Some(prediction) = &record.prediction else { return };
        // Labelled data often has a label's number in place of its name.
        let numbered = label.parse::<usize>().ok().and_then(|number| self.names.get(number));
        let correct = prediction.eq_ignore_ascii_case(label) || numbered.is_some_and(|name| name == prediction);
        self.correct += u64::from(correct);
    }

    /// Brings out what only the last row decides.
    pub(super) fn close(mut self) -> Self {
        self.labels = std::mem::take(&mut self.counts).into_iter().collect();
        self.labels.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let share = |part: f64, all: u64| (all > 0).then(|| part / all as f64);
        self.mean_confidence = share(self.confidence.0, self.confidence.1);
        self.accuracy = self.label_column.then(|| share(self.correct as f64, self.labelled)).flatten();
        self
    }
}

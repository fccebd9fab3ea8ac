//! The summary of a run: counts, and the numbers of the first rows to look at. Its size does not
//! depend on the file.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use evaluation::GoldParser;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::record::Record;
use cache_dir::digest::hex;
use classifier::LabeledPrediction;
use tables::Cell;

/// Row numbers that a summary names.
const MAX_SAMPLE: usize = 5;
/// Different failures that a summary quotes.
pub(crate) const MAX_REASONS: usize = 2;
/// Different predictions that are counted. A tagger's can be as many as there are rows.
const MAX_COUNTED: usize = 1000;

/// The number of rows of a kind, and the numbers of the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct RowSample {
    pub count: u64,
    /// The first row numbers.
    #[serde(rename = "rows")]
    pub first: Vec<u64>,
}

impl RowSample {
    pub(crate) fn add(&mut self, row: u64) {
        self.count += 1;
        if self.first.len() < MAX_SAMPLE {
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
    /// Predictions and how many rows have them, most frequent first.
    pub labels: Vec<(String, u64)>,
    pub mean_confidence: Option<f64>,
    pub uncertain: RowSample,
    pub failed: RowSample,
    /// The reasons why the first failed rows failed, each once.
    pub reasons: Vec<String>,
    pub truncated: RowSample,
    /// Share of the labelled rows whose prediction is the label.
    pub accuracy: Option<f64>,
    /// Labelled rows.
    pub labelled: u64,
    pub duration: Duration,
    /// SHA-256 over the digests of all texts in their order, which identifies the file's texts.
    pub texts_sha256: String,
    texts: Sha256,
    gold: Option<GoldParser>,
    correct: u64,
    counts: HashMap<String, u64>,
    /// Sum and number.
    confidence: (f64, u64),
}

impl Summary {
    pub(crate) fn new(text_column: String, gold: GoldParser) -> Self {
        Self { text_column, gold: Some(gold), ..Self::default() }
    }

    /// Rows per second, those of an earlier run not counted.
    pub fn rows_per_second(&self) -> u64 {
        ((self.rows - self.resumed) as f64 / self.duration.as_secs_f64().max(0.001)) as u64
    }

    pub(crate) fn add(&mut self, record: &Record, label: Option<&Cell>) {
        self.rows += 1;
        self.texts.update(record.digest());
        let prediction = match &record.outcome {
            Ok(answer) => {
                self.add_answer(answer);
                Some(answer.prediction.as_str())
            }
            Err(error) => {
                self.failed.add(self.rows);
                if self.reasons.len() < MAX_REASONS && !self.reasons.contains(error) {
                    self.reasons.push(error.clone());
                }
                None
            }
        };
        if let (Some(gold), Some(Ok(label))) = (&self.gold, label)
            && !label.trim().is_empty()
        {
            self.labelled += 1;
            self.correct += u64::from(prediction.is_some_and(|name| gold.agrees(label, name)));
        }
    }

    fn add_answer(&mut self, answer: &LabeledPrediction) {
        if let Some(count) = self.counts.get_mut(&answer.prediction) {
            *count += 1;
        } else if self.counts.len() < MAX_COUNTED {
            self.counts.insert(answer.prediction.clone(), 1);
        }
        if let Some(confidence) = answer.confidence {
            self.confidence = (self.confidence.0 + f64::from(confidence), self.confidence.1 + 1);
        }
        if answer.uncertain {
            self.uncertain.add(self.rows);
        }
        if answer.truncated.is_some() {
            self.truncated.add(self.rows);
        }
    }

    /// Computes the figures that need all rows.
    pub(crate) fn finish(mut self) -> Self {
        self.texts_sha256 = hex(&std::mem::take(&mut self.texts).finalize());
        self.labels = std::mem::take(&mut self.counts).into_iter().collect();
        self.labels.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let share = |part: f64, all: u64| (all > 0).then(|| part / all as f64);
        self.mean_confidence = share(self.confidence.0, self.confidence.1);
        self.accuracy = share(self.correct as f64, self.labelled);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_counts_all_rows_and_names_the_first() {
        let mut sample = RowSample::default();
        (1..=9).for_each(|row| sample.add(row));
        assert_eq!(sample, RowSample { count: 9, first: vec![1, 2, 3, 4, 5] });
    }
}

//! A labelled file with the model's predictions, the input of an evaluation.

use std::sync::Arc;
use std::time::Duration;

use classifier::{ModelInfo, Outcome, Prediction};

use crate::Gold;

/// A labelled file with the model's predictions.
#[derive(Clone, Debug)]
pub struct ScoredFile {
    /// The file's name.
    pub name: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// The column the texts are from.
    pub text_column: String,
    /// The column the correct answers are from.
    pub label_column: String,
    /// The model that made the predictions.
    pub info: Arc<ModelInfo>,
    /// The labels that the scores refer to, in order: the model's own, or candidate labels.
    pub labels: Vec<Arc<str>>,
    /// The rows with a correct answer and a prediction.
    pub rows: Vec<ScoredRow>,
    /// All rows of the file.
    pub total_rows: u64,
    /// Rows without a correct answer.
    pub unlabelled: u64,
    /// Rows that could not be read or classified.
    pub failed: u64,
    /// The numbers of the first failed rows.
    pub first_failed: Vec<u64>,
    /// Why the first of them failed; each reason once.
    pub reasons: Vec<String>,
    /// Scored rows whose text exceeds the model's limit.
    pub truncated: u64,
    /// The duration of the run.
    pub duration: Duration,
}

/// One row with its correct answer and the model's prediction.
#[derive(Clone, Debug)]
pub struct ScoredRow {
    /// The row number, starting at 1; the header is not counted.
    pub row: u64,
    /// The row's text, or its beginning.
    pub text: Box<str>,
    /// The correct answer.
    pub gold: Gold,
    /// The model's prediction for the row's text.
    pub prediction: Arc<Prediction>,
}

impl ScoredRow {
    /// Returns the scores, one per label. Taggers have none.
    pub(crate) fn scores(&self) -> &[f32] {
        match &self.prediction.outcome {
            Outcome::Scores(scores) => scores,
            Outcome::Entities(_) => &[],
        }
    }

    /// Returns the correct and the predicted number of a regression model's row.
    pub(crate) fn numbers(&self) -> Option<(f64, f64)> {
        match self.gold {
            Gold::Number(gold) => Some((gold, f64::from(*self.scores().first()?))),
            Gold::Label(_) | Gold::Labels(_) | Gold::Entities(_) => None,
        }
    }
}

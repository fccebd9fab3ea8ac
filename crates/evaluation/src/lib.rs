//! Measures how good a model's predictions are on rows whose correct answer is known: metrics by
//! task, calibration, the worst mistakes, and an HTML report.
//!
//! Everything here is pure: rows and scores go in, numbers and HTML come out. Reading the file and
//! running the model happen elsewhere.

mod agreement;
mod calibration;
mod classification;
mod error;
mod gold;
mod labels;
mod mistakes;
mod multi_label;
mod probability;
mod regression;
mod report;
mod tagging;
mod tags;

pub use agreement::LabelAgreement;
pub use calibration::{Fit, MIN_ROWS, Threshold};
pub use classification::{Class, Classification};
pub use error::Error;
pub use gold::{Gold, GoldKind, GoldParser, GoldScan};
pub use mistakes::{Mistake, worst_mistakes};
pub use multi_label::MultiLabel;
pub use probability::{BINS, Bin, Coverage, Probability};
pub use regression::Regression;
pub use report::{GENERATOR, HtmlReport};
pub use tagging::Tagging;

use std::sync::Arc;

use classifier::prediction::{ModelInfo, Outcome, Prediction, Task};

/// The metrics of a model on one file. Each task has its own set.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Measures {
    /// Exactly one label applies to a text.
    Classification(Box<Classification>),
    /// Any number of labels applies to a text.
    MultiLabel(MultiLabel),
    /// The model predicts a number.
    Regression(Regression),
    /// The model labels parts of a text.
    Tagging(Tagging),
}

/// One row with its correct answer and the model's prediction.
#[derive(Clone, Debug)]
pub struct ScoredRow {
    /// The row number, starting at 1; the header is not counted.
    pub row: u64,
    /// The correct answer.
    pub gold: Gold,
    /// The model's prediction for the row's text.
    pub prediction: Arc<Prediction>,
}

/// Computes the metrics of the model's task. `labels` are the labels the scores stand for: the
/// model's own, or the candidate labels of the call.
pub fn measure(info: &ModelInfo, labels: &[Arc<str>], rows: &[ScoredRow]) -> Measures {
    match GoldKind::for_model(info, labels) {
        GoldKind::Label(_) => Measures::Classification(Box::new(Classification::from_rows(info, labels, rows))),
        GoldKind::Labels(_) => Measures::MultiLabel(MultiLabel::from_rows(info, labels, rows)),
        GoldKind::Number => Measures::Regression(Regression::from_rows(rows)),
        GoldKind::Entities(_) => Measures::Tagging(Tagging::from_rows(rows)),
    }
}

impl GoldKind {
    /// Returns what a correct answer looks like for this model. `labels` as in [`measure`].
    pub fn for_model(info: &ModelInfo, labels: &[Arc<str>]) -> Self {
        let candidates = labels != info.labels;
        match info.task {
            Task::SingleLabel if candidates && info.zero_shot_multi_label => Self::Labels(labels.to_vec()),
            Task::SingleLabel => Self::Label(labels.to_vec()),
            Task::MultiLabel => Self::Labels(labels.to_vec()),
            Task::Regression => Self::Number,
            Task::Tagging => Self::Entities(labels.to_vec()),
        }
    }
}

impl Measures {
    /// Returns the fitted temperature: of a single-label model, if there are enough rows.
    pub fn fit(&self) -> Option<&Fit> {
        match self {
            Self::Classification(measures) => measures.fit.as_ref(),
            Self::MultiLabel(_) | Self::Regression(_) | Self::Tagging(_) => None,
        }
    }
}

impl ScoredRow {
    /// Returns the scores, one a label. Taggers have none.
    fn scores(&self) -> &[f32] {
        match &self.prediction.outcome {
            Outcome::Scores(scores) => scores,
            Outcome::Entities(_) => &[],
        }
    }
}

/// Returns `part / whole`, or 0 if `whole` is 0 (scikit-learn's `zero_division=0`).
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len();
    ratio(values.sum(), count as f64)
}

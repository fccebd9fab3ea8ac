//! How good a model's answers are on rows whose right answer is known: measures, calibration, and a page that shows them.
//!
//! Pure: rows and scores come in, numbers and HTML go out. Reading the file and running the model is `job`'s business.

mod calibration;
mod classification;
mod gold;
mod mistakes;
mod multi_label;
mod probability;
mod regression;
mod report;
mod tagging;

pub use calibration::{Fit, MIN_ROWS, Threshold};
pub use classification::{Class, Classification};
pub use gold::{Expected, Gold, Reader};
pub use mistakes::{Mistake, mistakes};
pub use multi_label::MultiLabel;
pub use probability::{BINS, Bin, Coverage, Probability};
pub use regression::Regression;
pub use report::{GENERATOR, Page};
pub use tagging::Tagging;

use crate::prediction::{ModelInfo, Outcome, Prediction, Task};

/// What a model's answers come to, by the measures of its task.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Measures {
    Classification(Box<Classification>),
    MultiLabel(MultiLabel),
    Regression(Regression),
    Tagging(Tagging),
}

/// One row with its right answer and the model's.
#[derive(Clone, Debug)]
pub struct Judged {
    /// From 1 on.
    pub row: u64,
    pub gold: Gold,
    pub prediction: std::sync::Arc<Prediction>,
}

/// Measures the answers. `labels` are those that the scores stand for: the model's own, or the caller's candidates.
pub fn measure(info: &ModelInfo, labels: &[std::sync::Arc<str>], rows: &[Judged]) -> Measures {
    match expected(info, labels) {
        Expected::Label(_) => Measures::Classification(Box::new(Classification::of(info, labels, rows))),
        Expected::Labels(_) => Measures::MultiLabel(MultiLabel::of(info, labels, rows)),
        Expected::Number => Measures::Regression(Regression::of(rows)),
        Expected::Entities(_) => Measures::Tagging(Tagging::of(rows)),
    }
}

/// What a row's right answer looks like for this model.
pub fn expected(info: &ModelInfo, labels: &[std::sync::Arc<str>]) -> Expected {
    let candidates = labels != info.labels;
    match info.task {
        Task::SingleLabel if candidates && info.candidates_are_independent => Expected::Labels(labels.to_vec()),
        Task::SingleLabel => Expected::Label(labels.to_vec()),
        Task::MultiLabel => Expected::Labels(labels.to_vec()),
        Task::Regression => Expected::Number,
        Task::Tagging => Expected::Entities(labels.to_vec()),
    }
}

/// A row's scores; empty for a tagger, which has none.
fn scores(judged: &Judged) -> &[f32] {
    match &judged.prediction.outcome {
        Outcome::Scores(scores) => scores,
        Outcome::Entities(_) => &[],
    }
}

/// A part of a whole; 0 of nothing, as scikit-learn has it with `zero_division=0`.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len();
    share(values.sum(), count as f64)
}

//! The metrics of a model's task.

use std::sync::Arc;

use classifier::ModelInfo;
use serde::Serialize;

use crate::{Classification, Fit, GoldKind, MultiLabel, Regression, ScoredRow, Tagging};

/// The metrics of a model on one file. Each task has its own set.
#[derive(Clone, Debug, PartialEq, Serialize)]
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

impl Measures {
    /// Returns the fitted temperature: of a single-label model, if there are enough rows.
    pub fn fit(&self) -> Option<&Fit> {
        match self {
            Self::Classification(measures) => measures.fit.as_ref(),
            Self::MultiLabel(_) | Self::Regression(_) | Self::Tagging(_) => None,
        }
    }
}

/// Computes the metrics of the model's task. `labels` are the labels that the scores refer to: the
/// model's own, or the candidate labels of the call.
pub fn measure(info: &ModelInfo, labels: &[Arc<str>], rows: &[ScoredRow]) -> Measures {
    match GoldKind::for_model(info, labels) {
        GoldKind::Label(_) => Measures::Classification(Box::new(Classification::from_rows(info, labels, rows))),
        GoldKind::Labels(_) => Measures::MultiLabel(MultiLabel::from_rows(info, labels, rows)),
        GoldKind::Number => Measures::Regression(Regression::from_rows(rows)),
        GoldKind::Entities(_) => Measures::Tagging(Tagging::from_rows(rows)),
    }
}

//! Models of which exactly one label applies: accuracy, a table by label, the confusion matrix, and how good their
//! probabilities are. Averages agree with scikit-learn's (`classification_report` with `zero_division=0`).

use std::sync::Arc;

use serde::Serialize;

use crate::evaluation::calibration::{self, Fit};
use crate::evaluation::probability::{Coverage, Probability, coverage};
use crate::evaluation::{Gold, Judged, mean, scores, share};
use crate::prediction::ModelInfo;

/// The normal distribution's 0.975 quantile.
const Z_95: f64 = 1.959_963_984_540_054;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Classification {
    pub accuracy: f64,
    /// Wilson's interval of 95 %.
    pub accuracy_interval: [f64; 2],
    /// Plain mean over the labels that occur in the file or among the answers.
    pub macro_f1: f64,
    /// Mean over labels, weighed by the rows that have each.
    pub weighted_f1: f64,
    /// In the order of the model's labels.
    pub classes: Vec<Class>,
    /// Rows by right label and predicted label.
    pub confusion: Vec<Vec<u64>>,
    /// Of the answers as the server gives them.
    #[serde(flatten)]
    pub probability: Probability,
    /// The same at temperature 1, where the server uses another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncalibrated: Option<Probability>,
    /// What a temperature fitted on this file would bring, each row measured with one fitted on others; absent where there
    /// are too few rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit: Option<Fit>,
    pub coverage: Vec<Coverage>,
}

/// One label's rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Class {
    pub label: Arc<str>,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    pub support: u64,
}

impl Classification {
    pub(super) fn of(info: &ModelInfo, labels: &[Arc<str>], rows: &[Judged]) -> Self {
        let judged: Vec<(usize, &[f32])> = rows
            .iter()
            .filter_map(|row| match row.gold {
                Gold::Label(gold) => Some((gold, scores(row))),
                _ => None,
            })
            .collect();
        // Candidate labels are scored another way, which no temperature of the model's own labels fits.
        let own = labels == info.labels;
        let in_force = info.calibration.as_ref().filter(|_| own).map_or(1.0, |calibration| calibration.temperature);
        let as_given = calibration::at(&judged, 1.0);
        let top = as_given.top();
        let mut confusion = vec![vec![0; labels.len()]; labels.len()];
        for (gold, probabilities) in &as_given.rows {
            confusion[*gold][super::probability::best(probabilities)] += 1;
        }
        let classes = classes(labels, &confusion);
        let right = top.iter().filter(|(_, correct)| *correct).count() as f64;
        let present: Vec<&Class> = classes
            .iter()
            .enumerate()
            .filter(|(number, class)| class.support > 0 || confusion.iter().any(|row| row[*number] > 0))
            .map(|(_, class)| class)
            .collect();
        Self {
            accuracy: share(right, top.len() as f64),
            accuracy_interval: wilson(right, top.len() as f64),
            macro_f1: mean(present.iter().map(|class| class.f1)),
            weighted_f1: share(classes.iter().map(|class| class.support as f64 * class.f1).sum(), top.len() as f64),
            probability: as_given.measure(),
            uncalibrated: (in_force != 1.0).then(|| calibration::at(&judged, in_force).measure()),
            fit: own.then(|| Fit::of(&judged, in_force)).flatten(),
            coverage: coverage(&top),
            classes,
            confusion,
        }
    }
}

fn classes(labels: &[Arc<str>], confusion: &[Vec<u64>]) -> Vec<Class> {
    let class = |(number, label): (usize, &Arc<str>)| {
        let hits = confusion[number][number];
        let support = confusion[number].iter().sum();
        let predicted = confusion.iter().map(|row| row[number]).sum();
        let (precision, recall, f1) = f1(hits, predicted, support);
        Class { label: Arc::clone(label), precision, recall, f1, support }
    };
    labels.iter().enumerate().map(class).collect()
}

/// Precision, recall and their harmonic mean.
pub(super) fn f1(hits: u64, predicted: u64, support: u64) -> (f64, f64, f64) {
    let (hits, predicted, support) = (hits as f64, predicted as f64, support as f64);
    (share(hits, predicted), share(hits, support), share(2.0 * hits, predicted + support))
}

/// Wilson (1927): holds also for few rows and near 0 and 1, where the usual interval does not.
fn wilson(right: f64, rows: f64) -> [f64; 2] {
    if rows == 0.0 {
        return [0.0, 1.0];
    }
    let (p, z2) = (right / rows, Z_95 * Z_95);
    let middle = p + z2 / (2.0 * rows);
    let half = Z_95 * (p * (1.0 - p) / rows + z2 / (4.0 * rows * rows)).sqrt();
    [(middle - half) / (1.0 + z2 / rows), (middle + half) / (1.0 + z2 / rows)].map(|bound| bound.clamp(0.0, 1.0))
}

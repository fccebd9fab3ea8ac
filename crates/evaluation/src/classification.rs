//! Metrics of models whose texts have exactly one label: accuracy, a table by label, the confusion
//! matrix, and how well scores serve as probabilities. Averages equal scikit-learn's
//! (`classification_report` with `zero_division=0`).

use std::sync::Arc;

use serde::Serialize;

use crate::probability::{LabelProbabilities, best_label, coverage_curve};
use crate::ratio::{mean, ratio};
use crate::{Coverage, Fit, Gold, Probability, ScoredRow};
use classifier::ModelInfo;

/// The 0.975 quantile of the normal distribution.
const Z_95: f64 = 1.959_963_984_540_054;

/// Metrics of a single-label model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Classification {
    /// Share of the rows that are correct.
    pub accuracy: f64,
    /// Wilson's 95 % interval of the accuracy.
    pub accuracy_interval: [f64; 2],
    /// Mean over the labels that occur in the file or among the predictions.
    pub macro_f1: f64,
    /// Mean over labels, weighted by their rows.
    pub weighted_f1: f64,
    /// One entry per label, in the model's order.
    pub classes: Vec<Class>,
    /// Row counts by correct label (outer index) and predicted label (inner index).
    pub confusion: Vec<Vec<u64>>,
    /// The probabilities as the server reports them.
    #[serde(flatten)]
    pub probability: Probability,
    /// The probabilities at temperature 1; absent if the server uses temperature 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncalibrated: Option<Probability>,
    /// The temperature fitted on this file, and its effect on held-out rows; absent if there are
    /// fewer than [`MIN_ROWS`](super::MIN_ROWS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fit: Option<Fit>,
    /// Coverage and accuracy by threshold, from 0 to 1.
    pub coverage: Vec<Coverage>,
}

/// Metrics of one label.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Class {
    /// The label's name.
    pub label: Arc<str>,
    /// Share of the predictions of this label that are correct.
    pub precision: f64,
    /// Share of the rows with this label that are found.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Rows (for taggers: entities) with this label.
    pub support: u64,
}

impl Classification {
    pub(super) fn from_rows(info: &ModelInfo, labels: &[Arc<str>], rows: &[ScoredRow]) -> Self {
        let scored: Vec<(usize, &[f32])> = rows
            .iter()
            .filter_map(|row| match row.gold {
                Gold::Label(gold) => Some((gold, row.scores())),
                _ => None,
            })
            .collect();
        // Candidate labels are scored differently, so the model's temperature does not apply.
        let own_labels = labels == info.labels;
        let calibration = info.calibration.as_ref().filter(|_| own_labels);
        let temperature = calibration.map_or(1.0, |calibration| calibration.temperature);
        let reported = LabelProbabilities::undo_temperature(&scored, 1.0);
        let top = reported.top();
        let mut confusion = vec![vec![0; labels.len()]; labels.len()];
        for (gold, probabilities) in &reported.rows {
            confusion[*gold][best_label(probabilities)] += 1;
        }
        let classes = classes(labels, &confusion);
        let row_count = top.len() as f64;
        let correct = top.iter().filter(|(_, is_correct)| *is_correct).count() as f64;
        let uncalibrated = || LabelProbabilities::undo_temperature(&scored, temperature).measure();
        Self {
            accuracy: ratio(correct, row_count),
            accuracy_interval: wilson_interval(correct, row_count),
            macro_f1: macro_f1(&classes, &confusion),
            weighted_f1: weighted_f1(&classes, row_count),
            probability: reported.measure(),
            uncalibrated: (temperature != 1.0).then(uncalibrated),
            fit: own_labels.then(|| Fit::new(&scored, temperature)).flatten(),
            coverage: coverage_curve(&top),
            classes,
            confusion,
        }
    }
}

fn classes(labels: &[Arc<str>], confusion: &[Vec<u64>]) -> Vec<Class> {
    let class = |(index, label): (usize, &Arc<str>)| {
        let counts = LabelCounts {
            hits: confusion[index][index],
            predicted: confusion.iter().map(|row| row[index]).sum(),
            support: confusion[index].iter().sum(),
        };
        counts.class(label)
    };
    labels.iter().enumerate().map(class).collect()
}

/// Labels that occur neither in the file nor among the predictions are ignored.
fn macro_f1(classes: &[Class], confusion: &[Vec<u64>]) -> f64 {
    let occurs = |(index, class): &(usize, &Class)| class.support > 0 || confusion.iter().any(|row| row[*index] > 0);
    let occurring: Vec<(usize, &Class)> = classes.iter().enumerate().filter(occurs).collect();
    mean(occurring.iter().map(|(_, class)| class.f1))
}

/// Returns the mean F1, weighted by support. `total` is the sum of all supports.
pub(super) fn weighted_f1(classes: &[Class], total: f64) -> f64 {
    ratio(classes.iter().map(|class| class.support as f64 * class.f1).sum(), total)
}

/// Counts of predictions and correct predictions, of one label or several together.
#[derive(Clone, Copy, Default)]
pub(super) struct LabelCounts {
    /// Correct predictions.
    pub hits: u64,
    /// All predictions.
    pub predicted: u64,
    /// Occurrences among the correct answers.
    pub support: u64,
}

impl LabelCounts {
    pub(super) fn precision(self) -> f64 {
        ratio(self.hits as f64, self.predicted as f64)
    }

    pub(super) fn recall(self) -> f64 {
        ratio(self.hits as f64, self.support as f64)
    }

    pub(super) fn f1(self) -> f64 {
        ratio(2.0 * self.hits as f64, (self.predicted + self.support) as f64)
    }

    pub(super) fn class(self, label: &Arc<str>) -> Class {
        Class {
            label: Arc::clone(label),
            precision: self.precision(),
            recall: self.recall(),
            f1: self.f1(),
            support: self.support,
        }
    }
}

impl std::iter::Sum for LabelCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, counts| Self {
            hits: sum.hits + counts.hits,
            predicted: sum.predicted + counts.predicted,
            support: sum.support + counts.support,
        })
    }
}

/// Wilson (1927). Unlike the normal approximation, it also holds for few rows and near 0 and 1.
fn wilson_interval(correct: f64, rows: f64) -> [f64; 2] {
    if rows == 0.0 {
        return [0.0, 1.0];
    }
    let (p, z2) = (correct / rows, Z_95 * Z_95);
    let middle = p + z2 / (2.0 * rows);
    let half = Z_95 * (p * (1.0 - p) / rows + z2 / (4.0 * rows * rows)).sqrt();
    let bounds = [middle - half, middle + half].map(|bound| bound / (1.0 + z2 / rows));
    bounds.map(|bound| bound.clamp(0.0, 1.0))
}

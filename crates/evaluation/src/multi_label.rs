//! Metrics of models whose texts have any number of labels. Each label is measured on its own.

use std::sync::Arc;

use serde::Serialize;

use crate::classification::LabelCounts;
use crate::ratio::{mean, ratio};
use crate::{Class, Gold, ScoredRow};
use classifier::{MULTI_LABEL_THRESHOLD, ModelInfo};

/// Metrics of a multi-label model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MultiLabel {
    /// Labels with a score at or above it apply.
    pub threshold: f64,
    /// Share of the rows whose labels are all correct.
    pub exact_match: f64,
    /// F1 over all decisions for all labels together.
    pub micro_f1: f64,
    /// Mean over labels.
    pub macro_f1: f64,
    /// Mean average precision over the labels that occur. Does not depend on the threshold.
    pub mean_average_precision: f64,
    /// One entry per label, in the model's order.
    pub classes: Vec<Class>,
    /// Average precision of each label; absent for a label that no row has.
    pub average_precision: Vec<Option<f64>>,
}

impl MultiLabel {
    pub(super) fn from_rows(info: &ModelInfo, labels: &[Arc<str>], rows: &[ScoredRow]) -> Self {
        let threshold = info.threshold.unwrap_or(MULTI_LABEL_THRESHOLD);
        let scored: Vec<(&[usize], &[f32])> = rows
            .iter()
            .filter_map(|row| match &row.gold {
                Gold::Labels(gold) => Some((gold.as_slice(), row.scores())),
                _ => None,
            })
            .collect();
        let (counts, exact) = count_decisions(&scored, labels.len(), threshold);
        let classes: Vec<Class> = labels.iter().zip(&counts).map(|(label, counts)| counts.class(label)).collect();
        let average_precision: Vec<Option<f64>> = (0..labels.len())
            .map(|label| {
                let decide = |(gold, scores): &(&[usize], &[f32])| (scores[label], gold.contains(&label));
                average_precision(scored.iter().map(decide).collect())
            })
            .collect();
        let present: Vec<f64> = average_precision.iter().flatten().copied().collect();
        Self {
            threshold: f64::from(threshold),
            exact_match: ratio(exact as f64, scored.len() as f64),
            micro_f1: counts.iter().copied().sum::<LabelCounts>().f1(),
            macro_f1: mean(classes.iter().map(|class| class.f1)),
            mean_average_precision: mean(present.iter().copied()),
            average_precision,
            classes,
        }
    }
}

/// Counts each label's decisions, and the rows whose decisions are all correct.
fn count_decisions(scored: &[(&[usize], &[f32])], labels: usize, threshold: f32) -> (Vec<LabelCounts>, u64) {
    let mut counts = vec![LabelCounts::default(); labels];
    let mut exact = 0;
    for (gold, scores) in scored {
        let mut all_correct = true;
        for (label, counts) in counts.iter_mut().enumerate() {
            let (applies, predicted) = (gold.contains(&label), scores[label] >= threshold);
            counts.hits += u64::from(applies && predicted);
            counts.predicted += u64::from(predicted);
            counts.support += u64::from(applies);
            all_correct &= applies == predicted;
        }
        exact += u64::from(all_correct);
    }
    (counts, exact)
}

/// Sums, over thresholds, the precision times the recall gained. Equal scores share one threshold.
fn average_precision(mut rows: Vec<(f32, bool)>) -> Option<f64> {
    let positives = rows.iter().filter(|(_, applies)| *applies).count() as f64;
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut hits, mut seen, mut sum) = (0.0, 0.0, 0.0);
    for tied in rows.chunk_by(|a, b| a.0 == b.0) {
        let gained = tied.iter().filter(|(_, applies)| *applies).count() as f64;
        hits += gained;
        seen += tied.len() as f64;
        sum += gained * hits / seen;
    }
    (positives > 0.0).then(|| sum / positives)
}

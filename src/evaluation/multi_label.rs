//! Models of which any number of labels may apply: each label counted for itself.

use std::sync::Arc;

use serde::Serialize;

use crate::evaluation::classification::f1;
use crate::evaluation::{Class, Gold, Judged, mean, scores, share};
use crate::prediction::{MULTI_LABEL_THRESHOLD, ModelInfo};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MultiLabel {
    /// Labels with a score at or above it apply.
    pub threshold: f64,
    /// Share of the rows of which all labels are right.
    pub exact_match: f64,
    /// All decisions of all labels together.
    pub micro_f1: f64,
    /// Plain mean over labels.
    pub macro_f1: f64,
    /// Mean over the labels that occur of the precision at each recall; needs no threshold.
    pub mean_average_precision: f64,
    /// In the order of the model's labels.
    pub classes: Vec<Class>,
    /// The same for each label; absent where no row has it.
    pub average_precision: Vec<Option<f64>>,
}

impl MultiLabel {
    pub(super) fn of(info: &ModelInfo, labels: &[Arc<str>], rows: &[Judged]) -> Self {
        let threshold = info.threshold.unwrap_or(MULTI_LABEL_THRESHOLD);
        let judged: Vec<(&[usize], &[f32])> = rows
            .iter()
            .filter_map(|row| match &row.gold {
                Gold::Labels(gold) => Some((gold.as_slice(), scores(row))),
                _ => None,
            })
            .collect();
        let mut counts = vec![(0, 0, 0); labels.len()];
        let mut exact = 0;
        for (gold, scores) in &judged {
            let mut all = true;
            for (number, (hits, predicted, support)) in counts.iter_mut().enumerate() {
                let (applies, given) = (gold.contains(&number), scores[number] >= threshold);
                *hits += u64::from(applies && given);
                *predicted += u64::from(given);
                *support += u64::from(applies);
                all &= applies == given;
            }
            exact += u64::from(all);
        }
        let class = |(label, (hits, predicted, support)): (&Arc<str>, &(u64, u64, u64))| {
            let (precision, recall, f1) = f1(*hits, *predicted, *support);
            Class { label: Arc::clone(label), precision, recall, f1, support: *support }
        };
        let classes: Vec<Class> = labels.iter().zip(&counts).map(class).collect();
        let sum = |part: fn(&(u64, u64, u64)) -> u64| counts.iter().map(part).sum();
        let average_precision: Vec<Option<f64>> = (0..labels.len())
            .map(|number| {
                let of_label = judged.iter().map(|(gold, scores)| (scores[number], gold.contains(&number)));
                average_precision(of_label.collect())
            })
            .collect();
        let present: Vec<f64> = average_precision.iter().flatten().copied().collect();
        Self {
            threshold: f64::from(threshold),
            exact_match: share(exact as f64, judged.len() as f64),
            micro_f1: f1(sum(|count| count.0), sum(|count| count.1), sum(|count| count.2)).2,
            macro_f1: mean(classes.iter().map(|class| class.f1)),
            mean_average_precision: mean(present.iter().copied()),
            average_precision,
            classes,
        }
    }
}

/// Sum over thresholds of precision times the recall gained there; equal scores are one threshold.
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

//! Taggers, counted as seqeval counts (its default mode): an entity is right if its label, its start and its end are.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::evaluation::classification::f1;
use crate::evaluation::{Class, Gold, Judged, mean, share};
use crate::prediction::Outcome;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tagging {
    /// Entities of all labels together.
    pub micro_precision: f64,
    pub micro_recall: f64,
    pub micro_f1: f64,
    /// Plain mean over labels.
    pub macro_f1: f64,
    /// Mean over labels, weighed by their entities.
    pub weighted_f1: f64,
    /// By name; support counts entities.
    pub classes: Vec<Class>,
}

impl Tagging {
    pub(super) fn of(rows: &[Judged]) -> Self {
        // Of each label: found and right, found, there.
        let mut counts: BTreeMap<Arc<str>, (u64, u64, u64)> = BTreeMap::new();
        for row in rows {
            let (Gold::Entities(gold), Outcome::Entities(found)) = (&row.gold, &row.prediction.outcome) else {
                continue;
            };
            for (start, end, label) in gold {
                let counted = counts.entry(Arc::clone(label)).or_default();
                counted.2 += 1;
                let same = |entity: &&crate::prediction::Entity| {
                    entity.label == *label && (entity.start as usize, entity.end as usize) == (*start, *end)
                };
                counted.0 += u64::from(found.iter().any(|entity| same(&entity)));
            }
            for entity in found {
                counts.entry(Arc::clone(&entity.label)).or_default().1 += 1;
            }
        }
        let total = |part: fn(&(u64, u64, u64)) -> u64| -> u64 { counts.values().map(part).sum() };
        let (micro_precision, micro_recall, micro_f1) =
            f1(total(|count| count.0), total(|count| count.1), total(|count| count.2));
        let there = total(|count| count.2) as f64;
        let class = |(label, (hits, predicted, support)): (Arc<str>, (u64, u64, u64))| {
            let (precision, recall, f1) = f1(hits, predicted, support);
            Class { label, precision, recall, f1, support }
        };
        let classes: Vec<Class> = counts.into_iter().map(class).collect();
        Self {
            micro_precision,
            micro_recall,
            micro_f1,
            macro_f1: mean(classes.iter().map(|class| class.f1)),
            weighted_f1: share(classes.iter().map(|class| class.support as f64 * class.f1).sum(), there),
            classes,
        }
    }
}

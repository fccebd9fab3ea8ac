//! Metrics of taggers, counted as seqeval counts them (default mode): an entity is correct if its
//! label, start and end are.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::classification::{LabelCounts, weighted_f1};
use crate::ratio::mean;
use crate::{Class, Gold, GoldEntity, ScoredRow};
use classifier::{Entity, Outcome};

/// Metrics of a tagger.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tagging {
    /// Precision over the entities of all labels together.
    pub micro_precision: f64,
    /// Recall over the entities of all labels together.
    pub micro_recall: f64,
    /// F1 over the entities of all labels together.
    pub micro_f1: f64,
    /// Mean over labels.
    pub macro_f1: f64,
    /// Mean over labels, weighted by their entities.
    pub weighted_f1: f64,
    /// One entry per label, by name. Support counts entities.
    pub classes: Vec<Class>,
}

impl Tagging {
    pub(super) fn from_rows(rows: &[ScoredRow]) -> Self {
        let counts = count_entities(rows);
        let total: LabelCounts = counts.values().copied().sum();
        let classes: Vec<Class> = counts.iter().map(|(label, counts)| counts.class(label)).collect();
        Self {
            micro_precision: total.precision(),
            micro_recall: total.recall(),
            micro_f1: total.f1(),
            macro_f1: mean(classes.iter().map(|class| class.f1)),
            weighted_f1: weighted_f1(&classes, total.support as f64),
            classes,
        }
    }
}

fn count_entities(rows: &[ScoredRow]) -> BTreeMap<Arc<str>, LabelCounts> {
    let mut counts: BTreeMap<Arc<str>, LabelCounts> = BTreeMap::new();
    for row in rows {
        let (Gold::Entities(gold), Outcome::Entities(predicted)) = (&row.gold, &row.prediction.outcome) else {
            continue;
        };
        for entity in gold {
            let of_label = counts.entry(Arc::clone(&entity.2)).or_default();
            of_label.support += 1;
            of_label.hits += u64::from(contains(predicted, entity));
        }
        for entity in predicted {
            counts.entry(Arc::clone(&entity.label)).or_default().predicted += 1;
        }
    }
    counts
}

/// Returns whether a predicted entity has this start, end and label.
pub(super) fn contains(predicted: &[Entity], (start, end, label): &GoldEntity) -> bool {
    predicted.iter().any(|entity| {
        let bounds = (entity.start as usize, entity.end as usize);
        entity.label == *label && bounds == (*start, *end)
    })
}

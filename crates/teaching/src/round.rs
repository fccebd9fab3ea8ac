//! The answer to a round: what was learned, what to read again, and which rows to label next.
//!
//! Doc comments of serialized types are product text: they become the schemas that the assistant
//! reads.

use std::collections::{BTreeMap, BTreeSet};

use learning::{Row, clusters, first_rows, next_rows};
use schemars::JsonSchema;
use serde::Serialize;

use crate::fit::{Fit, is_settled};
use crate::pool::{Examples, Pool, shown};
use crate::state::State;

/// Rows to label at the start, and in later rounds.
const FIRST: usize = 20;
const NEXT: usize = 15;
/// Labels to read again in one round. With the next rows, at most 20 texts are returned.
const MAX_DOUBTS: usize = 5;
/// Rows that resemble labels without an example, in one round and for each label.
const MAX_SOUGHT: usize = 6;
const SOUGHT_PER_LABEL: usize = 2;
/// With fewer examples, some of the five parts of a cross-validation have none.
const ENOUGH: usize = 5;
const GROUPS: usize = 12;

// A row with the beginning of its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ShownRow {
    /// From 1, without the header.
    pub row: u64,
    /// At most 300 characters.
    pub text: String,
}

// A label that looks wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ShownDoubt {
    pub row: u64,
    pub text: String,
    pub label: String,
    /// What the model would say.
    pub likely: String,
}

/// A label with the number of its examples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelFacts {
    pub name: String,
    pub meaning: Option<String>,
    pub examples: usize,
}

/// The file of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    pub rows: u64,
    /// Rows kept for the audit.
    pub audit_rows: usize,
}

// Similar rows of the file, and the words that tell them from the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Group {
    /// Sampled texts in the group.
    pub texts: usize,
    pub words: Vec<String>,
    pub central: Vec<ShownRow>,
}

/// What is stated about the model at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No audit was made.
    Unaudited,
    /// The last statement is about this model.
    Holds,
    /// The model changed since the last statement.
    Void,
}

/// The answer to a round.
#[derive(Clone, Debug)]
pub struct Round {
    pub name: String,
    pub file: Option<FileFacts>,
    pub labels: Vec<LabelFacts>,
    /// The features and strength of the best candidate; `None` before two labels have examples.
    pub head: Option<String>,
    /// Whether the model that is served must be loaded again.
    pub is_new: bool,
    /// Labels that deserve a second reading.
    pub doubts: Vec<ShownDoubt>,
    /// Labels with fewer than five examples.
    pub few: Vec<String>,
    /// Rows to label next.
    pub ask: Vec<ShownRow>,
    pub groups: Vec<Group>,
    /// Whether the last 30 labels changed less than 5 % of the predictions.
    pub settled: bool,
    /// Labelled texts of the file left out, because rows with the text have different labels.
    pub left_out: u64,
    pub standing: Standing,
}

/// Everything that a round is made from.
pub(crate) struct RoundParts<'a> {
    pub state: &'a State,
    pub pool: &'a Pool,
    pub examples: &'a Examples,
    pub fit: Option<&'a Fit>,
    /// Names of the labels without an example, encoded.
    pub missing: &'a [Row],
    pub left_out: u64,
}

impl RoundParts<'_> {
    pub(crate) fn round(&self, name: &str, explore: bool) -> Round {
        let Self { state, examples, fit, left_out, .. } = *self;
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, label) in &examples.given {
            *counts.entry(&examples.labels[*label]).or_default() += 1;
        }
        let count = |name: &str| counts.get(name).copied().unwrap_or_default();
        let labels = state.labels.iter().map(|label| LabelFacts {
            name: label.name.clone(),
            meaning: label.meaning.clone(),
            examples: count(&label.name),
        });
        let labels: Vec<LabelFacts> = labels.collect();
        let few = labels.iter().filter(|label| label.examples < ENOUGH).map(|label| label.name.clone());
        let file =
            state.source.as_ref().map(|source| FileFacts { rows: source.rows, audit_rows: state.audit.rows.len() });
        let standing = match (&state.audit.statement, fit) {
            (None, _) => Standing::Unaudited,
            (Some(statement), Some(fit)) if statement.head == fit.digest => Standing::Holds,
            _ => Standing::Void,
        };
        let doubts = self.doubts();
        Round {
            name: name.to_owned(),
            file,
            few: few.collect(),
            labels,
            head: fit.and_then(|_| state.head.clone()),
            is_new: fit.is_some_and(|fit| fit.is_new),
            ask: if explore { Vec::new() } else { self.ask(&doubts) },
            groups: if explore { self.groups() } else { Vec::new() },
            doubts,
            settled: is_settled(&state.rounds),
            left_out,
            standing,
        }
    }

    /// Labels to read again, except those that were given twice.
    fn doubts(&self) -> Vec<ShownDoubt> {
        let doubts = self.fit.map(|fit| fit.doubts.as_slice()).unwrap_or_default();
        let shown_doubt = |doubt: &crate::fit::Doubt| {
            let item = &self.pool.items[doubt.item];
            let (row, taught) = self.state.rows.iter().find(|(_, taught)| taught.digest == item.digest)?;
            (!taught.confirmed).then(|| ShownDoubt {
                row: *row,
                text: shown(&item.text),
                label: taught.label.clone(),
                likely: doubt.likely.clone(),
            })
        };
        doubts.iter().filter_map(shown_doubt).take(MAX_DOUBTS).collect()
    }

    fn ask(&self, doubts: &[ShownDoubt]) -> Vec<ShownRow> {
        let Self { pool, examples, state, fit, .. } = self;
        let mut taken: BTreeSet<usize> = examples.given.iter().map(|(item, _)| *item).collect();
        taken.extend((0..pool.items.len()).filter(|item| pool.items[*item].row.is_none()));
        let mut chosen = self.resembling_missing_labels(&taken);
        taken.extend(&chosen);
        if let Some(fit) = fit {
            let count = NEXT.min(FIRST - doubts.len()) - chosen.len();
            let taken: Vec<usize> = taken.into_iter().collect();
            chosen.extend(next_rows(&pool.rows, &fit.probabilities, &taken, count, state.seed));
        } else {
            // Spread-out rows that are labelled already are followed by others.
            let spread = first_rows(&pool.rows, FIRST + taken.len(), state.seed);
            let count = FIRST - chosen.len();
            chosen.extend(spread.into_iter().filter(|item| !taken.contains(item)).take(count));
        }
        let row = |item: &usize| Some(ShownRow { row: pool.items[*item].row?, text: shown(&pool.items[*item].text) });
        chosen.iter().filter_map(row).collect()
    }

    /// Rows that resemble the name or meaning of a label without an example. They are not random,
    /// which does not matter for teaching.
    fn resembling_missing_labels(&self, taken: &BTreeSet<usize>) -> Vec<usize> {
        let mut chosen: Vec<usize> = Vec::new();
        for name in self.missing {
            let mut near: Vec<(f32, usize)> = (0..self.pool.rows.len())
                .filter(|item| !taken.contains(item) && !chosen.contains(item))
                .map(|item| (cosine(&self.pool.rows[item].sentence, &name.sentence), item))
                .collect();
            near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            chosen.extend(near.into_iter().take(SOUGHT_PER_LABEL).map(|(_, item)| item));
        }
        chosen.truncate(MAX_SOUGHT);
        chosen
    }

    fn groups(&self) -> Vec<Group> {
        let texts: Vec<&str> = self.pool.items.iter().map(|item| item.text.as_str()).collect();
        let row = |item: &usize| {
            let item = &self.pool.items[*item];
            Some(ShownRow { row: item.row?, text: shown(&item.text) })
        };
        let groups = clusters(&self.pool.rows, &texts, GROUPS, self.state.seed);
        let group = |cluster: learning::Cluster| Group {
            texts: cluster.size,
            words: cluster.words,
            central: cluster.central.iter().filter_map(row).collect(),
        };
        groups.into_iter().map(group).collect()
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

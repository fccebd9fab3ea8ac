//! The texts that a fit sees: the sample of the file, labelled rows outside it, and examples.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use learning::Row;
use sha2::{Digest as _, Sha256};

use cache_dir::digest::hex;

use crate::digest::Digest;
use crate::encode::Encode;
use crate::error::Error;
use crate::state::State;
use crate::survey::{MAX_TEXT, Survey, beginning};
use crate::vectors::Vectors;
use crate::watch::Watch;

/// Characters of a text that are shown.
const MAX_SHOWN: usize = 300;

/// A text, and the row of the file that has it.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// `None` for an example without a file.
    pub row: Option<u64>,
    pub digest: Digest,
    pub text: String,
    /// Rows of the file with this text, if it was sampled.
    pub rows: u64,
}

/// The texts with their vectors; both lists have the same order.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pub items: Vec<Item>,
    pub rows: Vec<Row>,
    index: HashMap<Digest, usize>,
}

/// What is learned from: items of the pool and their labels.
pub(crate) struct Examples {
    /// Labels that have an example.
    pub labels: Vec<String>,
    /// Item and label, by item.
    pub given: Vec<(usize, usize)>,
    /// Identifies all of this.
    pub sha256: String,
}

impl Pool {
    /// Collects the texts and encodes those that are new.
    ///
    /// # Errors
    /// An encoder that cannot be used, or `Cancelled`.
    pub(crate) fn new(
        state: &State,
        survey: Option<&Survey>,
        vectors: &mut Vectors,
        encode: &dyn Encode,
        watch: &Watch<'_>,
    ) -> Result<Self, Error> {
        let sealed = state.sealed();
        let mut items: BTreeMap<Digest, Item> = BTreeMap::new();
        if let Some(survey) = survey {
            for found in &survey.sample {
                let item =
                    Item { row: Some(found.row), digest: found.digest, text: found.text.clone(), rows: found.rows };
                items.insert(found.digest, item);
            }
            let labelled = survey.wanted.values().filter(|found| state.rows.contains_key(&found.row));
            for found in labelled.filter(|found| !sealed.contains(&found.digest)) {
                let text = beginning(&found.text, MAX_TEXT).to_owned();
                let item = Item { row: Some(found.row), digest: found.digest, text, rows: 0 };
                items.entry(found.digest).or_insert(item);
            }
        }
        for example in &state.examples {
            let digest = Digest::of(&example.text);
            if !sealed.contains(&digest) {
                let item = Item { row: None, digest, text: example.text.clone(), rows: 0 };
                items.entry(digest).or_insert(item);
            }
        }
        // The order must not depend on when a text was added.
        let items: Vec<Item> = items.into_values().collect();
        let index = items.iter().enumerate().map(|(number, item)| (item.digest, number)).collect();
        let mut pool = Self { items, rows: Vec::new(), index };
        pool.rows = pool.encoded(vectors, encode, watch)?;
        Ok(pool)
    }

    /// Returns a copy of the pool whose rows are by these encoders.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn with_encoders(
        &self,
        vectors: &mut Vectors,
        encode: &dyn Encode,
        watch: &Watch<'_>,
    ) -> Result<Self, Error> {
        let rows = self.encoded(vectors, encode, watch)?;
        Ok(Self { items: self.items.clone(), rows, index: self.index.clone() })
    }

    /// Returns the rows of the items by these encoders.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn encoded(
        &self,
        vectors: &mut Vectors,
        encode: &dyn Encode,
        watch: &Watch<'_>,
    ) -> Result<Vec<Row>, Error> {
        vectors.add(self.items.iter().map(|item| (item.digest, item.text.as_str())), encode, watch)?;
        Ok(self.items.iter().map(|item| vectors.row(&item.digest, &item.text)).collect())
    }

    /// Returns the examples of a fit. Texts of audit rows are left out.
    pub(crate) fn examples(&self, state: &State) -> Examples {
        let rows = state.rows.values().map(|taught| (taught.digest, &taught.label));
        let others = state.examples.iter().map(|example| (Digest::of(&example.text), &example.label));
        let by_item: BTreeMap<usize, &String> =
            rows.chain(others).filter_map(|(digest, label)| Some((*self.index.get(&digest)?, label))).collect();
        let used: BTreeSet<&String> = by_item.values().copied().collect();
        // In alphabetical order, which does not depend on the order of the calls.
        let labels: Vec<String> = used.iter().map(|name| (*name).clone()).collect();
        let number = |name: &String| labels.iter().position(|label| label == name);
        let given: Vec<(usize, usize)> =
            by_item.iter().filter_map(|(item, label)| Some((*item, number(label)?))).collect();
        let mut meanings: Vec<_> = state.labels.iter().filter(|label| used.contains(&label.name)).collect();
        meanings.sort_by_key(|label| &label.name);
        let texts: Vec<_> = given.iter().map(|(item, label)| (self.items[*item].digest, label)).collect();
        let sha256 = hex(&Sha256::digest(format!("{} {meanings:?} {texts:?}", state.encoder)));
        Examples { labels, given, sha256 }
    }
}

/// Returns the beginning of a text as it is shown, on one line.
pub(crate) fn shown(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

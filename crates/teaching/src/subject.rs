//! The examples that an encoder is tuned on, and fits on parts of them.

use learning::{Row, Teaching};
use sha2::{Digest as _, Sha256};

use crate::encode::TunedEncoder;
use crate::error::Error;
use crate::pool::{Examples, Pool};
use crate::state::State;
use crate::watch::Watch;

/// Parts of the cross-validation.
pub(crate) const PARTS: usize = 3;
/// Examples that a label needs to count, and examples that at least two such labels need together.
/// With fewer, three parts tell nothing.
const MIN_OF_LABEL: usize = 3;
const MIN_EXAMPLES: usize = 12;
/// More examples take many minutes on two processors.
const MAX_EXAMPLES: usize = 2000;
/// Texts without a label that a fit on a tuned encoder sees in the cross-validation. The encoder
/// has to read them in each part.
const UNLABELLED: usize = 200;

/// The examples of a model while it is being tuned. The model is not locked meanwhile.
pub(crate) struct Subject {
    pub state: State,
    pub pool: Pool,
    pub examples: Examples,
    /// Rows of the names of labels.
    pub names: Vec<Row>,
}

impl Subject {
    pub(crate) fn check_size(&self, name: &str) -> Result<(), Error> {
        let mut counts = vec![0; self.examples.labels.len()];
        self.examples.given.iter().for_each(|&(_, label)| counts[label] += 1);
        let usable: Vec<usize> = counts.into_iter().filter(|&count| count >= MIN_OF_LABEL).collect();
        let found = usable.iter().sum();
        if self.examples.given.len() > MAX_EXAMPLES {
            let found = self.examples.given.len();
            let message = format!("{found} examples, expected at most {MAX_EXAMPLES}; the head alone learns from them");
            return Err(Error::NotTunable { message });
        }
        if usable.len() >= 2 && found >= MIN_EXAMPLES {
            return Ok(());
        }
        let (labels, each, expected) = (usable.len(), MIN_OF_LABEL, MIN_EXAMPLES);
        Err(Error::TooFewToTune { name: name.to_owned(), found, labels, each, expected })
    }

    /// Returns the part of each example. Those of one label are spread evenly.
    pub(crate) fn parts(&self) -> Vec<usize> {
        let given = &self.examples.given;
        let key = |&example: &usize| {
            let (item, label) = given[example];
            let digest = self.pool.items[item].digest.0;
            (label, Sha256::new_with_prefix(self.state.seed.to_le_bytes()).chain_update(digest).finalize())
        };
        let mut order: Vec<usize> = (0..given.len()).collect();
        order.sort_by_cached_key(key);
        let mut parts = vec![0; given.len()];
        order.iter().enumerate().for_each(|(place, &example)| parts[example] = place % PARTS);
        parts
    }

    /// Fits a head on some of the examples. `accuracies` are those of the candidates, if they are
    /// known. Rows without a vector are not seen.
    pub(crate) fn fit(
        &self,
        (rows, names): (&[Row], &[Row]),
        seen: &[usize],
        accuracies: Option<&[f64]>,
        watch: &Watch<'_>,
    ) -> Result<learning::Head, Error> {
        let cancelled = || watch.cancellation.is_cancelled();
        self.teach((rows, names), seen, |teaching| {
            Ok(learning::fit(&Teaching { accuracies, ..teaching }, &cancelled)?.head)
        })
    }

    /// Returns how many of the other examples each candidate labels correctly.
    pub(crate) fn right_by_candidate(
        &self,
        (rows, names): (&[Row], &[Row]),
        (seen, others): (&[usize], &[usize]),
        watch: &Watch<'_>,
    ) -> Result<Vec<usize>, Error> {
        let cancelled = || watch.cancellation.is_cancelled();
        let others: Vec<(&Row, usize)> = others
            .iter()
            .map(|&example| {
                let (item, label) = self.examples.given[example];
                (&rows[item], label)
            })
            .collect();
        self.teach((rows, names), seen, |teaching| Ok(learning::right_by_candidate(&teaching, &others, &cancelled)?))
    }

    fn teach<T>(
        &self,
        (rows, names): (&[Row], &[Row]),
        seen: &[usize],
        learn: impl FnOnce(Teaching<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut known: Vec<usize> = (0..rows.len()).filter(|&item| !rows[item].sentence.is_empty()).collect();
        let left_out = |item: &usize| {
            let example = self.examples.given.binary_search_by_key(item, |&(item, _)| item);
            example.is_ok_and(|example| seen.binary_search(&example).is_err())
        };
        known.retain(|item| !left_out(item));
        let pool: Vec<Row> = known.iter().map(|&item| rows[item].clone()).collect();
        let labels: Vec<(usize, usize)> = seen
            .iter()
            .filter_map(|&example| {
                let (item, label) = self.examples.given[example];
                Some((known.binary_search(&item).ok()?, label))
            })
            .collect();
        learn(Teaching {
            labels: &labels,
            label_count: self.examples.labels.len(),
            label_names: Some(names),
            seed: self.state.seed,
            ..Teaching::new(&pool)
        })
    }

    /// Returns the rows of the examples and of some other items; those of the rest have no vector.
    pub(crate) fn tuned_rows(&self, tuned: &dyn TunedEncoder) -> Result<Vec<Row>, Error> {
        let given: Vec<usize> = self.examples.given.iter().map(|&(item, _)| item).collect();
        let others = (0..self.pool.items.len()).filter(|item| given.binary_search(item).is_err());
        // Items are in the order of their digests, so the first ones are a random choice.
        let read: Vec<usize> = given.iter().copied().chain(others.take(UNLABELLED)).collect();
        let texts: Vec<&str> = read.iter().map(|&item| self.pool.items[item].text.as_str()).collect();
        let mut rows = vec![Row::default(); self.pool.items.len()];
        for (item, sentence) in read.into_iter().zip(tuned.vectors(&texts)?) {
            rows[item] = Row { sentence, ..self.pool.rows[item].clone() };
        }
        Ok(rows)
    }

    pub(crate) fn tuned_names(&self, tuned: &dyn TunedEncoder) -> Result<Vec<Row>, Error> {
        let texts: Vec<String> = self.state.names(&self.examples.labels);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let vectors = tuned.vectors(&texts)?;
        Ok(self.names.iter().zip(vectors).map(|(name, sentence)| Row { sentence, ..name.clone() }).collect())
    }
}

//! Results by key: bounded in bytes, one run for identical calls, failures not kept.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cache_dir::digest_key::DigestKey;
use classifier::{Input, Outcome, Prediction};
use sha2::Digest;

use crate::error::Error;
use crate::job::{RunOutput, Timing};
use crate::request::AnsweredBy;
use crate::results::SavedResult;

/// Digests of the model (settings included) and of the input (keyed): 512 bits, compared in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub model: [u8; 32],
    pub input: [u8; 32],
}

/// Bytes of an entry without its scores: key, counts, moka's bookkeeping, malloc's overhead.
/// Measured: a process grows by 520 to 550 bytes for each result of three labels.
const ENTRY_OVERHEAD_BYTES: usize = 530;

pub(crate) struct Cache {
    entries: moka::future::Cache<Key, Entry>,
    key: DigestKey,
}

#[derive(Clone)]
struct Entry {
    prediction: Arc<Prediction>,
    /// The number of calls that it answered, earlier sessions included.
    hits: Arc<AtomicU32>,
    precomputed: bool,
}

impl Entry {
    fn new(prediction: Prediction, hits: u32, precomputed: bool) -> Self {
        Self { prediction: Arc::new(prediction), hits: Arc::new(hits.into()), precomputed }
    }

    fn bytes(&self) -> usize {
        ENTRY_OVERHEAD_BYTES
            + match &self.prediction.outcome {
                Outcome::Scores(scores) => size_of_val(&**scores),
                Outcome::Entities(entities) => {
                    entities.iter().map(|entity| size_of_val(entity) + entity.label.len()).sum()
                }
            }
    }
}

impl Cache {
    pub(crate) fn new(capacity_bytes: u64, key: DigestKey) -> Self {
        let weigh = |_: &Key, entry: &Entry| u32::try_from(entry.bytes()).unwrap_or(u32::MAX);
        let entries = moka::future::Cache::builder().max_capacity(capacity_bytes).weigher(weigh).build();
        Self { entries, key }
    }

    /// Returns the digest of an input. Each part is hashed with its length, so that different
    /// inputs have different encodings.
    ///
    /// # Why not a shorter or faster hash?
    /// The digest stands for the text in the cache: a second text with the same digest would get
    /// the first one's answer. MD5 collisions are easy to make. SHA-256 costs 0.1 µs more.
    pub(crate) fn digest(&self, input: &Input) -> [u8; 32] {
        let mut hasher = self.key.hasher();
        let parts = [input.text.as_str(), input.text_pair.as_deref().unwrap_or_default()];
        for part in parts.into_iter().chain(input.labels.iter().map(String::as_str)) {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        if let Some(question) = &input.question {
            // No part is as long as this.
            hasher.update(u64::MAX.to_le_bytes());
            hasher.update([question.kind.map_or(0, |kind| 1 + kind as u8), u8::from(question.text.is_some())]);
            for part in question.text.iter().chain(&question.descriptions) {
                hasher.update((part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        hasher.finalize().into()
    }

    /// Returns the result under `key`, if there is one.
    pub(crate) async fn get(&self, key: &Key) -> Option<(Arc<Prediction>, AnsweredBy)> {
        let entry = self.entries.get(key).await?;
        entry.hits.fetch_add(1, Ordering::Relaxed);
        let answered_by = if entry.precomputed { AnsweredBy::Precomputed } else { AnsweredBy::Cache };
        Some((entry.prediction, answered_by))
    }

    /// Returns whether there is a result, without counting a hit.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }

    /// Returns the result of `run`, or of an identical call that is already running. The timing is
    /// `None` in the second case.
    ///
    /// If the call that runs is cancelled, one of those that joined it starts its own run.
    pub(crate) async fn join_or_run(
        &self,
        key: Key,
        run: impl Future<Output = Result<RunOutput, Error>>,
    ) -> Result<(Arc<Prediction>, Option<Timing>), Error> {
        let mut timing = None;
        let run = async {
            let output = run.await?;
            timing = Some(output.timing);
            Ok(Entry::new(output.prediction, 0, false))
        };
        let entry = self.entries.try_get_with(key, run).await.map_err(|error: Arc<Error>| Error::clone(&error))?;
        if timing.is_none() {
            entry.hits.fetch_add(1, Ordering::Relaxed);
        }
        Ok((entry.prediction, timing))
    }

    /// Adds a result that no call is waiting for. `hits` are those of earlier sessions.
    pub(crate) async fn insert(
        &self,
        key: Key,
        prediction: Prediction,
        hits: u32,
        precomputed: bool,
    ) -> Arc<Prediction> {
        let entry = Entry::new(prediction, hits, precomputed);
        self.entries.insert(key, entry.clone()).await;
        entry.prediction
    }

    /// Returns the results of a model that answered the most calls, in descending order. Results
    /// that answered only one call are omitted.
    pub(crate) fn hottest(&self, model: &[u8; 32], max: usize) -> Vec<SavedResult> {
        let saved = |(key, entry): (Arc<Key>, Entry)| SavedResult {
            input: key.input,
            hits: entry.hits.load(Ordering::Relaxed),
            prediction: (*entry.prediction).clone(),
        };
        let of_model = self.entries.iter().filter(|(key, _)| key.model == *model);
        let mut results: Vec<SavedResult> = of_model.map(saved).filter(|saved| saved.hits > 0).collect();
        results.sort_by(|a, b| b.hits.cmp(&a.hits).then(a.input.cmp(&b.input)));
        results.truncate(max);
        results
    }

    /// Returns the number of entries.
    pub(crate) async fn len(&self) -> u64 {
        // moka counts only entries that it has processed, and defers that work.
        self.entries.run_pending_tasks().await;
        self.entries.entry_count()
    }
}

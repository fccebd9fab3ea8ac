//! Results by key: bounded in bytes, identical calls in flight run once, failures are not kept.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::engine::snapshot::Kept;
use crate::engine::workers::{Ran, Timing};
use crate::error::Error;
use crate::prediction::{Outcome, Prediction, Source};

/// Digests of the model, settings included, and of the input: 512 bits, compared in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub model: [u8; 32],
    pub input: [u8; 32],
}

/// Bytes of one entry beside its scores: key, counts, and moka's own bookkeeping (about 200, by its source).
const ENTRY_OVERHEAD_BYTES: usize = 320;

pub(super) struct Cache {
    inner: moka::future::Cache<Key, Entry>,
}

#[derive(Clone)]
struct Entry {
    prediction: Arc<Prediction>,
    /// How often it answered a call, earlier sessions included.
    hits: Arc<AtomicU32>,
    precomputed: bool,
}

impl Entry {
    fn new(prediction: Prediction, hits: u32, precomputed: bool) -> Self {
        Self { prediction: Arc::new(prediction), hits: Arc::new(hits.into()), precomputed }
    }
}

fn outcome_bytes(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Scores(scores) => size_of_val(&**scores),
        Outcome::Entities(entities) => entities.iter().map(|entity| size_of_val(entity) + entity.label.len()).sum(),
    }
}

impl Cache {
    pub(super) fn new(capacity_bytes: u64) -> Self {
        let weigh = |_: &Key, entry: &Entry| (ENTRY_OVERHEAD_BYTES + outcome_bytes(&entry.prediction.outcome)) as u32;
        Self { inner: moka::future::Cache::builder().max_capacity(capacity_bytes).weigher(weigh).build() }
    }

    pub(super) async fn get(&self, key: &Key) -> Option<(Arc<Prediction>, Source)> {
        let entry = self.inner.get(key).await?;
        entry.hits.fetch_add(1, Ordering::Relaxed);
        Some((entry.prediction, if entry.precomputed { Source::Precomputed } else { Source::Cache }))
    }

    /// The result under `key`, from `run` if nobody else is at it. The timing is there only if this call's `run` ran.
    ///
    /// When the caller at work goes away, one of those that wait takes over.
    pub(super) async fn get_or_run(
        &self,
        key: Key,
        precomputed: bool,
        run: impl Future<Output = Result<Ran, Error>>,
    ) -> Result<(Arc<Prediction>, Option<Timing>), Error> {
        let mut timing = None;
        let entry = self
            .inner
            .entry(key)
            .or_try_insert_with(async {
                let ran = run.await?;
                timing = Some(ran.timing);
                Ok::<_, Error>(Entry::new(ran.prediction, 0, precomputed))
            })
            .await
            .map_err(|error| (*error).clone())?;
        let prediction = Arc::clone(&entry.value().prediction);
        if timing.is_none() {
            entry.value().hits.fetch_add(1, Ordering::Relaxed);
        }
        Ok((prediction, timing))
    }

    /// Puts back a result of an earlier session.
    pub(super) async fn restore(&self, model: [u8; 32], kept: Kept) {
        let entry = Entry::new(kept.prediction, kept.hits, true);
        self.inner.insert(Key { model, input: kept.key }, entry).await;
    }

    /// A model's results that answered most calls, most first; those that answered none are left out.
    pub(super) fn hottest(&self, model: &[u8; 32], most: usize) -> Vec<Kept> {
        let mut results: Vec<Kept> = self
            .inner
            .iter()
            .filter(|(key, _)| key.model == *model)
            .map(|(key, entry)| Kept {
                key: key.input,
                hits: entry.hits.load(Ordering::Relaxed),
                prediction: (*entry.prediction).clone(),
            })
            .filter(|kept| kept.hits > 0)
            .collect();
        results.sort_by(|a, b| b.hits.cmp(&a.hits).then(a.key.cmp(&b.key)));
        results.truncate(most);
        results
    }

    /// Entries at present.
    pub(super) async fn len(&self) -> u64 {
        // moka counts what it has swept, and sweeps when it sees fit.
        self.inner.run_pending_tasks().await;
        self.inner.entry_count()
    }
}

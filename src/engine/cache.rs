//! Results by key: bounded in bytes, identical calls in flight run once, failures are not kept.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

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

/// Bytes of one entry beside its scores: key, counts, moka's own bookkeeping, and what malloc adds to each piece. Measured: a process
/// grows by 520 to 550 bytes for each result of three labels.
const ENTRY_OVERHEAD_BYTES: usize = 530;

pub(super) struct Cache {
    inner: moka::future::Cache<Key, Entry>,
    runs: Runs,
    last_run: AtomicU64,
}

/// What identical calls wait for together. Everyone drives it, and with the last who leaves it is dropped.
type Run = BoxFuture<'static, Result<(Entry, Timing), Error>>;

/// Runs under way, numbered.
#[derive(Clone, Default)]
struct Runs(Arc<Mutex<UnderWay>>);

type UnderWay = HashMap<Key, (u64, WeakShared<Run>)>;

impl Runs {
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a run off the list when it ends or nobody waits for it any more.
struct Listed {
    runs: Runs,
    key: Key,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut runs = self.runs.lock();
        // Where nobody waited, another may have begun meanwhile.
        if runs.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            runs.remove(&self.key);
        }
    }
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
        Self {
            inner: moka::future::Cache::builder().max_capacity(capacity_bytes).weigher(weigh).build(),
            runs: Runs::default(),
            last_run: AtomicU64::new(0),
        }
    }

    pub(super) async fn get(&self, key: &Key) -> Option<(Arc<Prediction>, Source)> {
        let entry = self.inner.get(key).await?;
        entry.hits.fetch_add(1, Ordering::Relaxed);
        Some((entry.prediction, if entry.precomputed { Source::Precomputed } else { Source::Cache }))
    }

    /// Whether there is a result, without counting the question.
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.inner.contains_key(key)
    }

    /// The result under `key`, from `run` if nobody else is at it. The timing is there only if this call's `run` ran.
    ///
    /// A run goes on while one of those that wait for it is left.
    pub(super) async fn get_or_run(
        &self,
        key: Key,
        precomputed: bool,
        run: impl Future<Output = Result<Ran, Error>> + Send + 'static,
    ) -> Result<(Arc<Prediction>, Option<Timing>), Error> {
        let (run, joined) = self.join(key, precomputed, run);
        let (entry, timing) = run.await?;
        if joined {
            entry.hits.fetch_add(1, Ordering::Relaxed);
        }
        Ok((entry.prediction, (!joined).then_some(timing)))
    }

    /// The run under way, or this one; and whether it was under way.
    fn join(
        &self,
        key: Key,
        precomputed: bool,
        run: impl Future<Output = Result<Ran, Error>> + Send + 'static,
    ) -> (Shared<Run>, bool) {
        let mut runs = self.runs.lock();
        if let Some(run) = runs.get(&key).and_then(|(_, run)| run.upgrade()) {
            return (run, true);
        }
        let number = self.last_run.fetch_add(1, Ordering::Relaxed);
        let listed = Listed { runs: self.runs.clone(), key, number };
        let inner = self.inner.clone();
        let run = async move {
            let _listed = listed;
            let ran = run.await?;
            let entry = Entry::new(ran.prediction, 0, precomputed);
            inner.insert(key, entry.clone()).await;
            Ok((entry, ran.timing))
        };
        let run = run.boxed().shared();
        if let Some(listed) = run.downgrade() {
            runs.insert(key, (number, listed));
        }
        (run, false)
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

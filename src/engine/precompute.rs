//! Answers that are in the cache before anybody asks: results of earlier sessions, and each model's frequent texts.

use std::sync::Arc;

use crate::engine::cache::Key;
use crate::engine::readiness::Served;
use crate::engine::snapshot::{self, Kept};
use crate::engine::{Engine, input_digest};
use crate::error::Error;
use crate::prediction::{Input, ModelInfo, Outcome, Task};

/// Fills the cache with results of earlier sessions, then with the model's frequent texts, one at a time, so that a call
/// never waits behind more than one of them.
pub(super) async fn run(engine: Arc<Engine>, model: Arc<Served>) {
    let ready = model.loaded().await;
    let info = &ready.info;
    let digest = info.digest;
    if let Some(folder) = engine.settings.snapshot_dir.clone() {
        let read = tokio::task::spawn_blocking(move || snapshot::load(&folder, &digest)).await;
        for kept in read.unwrap_or_default().into_iter().filter(|kept| fits(kept, info)) {
            engine.cache.restore(digest, kept).await;
        }
    }
    for text in &info.frequent_texts {
        let input = Input::single(text.as_str());
        if engine.check(&input).is_err() {
            continue;
        }
        let key = Key { model: digest, input: input_digest(&input) };
        let ran = engine.cache.get_or_run(key, true, ready.queue.run(Arc::new(input))).await;
        if matches!(ran, Err(Error::Overloaded { .. })) {
            // There is real work to do.
            return;
        }
    }
}

/// Whether a kept result can be one of this model's; the file may have been damaged in a way that still reads.
fn fits(kept: &Kept, info: &ModelInfo) -> bool {
    match &kept.prediction.outcome {
        Outcome::Scores(scores) => {
            !scores.is_empty()
                && scores.iter().all(|score| score.is_finite())
                && (scores.len() == info.labels.len() || info.takes_candidates)
        }
        Outcome::Entities(_) => info.task == Task::Tagging,
    }
}

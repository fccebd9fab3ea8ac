//! Answers that are in the cache before anybody asks: results of earlier sessions, and each model's frequent texts.

use std::sync::Arc;

use crate::engine::cache::Key;
use crate::engine::readiness::Served;
use crate::engine::snapshot::{self, Kept};
use crate::engine::{Engine, Lane, input_digest};
use crate::prediction::{Input, ModelInfo, Outcome, Task};

/// Fills the cache with results of earlier sessions, and once a first call has been answered with the model's frequent
/// texts, one at a time, in the time that calls leave.
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
    // Clients start many sessions that never call.
    model.statistics.first_answer().await;
    for text in &info.frequent_texts {
        let input = Input::single(text.as_str());
        if engine.check(&input).is_err() {
            continue;
        }
        ready.dispatch.idle().await;
        let key = Key { model: digest, input: input_digest(&input) };
        if engine.cache.holds(&key) {
            continue;
        }
        let run = Arc::clone(&model).run(ready.clone(), Arc::new(input), Lane::Background);
        // A text that fails, or comes when there is no room, is no more than not precomputed.
        let _ = engine.cache.get_or_run(key, true, run).await;
    }
}

/// Whether a kept result can be one of this model's; the file may have been damaged in a way that still reads.
fn fits(kept: &Kept, info: &ModelInfo) -> bool {
    match &kept.prediction.outcome {
        Outcome::Scores(scores) => {
            !scores.is_empty()
                && scores.iter().all(|score| score.is_finite())
                && (scores.len() == info.labels.len() || info.supports_zero_shot)
        }
        Outcome::Entities(_) => info.task == Task::Tagging,
    }
}

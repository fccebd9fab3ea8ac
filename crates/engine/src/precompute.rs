//! Fills the cache in advance, with results of earlier sessions and with the model's frequent
//! texts.

use std::path::PathBuf;
use std::sync::Arc;

use classifier::{Input, ModelInfo, Outcome, Task};

use crate::cache::{Cache, Key};
use crate::request::{self, Priority};
use crate::results::{self, SavedResult};
use crate::slot::ModelSlot;

/// Restores results of earlier sessions from `results_dir`. After the first answered call, runs the
/// model's frequent texts one at a time in the background.
pub(crate) async fn run(slot: Arc<ModelSlot>, cache: Arc<Cache>, results_dir: Option<PathBuf>, max_text_bytes: usize) {
    // Only the description is kept, so that the model can be unloaded meanwhile.
    let info = &slot.loaded().await.info;
    let model = info.digest;
    if let Some(folder) = results_dir {
        let read = tokio::task::spawn_blocking(move || results::load(&folder, &model)).await;
        for saved in read.unwrap_or_default().into_iter().filter(|saved| fits(saved, info)) {
            let key = Key { model, input: saved.input };
            cache.insert(key, saved.prediction, saved.hits, true).await;
        }
    }
    // Clients start many sessions that never make a call.
    slot.counters.first_answer().await;
    let inputs = info.frequent_texts.iter().map(|text| Input::single(text.as_str()));
    for input in inputs.filter(|input| request::check(input, max_text_bytes).is_ok()) {
        let key = Key { model, input: cache.digest(&input) };
        if cache.contains(&key) {
            continue;
        }
        let ready = slot.loaded().await;
        if ready.info.digest != model {
            return;
        }
        // A text that fails here fails again when a call asks for it, and reports its error then.
        if let Ok(output) = ready.pool.run(Arc::new(input), Priority::Background).await {
            cache.insert(key, output.prediction, 0, true).await;
        }
    }
}

/// Returns whether a saved result is valid for this model. A damaged file may still parse.
fn fits(saved: &SavedResult, info: &ModelInfo) -> bool {
    match &saved.prediction.outcome {
        Outcome::Scores(scores) => {
            !scores.is_empty()
                && scores.iter().all(|score| score.is_finite())
                && (scores.len() == info.labels.len() || info.supports_zero_shot)
        }
        Outcome::Entities(_) => info.task == Task::Tagging,
    }
}

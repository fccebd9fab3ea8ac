//! One call: through checks, loading, cache and model within its deadline, to its count and its line
//! in the log.

use std::sync::Arc;
use std::time::Instant;

use cache_dir::digest::hex;
use classifier::{Input, Prediction};
use tokio::time::timeout_at;

use crate::cache::Key;
use crate::engine::Engine;
use crate::error::Error;
use crate::job::Timing;
use crate::request::{Answer, AnsweredBy, Priority, check};
use crate::slot::{ModelSlot, Ready};
use crate::stats::milliseconds;

/// A row of a file may take this many times the deadline of a call, because calls run first and no
/// person waits for a single row.
const BACKGROUND_DEADLINES: u32 = 60;

/// A call from its arrival until it is counted and logged. If dropped earlier, it counts as
/// cancelled.
pub(crate) struct Call<'a> {
    pub engine: &'a Engine,
    pub slot: &'a ModelSlot,
    pub input: &'a Arc<Input>,
    pub priority: Priority,
    pub started: Instant,
}

impl Call<'_> {
    pub(crate) async fn answer(&self, top_k: Option<usize>) -> Result<Answer, Error> {
        let (settings, slot) = (&self.engine.settings, self.slot);
        check(self.input, settings.max_text_bytes)?;
        let _permit = slot.admit(self.priority).await?;
        let limit = match self.priority {
            Priority::Interactive | Priority::Batch => settings.deadline,
            Priority::Background => settings.deadline * BACKGROUND_DEADLINES,
        };
        let deadline = tokio::time::Instant::now() + limit;
        let ready = timeout_at(deadline, slot.ready())
            .await
            .map_err(|_| Error::StillLoading { model: slot.name.clone(), deadline_ms: limit.as_millis() as u64 })??;
        self.engine.make_room(slot);
        let labels = || ready.info.labels_of(&self.input.labels, self.input.question.as_deref()).len();
        if let Some((found, labels)) =
            top_k.map(|top_k| (top_k, labels())).filter(|(found, labels)| !(1..=*labels).contains(found))
        {
            return Err(Error::TopK { model: slot.name.clone(), found, labels });
        }
        let (prediction, answered_by, timing) =
            timeout_at(deadline, self.predict(&ready)).await.map_err(|_| self.engine.late(slot, limit))??;
        Ok(Answer {
            model: slot.name.clone(),
            info: ready.info,
            input: Arc::clone(self.input),
            prediction,
            answered_by,
            queued: timing.queued,
            inference: timing.inference,
            total: self.started.elapsed(),
            explanation: None,
        })
    }

    async fn predict(&self, ready: &Ready) -> Result<(Arc<Prediction>, AnsweredBy, Timing), Error> {
        let cache = &self.engine.cache;
        let key = Key { model: ready.info.digest, input: cache.digest(self.input) };
        if let Some((prediction, answered_by)) = cache.get(&key).await {
            return Ok((prediction, answered_by, Timing::default()));
        }
        let run = async {
            let outcome = ready.pool.run(Arc::clone(self.input), self.priority).await;
            self.slot.observe(ready, self.priority, &outcome);
            outcome
        };
        // A call must not join a row: it would wait behind other rows.
        if self.priority == Priority::Background {
            let output = run.await?;
            let prediction = cache.insert(key, output.prediction, 0, false).await;
            return Ok((prediction, AnsweredBy::Model, output.timing));
        }
        let (prediction, timing) = cache.join_or_run(key, run).await?;
        let answered_by = if timing.is_some() { AnsweredBy::Model } else { AnsweredBy::Joined };
        Ok((prediction, answered_by, timing.unwrap_or_default()))
    }

    pub(crate) fn finish(self, outcome: &Result<Answer, Error>) {
        self.report(outcome);
        std::mem::forget(self);
    }

    fn report(&self, outcome: &Result<Answer, Error>) {
        let total = self.started.elapsed();
        // Rows wait for calls, so their latency would distort that of calls.
        let latency = (self.priority != Priority::Background).then_some(total);
        self.slot.counters.record(latency, outcome);
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let log_inputs = self.engine.settings.log_inputs;
        let input = if log_inputs {
            self.input.text.clone()
        } else {
            hex(&self.engine.cache.digest(self.input))[..16].to_owned()
        };
        let (model, duration_ms) = (&self.slot.name, milliseconds(total));
        match outcome {
            Ok(answer) => tracing::info!(
                model,
                input,
                tokens = answer.prediction.tokens,
                source = answer.answered_by.name(),
                queue_ms = milliseconds(answer.queued),
                inference_ms = milliseconds(answer.inference),
                duration_ms,
                outcome = "ok",
                "model_called"
            ),
            Err(error) => {
                tracing::info!(model, input, duration_ms, outcome = error.kind().name(), %error, "model_called");
            }
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.report(&Err(Error::Cancelled));
    }
}

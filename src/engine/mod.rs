//! Makes models safe, fast and shareable: readiness, cache, workers, deadlines, counts.
//!
//! Callers come from `mcp` and `cli`; models are reached only through the trait at `model`'s door. Nothing outside this
//! folder may name `moka`.

mod answers;
mod cache;
mod crew;
mod dispatch;
mod durations;
mod explain;
mod precompute;
mod readiness;
mod snapshot;
mod statistics;
mod workers;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::time::timeout_at;

use crate::digest::hex;
use crate::error::Error;
use crate::model::ModelLoader;
use crate::prediction::{Input, LabeledPrediction, ModelInfo, Prediction, Source, Verdict};
use cache::{Cache, Key};
pub use dispatch::Lane;
pub use explain::Weight;
use readiness::Served;
pub use readiness::State;
pub use statistics::{CacheCounts, Percentiles, Statistics, resident_bytes};
use workers::Timing;

/// Bounds that the operator may set.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Longest time from a call's arrival to its answer.
    pub deadline: Duration,
    /// Threads per model: they share the run of a call alone, and are workers with a session of their own for many calls.
    pub workers: usize,
    /// Runs that are expected to be shorter take place on the runtime's own thread, if there is nothing else to do; zero
    /// for never. It bounds how long everything else may wait.
    pub inline_below: Duration,
    /// Texts waiting for one model at most; more are refused at once.
    pub queue_capacity: usize,
    pub cache_capacity_bytes: u64,
    pub max_text_bytes: usize,
    /// Where the results of hot texts are kept between sessions; `None` keeps none.
    pub snapshot_dir: Option<PathBuf>,
    /// Whether to precompute the models' frequent texts; not worth it for a process that answers once.
    pub precompute: bool,
    /// Puts texts into the log, which otherwise names them by digest.
    pub log_inputs: bool,
}

/// One call: an input, and the model that it is for.
#[derive(Default)]
pub struct Request {
    /// `None` means the first model.
    pub model: Option<String>,
    pub input: Input,
    /// How many labels the caller wants, best first; at least 1, at most as many as there are.
    pub top_k: Option<usize>,
    pub lane: Lane,
    /// Whether the words are wanted that moved the answer.
    pub explain: bool,
}

/// A row of a file gets the time that calls leave, and nobody looks at the clock for it.
const BACKGROUND_PATIENCE: u32 = 60;

/// Labels that a caller may bring: each is a forward pass.
const MAX_CANDIDATES: usize = 64;

/// One answer, with all that is worth knowing of how it came about.
#[derive(Clone, Debug)]
pub struct Answer {
    pub model: String,
    pub info: Arc<ModelInfo>,
    pub input: Arc<Input>,
    pub prediction: Arc<Prediction>,
    pub source: Source,
    /// Time spent waiting for a worker; zero unless the model ran for this call.
    pub queued: Duration,
    /// Time the model took; zero unless it ran for this call.
    pub inference: Duration,
    pub total: Duration,
    /// The words that moved the answer most, the strongest first, where they were asked for.
    pub explanation: Option<Vec<Weight>>,
}

/// The models of one process and everything they share.
pub struct Engine {
    models: Vec<Arc<Served>>,
    settings: EngineSettings,
    cache: Cache,
}

impl Engine {
    /// Starts to load every model, each on a thread of its own, and returns at once.
    ///
    /// Must be called inside a tokio runtime, which then also carries the precomputing of frequent texts.
    pub fn start(models: Vec<(String, Arc<dyn ModelLoader>)>, settings: EngineSettings) -> Arc<Self> {
        let engine = Arc::new(Self {
            models: models.into_iter().map(|(name, load)| Arc::new(Served::new(name, load, &settings))).collect(),
            cache: Cache::new(settings.cache_capacity_bytes),
            settings,
        });
        for model in &engine.models {
            model.start_loading();
            if engine.settings.precompute {
                tokio::spawn(precompute::run(Arc::clone(&engine), Arc::clone(model)));
            }
        }
        engine
    }

    /// Answers one call within the deadline: from the cache, from an identical call in flight, or from the model.
    ///
    /// Waits for a model that is still loading, and has a failed one loaded again first. Dropping the future withdraws
    /// the call.
    ///
    /// # Errors
    /// The caller's mistakes, a model that cannot be loaded, the deadline, a full queue, a failed run.
    pub async fn predict(&self, request: Request) -> Result<Answer, Error> {
        if !request.explain {
            return self.once(request).await;
        }
        let deadline = self.settings.deadline;
        let late = Error::Deadline {
            model: self.model(request.model.as_deref())?.name.clone(),
            deadline_ms: deadline.as_millis() as u64,
        };
        let explained = async {
            let mut answer = self.once(request).await?;
            answer.explanation = Some(self.explain(&answer).await?);
            Ok(answer)
        };
        tokio::time::timeout(deadline, Box::pin(explained)).await.unwrap_or(Err(late))
    }

    async fn once(&self, request: Request) -> Result<Answer, Error> {
        let started = Instant::now();
        let model = self.model(request.model.as_deref())?;
        // transformers takes an empty second text for none; here it also must not look like another call.
        let text_pair = request.input.text_pair.filter(|pair| !pair.is_empty());
        let input = Arc::new(Input { text_pair, ..request.input });
        let call = Call { engine: self, model, input: &input, lane: request.lane, started };
        let outcome = self.answer(model, &input, request.top_k, request.lane, started).await;
        call.finish(&outcome);
        outcome
    }

    async fn answer(
        &self,
        model: &Arc<Served>,
        input: &Arc<Input>,
        top_k: Option<usize>,
        lane: Lane,
        started: Instant,
    ) -> Result<Answer, Error> {
        self.check(input)?;
        let _place = model.admit()?;
        let patience = match lane {
            Lane::Interactive | Lane::Batch => self.settings.deadline,
            Lane::Background => self.settings.deadline * BACKGROUND_PATIENCE,
        };
        let deadline_ms = patience.as_millis() as u64;
        let deadline = tokio::time::Instant::from_std(started + patience);
        let ready = timeout_at(deadline, model.ready())
            .await
            .map_err(|_| Error::StillLoading { model: model.name.clone(), deadline_ms })??;
        let labels = if input.labels.is_empty() { ready.info.labels.len() } else { input.labels.len() };
        if let Some(found) = top_k.filter(|top_k| !(1..=labels).contains(top_k)) {
            return Err(Error::TopK { model: model.name.clone(), found, labels });
        }
        let key = Key { model: ready.info.digest, input: input_digest(input) };
        let (prediction, source, timing) = match self.cache.get(&key).await {
            Some((prediction, source)) => (prediction, source, Timing::default()),
            None => {
                let run = Arc::clone(model).run(ready.clone(), Arc::clone(input), lane);
                let (prediction, ran) = timeout_at(deadline, self.cache.get_or_run(key, false, run))
                    .await
                    .map_err(|_| Error::Deadline { model: model.name.clone(), deadline_ms })??;
                let source = if ran.is_some() { Source::Model } else { Source::Joined };
                (prediction, source, ran.unwrap_or_default())
            }
        };
        Ok(Answer {
            model: model.name.clone(),
            info: ready.info,
            input: Arc::clone(input),
            prediction,
            source,
            queued: timing.queued,
            inference: timing.inference,
            total: started.elapsed(),
            explanation: None,
        })
    }

    /// The caller's mistakes that need no model to be seen.
    fn check(&self, input: &Input) -> Result<(), Error> {
        let bytes = input.text.len()
            + input.text_pair.as_ref().map_or(0, String::len)
            + input.labels.iter().map(String::len).sum::<usize>();
        if input.text.trim().is_empty() {
            return Err(Error::TextBlank);
        }
        if bytes > self.settings.max_text_bytes {
            return Err(Error::TextTooLarge { bytes, limit: self.settings.max_text_bytes });
        }
        let blank = input.labels.iter().filter(|label| label.trim().is_empty()).count();
        if blank > 0 || input.labels.len() > MAX_CANDIDATES {
            return Err(Error::Labels { found: input.labels.len(), blank, limit: MAX_CANDIDATES });
        }
        Ok(())
    }

    /// Counts and logs one finished call.
    fn report(&self, model: &Served, input: &Input, lane: Lane, started: Instant, outcome: &Result<Answer, Error>) {
        let total = started.elapsed();
        // How long a row of a file waited for its turn says nothing of what callers see.
        let latency = (lane != Lane::Background).then_some(total);
        model.statistics.record(latency, outcome);
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let named =
            if self.settings.log_inputs { input.text.clone() } else { hex(&input_digest(input))[..16].to_owned() };
        let duration_ms = milliseconds(total);
        match outcome {
            Ok(answer) => tracing::info!(
                model = model.name,
                input = named,
                tokens = answer.prediction.tokens,
                source = answer.source.name(),
                queue_ms = milliseconds(answer.queued),
                inference_ms = milliseconds(answer.inference),
                duration_ms,
                outcome = "ok",
                "model_called"
            ),
            Err(error) => tracing::info!(
                model = model.name,
                input = named,
                duration_ms,
                outcome = error.kind().name(),
                %error,
                "model_called"
            ),
        }
    }

    fn model(&self, name: Option<&str>) -> Result<&Arc<Served>, Error> {
        match name {
            None => Ok(&self.models[0]),
            Some(name) => self
                .models
                .iter()
                .find(|model| model.name == name)
                .ok_or_else(|| Error::UnknownModel { name: name.to_owned(), known: self.names() }),
        }
    }

    /// Longest time from a call's arrival to its answer.
    pub fn deadline(&self) -> Duration {
        self.settings.deadline
    }

    /// Names of the models, the default one first.
    pub fn names(&self) -> Vec<String> {
        self.models.iter().map(|model| model.name.clone()).collect()
    }

    /// What a model is doing, without waiting for anything.
    pub fn state(&self, name: &str) -> Option<State> {
        self.models.iter().find(|model| model.name == name).map(|model| model.state())
    }

    /// Waits for a model as a call would.
    ///
    /// # Errors
    /// `UnknownModel`, or what went wrong while loading.
    pub async fn ready(&self, name: Option<&str>) -> Result<Arc<ModelInfo>, Error> {
        Ok(Arc::clone(&self.model(name)?.ready().await?.info))
    }

    /// Counts since the start, one entry a model.
    pub fn statistics(&self) -> Vec<(String, State, Statistics)> {
        self.models.iter().map(|model| (model.name.clone(), model.state(), model.statistics.read())).collect()
    }

    pub async fn cache_counts(&self) -> CacheCounts {
        let mut counts = CacheCounts { entries: self.cache.len().await, ..CacheCounts::default() };
        for model in &self.models {
            model.statistics.add_to(&mut counts);
        }
        counts
    }

    /// Keeps the results of the hottest texts for the next session. Takes a few milliseconds.
    pub fn save(&self) {
        let Some(folder) = &self.settings.snapshot_dir else { return };
        for model in &self.models {
            // A session that answered nothing has learned nothing, and clients start many such.
            if let State::Ready(info) = model.state()
                && model.statistics.read().latency.is_some()
            {
                let results = self.cache.hottest(&info.digest, snapshot::CAPACITY);
                if let Err(error) = snapshot::save(folder, &info.digest, results) {
                    tracing::debug!(%error, model = model.name, "results were not kept for the next session");
                }
            }
        }
    }
}

/// A call between its arrival and its one entry in counts and log, which says `cancelled` where the caller went away.
struct Call<'a> {
    engine: &'a Engine,
    model: &'a Served,
    input: &'a Input,
    lane: Lane,
    started: Instant,
}

impl Call<'_> {
    fn finish(self, outcome: &Result<Answer, Error>) {
        self.engine.report(self.model, self.input, self.lane, self.started, outcome);
        std::mem::forget(self);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.engine.report(self.model, self.input, self.lane, self.started, &Err(Error::Cancelled));
    }
}

impl Answer {
    /// The answer as every surface shows it, with all labels; see `LabeledPrediction::with_top_k`.
    pub fn label(&self) -> LabeledPrediction {
        let labeled = self.info.label(&self.input, &self.prediction);
        LabeledPrediction { explanation: self.explanation.clone(), ..labeled }
    }

    pub fn verdict(&self) -> Verdict {
        self.info.verdict(&self.input, &self.prediction)
    }
}

/// SHA-256 of an input, each part with its length, so that no two inputs look the same; with the model's digest, the cache key.
///
/// Why not MD5, or the 64 bits of a hash map? The key stands for the text: whoever finds a second text with the same key
/// gets the first one's answer, and collisions of MD5 can be made at will. SHA-256 costs a tenth of a microsecond more.
fn input_digest(input: &Input) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let parts = [input.text.as_str(), input.text_pair.as_deref().unwrap_or_default()];
    for part in parts.into_iter().chain(input.labels.iter().map(String::as_str)) {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// With three decimals, which is what the clock is good for.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

//! The engine: the models of one process, their cache and counters. `call` answers one request.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use cache_dir::digest_key::DigestKey;
use classifier::{Input, ModelInfo, ModelLoader};
use tokio::time::timeout;

use crate::cache::Cache;
use crate::call::Call;
use crate::error::Error;
use crate::explain::explain;
use crate::precompute;
use crate::request::{Answer, Priority, Request, check};
use crate::results;
use crate::settings::EngineSettings;
use crate::slot::{ModelSlot, State};
use crate::stats::{CacheCounts, Statistics, resident_bytes};

/// The models of one process, their result cache and their counters.
pub struct Engine {
    /// The default model comes first. Readers copy what they need, so a lock is held for a moment.
    slots: RwLock<Vec<Arc<ModelSlot>>>,
    pub(crate) settings: EngineSettings,
    pub(crate) cache: Arc<Cache>,
    /// When memory is looked at again, if it was above its limit.
    next_look: Mutex<Option<tokio::time::Instant>>,
}

/// An unloaded model's memory is free by then.
const FREED_WITHIN: Duration = Duration::from_secs(1);

impl Engine {
    /// Starts loading the first model, which is the default, or all of them if the settings say so,
    /// each on its own thread. Returns at once. `models` must not be empty.
    ///
    /// Must be called inside a tokio runtime, which also carries the precomputing.
    pub fn start(models: Vec<(String, Arc<dyn ModelLoader>)>, settings: EngineSettings) -> Arc<Self> {
        let slot = |(name, loader)| Arc::new(ModelSlot::new(name, loader, settings.clone()));
        let slots: Vec<_> = models.into_iter().map(slot).collect();
        let key = settings.cache_dir.as_deref().map_or_else(DigestKey::random, DigestKey::kept_in);
        let cache = Arc::new(Cache::new(settings.cache_capacity_bytes, key));
        for (number, slot) in slots.iter().enumerate() {
            if number == 0 || settings.preload {
                slot.start_loading();
            }
            if settings.precompute {
                let (slot, cache) = (Arc::clone(slot), Arc::clone(&cache));
                tokio::spawn(precompute::run(slot, cache, results::folder(&settings), settings.max_text_bytes));
            }
        }
        Arc::new(Self { slots: RwLock::new(slots), settings, cache, next_look: Mutex::default() })
    }

    /// Adds a model, which is loaded when it is first used. A model of the same name is replaced:
    /// new calls go to the new one, and calls in flight finish on the old one.
    pub fn add_model(&self, name: String, loader: Arc<dyn ModelLoader>) {
        let slot = Arc::new(ModelSlot::new(name, loader, self.settings.clone()));
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        match slots.iter_mut().find(|known| known.name == slot.name) {
            Some(known) => *known = slot,
            None => slots.push(slot),
        }
    }

    /// Answers one call within the deadline: from the cache, from an identical call in flight, or
    /// from the model.
    ///
    /// Waits for a model that is loading, and reloads a failed one first. Dropping the future
    /// cancels the call.
    ///
    /// # Errors
    /// Mistakes in the request, a model that cannot be used, the deadline, a full queue, a failed
    /// run.
    pub async fn predict(&self, request: Request) -> Result<Answer, Error> {
        if !request.explain {
            return self.predict_once(request).await;
        }
        let slot = self.slot(request.model.as_deref())?;
        let late = self.late(&slot, self.settings.deadline);
        timeout(self.settings.deadline, Box::pin(self.predict_and_explain(request))).await.unwrap_or(Err(late))
    }

    async fn predict_and_explain(&self, request: Request) -> Result<Answer, Error> {
        let mut answer = self.predict_once(request).await?;
        let model = answer.model.clone();
        let predict = |input| {
            let model = Some(model.clone());
            self.predict_once(Request { model, input, priority: Priority::Batch, ..Request::default() })
        };
        answer.explanation = Some(explain(&answer, 4 * self.settings.workers, predict).await?);
        Ok(answer)
    }

    async fn predict_once(&self, request: Request) -> Result<Answer, Error> {
        let started = Instant::now();
        let slot = self.slot(request.model.as_deref())?;
        // transformers treats an empty second text as absent, so it must not make another cache
        // key.
        let text_pair = request.input.text_pair.filter(|pair| !pair.is_empty());
        let input = Arc::new(Input { text_pair, ..request.input });
        let call = Call { engine: self, slot: &slot, input: &input, priority: request.priority, started };
        let outcome = call.answer(request.top_k).await;
        call.finish(&outcome);
        outcome
    }

    fn slots(&self) -> Vec<Arc<ModelSlot>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn find(&self, name: Option<&str>) -> Option<Arc<ModelSlot>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.iter().find(|slot| name.is_none_or(|name| slot.name == name)).cloned()
    }

    fn slot(&self, name: Option<&str>) -> Result<Arc<ModelSlot>, Error> {
        let unknown = || Error::UnknownModel { name: name.unwrap_or_default().to_owned(), known: self.names() };
        self.find(name).ok_or_else(unknown)
    }

    /// Unloads the model that was not used for the longest time, other than `called`, if `called`
    /// was loaded a moment ago and the process takes more memory than it should. Calls unload more
    /// models, one a second, until it does not. A model that is computing is in use.
    pub(crate) fn make_room(&self, called: &ModelSlot) {
        let now = tokio::time::Instant::now();
        let mut next = self.next_look.lock().unwrap_or_else(PoisonError::into_inner);
        if !called.was_just_loaded() && next.is_none_or(|next| now < next) {
            return;
        }
        let is_above = resident_bytes().is_some_and(|bytes| bytes as u64 > self.settings.unload_above_bytes);
        *next = is_above.then(|| now + FREED_WITHIN);
        if !is_above {
            return;
        }
        let slots = self.slots();
        let others = slots.iter().filter(|slot| slot.name != called.name && slot.can_be_unloaded());
        if let Some(slot) = others.min_by_key(|slot| slot.last_used()) {
            slot.unload();
        }
    }

    pub(crate) fn late(&self, slot: &ModelSlot, deadline: Duration) -> Error {
        Error::Deadline { model: slot.name.clone(), deadline_ms: deadline.as_millis() as u64 }
    }

    /// Checks what [`Self::predict`] checks without the model.
    ///
    /// # Errors
    /// `TextBlank`, `TextTooLarge`, `Labels`.
    pub fn check(&self, input: &Input) -> Result<(), Error> {
        check(input, self.settings.max_text_bytes)
    }

    /// Returns the longest time from a call's arrival to its answer.
    pub fn deadline(&self) -> Duration {
        self.settings.deadline
    }

    /// Returns the names of the models: the default one first, added ones last.
    pub fn names(&self) -> Vec<String> {
        self.slots().iter().map(|slot| slot.name.clone()).collect()
    }

    /// Returns the state of a model without waiting; `None` if no model has this name.
    pub fn state(&self, name: &str) -> Option<State> {
        self.find(Some(name)).map(|slot| slot.state())
    }

    /// Returns why the changed files of a model are not used, or `None` if it is as its files are.
    pub fn reload_error(&self, name: &str) -> Option<Arc<Error>> {
        self.find(Some(name))?.reload_error()
    }

    /// Returns the labels of a model without waiting for it, or `None` if they are not known yet.
    /// For a model that takes candidate labels the list is empty. Reads files; blocks.
    pub fn labels(&self, name: &str) -> Option<Vec<Arc<str>>> {
        let slot = self.find(Some(name))?;
        match slot.state() {
            State::Ready(info) if info.supports_zero_shot => Some(Vec::new()),
            State::Ready(info) => Some(info.labels.clone()),
            State::Idle | State::Loading | State::Failed(_) => slot.labels(),
        }
    }

    /// Waits for a model as a call would.
    ///
    /// # Errors
    /// `UnknownModel`, `ModelFailed`.
    pub async fn ready(&self, name: Option<&str>) -> Result<Arc<ModelInfo>, Error> {
        Ok(self.slot(name)?.ready().await?.info)
    }

    /// Returns name, state and counts of each model.
    pub fn statistics(&self) -> Vec<(String, State, Statistics)> {
        self.slots().iter().map(|slot| (slot.name.clone(), slot.state(), slot.counters.read())).collect()
    }

    /// Returns the counts of the result cache.
    pub async fn cache_counts(&self) -> CacheCounts {
        let mut counts = CacheCounts { entries: self.cache.len().await, ..CacheCounts::default() };
        for slot in self.slots() {
            slot.counters.add_to(&mut counts);
        }
        counts
    }

    /// Saves the results of frequent texts for the next session. Blocks for a few milliseconds.
    pub fn save(&self) {
        let Some(folder) = results::folder(&self.settings) else { return };
        for slot in self.slots() {
            // A session that answered nothing has nothing to save, and clients start many such.
            if let Some(info) = slot.last_info()
                && slot.counters.read().latency.is_some()
            {
                let hottest = self.cache.hottest(&info.digest, results::MAX_RESULTS);
                if let Err(error) = results::save(&folder, &info.digest, hottest) {
                    tracing::debug!(%error, model = slot.name, "results were not saved");
                }
            }
        }
    }
}

//! A taught model as the engine loads and runs it.

use std::sync::Arc;

use cache_dir::digest::hex;
use classifier::{
    Cancellation, Doubt, Input, LoadReport, LoadedModel, Model, ModelInfo, ModelLoader, Outcome, Prediction,
    ReplicaFactory, Task, Version,
};
use learning::{Row, SparseVector, hashed_words};
use sha2::{Digest as _, Sha256};

use crate::card;
use crate::encode::{Encode, Encoded};
use crate::error::Error;
use crate::state::{State, TaughtHead};
use crate::statement::Statement;
use crate::store::{HEAD, STATE, TaughtDir};
use crate::teacher::Teacher;
use crate::tune::encode_of;

/// The answer of a head to a text.
pub(crate) struct HeadAnswer {
    /// One probability a label.
    pub scores: Vec<f32>,
    /// Whether the text is unlike everything taught.
    pub is_unfamiliar: bool,
}

impl TaughtHead {
    pub(crate) fn answer(&self, encoded: Encoded, text: &str) -> HeadAnswer {
        let words = if self.head.uses_words() { hashed_words(text) } else { SparseVector::default() };
        let row = Row { sentence: encoded.sentence, state: encoded.state, words };
        let is_unfamiliar = self.head.familiarity(&row) < self.least_familiarity;
        HeadAnswer { scores: self.head.probabilities(&row), is_unfamiliar }
    }
}

/// Loads one taught model.
struct TaughtLoader {
    name: String,
    store: TaughtDir,
    encode: Arc<dyn Encode>,
}

impl Teacher {
    /// Returns a loader of a model. It reads the folder when it is called, so that loading again
    /// takes over what was taught meanwhile.
    pub fn loader(&self, name: &str) -> Arc<dyn ModelLoader> {
        Arc::new(TaughtLoader { name: name.to_owned(), store: self.store.clone(), encode: Arc::clone(&self.encode) })
    }

    /// Returns the models that can be used, with their loaders.
    pub fn loaders(&self) -> Vec<(String, Arc<dyn ModelLoader>)> {
        self.names().into_iter().map(|name| (name.clone(), self.loader(&name))).collect()
    }

    /// Returns the last statement about a model, if the model is still the audited one.
    pub fn statement(&self, name: &str) -> Option<Statement> {
        let dir = self.store.open(name).ok()??;
        let digest = TaughtHead::digest(&dir).ok()??;
        State::read(&dir).ok()??.statement_about(&digest).cloned()
    }

    /// Returns one or two sentences about a model: what it was taught, or what its audit states.
    pub fn description(&self, name: &str) -> Option<String> {
        let dir = self.store.open(name).ok()??;
        let digest = TaughtHead::digest(&dir).ok()??;
        let state = State::read(&dir).ok()??;
        Some(card::description(&state, state.statement_about(&digest)))
    }
}

impl ModelLoader for TaughtLoader {
    fn version(&self) -> Option<Version> {
        // Another session may teach the model meanwhile.
        Version::of_named(&self.store.path().join(&self.name), &[STATE, HEAD])
    }

    fn load(&self) -> Result<LoadedModel, classifier::Error> {
        let (head, state, digest, encode) = self.read().map_err(|error| self.invalid(error))?;
        let encoder = encode.digest()?;
        let stated = state.statement_about(&digest);
        let digest = Sha256::new_with_prefix(encoder).chain_update(&digest).finalize().into();
        let info = ModelInfo {
            max_tokens: Some(encode.max_tokens()?),
            precision: "int8",
            threshold: stated.and_then(|stated| stated.threshold),
            description: Some(card::description(&state, stated)),
            load: LoadReport { weights_shared: true, ..LoadReport::default() },
            digest,
            ..ModelInfo::new(Task::SingleLabel, head.labels.iter().map(|label| label.as_str().into()).collect())
        };
        let replicas = Replicas { name: self.name.clone(), head: Arc::new(head), encode };
        Ok(LoadedModel { info, first: Box::new(replicas.model()), replicas: Box::new(replicas) })
    }
}

impl TaughtLoader {
    fn read(&self) -> Result<(TaughtHead, State, String, Arc<dyn Encode>), Error> {
        let unknown = || Error::NotTaught { name: self.name.clone(), known: self.store.started() };
        let dir = self.store.open(&self.name)?.ok_or_else(unknown)?;
        let state = State::read(&dir)?.ok_or_else(unknown)?;
        let (head, digest) = TaughtHead::read(&dir)?.ok_or_else(|| Error::OneLabel { name: self.name.clone() })?;
        let encode = encode_of(&self.encode, &dir, &head)?;
        if head.encoder == hex(&encode.digest()?) {
            Ok((head, state, digest, encode))
        } else {
            Err(Error::OtherEncoder { name: self.name.clone() })
        }
    }

    fn invalid(&self, error: Error) -> classifier::Error {
        let text = match error {
            Error::Classifier(error) => return error,
            error => error.to_string(),
        };
        let (message, remedy) = text.split_once("; ").unwrap_or((&text, "teach it again"));
        let path = self.store.path().join(&self.name);
        classifier::Error::FileInvalid { path, message: message.to_owned(), remedy: remedy.to_owned() }
    }
}

#[derive(Clone)]
struct Replicas {
    name: String,
    head: Arc<TaughtHead>,
    encode: Arc<dyn Encode>,
}

impl Replicas {
    fn model(&self) -> TaughtModel {
        TaughtModel(self.clone())
    }
}

impl ReplicaFactory for Replicas {
    /// All replicas share the sessions of the encoders, each of which computes on one thread.
    fn replica(&self, _threads: usize) -> Result<Box<dyn Model>, classifier::Error> {
        Ok(Box::new(self.model()))
    }
}

struct TaughtModel(Replicas);

impl Model for TaughtModel {
    fn predict(&mut self, input: &Input, cancellation: &Cancellation) -> Result<Prediction, classifier::Error> {
        let Replicas { name, head, encode } = &self.0;
        if input.text_pair.is_some() {
            return Err(classifier::Error::PairNotTaken { model: name.clone() });
        }
        input.refuse_labels(name)?;
        let encoded = encode.encode(&input.text, head.head.uses_state(), cancellation)?;
        let (tokens, tokens_read) = (encoded.tokens, encoded.tokens_read);
        let HeadAnswer { scores, is_unfamiliar } = head.answer(encoded, &input.text);
        let doubt = is_unfamiliar.then_some(Doubt::Unfamiliar);
        Ok(Prediction { outcome: Outcome::Scores(scores.into()), tokens, tokens_read, doubt })
    }

    fn release_memory(&mut self) {
        self.0.encode.release_memory();
    }
}

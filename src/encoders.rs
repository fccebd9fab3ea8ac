//! The encoders of this process, which all taught models share: a sentence encoder, and for English
//! the state of the built-in sentiment model.

use std::path::Path;

use classifier::{
    Cancellation, EncoderLocation, EncoderPool, Encoding, Error, LibrarySettings, LinearHead, export_with_head,
};
use sha2::{Digest, Sha256};
use teaching::{Encode, Encoded, ExportedHead};

use crate::process;

/// The encoders. Sessions are opened when first needed.
pub(crate) struct Encoders {
    sentence: EncoderPool,
    /// The sentiment model knows only English, and other encoders are for other languages.
    state: Option<EncoderPool>,
    threads: usize,
}

impl Encoders {
    /// Returns the encoders with sessions for this number of threads. Nothing is read yet.
    pub(crate) fn new(sentence: EncoderLocation, library: &LibrarySettings, threads: usize) -> Self {
        let pool = |location| EncoderPool::new(location, library.clone(), threads);
        let is_built_in = matches!(sentence, EncoderLocation::BuiltIn);
        let state = is_built_in.then(|| pool(EncoderLocation::SentimentState));
        Self { sentence: pool(sentence), state, threads }
    }

    /// Writes the encoders that the head reads, and the head, as one model folder.
    ///
    /// # Errors
    /// A folder that exists or cannot be written, or an encoder with an unusual graph.
    pub(crate) fn export(&self, head: &ExportedHead, out: &Path) -> Result<(), Error> {
        let state = self.state.iter().filter(|_| head.uses_state);
        let pools: Vec<&EncoderPool> = [&self.sentence].into_iter().chain(state).collect();
        let linear = LinearHead {
            weights: &head.weights,
            bias: &head.bias,
            labels: &head.labels,
            threshold: head.threshold,
            description: &head.description,
        };
        export_with_head(&pools, &linear, out)
    }
}

impl Encode for Encoders {
    fn digest(&self) -> Result<[u8; 32], Error> {
        let mut digest = Sha256::new_with_prefix(self.sentence.digest()?);
        if let Some(state) = &self.state {
            digest.update(state.digest()?);
        }
        Ok(digest.finalize().into())
    }

    fn max_tokens(&self) -> Result<usize, Error> {
        self.sentence.max_tokens()
    }

    fn encode(&self, text: &str, with_state: bool, cancellation: &Cancellation) -> Result<Encoded, Error> {
        let sentence = self.sentence.encode(text, cancellation)?;
        let state = self.state.as_ref().filter(|_| with_state);
        let state = state.map(|state| state.encode(text, cancellation)).transpose()?;
        Ok(encoded(sentence, state))
    }

    /// With two passes, each counts as half of the texts.
    fn encode_all(
        &self,
        texts: &[&str],
        cancellation: &Cancellation,
        done: &dyn Fn(usize),
    ) -> Result<Vec<Encoded>, Error> {
        let passes = 1 + usize::from(self.state.is_some());
        let first = |count: usize| done(count / passes);
        let second = |count: usize| done((texts.len() + count) / passes);
        let sentences = self.sentence.encode_all(texts, self.threads, cancellation, &first)?;
        let states = match &self.state {
            Some(state) => {
                let states = state.encode_all(texts, self.threads, cancellation, &second)?;
                states.into_iter().map(Some).collect()
            }
            None => vec![None; texts.len()],
        };
        self.release_memory();
        Ok(sentences.into_iter().zip(states).map(|(sentence, state)| encoded(sentence, state)).collect())
    }

    fn release_memory(&self) {
        self.sentence.release_memory();
        self.state.iter().for_each(EncoderPool::release_memory);
        process::release_embedded_files();
    }
}

fn encoded(sentence: Encoding, state: Option<Encoding>) -> Encoded {
    let tokens = sentence.tokens as u32;
    let tokens_read = sentence.truncated.map_or(tokens, |truncation| truncation.limit);
    Encoded { sentence: sentence.vector, state: state.map(|state| state.vector), tokens, tokens_read }
}

//! The encoders of this process, which all taught models share: a sentence encoder, and the state
//! of the built-in sentiment model.

use classifier::{Cancellation, EncoderLocation, EncoderPool, Encoding, Error, LibrarySettings};
use sha2::{Digest, Sha256};
use teaching::{Encode, Encoded};

/// The encoders. Sessions are opened when first needed.
pub(crate) struct Encoders {
    sentence: EncoderPool,
    state: EncoderPool,
    threads: usize,
}

impl Encoders {
    /// Returns the encoders with sessions for this number of threads. Nothing is read yet.
    pub(crate) fn new(sentence: EncoderLocation, library: &LibrarySettings, threads: usize) -> Self {
        let pool = |location| EncoderPool::new(location, library.clone(), threads);
        Self { sentence: pool(sentence), state: pool(EncoderLocation::SentimentState), threads }
    }
}

impl Encode for Encoders {
    fn digest(&self) -> Result<[u8; 32], Error> {
        let digests = [self.sentence.digest()?, self.state.digest()?];
        Ok(Sha256::digest(digests.concat()).into())
    }

    fn max_tokens(&self) -> Result<usize, Error> {
        self.sentence.max_tokens()
    }

    fn encode(&self, text: &str, with_state: bool, cancellation: &Cancellation) -> Result<Encoded, Error> {
        let sentence = self.sentence.encode(text, cancellation)?;
        let state = with_state.then(|| self.state.encode(text, cancellation)).transpose()?;
        Ok(encoded(sentence, state))
    }

    /// Both passes count as half of the texts.
    fn encode_all(
        &self,
        texts: &[&str],
        cancellation: &Cancellation,
        done: &dyn Fn(usize),
    ) -> Result<Vec<Encoded>, Error> {
        let first = |count: usize| done(count / 2);
        let second = |count: usize| done((texts.len() + count) / 2);
        let sentences = self.sentence.encode_all(texts, self.threads, cancellation, &first)?;
        let states = self.state.encode_all(texts, self.threads, cancellation, &second)?;
        self.release_memory();
        Ok(sentences.into_iter().zip(states).map(|(sentence, state)| encoded(sentence, Some(state))).collect())
    }

    fn release_memory(&self) {
        self.sentence.release_memory();
        self.state.release_memory();
    }
}

fn encoded(sentence: Encoding, state: Option<Encoding>) -> Encoded {
    let tokens = sentence.tokens as u32;
    let tokens_read = sentence.truncated.map_or(tokens, |truncation| truncation.limit);
    Encoded { sentence: sentence.vector, state: state.map(|state| state.vector), tokens, tokens_read }
}

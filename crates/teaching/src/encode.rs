//! The seam to the encoders: texts in, vectors out.

use std::sync::Arc;

use classifier::{Cancellation, Error};

/// The vectors of one text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoded {
    /// Of unit length.
    pub sentence: Vec<f32>,
    /// The state of the sentiment model, if it was asked for.
    pub state: Option<Vec<f32>>,
    /// Tokens of the whole text.
    pub tokens: u32,
    /// Tokens that the encoder read.
    pub tokens_read: u32,
}

/// The encoders of one process. Tests use a scripted one.
pub trait Encode: Send + Sync {
    /// Returns what identifies the encoders. Vectors of different encoders cannot be mixed.
    ///
    /// # Errors
    /// The reason why an encoder cannot be loaded.
    fn digest(&self) -> Result<[u8; 32], Error>;

    /// Returns the number of tokens that are read of a text.
    ///
    /// # Errors
    /// As [`Self::digest`].
    fn max_tokens(&self) -> Result<usize, Error>;

    /// Encodes one text for an answer.
    ///
    /// # Errors
    /// As [`Self::digest`]; a text that cannot be encoded; `Cancelled`.
    fn encode(&self, text: &str, with_state: bool, cancellation: &Cancellation) -> Result<Encoded, Error>;

    /// Encodes many texts with all vectors, on several threads. `done` receives the number of
    /// texts finished so far.
    ///
    /// # Errors
    /// As [`Self::encode`].
    fn encode_all(
        &self,
        texts: &[&str],
        cancellation: &Cancellation,
        done: &dyn Fn(usize),
    ) -> Result<Vec<Encoded>, Error>;

    /// Tunes a copy of the sentence encoder on texts and the numbers of their labels. The same seed
    /// gives the same result. `go_on` receives the share of the work done, and ends it by `false`.
    ///
    /// # Errors
    /// `NotTunable` for an encoder of another kind; as [`Self::encode`].
    fn tune(
        &self,
        examples: &[(&str, usize)],
        seed: u64,
        go_on: &dyn Fn(f32) -> bool,
    ) -> Result<Box<dyn TunedEncoder>, crate::Error>;

    /// Returns these encoders with the numbers of [`TunedEncoder::numbers`].
    ///
    /// # Errors
    /// As [`Self::tune`]; numbers that are not those of a tuned encoder.
    fn tuned(&self, numbers: &[u8]) -> Result<Arc<dyn Encode>, crate::Error>;

    /// Releases memory that long texts took.
    fn release_memory(&self) {}
}

/// A sentence encoder that was just tuned.
pub trait TunedEncoder {
    /// Returns the sentence vectors of texts, as they are before they are rounded.
    ///
    /// # Errors
    /// A text that cannot be encoded.
    fn vectors(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Error>;

    /// Returns the encoder as bytes to keep.
    fn numbers(&self) -> Vec<u8>;
}

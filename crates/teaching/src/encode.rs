//! The seam to the encoders: texts in, vectors out.

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

    /// Releases memory that long texts took.
    fn release_memory(&self) {}
}

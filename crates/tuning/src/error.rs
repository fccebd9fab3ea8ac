//! Why an encoder was not tuned.

/// The reason. A message starts in lower case, and says what helps if something does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The graph is another one than those of BERT that this crate reads. The text is a part of a
    /// sentence about the graph.
    #[error(
        "the encoder cannot be tuned: {0}; expected the graph of a BERT model as Hugging Face's exporters write it"
    )]
    NotBert(String),
    #[error("the tuned encoder has {found} bytes, expected {expected}; tune it again")]
    Unfit { found: usize, expected: usize },
    #[error("the tuned encoder has numbers that are infinite or not a number; tune it again")]
    Infinite,
    #[error("the numbers of the encoder became infinite while it was tuned")]
    Diverged,
    #[error("cancelled")]
    Cancelled,
}

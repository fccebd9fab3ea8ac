//! Requests, their priorities and checks, and answers.

use std::sync::Arc;
use std::time::Duration;

use classifier::{Input, LabeledPrediction, ModelInfo, Prediction, WordWeight};

use crate::error::Error;

/// Maximum number of candidate labels. Each costs a forward pass.
const MAX_CANDIDATES: usize = 64;

/// One call: an input, and the model that it is for.
#[derive(Default)]
pub struct Request {
    /// `None` means the first model.
    pub model: Option<String>,
    pub input: Input,
    /// How many labels the caller wants, best first: 1 to the number of labels.
    pub top_k: Option<usize>,
    pub priority: Priority,
    /// Whether to return the words that moved the answer.
    pub explain: bool,
}

/// Which jobs go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// A person or an assistant waits for this text.
    #[default]
    Interactive,
    /// A person or an assistant waits for many texts at once.
    Batch,
    /// Rows of files and texts to precompute. They never delay a call in a queue, and are never
    /// rejected because a queue is full.
    Background,
}

/// How an answer came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The model ran for this call.
    Model,
    /// The result of an earlier call.
    Cache,
    /// The run of an identical call.
    Joined,
    /// A result that was cached before the first call: of a frequent text, or saved by an earlier
    /// session.
    Precomputed,
}

impl AnsweredBy {
    /// The word in logs and in the diagnostics of a result.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Cache => "cache",
            Self::Joined => "joined",
            Self::Precomputed => "precomputed",
        }
    }
}

/// One answer with its diagnostics.
#[derive(Clone, Debug)]
pub struct Answer {
    pub model: String,
    pub info: Arc<ModelInfo>,
    pub input: Arc<Input>,
    pub prediction: Arc<Prediction>,
    pub answered_by: AnsweredBy,
    /// Time in the queue; zero unless the model ran for this call.
    pub queued: Duration,
    /// Time in the model; zero unless it ran for this call.
    pub inference: Duration,
    /// Time from the call's arrival to its answer.
    pub total: Duration,
    /// The words that moved the answer most, the strongest first, if requested.
    pub explanation: Option<Vec<WordWeight>>,
}

impl Answer {
    /// Returns the answer as every surface shows it, with all labels.
    pub fn label(&self) -> LabeledPrediction {
        let labeled = self.info.label(&self.input, &self.prediction);
        LabeledPrediction { explanation: self.explanation.clone(), ..labeled }
    }
}

/// Checks what can be checked without the model.
///
/// # Errors
/// `TextBlank`, `TextTooLarge`, `Labels`.
pub(crate) fn check(input: &Input, max_text_bytes: usize) -> Result<(), Error> {
    let bytes = input.byte_len();
    if bytes > max_text_bytes {
        return Err(Error::TextTooLarge { bytes, limit: max_text_bytes });
    }
    if input.text.trim().is_empty() {
        return Err(Error::TextBlank);
    }
    check_labels(&input.labels)
}

/// Checks candidate labels, before they are copied for each of many texts.
///
/// # Errors
/// `Labels` if there are too many, or one is blank.
pub fn check_labels(labels: &[String]) -> Result<(), Error> {
    let blank = labels.iter().filter(|label| label.trim().is_empty()).count();
    if blank > 0 || labels.len() > MAX_CANDIDATES {
        return Err(Error::Labels { found: labels.len(), blank, limit: MAX_CANDIDATES });
    }
    Ok(())
}

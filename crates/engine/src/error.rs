//! Every way in which a call can fail, and whose problem it is.
//!
//! Variants hold facts; `Display` says what was found and what helps. The executable adds the flag
//! that helps, if there is one.

use std::sync::Arc;

/// Whose problem an error is, for the `outcome` field of the log and for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request cannot be answered as it is.
    Caller,
    /// The model, its folder or the runtime library cannot be used.
    Model,
    /// There was not enough time, memory or queue for this call.
    Overload,
    /// The caller cancelled the call.
    Cancelled,
    /// A defect of this program or of the runtime library.
    Internal,
}

/// A failed call. Cheap to clone, because one failed load answers many calls.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("`text` is empty or blank; send the text to classify")]
    TextBlank,
    #[error(
        "text, pair and labels have {bytes} bytes together; expected at most {limit}; \
         send a part of it, or split it into several calls"
    )]
    TextTooLarge { bytes: usize, limit: usize },
    #[error("`labels` has {}, {blank} of them blank; expected 1 to {limit}, none blank", count(*found, "entry", "entries"))]
    Labels { found: usize, blank: usize, limit: usize },
    #[error("no model is called `{name}`; known: {}", list(known))]
    UnknownModel { name: String, known: Vec<String> },
    #[error(
        "`top_k` is {found} but model `{model}` has {}; use 1 to {labels}",
        count(*labels, "label", "labels")
    )]
    TopK { model: String, found: usize, labels: usize },
    #[error(
        "model `{model}` is a tagger and does not support `explain`; leave it out: its entities are the explanation"
    )]
    ExplainNotTaken { model: String },

    #[error("model `{model}` is still loading after {deadline_ms} ms; call again")]
    StillLoading { model: String, deadline_ms: u64 },
    #[error("model `{model}` did not answer within {deadline_ms} ms; send a shorter text")]
    Deadline { model: String, deadline_ms: u64 },
    #[error("the queue of model `{model}` is full ({limit} waiting); send fewer at a time, or call again in a moment")]
    Overloaded { model: String, limit: usize },
    #[error("the call was cancelled")]
    Cancelled,
    #[error(
        "model `{model}` is stuck: {} although cancelled; call again to reload it, or restart the server if it gets \
         stuck again",
        count(*runs, "run goes on", "runs go on")
    )]
    Stuck { model: String, runs: usize },
    #[error("model `{model}` cannot be used: {cause}")]
    ModelFailed { model: String, cause: Arc<Error> },
    #[error("disabled after {failures} consecutive failures (last: {last}); the next call reloads it")]
    OutOfService { failures: u32, last: Box<Error> },
    #[error(
        "model `{model}` crashed on this text ({message}); other texts are still answered; \
         please report this with the model"
    )]
    Panicked { model: String, message: String },
    #[error("loading model `{model}` crashed ({message}); please report this with the model")]
    LoadPanicked { model: String, message: String },
    #[error("no operating system thread could be started: {message}; close other programs")]
    Thread { message: String },

    #[error(transparent)]
    Classifier(classifier::Error),
}

/// A cancelled call is the same error wherever the cancellation was noticed.
impl From<classifier::Error> for Error {
    fn from(error: classifier::Error) -> Self {
        match error {
            classifier::Error::Cancelled => Self::Cancelled,
            other => Self::Classifier(other),
        }
    }
}

impl Error {
    /// Returns whose problem it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::TextBlank
            | Self::TextTooLarge { .. }
            | Self::Labels { .. }
            | Self::UnknownModel { .. }
            | Self::TopK { .. }
            | Self::ExplainNotTaken { .. } => Kind::Caller,
            Self::StillLoading { .. } | Self::Deadline { .. } | Self::Overloaded { .. } => Kind::Overload,
            Self::Cancelled => Kind::Cancelled,
            Self::Panicked { .. } | Self::Thread { .. } => Kind::Internal,
            Self::Stuck { .. } | Self::ModelFailed { .. } | Self::OutOfService { .. } | Self::LoadPanicked { .. } => {
                Kind::Model
            }
            Self::Classifier(error) => classifier_kind(error),
        }
    }

    /// Returns whether each further text of a batch or file would get this error, so that it is
    /// reported once.
    pub fn concerns_every_text(&self) -> bool {
        use classifier::Error as E;
        let concerns_arguments = matches!(
            self,
            Self::Labels { .. }
                | Self::UnknownModel { .. }
                | Self::TopK { .. }
                | Self::Classifier(
                    E::LabelsNotTaken { .. }
                        | E::PairNotTaken { .. }
                        | E::QuestionNotTaken { .. }
                        | E::QuestionUnfit { .. }
                )
        );
        concerns_arguments || self.kind() == Kind::Model
    }

    pub(crate) fn no_thread(error: &std::io::Error) -> Self {
        Self::Thread { message: error.to_string() }
    }
}

fn classifier_kind(error: &classifier::Error) -> Kind {
    use classifier::Error as E;
    match error {
        E::TextTooLong { .. }
        | E::PairNotTaken { .. }
        | E::LabelsNotTaken { .. }
        | E::QuestionNotTaken { .. }
        | E::QuestionUnfit { .. }
        | E::NotWritten { .. } => Kind::Caller,
        E::NoMemory { .. } => Kind::Overload,
        E::Cancelled => Kind::Cancelled,
        E::Inference { .. } | E::Tokenization { .. } | E::Thread { .. } => Kind::Internal,
        // The folder, its files and the runtime library.
        _ => Kind::Model,
    }
}

impl Kind {
    /// The word in logs and counters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller_error",
            Self::Model => "model_error",
            Self::Overload => "overload",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal_error",
        }
    }
}

/// Names in backticks, separated by commas.
fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_short_lower_case_and_without_a_final_stop() {
        let model = || "mine".to_owned();
        let all = [
            Error::TextBlank,
            Error::TextTooLarge { bytes: 1001, limit: 1000 },
            Error::Labels { found: 1, blank: 1, limit: 64 },
            Error::UnknownModel { name: "tone".into(), known: vec!["sentiment".into(), "topic".into()] },
            Error::TopK { model: model(), found: 2, labels: 1 },
            Error::ExplainNotTaken { model: model() },
            Error::StillLoading { model: model(), deadline_ms: 10_000 },
            Error::Deadline { model: model(), deadline_ms: 10_000 },
            Error::Overloaded { model: model(), limit: 8 },
            Error::Cancelled,
            Error::Stuck { model: model(), runs: 1 },
            Error::ModelFailed { model: model(), cause: Arc::new(Error::Cancelled) },
            Error::OutOfService { failures: 10, last: Box::new(Error::Cancelled) },
            Error::Panicked { model: model(), message: "no message".into() },
            Error::LoadPanicked { model: model(), message: "no message".into() },
            Error::Thread { message: "out of memory".into() },
        ];
        for text in all.map(|error| error.to_string()) {
            assert!(!text.ends_with('.') && !text.starts_with(char::is_uppercase), "{text}");
            let found = text.split(';').next().unwrap();
            assert!(found.split_whitespace().count() <= 20, "{found}");
        }
    }

    #[test]
    fn counts_agree_with_their_nouns() {
        let text = |labels| Error::TopK { model: "m".into(), found: 9, labels }.to_string();
        assert_eq!(text(1), "`top_k` is 9 but model `m` has 1 label; use 1 to 1");
        assert_eq!(text(2), "`top_k` is 9 but model `m` has 2 labels; use 1 to 2");
    }

    #[test]
    fn errors_of_arguments_and_model_concern_every_text() {
        let model = || "mine".to_owned();
        let every = [
            Error::TopK { model: model(), found: 2, labels: 1 },
            Error::LoadPanicked { model: model(), message: "no message".into() },
            Error::Classifier(classifier::Error::PairNotTaken { model: model() }),
        ];
        let one = [
            Error::TextBlank,
            Error::Deadline { model: model(), deadline_ms: 1 },
            Error::Classifier(classifier::Error::TextTooLong { tokens: 2, limit: 1 }),
        ];
        assert!(every.iter().all(Error::concerns_every_text));
        assert!(!one.iter().any(Error::concerns_every_text));
    }

    #[test]
    fn a_failed_model_carries_its_cause() {
        let cause = classifier::Error::FolderMissing { folder: "/m".into() };
        let text = Error::ModelFailed { model: "mine".into(), cause: Arc::new(cause.into()) }.to_string();
        assert!(text.starts_with("model `mine` cannot be used: model folder `/m` does not exist"), "{text}");
    }
}

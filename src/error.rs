//! Every way in which this program can fail, and the words for it.
//!
//! Variants hold facts; `Display` holds the text: what was found, what was expected, the way out. The protocol's view of
//! an error (tool error or protocol error) is decided in `mcp`, the exit status in `cli`.

use std::path::PathBuf;
use std::sync::Arc;

/// Whose problem an error is, for the `outcome` field of the log and for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The caller asked for something that cannot be answered as asked.
    Caller,
    /// The model, its folder or the runtime library cannot be used.
    Model,
    /// There was no time or no room left for this call.
    Overload,
    /// The caller withdrew the call.
    Cancelled,
    /// A defect, ours or the runtime's.
    Internal,
}

/// A failure. Cheap to clone, because one failed load answers many calls.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("`text` is empty or blank; send the text to classify")]
    TextBlank,
    #[error(
        "text, pair and labels have {bytes} bytes together but the server takes at most {limit}; send a part of it, or split it into several calls"
    )]
    TextTooLarge { bytes: usize, limit: usize },
    #[error("`explain` was given but model `{model}` is a tagger: its entities show what it went by; leave it out")]
    ExplainNotTaken { model: String },
    #[error("`labels` has {found} entries, {blank} of them blank; expected 1 to {limit}, none blank")]
    Labels { found: usize, blank: usize, limit: usize },
    #[error("no model is called `{name}`; known: {}", list(known))]
    UnknownModel { name: String, known: Vec<String> },
    #[error("`top_k` is {found} but model `{model}` has {labels} labels; use 1 to {labels}")]
    TopK { model: String, found: usize, labels: usize },
    #[error("the arguments do not fit the tool: {problem}; it takes {takes}")]
    Arguments { problem: String, takes: String },
    #[error(
        "`texts` has {found} entries; expected 1 to {limit}; for more put them into a file and use local_model_predict_file"
    )]
    Batch { found: usize, limit: usize },

    #[error(transparent)]
    Tables(#[from] tables::Error),
    #[error("`{path}` changed at row {row} while or since it was classified; run it again with `overwrite`")]
    FileChanged { path: PathBuf, row: u64 },
    #[error(transparent)]
    Evaluation(#[from] evaluation::Error),
    #[error(
        "the file has columns of the name `{name}` already, as an output of this program has; classify the file it was made from"
    )]
    OutputColumns { name: String },
    #[error("`{path}` cannot be written: {message}; what was there before is untouched")]
    NotWritten { path: PathBuf, message: String },
    #[error("`{path}` was begun with another model or other arguments; use the same, or start again with `overwrite`")]
    ResumeOther { path: PathBuf },
    #[error("there is no output `{path}` to work on; classify the file first")]
    OutputMissing { path: PathBuf },
    #[error("`{path}` has no column `prediction`; expected an output that this program wrote")]
    NotAnOutput { path: PathBuf },
    #[error("row {row} cannot be corrected: {found}; expected {expected}")]
    Correction { row: String, found: String, expected: String },
    #[error("the file could not be worked on: {message}; please report this with the kind of file")]
    JobFailed { message: String },

    #[error(
        "model `{model}` is still loading and this call's {deadline_ms} ms are over; call again, or raise `--deadline-ms`"
    )]
    StillLoading { model: String, deadline_ms: u64 },
    #[error("model `{model}` did not answer within {deadline_ms} ms; send a shorter text, or raise `--deadline-ms`")]
    Deadline { model: String, deadline_ms: u64 },
    #[error("{limit} texts are waiting for model `{model}` already; send fewer at a time, or call again in a moment")]
    Overloaded { model: String, limit: usize },
    #[error("the call was cancelled")]
    Cancelled,
    #[error(transparent)]
    Classifier(classifier::Error),
    #[error("model `{model}` cannot be used: {cause}")]
    ModelFailed { model: String, cause: Arc<Error> },
    #[error(
        "it failed on {failures} calls in a row and was taken out of service, the last time so: {last}; call again to have it loaded anew"
    )]
    OutOfService { failures: u32, last: Box<Error> },
    #[error(
        "model `{model}` crashed on this text ({message}); other texts are still answered; please report this with the model"
    )]
    Panicked { model: String, message: String },
    #[error(
        "loading model `{model}` crashed ({message}); check its files with `local-model-mcp check`, and please report this with the model"
    )]
    LoadPanicked { model: String, message: String },

    #[error("no operating system thread could be started: {message}; lower `--workers` or close other programs")]
    Thread { message: String },
}

impl Error {
    /// Whose problem it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Tables(_)
            | Self::TextBlank
            | Self::TextTooLarge { .. }
            | Self::ExplainNotTaken { .. }
            | Self::Labels { .. }
            | Self::UnknownModel { .. }
            | Self::TopK { .. }
            | Self::Arguments { .. }
            | Self::Batch { .. }
            | Self::FileChanged { .. }
            | Self::Evaluation(_)
            | Self::OutputColumns { .. }
            | Self::NotWritten { .. }
            | Self::ResumeOther { .. }
            | Self::OutputMissing { .. }
            | Self::NotAnOutput { .. }
            | Self::Correction { .. } => Kind::Caller,
            Self::StillLoading { .. } | Self::Deadline { .. } | Self::Overloaded { .. } => Kind::Overload,
            Self::Cancelled => Kind::Cancelled,
            Self::Panicked { .. } | Self::JobFailed { .. } | Self::Thread { .. } => Kind::Internal,
            Self::ModelFailed { .. } | Self::OutOfService { .. } | Self::LoadPanicked { .. } => Kind::Model,
            Self::Classifier(error) => classifier_kind(error),
        }
    }
}

fn classifier_kind(error: &classifier::Error) -> Kind {
    use classifier::Error::*;
    match error {
        TextTooLong { .. } | PairNotTaken { .. } | LabelsNotTaken { .. } | NotWritten { .. } => Kind::Caller,
        StillBusy { .. } | NoMemory { .. } => Kind::Overload,
        Cancelled => Kind::Cancelled,
        Inference { .. } | Tokenization { .. } | Thread { .. } => Kind::Internal,
        FolderMissing { .. }
        | FolderIsFile { .. }
        | FileOutside { .. }
        | FileMissing { .. }
        | GraphAmbiguous { .. }
        | FileUnreadable { .. }
        | FileInvalid { .. }
        | InputUnknown { .. }
        | LogitsMissing { .. }
        | OtherTask { .. }
        | TokenizerLarger { .. }
        | NoRoom { .. }
        | LabelCount { .. }
        | Runtime(_) => Kind::Model,
    }
}

/// A cancelled call is the same wherever the cancellation was noticed.
impl From<classifier::Error> for Error {
    fn from(error: classifier::Error) -> Self {
        match error {
            classifier::Error::Cancelled => Self::Cancelled,
            other => Self::Classifier(other),
        }
    }
}

impl Kind {
    /// The word for it in logs and counters.
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

/// Names in backticks, comma between.
fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_lower_case_without_a_final_stop() {
        let all = [
            Error::TextBlank,
            Error::UnknownModel { name: "tone".into(), known: vec!["sentiment".into(), "topic".into()] },
            Error::Overloaded { model: "sentiment".into(), limit: 8 },
            classifier::Error::LabelCount { named: 2, given: 3 }.into(),
        ];
        for text in all.map(|error| error.to_string()) {
            assert!(!text.ends_with('.') && !text.starts_with(|c: char| c.is_uppercase()), "{text}");
        }
    }

    #[test]
    fn an_unknown_model_lists_the_known_ones() {
        let error = Error::UnknownModel { name: "tone".into(), known: vec!["sentiment".into(), "topic".into()] };
        assert_eq!(error.to_string(), "no model is called `tone`; known: `sentiment`, `topic`");
    }

    #[test]
    fn a_failed_model_carries_its_cause_to_the_caller() {
        let cause = Arc::new(classifier::Error::FolderMissing { folder: "/m".into() }.into());
        let text = Error::ModelFailed { model: "mine".into(), cause }.to_string();
        assert_eq!(
            text,
            "model `mine` cannot be used: model folder `/m` does not exist; check the path given with `--model`"
        );
    }
}

//! Every way in which this program can fail, and the words for it.
//!
//! Variants hold facts; `Display` holds the text: what was found, what was expected, the way out. The protocol's view of
//! an error (tool error or protocol error) is decided in `mcp`, the exit status in `cli`.

use std::path::PathBuf;

pub use ::engine::Kind;

use crate::hints::WithHint;

/// A failure. Cheap to clone, because one failed load answers many calls.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
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

    #[error("{}", WithHint(.0))]
    Engine(::engine::Error),
    #[error("the call was cancelled")]
    Cancelled,
    #[error(transparent)]
    Classifier(classifier::Error),
}

impl Error {
    /// Whose problem it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Tables(_)
            | Self::FileChanged { .. }
            | Self::Evaluation(_)
            | Self::OutputColumns { .. }
            | Self::NotWritten { .. }
            | Self::ResumeOther { .. }
            | Self::OutputMissing { .. }
            | Self::NotAnOutput { .. }
            | Self::Correction { .. } => Kind::Caller,
            Self::Engine(error) => error.kind(),
            Self::Cancelled => Kind::Cancelled,
            Self::JobFailed { .. } => Kind::Internal,
            Self::Classifier(error) => ::engine::Error::from(error.clone()).kind(),
        }
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

impl From<::engine::Error> for Error {
    fn from(error: ::engine::Error) -> Self {
        match error {
            ::engine::Error::Cancelled => Self::Cancelled,
            ::engine::Error::Classifier(error) => Self::Classifier(error),
            other => Self::Engine(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_errors_of_the_engine_get_the_flag_that_helps() {
        let error = Error::from(::engine::Error::Deadline { model: "mine".into(), deadline_ms: 10 });
        assert_eq!(
            error.to_string(),
            "model `mine` did not answer within 10 ms; send a shorter text, or raise `--deadline-ms`"
        );
    }
}

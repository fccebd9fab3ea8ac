//! Every way in which this program can fail, with its message.
//!
//! Variants hold facts. `Display` says what was found, what was expected, and how to fix it. `mcp`
//! decides whether an error is a tool error or a protocol error; `commands` sets the exit status.

use crate::hints::{WithHint, evaluation_hint, job_hint, table_hint, teaching_hint};

/// A failure. Cheap to clone, because one failed load answers many calls.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("{0}{hint}", hint = table_hint(.0))]
    Tables(tables::Error),
    #[error("{0}{hint}", hint = evaluation_hint(.0))]
    Evaluation(evaluation::Error),

    #[error("{0}{hint}", hint = job_hint(.0))]
    Job(batch::Error),
    #[error("{}", WithHint(.0))]
    Engine(engine::Error),
    #[error("{0}{hint}", hint = teaching_hint(.0))]
    Teaching(teaching::Error),
    #[error("no project folder is known, so there is no place for taught models; start the server with `--taught-dir`")]
    NoProject,
    #[error(transparent)]
    Classifier(#[from] classifier::Error),
}

impl From<engine::Error> for Error {
    fn from(error: engine::Error) -> Self {
        match error {
            engine::Error::Classifier(error) => error.into(),
            other => Self::Engine(other),
        }
    }
}

impl From<teaching::Error> for Error {
    fn from(error: teaching::Error) -> Self {
        match error {
            teaching::Error::Tables(error) => error.into(),
            teaching::Error::Classifier(error) => error.into(),
            other => Self::Teaching(other),
        }
    }
}

/// Not derived: the message repeats the inner error, so it must not be a source as well.
impl From<tables::Error> for Error {
    fn from(error: tables::Error) -> Self {
        Self::Tables(error)
    }
}

/// An error that a job passes on is the same error as outside a job.
impl From<batch::Error> for Error {
    fn from(error: batch::Error) -> Self {
        match error {
            batch::Error::Engine(error) => error.into(),
            batch::Error::Tables(error) => error.into(),
            batch::Error::Evaluation(error) => Self::Evaluation(error),
            other => Self::Job(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_printed_once() {
        let error = Error::from(tables::Error::NoRows { found: "a header at most" });
        assert_eq!(format!("{:#}", anyhow::Error::from(error.clone())), error.to_string());
    }

    #[test]
    fn the_errors_of_the_engine_get_the_flag_that_helps() {
        let error = Error::from(engine::Error::Deadline { model: "mine".into(), deadline_ms: 10 });
        assert_eq!(
            error.to_string(),
            "model `mine` did not answer within 10 ms; send a shorter text, or raise `--deadline-ms`"
        );
    }
}

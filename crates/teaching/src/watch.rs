//! The caller's side of a call in progress: how far it is, and whether it should stop.

use std::fmt;

use classifier::Cancellation;

use crate::error::Error;

/// What a call is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for another session that teaches the same model.
    Waiting,
    #[default]
    Reading,
    Encoding,
    Learning,
    /// Fine-tuning the encoder.
    Tuning,
}

/// The progress of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub stage: Stage,
    /// Rows read or encoded; percent of tuning.
    pub done: u64,
    /// Known while rows are encoded, and while tuning.
    pub total: Option<u64>,
}

impl fmt::Display for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, done, total } = self;
        match stage {
            Stage::Waiting => write!(formatter, "waiting for another session"),
            Stage::Reading => write!(formatter, "reading, {done} rows"),
            Stage::Encoding => write!(formatter, "encoding, {done} of {} rows", total.unwrap_or(*done)),
            Stage::Learning => write!(formatter, "learning"),
            Stage::Tuning => write!(formatter, "fine-tuning, {done} %"),
        }
    }
}

/// Receives progress and may cancel.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    pub cancellation: &'a Cancellation,
    pub report: &'a dyn Fn(Progress),
}

impl Watch<'_> {
    /// Reports a stage without a total.
    ///
    /// # Errors
    /// `Cancelled`.
    pub(crate) fn at(&self, stage: Stage, done: u64) -> Result<(), Error> {
        if self.cancellation.is_cancelled() {
            return Err(Error::Cancelled);
        }
        (self.report)(Progress { stage, done, total: None });
        Ok(())
    }
}

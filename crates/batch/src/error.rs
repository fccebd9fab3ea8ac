//! Every way in which a job on a file can fail.
//!
//! Variants hold facts; `Display` says what was found and what was expected. The executable adds
//! the flag or tool argument that helps, if there is one.

use std::path::PathBuf;

/// A failed job, or a row of it that failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(transparent)]
    Tables(#[from] tables::Error),
    #[error(transparent)]
    Evaluation(#[from] evaluation::Error),
    #[error("`{path}` changed at row {row} while or since it was classified")]
    FileChanged { path: PathBuf, row: u64 },
    #[error("cannot resume `{path}`: it was begun with a different model or other arguments")]
    ResumeOther { path: PathBuf },
    #[error("the file already has columns such as `{name}`, like an output of this program")]
    OutputColumns { name: String },
    #[error("there is no output `{path}`; classify the file first")]
    OutputMissing { path: PathBuf },
    #[error("`{path}` has no column `prediction`; expected an output that this program wrote")]
    NotAnOutput { path: PathBuf },
    #[error("row `{row}` cannot be corrected: {found}; expected {expected}")]
    Correction { row: String, found: String, expected: String },
    #[error("`{label}` begins like a formula of a spreadsheet; expected a label that begins with another character")]
    FormulaLabel { label: String },
    #[error("the column `{column}` would not be read; name the column with second texts, or the one with texts alone")]
    PairUnread { column: &'static str },
    #[error("`{column}` is named twice; expected different columns for texts, second texts and labels")]
    ColumnTwice { column: String },
    #[error("internal error while processing the file: {message}; please report it")]
    JobFailed { message: String },
}

impl Error {
    /// The error of a job that was stopped.
    pub const CANCELLED: Self = Self::Engine(engine::Error::Cancelled);
}

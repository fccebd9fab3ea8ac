//! Every way in which teaching and auditing can fail.
//!
//! Variants hold facts; `Display` says what was found and what was expected. The executable adds
//! the flag or tool argument that helps, if there is one.

use std::path::PathBuf;

/// Labels that an error lists.
const MAX_LISTED: usize = 20;

/// A failed call. Whatever was taught before the call is unchanged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("`{name}` cannot name a model; expected 1 to 64 letters, digits, `.`, `-` and `_`, the first not a `.`")]
    NameInvalid { name: String },
    #[error("`{name}` is the name of another loaded model; choose another name")]
    NameTaken { name: String },
    #[error("no model called `{name}` is being taught; known: {}; start it with a file or examples", list(known))]
    NotTaught { name: String, known: Vec<String> },
    #[error("`{path}` exists but is not a taught model; choose another name, or move it away")]
    FolderForeign { path: PathBuf },
    #[error("`{path}` cannot be read: {message}; restore it, or teach under another name")]
    StateUnreadable { path: PathBuf, message: String },
    #[error("`{path}` cannot be written: {message}; its previous content is unchanged")]
    NotWritten { path: PathBuf, message: String },
    #[error("another session is teaching `{name}`; call again in a moment")]
    Busy { name: String },
    #[error("`{name}` was taught with another encoder; use that encoder, or teach under another name")]
    OtherEncoder { name: String },

    #[error("`{name}` has examples only; expected a file whose rows can be labelled")]
    NoFile { name: String },
    #[error("`{path}` has {found} different texts; expected at least {expected}; use a larger file")]
    TooFewRows { path: PathBuf, found: u64, expected: u64 },
    #[error("`{given}` has other texts than `{taught}`, on which `{name}` is taught; choose another name for it")]
    OtherFile { name: String, given: PathBuf, taught: String },
    #[error("`{file}` changed since `{name}` was started{}; restore the file, or choose another name", at(*row))]
    FileChanged { name: String, file: String, row: Option<u64> },

    #[error("`{found}` is not a row number; expected a whole number from 1")]
    RowInvalid { found: String },
    #[error("row {row} does not exist; the file has {rows} rows")]
    RowUnknown { row: u64, rows: u64 },
    #[error("row {row} has no text; leave it out")]
    RowBlank { row: u64 },
    #[error("row {row} is kept for the audit, or has the text of such a row; leave it out")]
    RowSealed { row: u64 },
    #[error("row {row} is not a row of the audit; label only the rows that the audit returned")]
    RowNotAudited { row: u64 },
    #[error("row {row} was part of an audit that has been stated; its label cannot change")]
    AuditStated { row: u64 },
    #[error("rows {row} and {other} have the same text, but the labels `{label}` and `{other_label}`; choose one")]
    TwoLabels { row: u64, label: String, other: u64, other_label: String },
    #[error("an example has the labels `{label}` and `{other_label}`: “{text}”; choose one")]
    ExampleTwice { text: String, label: String, other_label: String },
    #[error("an example for `{label}` is blank; leave it out")]
    ExampleBlank { label: String },

    #[error("a label is {found}; expected 1 to {limit} characters")]
    LabelInvalid { found: String, limit: usize },
    #[error("the labels `{label}` and `{known}` differ only in case; use one of them")]
    LabelSpelling { label: String, known: String },
    #[error("`{label}` is not a label of `{name}`; expected one of {}; a new one needs a meaning first", list(known))]
    LabelUnknown { name: String, label: String, known: Vec<String> },
    #[error("{found} labels; expected at most {limit}; merge some")]
    TooManyLabels { found: usize, limit: usize },
    #[error("all examples of `{name}` have the same label; label rows of another one first")]
    OneLabel { name: String },
    #[error("the wanted share of differing rows is {found}; expected {least} to {most}")]
    EpsilonOutOfRange { found: f64, least: f64, most: f64 },

    #[error("the encoder cannot be fine-tuned: {message}")]
    NotTunable { message: String },
    #[error(
        "`{name}` has {found} examples of {labels} labels that have at least {each}; expected at least {expected} of two; label more rows first"
    )]
    TooFewToTune { name: String, found: usize, labels: usize, each: usize, expected: usize },
    #[error("`{name}` was audited; fine-tuning it would void what was stated")]
    Audited { name: String },
    #[error("`{name}` was taught while it was being fine-tuned; fine-tune it again")]
    TaughtMeanwhile { name: String },

    #[error("the call was cancelled")]
    Cancelled,
    #[error(transparent)]
    Tables(#[from] tables::Error),
    #[error(transparent)]
    Classifier(classifier::Error),
    #[error("nothing could be learned: {0}")]
    Learning(learning::Error),
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

impl From<learning::Error> for Error {
    fn from(error: learning::Error) -> Self {
        match error {
            learning::Error::Cancelled => Self::Cancelled,
            other => Self::Learning(other),
        }
    }
}

/// Names in backticks, separated by commas; the first ones if there are many.
fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none".into();
    }
    let mut listed: Vec<String> = names.iter().take(MAX_LISTED).map(|name| format!("`{name}`")).collect();
    if names.len() > MAX_LISTED {
        listed.push(format!("and {} more", names.len() - MAX_LISTED));
    }
    listed.join(", ")
}

fn at(row: Option<u64>) -> String {
    row.map_or_else(String::new, |row| format!(", at row {row}"))
}

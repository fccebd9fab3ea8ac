//! Every way in which reading or writing a table can fail, with its message.

use std::path::PathBuf;

use crate::columns::elided;

/// A failure to read or write a table. The text says what was found, what was expected, and what
/// helps.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("`{path}` cannot be opened: {message}; check the path and its permissions")]
    FileNotOpened { path: PathBuf, message: String },
    #[error("`{path}` is {found}; expected a regular file; {}", instead_of(found))]
    NotAFile { path: PathBuf, found: &'static str },
    #[error("`{path}` {found}; files must be below {}, without links and `..`; use such a path", listed(allowed))]
    PathNotAllowed { path: PathBuf, found: &'static str, allowed: Vec<PathBuf> },
    #[error("`{path}` has {bytes} bytes; expected at most {limit}; split it")]
    FileTooLarge { path: PathBuf, bytes: u64, limit: u64 },
    #[error("`{path}` unpacks to more than {limit} bytes, which is the limit; split it")]
    UnpackedTooLarge { path: PathBuf, limit: u64 },
    #[error("`{path}` has {found} {things}; expected at most {limit}; {remedy}")]
    OverLimit { path: PathBuf, found: u64, things: &'static str, limit: u64, remedy: &'static str },
    #[error("`{path}` is {found}; expected CSV, TSV, JSON lines, text lines (`.txt`) or Parquet in UTF-8; {remedy}")]
    FormatUnknown { path: PathBuf, found: String, remedy: String },
    #[error("`{path}` cannot be read after row {rows}: {message}; check that the file is complete")]
    FileBroken { path: PathBuf, rows: u64, message: String },
    #[error("the file has no rows; it has {found}")]
    NoRows { found: &'static str },

    #[error("no column is called `{name}`; the file has {columns}")]
    ColumnUnknown { name: String, columns: String },
    #[error("{found} columns are called `{name}`; rename one, or give its number (from 1); the file has {columns}")]
    ColumnAmbiguous { name: String, found: usize, columns: String },
    #[error("cannot tell which column holds the text; the file has {columns}; name one")]
    ColumnUnclear { columns: String },
    #[error("cannot tell which column holds the labels; the file has {columns}; name one")]
    LabelColumnUnclear { columns: String },
    #[error("column `{}` holds {found}; expected text; name another one, the file has {columns}", elided(name))]
    ColumnNotText { name: String, found: String, columns: String },
    #[error("`{}` is {found}; expected {expected}", elided(column))]
    BadCell { column: String, found: String, expected: &'static str },
    #[error("the row {found}; expected {expected}")]
    BadRow { found: String, expected: String },

    #[error("`{path}` exists already; give another output path")]
    OutputExists { path: PathBuf },
    #[error("`{path}` appeared before its run was finished; move it away")]
    OutputAppeared { path: PathBuf },
    #[error("another program changed `{path}` meanwhile, so it was left as it is; try again")]
    OutputChanged { path: PathBuf },
    #[error("the output `{path}` is the input itself; give another output path")]
    OutputIsInput { path: PathBuf },
    #[error("the output `{path}` is named as {found}; expected {expected}, the format of the input")]
    OutputFormat { path: PathBuf, found: &'static str, expected: String },
    #[error("`{path}` cannot be written: {message}; the previous content is untouched")]
    NotWritten { path: PathBuf, message: String },
    #[error("`{path}` is left over from an interrupted run; continue it or start again")]
    Unfinished { path: PathBuf },
    #[error("`{path}` is not a progress file of this version; move it away, or give another output path")]
    NotOurProgress { path: PathBuf },
    #[error("another run is writing `{path}`; wait for it, or give another output path")]
    AlreadyRunning { path: PathBuf },
}

/// What [`Error::BadCell`] finds where a cell is null, or a row lacks the column.
pub(crate) const NULL: &str = "null";
pub(crate) const ABSENT: &str = "not in the row";

impl Error {
    /// Returns whether a cell is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::BadCell { found, .. } if found == NULL)
    }

    /// Returns whether a row has no cell in the column. In JSON lines it may not.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::BadCell { found, .. } if found == ABSENT)
    }
}

fn instead_of(found: &str) -> &'static str {
    if found == "a directory" { "name a file in it" } else { "write its content into a file first" }
}

fn listed(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "an allowed directory (none is known)".into();
    }
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

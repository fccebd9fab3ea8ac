//! Every way in which reading or writing a table can fail, and the words for it.

use std::path::PathBuf;

/// A failure to read or write a table. Variants hold facts; `Display` holds the text.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("`{path}` cannot be opened: {message}; check the path and its permissions")]
    FileNotOpened { path: PathBuf, message: String },
    #[error("`{path}` is {found}; expected a regular file; {}", other_file(found))]
    NotAFile { path: PathBuf, found: &'static str },
    #[error(
        "`{path}` {found}; files must be below {}, without links and `..`; use such a path, or start the server with `--allow-dir`",
        paths(allowed)
    )]
    PathNotAllowed { path: PathBuf, found: &'static str, allowed: Vec<PathBuf> },
    #[error("`{path}` has {bytes} bytes, more than the {limit} allowed; split it, or raise `--max-file-bytes`")]
    FileTooLarge { path: PathBuf, bytes: u64, limit: u64 },
    #[error("`{path}` unpacks to more than the {limit} bytes allowed; split it, or raise `--max-file-bytes`")]
    UnpackedTooLarge { path: PathBuf, limit: u64 },
    #[error("`{path}` is {found}; expected CSV, TSV, JSON lines, text lines (`.txt`) or Parquet in UTF-8; {remedy}")]
    FormatUnknown { path: PathBuf, found: String, remedy: String },
    #[error("`{path}` cannot be read on after row {rows}: {message}; get a complete copy of the file")]
    FileBroken { path: PathBuf, rows: u64, message: String },
    #[error("the file has no rows; it has {found}")]
    NoRows { found: &'static str },
    #[error("no column is called `{name}`; the file has {columns}")]
    ColumnUnknown { name: String, columns: String },
    #[error("{found} columns are called `{name}`; rename one, or give its number from 1 on; the file has {columns}")]
    ColumnAmbiguous { name: String, found: usize, columns: String },
    #[error(
        "which column holds the texts is not clear; name one with `text_column` (`--text-column`); the file has {columns}"
    )]
    ColumnUnclear { columns: String },
    #[error(
        "which column holds the right answers is not clear; name one with `label_column` (`--label-column`); the file has {columns}"
    )]
    LabelColumnUnclear { columns: String },
    #[error("column `{name}` holds {found}; expected text; name another one, the file has {columns}")]
    ColumnNotText { name: String, found: String, columns: String },
    #[error("`{column}` is {found}; expected {expected}")]
    BadCell { column: String, found: String, expected: &'static str },
    #[error("the row {found}; expected {expected}")]
    BadRow { found: String, expected: String },
    #[error("`{path}` exists already; give another output path, or allow it to be replaced with `overwrite`")]
    OutputExists { path: PathBuf },
    #[error("the output `{path}` is the input itself; give another output path")]
    OutputIsInput { path: PathBuf },
    #[error(
        "the output `{path}` is named as {found}; expected {expected}, since the output has the format of the input"
    )]
    OutputFormat { path: PathBuf, found: &'static str, expected: String },
    #[error("`{path}` cannot be written: {message}; what was there before is untouched")]
    NotWritten { path: PathBuf, message: String },
    #[error("`{path}` is of a run that did not finish; go on with `resume`, or start again with `overwrite`")]
    Unfinished { path: PathBuf },
    #[error("`{path}` is not a progress file of this version; move it away, or give another output path")]
    NotOurProgress { path: PathBuf },
    #[error("another run is writing `{path}`; wait for it, or give another output path")]
    AlreadyRunning { path: PathBuf },
}

fn paths(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "no directory (no project folder is known)".into();
    }
    paths.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

fn other_file(found: &str) -> &'static str {
    match found {
        "a directory" => "name one of the files in it",
        _ => "write what it gives into a file first, or pipe it into `local-model-mcp predict`",
    }
}

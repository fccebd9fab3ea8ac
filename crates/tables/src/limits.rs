//! Limits of files, rows and chunks, and the mark that a file may begin with.

use std::io;

use crate::error::Error;

/// The byte order mark of UTF-8, which some programs put at the beginning of a file.
pub(crate) const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The longest row that is read. A longer one is reported and skipped, so that a file without line
/// ends, or with a quote that is never closed, does not fill the memory. Texts have a much lower
/// limit.
pub const MAX_ROW_BYTES: usize = 16 << 20;
/// Rows in a chunk, or fewer if they are large.
pub(crate) const CHUNK_ROWS: usize = 256;
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// Columns in a file, or fields in a line. Each takes memory in every row, however short it is.
pub(crate) const MAX_COLUMNS: usize = 16_384;

/// Something in a file that is over its limit. Readers return it inside an [`io::Error`].
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("it has {found} {things}; expected at most {limit}; {remedy}")]
pub(crate) struct OverLimit {
    pub found: u64,
    pub things: &'static str,
    pub limit: u64,
    pub remedy: &'static str,
}

impl From<OverLimit> for io::Error {
    fn from(problem: OverLimit) -> Self {
        Self::other(problem)
    }
}

/// Checks the number of columns in a file.
pub(crate) fn check_columns(found: usize) -> io::Result<()> {
    if found <= MAX_COLUMNS {
        return Ok(());
    }
    let remedy = "leave out those that are not needed";
    Err(OverLimit { found: found as u64, things: "columns", limit: MAX_COLUMNS as u64, remedy }.into())
}

/// The error of a row that is longer than [`MAX_ROW_BYTES`].
pub(crate) fn too_long(bytes: u64) -> Error {
    Error::BadRow {
        found: format!("has {bytes} bytes and was skipped"),
        expected: format!("at most {MAX_ROW_BYTES}; split it"),
    }
}

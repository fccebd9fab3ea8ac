//! Limits of rows and chunks, and the mark that a file may begin with.

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

/// The error of a row that is longer than [`MAX_ROW_BYTES`].
pub(crate) fn too_long(bytes: u64) -> Error {
    Error::BadRow {
        found: format!("has {bytes} bytes and was skipped"),
        expected: format!("at most {MAX_ROW_BYTES}; split it"),
    }
}

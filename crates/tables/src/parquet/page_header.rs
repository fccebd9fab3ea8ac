//! What a page says about itself: its sizes, and the memory that it takes.

use std::fs::File;

use parquet::basic::Compression;
use parquet::errors::Result;
use parquet::file::reader::{ChunkReader, Length};

use super::pages::BATCH_ROWS;
use super::thrift::Compact;

/// Memory for an entry of a dictionary, for the length of a string, and for a value of a list.
const ENTRY_BYTES: u64 = 16;
const LENGTH_BYTES: u64 = 8;
const ITEM_BYTES: u64 = 24;
/// Headers are much shorter, but they may hold the smallest and largest text of the page.
pub(super) const HEADER_BYTES: [u64; 2] = [4 << 10, 4 << 20];

/// What a page says about itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Header {
    pub(super) is_dictionary: bool,
    /// Bytes in the file and in memory.
    packed: u64,
    pub(super) unpacked: u64,
    values: u64,
    encoding: i64,
    /// Bytes before the compressed ones.
    pub(super) plain: u64,
    pub(super) is_plain: bool,
}

impl Header {
    /// Reads a header. `None` if it is not complete.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut header = Self::default();
        let mut sizes = 0;
        Compact(bytes).fields(|reader, field| {
            match field.id {
                1 => header.is_dictionary = reader.integer()? == 2,
                2 => header.unpacked = reader.size()? as u64,
                3 => header.packed = reader.size()? as u64,
                5 | 7 | 8 => {
                    let is_v2 = field.id == 8;
                    reader.fields(|reader, field| {
                        match (field.id, is_v2) {
                            (1, _) => header.values = reader.size()? as u64,
                            (2, false) | (4, true) => header.encoding = reader.integer()?,
                            (5 | 6, true) => header.plain += reader.size()? as u64,
                            (7, true) => header.is_plain = field.kind == 2,
                            _ => return Some(false),
                        }
                        Some(true)
                    })?;
                }
                _ => return Some(false),
            }
            sizes += 1;
            Some(true)
        })?;
        (sizes >= 3).then_some(header)
    }

    /// The memory that the page takes, its values included.
    pub(super) fn bytes(&self, codec: Compression, is_list: bool) -> u64 {
        let is_delta = matches!(self.encoding, 6 | 7);
        // Strings that share their beginnings are written out.
        let copies = if self.encoding == 7 { BATCH_ROWS as u64 } else { 0 };
        let unpacked = if codec == Compression::UNCOMPRESSED { self.packed } else { self.unpacked };
        let entries = if self.is_dictionary { self.values.saturating_mul(ENTRY_BYTES) } else { 0 };
        let lengths = if is_delta { self.values.saturating_mul(LENGTH_BYTES) } else { 0 };
        let items = if is_list { self.values.saturating_mul(ITEM_BYTES) } else { 0 };
        let sum = unpacked.saturating_mul(copies + 1).saturating_add(entries);
        sum.saturating_add(lengths).saturating_add(items)
    }
}

/// Returns whether there is a page at this place of a file.
pub(super) fn starts_with_page(file: &File, start: u64) -> Result<bool> {
    Ok(read_header(file, start)?.is_some())
}

pub(super) fn read_header(file: &File, start: u64) -> Result<Option<Header>> {
    let left = file.len().saturating_sub(start);
    for bytes in HEADER_BYTES {
        if let Some(header) = Header::read(&file.get_bytes(start, bytes.min(left) as usize)?) {
            return Ok(Some(header));
        }
    }
    Ok(None)
}

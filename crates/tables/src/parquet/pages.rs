//! The pages of the columns that are read, with a limit on the memory that they take.
//!
//! A few bytes of Parquet can expand to gigabytes. The library believes what a page says about
//! itself, so each page is checked between the file and the library.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::Compression;
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::lengths;
use super::thrift::Compact;
use crate::limits::OverLimit;

/// Memory for the pages that are in use at a time. Two pages of DuckDB, which has the largest
/// (100 MB), fit in.
const MAX_BYTES: u64 = 192 << 20;
/// Rows that are decoded at a time. More save little, and all their pages are in memory.
pub(super) const BATCH_ROWS: usize = 16;
/// Memory for an entry of a dictionary, for the length of a string, and for a value of a list.
const ENTRY_BYTES: u64 = 16;
const LENGTH_BYTES: u64 = 8;
const ITEM_BYTES: u64 = 24;
/// Headers are much shorter, but they may hold the smallest and largest text of the page.
const HEADER_BYTES: [u64; 2] = [4 << 10, 4 << 20];

/// The memory that the pages in use take.
#[derive(Debug, Default)]
pub(super) struct Budget(Mutex<Spent>);

#[derive(Debug, Default)]
struct Spent {
    /// In the dictionary and the latest page of each column.
    held: Vec<[u64; 2]>,
    /// In earlier pages of the batch.
    earlier: u64,
    problem: Option<OverLimit>,
}

impl Budget {
    fn state(&self) -> MutexGuard<'_, Spent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts another batch, which needs no pages of earlier ones but the latest.
    pub(super) fn start_batch(&self) {
        self.state().earlier = 0;
    }

    /// Takes the limit that was exceeded, if any.
    pub(super) fn problem(&self) -> Option<OverLimit> {
        self.state().problem.take()
    }

    fn spend(&self, column: usize, header: &Header, bytes: u64) -> Result<()> {
        let mut state = self.state();
        if state.held.len() <= column {
            state.held.resize(column + 1, [0, 0]);
        }
        let place = usize::from(!header.is_dictionary);
        state.earlier += std::mem::replace(&mut state.held[column][place], bytes);
        let found = state.earlier + state.held.iter().flatten().sum::<u64>();
        if found <= MAX_BYTES {
            return Ok(());
        }
        let things = "bytes in pages that are read together";
        let problem = OverLimit { found, things, limit: MAX_BYTES, remedy: "write it again with smaller pages" };
        state.problem = Some(problem);
        Err(ParquetError::External(Box::new(problem)))
    }
}

/// The selected columns of a file.
#[derive(Clone)]
pub(super) struct Selected {
    pub(super) file: Arc<File>,
    pub(super) metadata: Arc<ParquetMetaData>,
    /// The position of each selected column among all of the file.
    pub(super) leaves: Vec<usize>,
    pub(super) budget: Arc<Budget>,
}

impl RowGroups for Selected {
    fn num_rows(&self) -> usize {
        usize::try_from(self.metadata.file_metadata().num_rows()).unwrap_or_default()
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        Ok(Box::new(Chunks { selected: self.clone(), column, group: 0 }))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.metadata.row_groups().iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }
}

/// The pieces of one column, one for each row group.
struct Chunks {
    selected: Selected,
    column: usize,
    group: usize,
}

impl PageIterator for Chunks {}

impl Iterator for Chunks {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        let Selected { file, metadata, leaves, budget } = &self.selected;
        let group = metadata.row_groups().get(self.group)?;
        self.group += 1;
        let chunk = group.column(leaves[self.column]);
        let source = Arc::new(Source {
            file: Arc::clone(file),
            column: self.column,
            is_list: chunk.column_descr().max_rep_level() > 0,
            codec: chunk.compression(),
            budget: Arc::clone(budget),
            at_body: AtomicBool::new(false),
            header: Mutex::default(),
        });
        let rows = usize::try_from(group.num_rows()).unwrap_or_default();
        let levels = [chunk.column_descr().max_rep_level(), chunk.column_descr().max_def_level()];
        let pages = SerializedPageReader::new(Arc::clone(&source), chunk, rows, None);
        Some(pages.map(|inner| Box::new(Pages { inner, source, peeked: false, levels }) as Box<dyn PageReader>))
    }
}

/// What a page says about itself.
#[derive(Clone, Copy, Debug, Default)]
struct Header {
    is_dictionary: bool,
    /// Bytes in the file and in memory.
    packed: u64,
    unpacked: u64,
    values: u64,
    encoding: i64,
    /// Bytes before the compressed ones.
    plain: u64,
    is_plain: bool,
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
    fn bytes(&self, codec: Compression, is_list: bool) -> u64 {
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

fn read_header(file: &File, start: u64) -> Result<Option<Header>> {
    let left = file.len().saturating_sub(start);
    for bytes in HEADER_BYTES {
        if let Some(header) = Header::read(&file.get_bytes(start, bytes.min(left) as usize)?) {
            return Ok(Some(header));
        }
    }
    Ok(None)
}

/// Reads the bytes of one piece of a column for the library.
struct Source {
    file: Arc<File>,
    column: usize,
    is_list: bool,
    codec: Compression,
    budget: Arc<Budget>,
    /// Whether the next read is not of a header.
    at_body: AtomicBool,
    header: Mutex<Header>,
}

impl Source {
    fn check_header(&self, start: u64) -> Result<()> {
        let header = read_header(&self.file, start)?
            .ok_or_else(|| ParquetError::General("the header of a page is damaged".into()))?;
        *self.header.lock().unwrap_or_else(PoisonError::into_inner) = header;
        self.budget.spend(self.column, &header, header.bytes(self.codec, self.is_list))
    }

    /// Checks that compressed bytes unpack to no more than the page says. The library checks that
    /// for the other codecs while it unpacks.
    fn check_body(&self, body: &[u8]) -> Result<()> {
        let header = *self.header.lock().unwrap_or_else(PoisonError::into_inner);
        let packed = body.get(header.plain as usize..).unwrap_or_default();
        let decoder: Box<dyn Read + '_> = match self.codec {
            _ if header.is_plain => return Ok(()),
            Compression::GZIP(_) => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            Compression::BROTLI(_) => Box::new(brotli::Decompressor::new(packed, HEADER_BYTES[0] as usize)),
            // The library tries this format of LZ4 after others.
            Compression::LZ4 => Box::new(lz4_flex::frame::FrameDecoder::new(packed)),
            _ => return Ok(()),
        };
        let limit = header.unpacked.saturating_sub(header.plain);
        match io::copy(&mut decoder.take(limit + 1), &mut io::sink()) {
            Ok(bytes) if bytes > limit => Err(ParquetError::General("a page is larger than it says".into())),
            _ => Ok(()),
        }
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl ChunkReader for Source {
    type T = BufReader<File>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        if !self.at_body.swap(false, Ordering::Relaxed) {
            self.check_header(start)?;
        }
        self.file.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let body = self.file.get_bytes(start, length)?;
        self.check_body(&body)?;
        Ok(body)
    }
}

/// The pages of one piece of a column.
struct Pages {
    inner: SerializedPageReader<Source>,
    source: Arc<Source>,
    /// Whether the header of the next page was read.
    peeked: bool,
    /// The largest repetition and definition levels.
    levels: [i16; 2],
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        self.source.at_body.store(std::mem::take(&mut self.peeked), Ordering::Relaxed);
        let page = self.inner.get_next_page()?;
        match page.as_ref().is_none_or(|page| lengths::are_plausible(page, self.levels)) {
            true => Ok(page),
            false => Err(ParquetError::General("the lengths of strings in a page are damaged".into())),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        let page = self.inner.peek_next_page()?;
        self.peeked = page.is_some();
        Ok(page)
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.peeked = false;
        self.inner.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.inner.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        self.inner.take_deferred_dictionary()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        Ok(self.peek_next_page()?.is_none_or(|page| page.num_rows.is_some()))
    }
}

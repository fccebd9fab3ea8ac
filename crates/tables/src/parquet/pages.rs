//! The pages of the columns that are read, with a limit on the memory that they take.
//!
//! A few bytes of Parquet can expand to gigabytes. The library believes what a page says about
//! itself, so each page is checked between the file and the library.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::Compression;
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use super::budget::Budget;
use super::lengths;
use super::page_header::{HEADER_BYTES, Header, read_header};

/// Rows that are decoded at a time. More save little, and all their pages are in memory.
pub(super) const BATCH_ROWS: usize = 16;

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

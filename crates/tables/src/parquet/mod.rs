//! Parquet: reads the selected columns as text, and copies all others byte for byte.
//!
//! Only the selected columns are decoded. In an output, the other columns have the pages, types and
//! statistics of the input, so nothing about them can change on the way.
//!
//! # Files
//! - `footer`, `thrift`: checks before the library decodes the metadata
//! - `pages`, `page_header`, `budget`, `lengths`: checks before the library decodes pages
//! - `reader`, `writer`, `copy`: rows from the selected columns, and new columns next to the copied
//!   ones
//! - `metadata`: the schemas that other programs keep in the metadata

mod budget;
mod copy;
mod footer;
mod lengths;
mod metadata;
mod page_header;
mod pages;
mod reader;
mod thrift;
mod writer;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use arrow_schema::DataType;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as PhysicalType};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};

use crate::rows::CellKind;

pub(crate) use reader::Reader;
pub(crate) use writer::Writer;

/// The metadata of a file.
#[derive(Debug)]
pub(crate) struct Description {
    metadata: Arc<ParquetMetaData>,
    /// The declared size of all columns together.
    pub unpacked_bytes: u64,
}

impl Description {
    pub(crate) fn read(file: &File) -> io::Result<Self> {
        footer::check(file)?;
        let metadata = ParquetMetaDataReader::new().parse_and_finish(file)?;
        let length = file.metadata()?.len();
        let (mut copied, mut unpacked, mut rows) = (0, 0_u64, 0);
        for group in metadata.row_groups() {
            rows += u64::try_from(group.num_rows()).map_err(|_| damaged())?;
            unpacked = unpacked.saturating_add(u64::try_from(group.total_byte_size()).unwrap_or_default());
            for chunk in group.columns() {
                let range = bytes_of(chunk, length).ok_or_else(damaged)?;
                copied += range.end - range.start;
            }
        }
        // Pieces that overlap would make an output larger than its input.
        if copied > length {
            return Err(damaged());
        }
        // A row takes memory and time even if it has no bytes of its own.
        Ok(Self { metadata: Arc::new(metadata), unpacked_bytes: unpacked.max(rows) })
    }

    fn roots(&self) -> &[TypePtr] {
        self.metadata.file_metadata().schema_descr().root_schema().get_fields()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.roots().iter().map(|root| root.name().to_owned()).collect()
    }

    /// Returns the type of a column whose values cannot be read as these cells.
    pub(crate) fn unreadable(&self, position: usize, kind: CellKind) -> Option<String> {
        let root = &self.roots()[position];
        if is_text(root) {
            return None;
        }
        let found = schema_of(vec![Arc::clone(root)]).and_then(|schema| {
            let schema = parquet_to_arrow_schema(&schema, None)?;
            Ok(schema.field(0).data_type().clone())
        });
        let readable = match found.as_ref() {
            Ok(DataType::List(item)) => reader::is_simple(item.data_type()),
            Ok(found) => reader::is_simple(found),
            Err(_) => false,
        };
        let name = |found: &DataType| match found {
            DataType::List(_) => "lists".to_owned(),
            DataType::Struct(_) => "structs".to_owned(),
            DataType::Map(..) => "maps".to_owned(),
            found => found.to_string(),
        };
        (kind == CellKind::Text || !readable).then(|| found.as_ref().map_or_else(|_| "an unknown type".into(), name))
    }

    /// Returns whether the values of a column are texts.
    pub(crate) fn is_text(&self, position: usize) -> bool {
        is_text(&self.roots()[position])
    }

    /// Returns the leaves of each column.
    fn leaves(&self) -> Vec<Range<usize>> {
        let schema = self.metadata.file_metadata().schema_descr();
        let mut leaves = vec![0..0; self.roots().len()];
        for leaf in 0..schema.num_columns() {
            let range: &mut Range<usize> = &mut leaves[schema.get_column_root_idx(leaf)];
            let start = if range.end == 0 { leaf } else { range.start };
            *range = start..leaf + 1;
        }
        leaves
    }
}

/// Returns a schema with these columns.
fn schema_of(fields: Vec<TypePtr>) -> io::Result<SchemaDescriptor> {
    let root = Type::group_type_builder("schema").with_fields(fields).build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

fn is_text(column: &Type) -> bool {
    let info = column.get_basic_info();
    let named = match info.logical_type_ref() {
        Some(kind) => matches!(kind, LogicalType::String | LogicalType::Json),
        None => matches!(info.converted_type(), ConvertedType::UTF8 | ConvertedType::JSON),
    };
    named
        && column.is_primitive()
        && column.get_physical_type() == PhysicalType::BYTE_ARRAY
        && info.repetition() != Repetition::REPEATED
}

/// Returns where in the file the pages of a chunk are.
fn bytes_of(chunk: &ColumnChunkMetaData, file_length: u64) -> Option<Range<u64>> {
    let data = u64::try_from(chunk.data_page_offset()).ok()?;
    let start = dictionary_offset(chunk).unwrap_or(data);
    let end = start.checked_add(u64::try_from(chunk.compressed_size()).ok()?)?;
    let is_here = chunk.file_path().is_none() && chunk.uncompressed_size() >= 0 && chunk.num_values() >= 0;
    (is_here && data <= end && end <= file_length).then_some(start..end)
}

/// Returns where the dictionary is. Some writers declare one at 0 if there is none, or a first page
/// at 0 if there is nothing but a dictionary.
fn dictionary_offset(chunk: &ColumnChunkMetaData) -> Option<u64> {
    let (offset, data) = (chunk.dictionary_page_offset()?, chunk.data_page_offset());
    u64::try_from(offset).ok().filter(|_| offset > 0 && (data == 0 || offset < data))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its metadata is damaged")
}

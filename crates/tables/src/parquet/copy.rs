//! What an output takes over from its input: pages, schema and properties.

use std::fs::File;
use std::io;
use std::sync::Arc;

use arrow_schema::FieldRef;
use parquet::basic::{ColumnOrder, Compression};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::{Type, TypePtr};

use super::page_header::starts_with_page;
use super::{Description, bytes_of, damaged, dictionary_offset, metadata};

/// Copies the pages of a leaf.
pub(super) fn copy(
    input: &File,
    metadata: &ParquetMetaData,
    group: usize,
    leaf: usize,
    output: &mut SerializedRowGroupWriter<'_, File>,
) -> io::Result<()> {
    let rows = metadata.row_group(group).num_rows();
    let chunk = metadata.row_group(group).column(leaf);
    let bytes = bytes_of(chunk, input.metadata()?.len()).ok_or_else(damaged)?;
    // Catches columns that are encrypted although the metadata does not say so.
    if !bytes.is_empty() && !starts_with_page(input, bytes.start)? {
        return Err(damaged());
    }
    output.append_column(
        input,
        ColumnCloseResult {
            bytes_written: bytes.end - bytes.start,
            rows_written: rows as u64,
            metadata: copied_metadata(metadata, chunk, leaf)?,
            // Copied pages have other positions. Readers do without these.
            bloom_filter: None,
            column_index: None,
            offset_index: None,
        },
    )?;
    Ok(())
}

/// Returns the metadata of a copied chunk. The library declares the order of its own statistics,
/// so others are left out.
fn copied_metadata(
    metadata: &ParquetMetaData,
    chunk: &ColumnChunkMetaData,
    leaf: usize,
) -> io::Result<ColumnChunkMetaData> {
    let column = chunk.column_descr();
    let declared =
        ColumnOrder::column_order_for_type(column.logical_type_ref(), column.converted_type(), column.physical_type());
    let dictionary = dictionary_offset(chunk).map(u64::cast_signed);
    let first = chunk.data_page_offset().max(dictionary.unwrap_or_default());
    let mut copied = chunk.clone().into_builder().set_dictionary_page_offset(dictionary).set_data_page_offset(first);
    if metadata.file_metadata().column_order(leaf) != declared {
        copied = copied.clear_statistics();
    }
    Ok(copied.build()?)
}

/// Returns the schema of the output. `added` has the new columns.
pub(super) fn schema(description: &Description, places: &[Option<usize>], added: &TypePtr) -> io::Result<TypePtr> {
    let fields = places.iter().enumerate().map(|(root, place)| match place {
        Some(number) => Arc::clone(&added.get_fields()[*number]),
        None => Arc::clone(&description.roots()[root]),
    });
    let name = description.metadata.file_metadata().schema().name();
    Ok(Arc::new(Type::group_type_builder(name).with_fields(fields.collect()).build()?))
}

pub(super) fn properties(
    description: &Description,
    places: &[Option<usize>],
    added: &[FieldRef],
) -> WriterPropertiesPtr {
    let file = description.metadata.file_metadata();
    let first = description.metadata.row_groups().first().and_then(|group| group.columns().first());
    let codec = first.map(ColumnChunkMetaData::compression).filter(|codec| *codec != Compression::LZO);
    let pairs = file.key_value_metadata().map(|pairs| metadata::extended(pairs, places, added));
    let mut properties = WriterProperties::builder()
        .set_compression(codec.unwrap_or(Compression::SNAPPY))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(pairs);
    // Readers know defects of old writers, whose pages these are, by this name.
    if let Some(writer) = file.created_by() {
        properties = properties.set_created_by(writer.to_owned());
    }
    Arc::new(properties.build())
}

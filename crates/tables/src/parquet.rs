//! Parquet: reads the selected columns as text, and passes on all columns with their types and the
//! file's metadata.
//!
//! A few bytes of Parquet can expand to gigabytes: a long value is stored once and used by every
//! row. So strings are read as views, which share their bytes, and chunks end where their values
//! would take too much memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, OffsetSizeTrait, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Type};
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, ParquetMetaData};
use parquet::file::properties::WriterProperties;
use serde_json::Value;

use crate::error::Error;
use crate::limits::{CHUNK_BYTES, CHUNK_ROWS, MAX_ROW_BYTES, too_long};
use crate::rows::{Cell, Chunk, ColumnRef, NewColumn, RawRows, Row, RowReader, RowWriter, ValueKind, other_format};

/// A row group is held in memory until it reaches this size or number of rows.
const GROUP_BYTES: usize = 16 << 20;
const GROUP_ROWS: usize = 128 << 10;
/// Limits of one decoded batch.
const MAX_BATCH_BYTES: i64 = 16 << 20;
const MAX_BATCH_CELLS: usize = 1 << 16;

/// The schema of a file, and how it is read.
#[derive(Debug)]
pub(crate) struct Description {
    /// The types of the columns in an output.
    pub schema: SchemaRef,
    /// The types in which the columns are read.
    read_as: SchemaRef,
    /// The codec of the first column, which the output uses for all columns.
    codec: Compression,
    /// Metadata of other programs, such as the index of pandas.
    metadata: Vec<KeyValue>,
    /// Rows that are decoded at a time.
    batch_rows: usize,
    /// The declared size of all columns together.
    pub unpacked_bytes: u64,
}

impl Description {
    pub(crate) fn read(file: &File) -> io::Result<Self> {
        let mut builder = open(file, ArrowReaderOptions::new())?;
        if builder.schema().fields().iter().any(|field| is_odd_dictionary(field.data_type())) {
            builder = open(file, ArrowReaderOptions::new().with_skip_arrow_metadata(true))?;
        }
        let metadata = builder.metadata();
        let pairs = metadata.file_metadata().key_value_metadata().cloned().unwrap_or_default();
        let (arrow, pairs): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|pair| pair.key == ARROW_SCHEMA_META_KEY);
        let fields = builder.schema().fields().iter().enumerate().map(|(root, field)| match arrow.is_empty() {
            true if has_int96(metadata, root) => with_type(field, &in_microseconds),
            _ => Arc::clone(field),
        });
        // Some readers look for metadata only in the stored schema, others only in the file.
        let in_schema = pairs.iter().filter_map(|pair| Some((pair.key.clone(), pair.value.clone()?)));
        let in_schema: HashMap<String, String> = in_schema.collect();
        let schema = Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), in_schema));
        let read_as =
            Arc::new(Schema::new(schema.fields().iter().map(|field| with_type(field, &as_view)).collect::<Vec<_>>()));
        let codec = metadata.row_groups().first().and_then(|group| group.columns().first());
        Ok(Self {
            codec: codec.map_or(Compression::SNAPPY, ColumnChunkMetaData::compression),
            metadata: pairs,
            batch_rows: batch_rows(metadata, schema.fields().len()),
            unpacked_bytes: metadata.row_groups().iter().map(|group| group.total_byte_size().max(0) as u64).sum(),
            schema,
            read_as,
        })
    }
}

fn open(file: &File, options: ArrowReaderOptions) -> io::Result<ParquetRecordBatchReaderBuilder<File>> {
    Ok(ParquetRecordBatchReaderBuilder::try_new_with_options(file.try_clone()?, options)?)
}

fn batch_rows(metadata: &ParquetMetaData, columns: usize) -> usize {
    let row_bytes = metadata.row_groups().iter().map(|group| group.total_byte_size() / group.num_rows().max(1)).max();
    let by_bytes = MAX_BATCH_BYTES / row_bytes.unwrap_or(1).max(1);
    CHUNK_ROWS.min(MAX_BATCH_CELLS / columns.max(1)).min(usize::try_from(by_bytes).unwrap_or(CHUNK_ROWS)).max(1)
}

/// Dictionaries with value types that the reader does not support. It can read those values without
/// a dictionary.
fn is_odd_dictionary(kind: &DataType) -> bool {
    matches!(kind, DataType::Dictionary(_, values) if !values.is_string() && !values.is_binary() && !values.is_integer())
}

/// Timestamps of old writers, which have no declared range. As nanoseconds, years after 2262 would
/// overflow.
fn has_int96(metadata: &ParquetMetaData, root: usize) -> bool {
    let schema = metadata.file_metadata().schema_descr();
    (0..schema.num_columns())
        .any(|leaf| schema.get_column_root_idx(leaf) == root && schema.column(leaf).physical_type() == Type::INT96)
}

fn in_microseconds(kind: &DataType) -> Option<DataType> {
    match kind {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
        }
        _ => None,
    }
}

fn as_view(kind: &DataType) -> Option<DataType> {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 => Some(DataType::Utf8View),
        DataType::Binary | DataType::LargeBinary => Some(DataType::BinaryView),
        _ => None,
    }
}

/// Returns the field with other types for its values, at any depth.
fn with_type(field: &FieldRef, change: &dyn Fn(&DataType) -> Option<DataType>) -> FieldRef {
    let inner = |field: &FieldRef| with_type(field, change);
    let kind = match field.data_type() {
        DataType::List(item) => DataType::List(inner(item)),
        DataType::LargeList(item) => DataType::LargeList(inner(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(inner(item), *size),
        DataType::Map(entries, sorted) => DataType::Map(inner(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        kind => change(kind).unwrap_or_else(|| kind.clone()),
    };
    Arc::new(field.as_ref().clone().with_data_type(kind))
}

/// Returns whether values of this type are text, however they are stored.
pub(crate) fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

pub(crate) struct Reader {
    inner: ParquetRecordBatchReader,
    /// The selected columns, with their positions among the columns that are read.
    columns: Vec<(usize, ColumnRef)>,
    /// Rows decoded but not yet returned.
    pending: Option<RecordBatch>,
}

impl Reader {
    /// Opens the rows. With `all`, every column is read, otherwise the selected ones.
    pub(crate) fn new(file: &File, description: &Description, columns: Vec<ColumnRef>, all: bool) -> io::Result<Self> {
        let views = ArrowReaderOptions::new().with_schema(Arc::clone(&description.read_as));
        // A type that cannot be read as requested is read as the file declares it.
        let builder = open(file, views).or_else(|_| open(file, ArrowReaderOptions::new()))?;
        let mut roots: Vec<usize> = columns.iter().map(|column| column.position).collect();
        roots.sort_unstable();
        roots.dedup();
        let place = |position| if all { position } else { roots.binary_search(&position).unwrap_or_default() };
        let columns = columns.into_iter().map(|column| (place(column.position), column)).collect();
        let mask = match all {
            true => ProjectionMask::all(),
            false => ProjectionMask::roots(builder.parquet_schema(), roots),
        };
        let inner = builder.with_projection(mask).with_batch_size(description.batch_rows).build()?;
        Ok(Self { inner, columns, pending: None })
    }

    fn next_batch(&mut self) -> io::Result<Option<RecordBatch>> {
        let batch = match self.pending.take() {
            Some(batch) => batch,
            None => match self.inner.next().transpose().map_err(io::Error::other)? {
                Some(batch) => batch,
                None => return Ok(None),
            },
        };
        let mut row_bytes = vec![0; batch.num_rows()];
        batch.columns().iter().for_each(|column| add_bytes(column, &mut row_bytes));
        let mut bytes = 0;
        let fits = row_bytes.into_iter().take_while(|row| {
            bytes += row;
            bytes <= CHUNK_BYTES
        });
        let rows = fits.count().clamp(1, batch.num_rows().max(1));
        if rows < batch.num_rows() {
            self.pending = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        Ok(Some(batch.slice(0, rows.min(batch.num_rows()))))
    }
}

impl RowReader for Reader {
    fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let Some(batch) = self.next_batch()? else { return Ok(None) };
        let columns = self.columns.iter().map(|(position, column)| Ok((strings(batch.column(*position))?, column)));
        let columns = columns.collect::<io::Result<Vec<(StringArray, &ColumnRef)>>>()?;
        let row = |row| Row { cells: columns.iter().map(|(values, column)| cell(values, row, column)).collect() };
        let rows = (0..batch.num_rows()).map(row).collect();
        Ok(Some(Chunk { rows, raw: RawRows::Batch(batch) }))
    }
}

fn cell(values: &StringArray, row: usize, column: &ColumnRef) -> Cell {
    if values.is_null(row) {
        return Err(Error::BadCell { column: column.column.clone(), found: "null".into(), expected: "a string" });
    }
    match values.value(row) {
        text if text.len() > MAX_ROW_BYTES => Err(too_long(text.len() as u64)),
        text => Ok(text.to_owned()),
    }
}

/// Adds the bytes of the strings in each value, at any depth. Other values are too small to matter.
fn add_bytes(values: &dyn Array, sums: &mut [usize]) {
    let mut add = |lengths: &mut dyn Iterator<Item = usize>| {
        sums.iter_mut().zip(lengths).for_each(|(sum, length)| *sum += length);
    };
    let of = |inner: &dyn Array| {
        let mut bytes = vec![0; inner.len()];
        add_bytes(inner, &mut bytes);
        bytes
    };
    if let Some(dictionary) = values.as_any_dictionary_opt() {
        let bytes = of(dictionary.values());
        return add(&mut dictionary.normalized_keys().into_iter().map(|key| bytes.get(key).copied().unwrap_or(0)));
    }
    match values.data_type() {
        // The length is in the lower half of a view.
        DataType::Utf8View => add(&mut values.as_string_view().views().iter().map(|view| *view as u32 as usize)),
        DataType::BinaryView => add(&mut values.as_binary_view().views().iter().map(|view| *view as u32 as usize)),
        DataType::Utf8 => add(&mut values.as_string::<i32>().offsets().lengths()),
        DataType::LargeUtf8 => add(&mut values.as_string::<i64>().offsets().lengths()),
        DataType::Binary => add(&mut values.as_binary::<i32>().offsets().lengths()),
        DataType::LargeBinary => add(&mut values.as_binary::<i64>().offsets().lengths()),
        DataType::List(_) => {
            add(&mut sums_of(&of(values.as_list::<i32>().values()), values.as_list::<i32>().offsets()));
        }
        DataType::LargeList(_) => {
            add(&mut sums_of(&of(values.as_list::<i64>().values()), values.as_list::<i64>().offsets()));
        }
        DataType::Map(..) => add(&mut sums_of(&of(values.as_map().entries()), values.as_map().offsets())),
        DataType::Struct(_) => values.as_struct().columns().iter().for_each(|column| add_bytes(column, sums)),
        _ => {}
    }
}

/// Returns the bytes of each list, given those of its items.
fn sums_of<O: OffsetSizeTrait>(bytes: &[usize], offsets: &[O]) -> impl Iterator<Item = usize> {
    offsets.windows(2).map(|pair| bytes[pair[0].as_usize()..pair[1].as_usize()].iter().sum())
}

/// Returns a column of simple values as strings, and one of lists as JSON lists of strings.
fn strings(column: &ArrayRef) -> io::Result<StringArray> {
    let json = |list: Option<ArrayRef>| -> io::Result<Option<String>> {
        let Some(list) = list else { return Ok(None) };
        Ok(Some(Value::from_iter(strings(&list)?.iter().map(Value::from)).to_string()))
    };
    match column.data_type() {
        DataType::List(_) => column.as_list::<i32>().iter().map(json).collect(),
        DataType::LargeList(_) => column.as_list::<i64>().iter().map(json).collect(),
        DataType::FixedSizeList(..) => column.as_fixed_size_list().iter().map(json).collect(),
        _ => Ok(cast(column, &DataType::Utf8)?.as_string::<i32>().clone()),
    }
}

fn cast(column: &ArrayRef, kind: &DataType) -> io::Result<ArrayRef> {
    arrow_cast::cast(column, kind).map_err(io::Error::other)
}

pub(crate) struct Writer {
    inner: ArrowWriter<File>,
    schema: SchemaRef,
    new_columns: Vec<NewColumn>,
    positions: Vec<usize>,
}

impl Writer {
    pub(crate) fn new(file: File, description: &Description, new_columns: Vec<NewColumn>) -> io::Result<Self> {
        let mut fields: Vec<FieldRef> = description.schema.fields().iter().cloned().collect();
        let mut positions = Vec::new();
        for column in &new_columns {
            let kind = match column.kind {
                ValueKind::Number => DataType::Float64,
                ValueKind::Flag => DataType::Boolean,
                ValueKind::Text | ValueKind::Json => DataType::Utf8,
            };
            let field = Arc::new(Field::new(&column.name, kind, true));
            let position = fields.iter().position(|field| *field.name() == column.name).unwrap_or(fields.len());
            match fields.get_mut(position) {
                Some(old) => *old = field,
                None => fields.push(field),
            }
            positions.push(position);
        }
        let schema = Arc::new(Schema::new_with_metadata(fields, description.schema.metadata().clone()));
        let properties = WriterProperties::builder()
            .set_compression(description.codec)
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_key_value_metadata(Some(description.metadata.clone()))
            // Otherwise dates in milliseconds become plain numbers for other readers.
            .set_coerce_types(true)
            .build();
        let inner = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
        Ok(Self { inner, schema, new_columns, positions })
    }
}

impl RowWriter for Writer {
    fn write(&mut self, chunk: Chunk, values: Vec<Vec<Value>>) -> io::Result<()> {
        let RawRows::Batch(batch) = chunk.raw else { return Err(other_format()) };
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        for (number, (column, position)) in self.new_columns.iter().zip(&self.positions).enumerate() {
            let values = values.iter().map(|row| &row[number]);
            let built = new_values(column.kind, values, batch.columns().get(*position))?;
            match columns.get_mut(*position) {
                Some(old) => *old = built,
                None => columns.push(built),
            }
        }
        let typed = columns.iter().zip(self.schema.fields()).map(|(column, field)| cast(column, field.data_type()));
        let columns = typed.collect::<io::Result<_>>()?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(io::Error::other)?;
        self.inner.write(&batch)?;
        if self.inner.in_progress_size() > GROUP_BYTES {
            self.inner.flush()?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.inner.into_inner()?.flush()
    }
}

/// Returns a column of new values. Texts that are `Null` keep the value of the old column, if there
/// is one.
fn new_values<'a>(
    kind: ValueKind,
    values: impl Iterator<Item = &'a Value>,
    old: Option<&ArrayRef>,
) -> io::Result<ArrayRef> {
    Ok(match kind {
        ValueKind::Number => Arc::new(values.map(Value::as_f64).collect::<Float64Array>()),
        ValueKind::Flag => Arc::new(values.map(Value::as_bool).collect::<BooleanArray>()),
        ValueKind::Text | ValueKind::Json => {
            let old = old.map(strings).transpose()?;
            let kept = |row| old.as_ref().filter(|old| old.is_valid(row)).map(|old| old.value(row).to_owned());
            let text = |(row, value): (usize, &Value)| match value {
                Value::Null => kept(row),
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            Arc::new(values.enumerate().map(text).collect::<StringArray>())
        }
    })
}

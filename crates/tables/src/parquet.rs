//! Parquet: columns by name, the text among them as whatever kind of string it is stored; all others are passed on.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::WriterProperties;
use serde_json::Value;

use crate::{CHUNK_ROWS, Cell, Chunk, ColumnRef, Error, NewColumn, RawRows, Row, ValueKind};

/// A row group is written out when it has grown to so much, or to so many rows: it is held in memory until then.
const GROUP_BYTES: usize = 16 << 20;
const GROUP_ROWS: usize = 128 << 10;

pub(crate) struct Reader {
    inner: ParquetRecordBatchReader,
    wanted: Vec<(usize, ColumnRef)>,
}

/// The schema, and the codec of the first column, which the output then takes for all.
pub(crate) fn describe(file: File) -> io::Result<(SchemaRef, Compression)> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let groups = builder.metadata().row_groups();
    let codec = groups.first().and_then(|group| group.columns().first()).map(ColumnChunkMetaData::compression);
    Ok((Arc::clone(builder.schema()), codec.unwrap_or(Compression::SNAPPY)))
}

/// Whether values of this type are text, stored in one way or another.
pub(crate) fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

impl Reader {
    /// Opens the rows; with `all`, every column is read, otherwise those that are wanted.
    pub(crate) fn new(file: File, wanted: Vec<ColumnRef>, all: bool) -> io::Result<Self> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
        let schema = Arc::clone(builder.schema());
        let position = |wanted: &ColumnRef| {
            let missing = || io::Error::other(format!("column `{}` is missing", wanted.column));
            schema.index_of(&wanted.column).map_err(|_| missing())
        };
        let positions = wanted.iter().map(position).collect::<io::Result<Vec<usize>>>()?;
        let mask = if all { ProjectionMask::all() } else { ProjectionMask::roots(builder.parquet_schema(), positions) };
        let inner = builder.with_projection(mask).with_batch_size(CHUNK_ROWS).build()?;
        let read = arrow_array::RecordBatchReader::schema(&inner);
        let placed = |wanted: ColumnRef| read.index_of(&wanted.column).map(|position| (position, wanted));
        let wanted = wanted.into_iter().map(placed).collect::<Result<_, _>>().map_err(io::Error::other)?;
        Ok(Self { inner, wanted })
    }
}

impl super::Reader for Reader {
    fn next(&mut self) -> io::Result<Option<Chunk>> {
        let Some(batch) = self.inner.next() else { return Ok(None) };
        let batch = batch.map_err(io::Error::other)?;
        let columns = self
            .wanted
            .iter()
            .map(|(position, wanted)| Ok((strings(batch.column(*position))?, wanted)))
            .collect::<io::Result<Vec<(StringArray, &ColumnRef)>>>()?;
        let cell = |(column, wanted): &(StringArray, &ColumnRef), row: usize| -> Cell {
            if column.is_null(row) {
                let column = wanted.column.clone();
                return Err(Error::BadCell { column, found: "null".into(), expected: "a string" });
            }
            Ok(column.value(row).to_owned())
        };
        let rows = (0..batch.num_rows())
            .map(|row| Row { cells: columns.iter().map(|column| cell(column, row)).collect() })
            .collect();
        Ok(Some(Chunk { rows, kept: RawRows::Batch(batch) }))
    }
}

/// Any column of simple values as plain strings; of lists of such values, as JSON lists of strings.
fn strings(column: &ArrayRef) -> io::Result<StringArray> {
    if let Some(lists) = column.as_list_opt::<i32>() {
        let json = |list: Option<ArrayRef>| -> io::Result<Option<String>> {
            let Some(list) = list else { return Ok(None) };
            let values = strings(&list)?;
            Ok(Some(Value::from_iter(values.iter().map(Value::from)).to_string()))
        };
        return lists.iter().map(json).collect();
    }
    let column = arrow_cast::cast(column, &DataType::Utf8).map_err(io::Error::other)?;
    let strings = column.as_any().downcast_ref::<StringArray>();
    strings.cloned().ok_or_else(|| io::Error::other("a column is not text"))
}

pub(crate) struct Writer {
    inner: ArrowWriter<File>,
    schema: SchemaRef,
    added: Vec<NewColumn>,
    positions: Vec<usize>,
}

impl Writer {
    pub(crate) fn new(file: File, read: &Schema, codec: Compression, added: Vec<NewColumn>) -> io::Result<Self> {
        let mut fields: Vec<Arc<Field>> = read.fields().iter().cloned().collect();
        let mut positions = Vec::new();
        for column in &added {
            let position = fields.iter().position(|field| *field.name() == column.name).unwrap_or(fields.len());
            let kind = match column.kind {
                ValueKind::Number => DataType::Float64,
                ValueKind::Flag => DataType::Boolean,
                ValueKind::Text | ValueKind::Json => DataType::Utf8,
            };
            let field = Arc::new(Field::new(&column.name, kind, true));
            if position == fields.len() {
                fields.push(field);
            } else {
                fields[position] = field;
            }
            positions.push(position);
        }
        // Without the metadata of the input, which describes the columns that it had (pandas keeps a list there).
        let schema = Arc::new(Schema::new(fields));
        let properties =
            WriterProperties::builder().set_compression(codec).set_max_row_group_row_count(Some(GROUP_ROWS)).build();
        let inner = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))?;
        Ok(Self { inner, schema, added, positions })
    }
}

impl super::Writer for Writer {
    fn write(&mut self, chunk: Chunk, values: Vec<Vec<Value>>) -> io::Result<()> {
        let RawRows::Batch(batch) = chunk.kept else { return Err(io::Error::other("rows of another format")) };
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        for (number, (column, position)) in self.added.iter().zip(&self.positions).enumerate() {
            let values = values.iter().map(|row| &row[number]);
            let built: ArrayRef = match (column.kind, batch.columns().get(*position)) {
                (ValueKind::Number, _) => Arc::new(values.map(Value::as_f64).collect::<Float64Array>()),
                (ValueKind::Flag, _) => Arc::new(values.map(Value::as_bool).collect::<BooleanArray>()),
                (ValueKind::Text | ValueKind::Json, old) => {
                    let old = old.map(strings).transpose()?;
                    let kept =
                        |row: usize| old.as_ref().filter(|old| old.is_valid(row)).map(|old| old.value(row).to_owned());
                    let text = |(row, value): (usize, &Value)| match value {
                        Value::Null => kept(row),
                        Value::String(text) => Some(text.clone()),
                        other => Some(other.to_string()),
                    };
                    Arc::new(values.enumerate().map(text).collect::<StringArray>())
                }
            };
            if *position < columns.len() {
                columns[*position] = built;
            } else {
                columns.push(built);
            }
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(io::Error::other)?;
        self.inner.write(&batch)?;
        if self.inner.in_progress_size() > GROUP_BYTES {
            self.inner.flush()?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let mut file = self.inner.into_inner()?;
        file.flush()
    }
}

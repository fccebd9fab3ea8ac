//! Reads the selected columns as cells.

use std::fs::File;
use std::io;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef, StringViewArray, downcast_integer_array};
use arrow_schema::{DataType, Field, Fields};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels, parquet_to_arrow_schema};
use serde_json::Value;

use super::budget::Budget;
use super::pages::{BATCH_ROWS, Selected};
use super::{Description, schema_of};
use crate::columns::elided;
use crate::error::{Error, NULL};
use crate::limits::{CHUNK_BYTES, CHUNK_ROWS, MAX_ROW_BYTES, too_long};
use crate::rows::{Cell, Chunk, ColumnRef, RawRows, Row, RowReader};

pub(crate) struct Reader {
    inner: ParquetRecordBatchReader,
    budget: Arc<Budget>,
    columns: Vec<ColumnRef>,
    /// The values of each column in the current batch.
    values: Vec<ArrayRef>,
    /// Rows of the batch, and those that were returned.
    rows: usize,
    next: usize,
}

impl Reader {
    /// Opens the rows.
    pub(crate) fn new(file: &File, description: &Description, columns: Vec<ColumnRef>) -> io::Result<Self> {
        let mut roots: Vec<usize> = columns.iter().map(|column| column.position).collect();
        roots.sort_unstable();
        roots.dedup();
        let budget = Arc::new(Budget::default());
        let leaves = description.leaves();
        let selected = Selected {
            file: Arc::new(file.try_clone()?),
            metadata: Arc::clone(&description.metadata),
            leaves: roots.iter().flat_map(|root| leaves[*root].clone()).collect(),
            budget: Arc::clone(&budget),
        };
        let levels = levels(description, &roots)?;
        let inner = ParquetRecordBatchReader::try_new_with_row_groups(&levels, &selected, BATCH_ROWS, None)?;
        let place = |position| roots.binary_search(&position).unwrap_or_default();
        let columns = columns.into_iter().map(|column| ColumnRef { position: place(column.position), ..column });
        Ok(Self { inner, budget, columns: columns.collect(), values: Vec::new(), rows: 0, next: 0 })
    }

    /// Returns the next row.
    pub(super) fn next_row(&mut self) -> io::Result<Option<Row>> {
        while self.next == self.rows {
            self.budget.start_batch();
            let batch = match self.inner.next() {
                Some(Ok(batch)) => batch,
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(self.budget.problem().map_or_else(|| io::Error::other(error), io::Error::from));
                }
            };
            (self.rows, self.next) = (batch.num_rows(), 0);
            let values = self.columns.iter().map(|column| as_views(batch.column(column.position)));
            self.values = values.collect::<io::Result<_>>()?;
        }
        let row = self.next;
        self.next += 1;
        let cells = self.values.iter().zip(&self.columns).map(|(values, column)| cell(values, row, column));
        Ok(Some(Row { cells: cells.collect::<io::Result<_>>()? }))
    }
}

impl RowReader for Reader {
    fn next_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while rows.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
            let Some(row) = self.next_row()? else { break };
            bytes += row.cells.iter().flatten().map(String::len).sum::<usize>();
            rows.push(row);
        }
        Ok((!rows.is_empty()).then_some(Chunk { rows, raw: RawRows::InFile }))
    }
}

/// Returns the types in which columns are read. Strings are read as views, which share their bytes
/// with the page: a long one may be the value of every row.
fn levels(description: &Description, roots: &[usize]) -> io::Result<FieldLevels> {
    let fields = roots.iter().map(|root| Arc::clone(&description.roots()[*root])).collect();
    let schema = schema_of(fields)?;
    let found = parquet_to_arrow_schema(&schema, None)?;
    let views: Fields = found.fields().iter().map(|field| with_views(field)).collect();
    Ok(parquet_to_arrow_field_levels(&schema, ProjectionMask::all(), Some(&views))?)
}

fn with_views(field: &Field) -> Field {
    let kind = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::List(item) => DataType::List(Arc::new(with_views(item))),
        kind => kind.clone(),
    };
    field.clone().with_data_type(kind)
}

/// Returns whether values of this type can be read.
pub(super) fn is_simple(kind: &DataType) -> bool {
    use DataType::{Binary, Boolean, Date32, Decimal128, Float32, Float64, Utf8, Utf8View};
    kind.is_integer()
        || matches!(kind, Boolean | Float32 | Float64 | Decimal128(..) | Date32 | Binary | Utf8 | Utf8View)
}

/// Converts simple values to strings. Lists are converted a row at a time.
fn as_views(values: &ArrayRef) -> io::Result<ArrayRef> {
    match values.data_type() {
        DataType::List(_) | DataType::Utf8View => Ok(Arc::clone(values)),
        kind => {
            let strings = strings(values);
            Ok(Arc::new(strings.ok_or_else(|| io::Error::other(format!("values of the type {kind} cannot be read")))?))
        }
    }
}

/// Writes each value as CSV has it. The crate `arrow-cast` converts between all types, and takes a
/// sixth of the time of a release build.
fn strings(values: &ArrayRef) -> Option<StringViewArray> {
    let values: &dyn Array = values;
    let texts = |text: &dyn Fn(usize) -> Option<String>| {
        (0..values.len()).map(|row| values.is_valid(row).then(|| text(row)).flatten()).collect()
    };
    Some(downcast_integer_array!(
        values => values.iter().map(|value| value.map(|value| value.to_string())).collect(),
        DataType::Boolean => texts(&|row| Some(values.as_boolean().value(row).to_string())),
        DataType::Float32 => texts(&|row| Some(format!("{:?}", values.as_primitive::<Float32Type>().value(row)))),
        DataType::Float64 => texts(&|row| Some(format!("{:?}", values.as_primitive::<Float64Type>().value(row)))),
        DataType::Decimal128(..) => texts(&|row| Some(values.as_primitive::<Decimal128Type>().value_as_string(row))),
        DataType::Date32 => texts(&|row| Some(values.as_primitive::<Date32Type>().value_as_date(row)?.to_string())),
        DataType::Binary => texts(&|row| String::from_utf8(values.as_binary::<i32>().value(row).to_vec()).ok()),
        _ => return None,
    ))
}

fn cell(values: &ArrayRef, row: usize, column: &ColumnRef) -> io::Result<Cell> {
    if values.is_null(row) {
        let (column, found) = (elided(&column.column), NULL.to_owned());
        return Ok(Err(Error::BadCell { column, found, expected: "a string" }));
    }
    let Some(lists) = values.as_list_opt::<i32>() else {
        return Ok(match values.as_string_view().value(row) {
            text if text.len() > MAX_ROW_BYTES => Err(too_long(text.len() as u64)),
            text => Ok(text.to_owned()),
        });
    };
    let items = as_views(&lists.value(row))?;
    let items = items.as_string_view();
    let bytes: usize = items.iter().map(|item| item.map_or(4, str::len)).sum();
    Ok(match bytes {
        bytes if bytes > MAX_ROW_BYTES => Err(too_long(bytes as u64)),
        _ => Ok(Value::from_iter(items.iter().map(Value::from)).to_string()),
    })
}

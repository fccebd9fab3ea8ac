//! Writes an output: the columns of the input copied, and new columns.

use std::fs::File;
use std::io::{self, Sink};
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, StringArray};
use arrow_schema::{DataType, Field, FieldRef, Schema};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::writer::SerializedFileWriter;
use serde_json::Value;

use super::copy::{copy, properties, schema};
use super::{Description, Reader, damaged};
use crate::rows::{Cell, CellKind, Chunk, ColumnRef, NewColumn, RowWriter, ValueKind};

pub(crate) struct Writer {
    output: SerializedFileWriter<File>,
    input: File,
    description: Arc<Description>,
    new_columns: Vec<NewColumn>,
    fields: Vec<FieldRef>,
    /// For each column of the output, the number of the new one that it is.
    places: Vec<Option<usize>>,
    /// The leaves of each column of the input.
    leaves: Vec<Range<usize>>,
    factory: ArrowRowGroupWriterFactory,
    /// The number of the current row group, the new columns in it, and the rows that they have.
    group: usize,
    columns: Vec<ArrowColumnWriter>,
    rows: usize,
    /// The columns of the input that get new values, as far as the old ones may be kept.
    old: Option<(Reader, Vec<Option<usize>>)>,
}

impl Writer {
    pub(crate) fn new(
        file: File,
        input: &File,
        description: &Arc<Description>,
        new_columns: Vec<NewColumn>,
    ) -> io::Result<Self> {
        let names = description.names();
        let mut places = vec![None; names.len()];
        for (number, column) in new_columns.iter().enumerate() {
            match names.iter().position(|name| *name == column.name) {
                Some(position) => places[position] = Some(number),
                None => places.push(Some(number)),
            }
        }
        let fields: Vec<FieldRef> = new_columns.iter().map(field).collect();
        let added = ArrowSchemaConverter::new().convert(&Schema::new(fields.clone()))?;
        let added = added.root_schema_ptr();
        let schema = schema(description, &places, &added)?;
        let properties = properties(description, &places, &fields);
        let output = SerializedFileWriter::new(file, schema, Arc::clone(&properties))?;
        // The factory takes the types from a file with the new columns alone.
        let apart: SerializedFileWriter<Sink> = SerializedFileWriter::new(io::sink(), added, properties)?;
        let factory = ArrowRowGroupWriterFactory::new(&apart, Arc::new(Schema::new(fields.clone())));
        let old = old_values(input, description, &new_columns, &names)?;
        let (input, description) = (input.try_clone()?, Arc::clone(description));
        let (leaves, columns) = (description.leaves(), Vec::new());
        Ok(Self {
            output,
            input,
            description,
            new_columns,
            fields,
            places,
            leaves,
            factory,
            group: 0,
            columns,
            rows: 0,
            old,
        })
    }

    fn metadata(&self) -> Arc<ParquetMetaData> {
        Arc::clone(&self.description.metadata)
    }

    /// Returns the rows that the current row group still lacks, or `None` behind the last one.
    fn missing(&self) -> Option<usize> {
        let metadata = &self.description.metadata;
        let rows = metadata.row_groups().get(self.group)?.num_rows();
        Some(usize::try_from(rows).unwrap_or_default().saturating_sub(self.rows))
    }

    fn write_rows(&mut self, rows: &[Vec<Value>]) -> io::Result<()> {
        if self.columns.is_empty() {
            self.columns = self.factory.create_column_writers(self.group)?;
        }
        let old = self.old_cells(rows.len())?;
        for (number, column) in self.new_columns.iter().enumerate() {
            let values = rows.iter().map(|row| &row[number]);
            let array = array(column.kind, values, old.get(number).map_or(&[], Vec::as_slice));
            for leaf in compute_leaves(&self.fields[number], &array)? {
                self.columns[number].write(&leaf)?;
            }
        }
        self.rows += rows.len();
        Ok(())
    }

    /// Returns the old cells of the next rows for each new column that keeps some.
    fn old_cells(&mut self, rows: usize) -> io::Result<Vec<Vec<Cell>>> {
        let Some((reader, places)) = &mut self.old else { return Ok(Vec::new()) };
        let mut cells = vec![Vec::new(); places.len()];
        for _ in 0..rows {
            let mut row = reader.next_row()?.ok_or_else(damaged)?.cells;
            for (column, place) in cells.iter_mut().zip(places.iter()) {
                column.extend(place.map(|place| std::mem::replace(&mut row[place], Ok(String::new()))));
            }
        }
        Ok(cells)
    }

    /// Ends row groups that have all their rows.
    fn close_groups(&mut self) -> io::Result<()> {
        while self.missing() == Some(0) {
            if self.columns.is_empty() {
                self.columns = self.factory.create_column_writers(self.group)?;
            }
            self.close_group()?;
            (self.group, self.rows) = (self.group + 1, 0);
        }
        Ok(())
    }

    fn close_group(&mut self) -> io::Result<()> {
        let metadata = self.metadata();
        let columns = std::mem::take(&mut self.columns).into_iter();
        let mut new = columns.map(|column| column.close().map(Some)).collect::<Result<Vec<_>, _>>()?;
        let mut output = self.output.next_row_group()?;
        for (root, place) in self.places.iter().enumerate() {
            match place {
                Some(number) => {
                    let chunk = new[*number].take().ok_or_else(damaged)?;
                    chunk.append_to_row_group(&mut output)?;
                }
                None => {
                    for leaf in self.leaves[root].clone() {
                        copy(&self.input, &metadata, self.group, leaf, &mut output)?;
                    }
                }
            }
        }
        output.close()?;
        Ok(())
    }
}

impl RowWriter for Writer {
    fn write(&mut self, _chunk: Chunk, values: Vec<Vec<Value>>) -> io::Result<()> {
        let mut rows = values.as_slice();
        while !rows.is_empty() {
            self.close_groups()?;
            let missing = self.missing().ok_or_else(damaged)?;
            let (now, later) = rows.split_at(missing.min(rows.len()));
            self.write_rows(now)?;
            rows = later;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.close_groups()?;
        match self.missing() {
            None => Ok(self.output.close().map(drop)?),
            Some(_) => Err(damaged()),
        }
    }
}

fn field(column: &NewColumn) -> FieldRef {
    let kind = match column.kind {
        ValueKind::Number => DataType::Float64,
        ValueKind::Flag => DataType::Boolean,
        ValueKind::Text | ValueKind::Json => DataType::Utf8,
    };
    Arc::new(Field::new(&column.name, kind, true))
}

/// Opens the old values of the columns of text that get new ones, with the place of each new column
/// among them.
fn old_values(
    input: &File,
    description: &Description,
    new_columns: &[NewColumn],
    names: &[String],
) -> io::Result<Option<(Reader, Vec<Option<usize>>)>> {
    let (mut columns, mut places) = (Vec::new(), Vec::new());
    for column in new_columns {
        let position = names.iter().position(|name| *name == column.name);
        let kept = position.filter(|_| matches!(column.kind, ValueKind::Text | ValueKind::Json));
        places.push(kept.map(|_| columns.len()));
        columns.extend(kept.map(|position| ColumnRef { column: column.name.clone(), position, kind: CellKind::List }));
    }
    if columns.is_empty() {
        return Ok(None);
    }
    Ok(Some((Reader::new(input, description, columns)?, places)))
}

/// Returns new values. Texts that are `Null` keep the old value, if there is one.
fn array<'a>(kind: ValueKind, values: impl Iterator<Item = &'a Value>, old: &[Cell]) -> ArrayRef {
    match kind {
        ValueKind::Number => Arc::new(values.map(Value::as_f64).collect::<Float64Array>()),
        ValueKind::Flag => Arc::new(values.map(Value::as_bool).collect::<BooleanArray>()),
        ValueKind::Text | ValueKind::Json => {
            let text = |(row, value): (usize, &Value)| match value {
                Value::Null => old.get(row).and_then(|cell| cell.clone().ok()),
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            Arc::new(values.enumerate().map(text).collect::<StringArray>())
        }
    }
}

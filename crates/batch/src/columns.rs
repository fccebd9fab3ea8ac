//! The columns that an output adds to those of the input, and their names.

use std::collections::BTreeSet;

use crate::error::Error;
use tables::{Cell, CellKind, ColumnRef, NewColumn, TableFile, ValueKind};

/// A column that this program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Column {
    Prediction,
    Confidence,
    Value,
    Labels,
    Entities,
    Uncertain,
    Truncated,
    Error,
    /// The model's own answer, in rows that were corrected.
    CorrectedFrom,
}

/// All columns in the order of the output, with their names and types.
const COLUMNS: [(Column, &str, ValueKind); 9] = [
    (Column::Prediction, "prediction", ValueKind::Text),
    (Column::Confidence, "confidence", ValueKind::Number),
    (Column::Value, "value", ValueKind::Number),
    (Column::Labels, "labels", ValueKind::Json),
    (Column::Entities, "entities", ValueKind::Json),
    (Column::Uncertain, "uncertain", ValueKind::Flag),
    (Column::Truncated, "truncated", ValueKind::Flag),
    (Column::Error, "error", ValueKind::Text),
    (Column::CorrectedFrom, "corrected_from", ValueKind::Text),
];

impl Column {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        COLUMNS.into_iter().map(|(column, ..)| column)
    }

    pub(crate) fn name(self) -> &'static str {
        COLUMNS[self as usize].1
    }
}

/// Prefix of all our names if the input has a column with one of them.
const PREFIX: &str = "local_model_";

/// The names of our columns in one output.
///
/// The names depend only on the columns of the input, not on what its rows contain. So the user's
/// columns are never overwritten, and none of them is mistaken for one of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ColumnNames {
    prefix: &'static str,
}

impl ColumnNames {
    /// Chooses the names for the output of a file with these columns.
    ///
    /// # Errors
    /// `OutputColumns` if the file has both kinds of names.
    pub(crate) fn for_input(columns: &BTreeSet<String>) -> Result<Self, Error> {
        let taken = |names: &Self| names.all().into_iter().find(|name| columns.contains(name));
        let (plain, prefixed) = (Self { prefix: "" }, Self { prefix: PREFIX });
        match (taken(&plain), taken(&prefixed)) {
            (None, _) => Ok(plain),
            (_, None) => Ok(prefixed),
            (_, Some(name)) => Err(Error::OutputColumns { name }),
        }
    }

    /// Recognizes an output by its columns: `prediction` and at least one other that every answer
    /// or failure has.
    pub(crate) fn of_output(columns: &[String]) -> Option<Self> {
        let has = |names: &Self, column| columns.contains(&names.full(column));
        let others = [Column::Confidence, Column::Value, Column::Entities, Column::Error];
        [PREFIX, ""]
            .map(|prefix| Self { prefix })
            .into_iter()
            .find(|names| has(names, Column::Prediction) && others.iter().any(|column| has(names, *column)))
    }

    /// Returns all names that a column of ours may have.
    pub(crate) fn candidates() -> impl Iterator<Item = String> {
        ["", PREFIX].into_iter().flat_map(|prefix| Self { prefix }.all())
    }

    pub(crate) fn full(&self, column: Column) -> String {
        format!("{}{}", self.prefix, column.name())
    }

    pub(crate) fn all(&self) -> Vec<String> {
        Column::all().map(|column| self.full(column)).collect()
    }

    pub(crate) fn added(&self, column: Column) -> NewColumn {
        NewColumn { name: self.full(column), kind: COLUMNS[column as usize].2 }
    }
}

/// Those of our columns that an existing output has.
pub(crate) struct OutputColumns {
    pub(crate) names: ColumnNames,
    present: Vec<Column>,
    pub(crate) wanted: Vec<ColumnRef>,
}

impl OutputColumns {
    /// Looks for these columns.
    ///
    /// # Errors
    /// `NotAnOutput` if the file is not an output.
    pub(crate) fn new(output: &TableFile, columns: &[Column]) -> Result<Self, Error> {
        let names = ColumnNames::of_output(output.columns())
            .ok_or_else(|| Error::NotAnOutput { path: output.path().to_owned() })?;
        let wanted = |column: &Column| Some((*column, output.optional(&names.full(*column))?));
        let (present, mut wanted): (Vec<_>, Vec<_>) = columns.iter().filter_map(wanted).unzip();
        wanted.iter_mut().for_each(|wanted| wanted.kind = CellKind::List);
        Ok(Self { names, present, wanted })
    }

    pub(crate) fn has(&self, column: Column) -> bool {
        self.present.contains(&column)
    }

    /// Returns the value of a row in a column, if there is one. `cells` begins with the cells of
    /// `wanted`.
    pub(crate) fn cell<'a>(&self, cells: &'a [Cell], column: Column) -> Option<&'a str> {
        let number = self.present.iter().position(|present| *present == column)?;
        cells.get(number)?.as_deref().ok().filter(|cell| !cell.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_order_of_the_enum() {
        assert!(COLUMNS.iter().enumerate().all(|(number, (column, ..))| *column as usize == number));
    }

    #[test]
    fn names_depend_on_the_columns_of_the_input_alone() {
        let name = |columns: &[&str]| {
            let columns = columns.iter().map(ToString::to_string).collect();
            ColumnNames::for_input(&columns).map(|names| names.full(Column::Prediction))
        };
        assert_eq!(name(&["id", "text"]).unwrap(), "prediction");
        for column in ["prediction", "uncertain", "error", "corrected_from", "value"] {
            assert_eq!(name(&["text", column]).unwrap(), "local_model_prediction", "{column}");
        }
        assert_eq!(name(&["text", "local_model_error"]).unwrap(), "prediction");
        let both = name(&["prediction", "local_model_error"]).unwrap_err();
        assert_eq!(both, Error::OutputColumns { name: "local_model_error".into() });
    }

    #[test]
    fn an_output_is_told_from_a_file_with_a_column_of_its_own_called_prediction() {
        let names = |columns: &[&str]| {
            let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
            ColumnNames::of_output(&columns).map(|names| names.prefix)
        };
        assert_eq!(names(&["text", "prediction", "confidence"]), Some(""));
        assert_eq!(names(&["text", "prediction"]), None);
        assert_eq!(names(&["prediction", "confidence", "local_model_prediction", "local_model_value"]), Some(PREFIX));
    }
}

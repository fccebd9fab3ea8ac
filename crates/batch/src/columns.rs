//! The columns that an output adds to those of the input, and their names.

use std::collections::BTreeSet;

use crate::error::Error;
use tables::{Cell, CellKind, ColumnRef, NewColumn, TableFile, ValueKind};

/// Returns whether a spreadsheet that opens a CSV file computes this value instead of showing it
/// (OWASP, "CSV injection"). A number is computed as itself.
pub(crate) fn is_formula(value: &str) -> bool {
    const STARTS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    value.starts_with(STARTS) && value.parse::<f64>().is_err()
}

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
    /// `OutputColumns` if the file has a column with one of the prefixed names, since its output
    /// would have two kinds of columns that look like ours.
    pub(crate) fn for_input(columns: &BTreeSet<String>) -> Result<Self, Error> {
        let taken = |names: &Self| names.all().into_iter().find(|name| columns.contains(name));
        match (taken(&PREFIXED), taken(&PLAIN)) {
            (Some(name), _) => Err(Error::OutputColumns { name }),
            (None, Some(_)) => Ok(PREFIXED),
            (None, None) => Ok(PLAIN),
        }
    }

    /// Recognizes an output. `None` for any other file.
    ///
    /// # Errors
    /// Those of reading JSON lines.
    pub(crate) fn of_output(output: &mut TableFile) -> Result<Option<Self>, Error> {
        match Self::among(output.columns()) {
            Some(names) => Ok(Some(names)),
            None => Self::in_rows(output),
        }
    }

    /// Recognizes an output by its columns: `prediction` and at least one other that every answer
    /// or failure has.
    fn among(columns: &[String]) -> Option<Self> {
        let has = |name: &String| columns.contains(name);
        // An input has no prefixed names, so a file with one of them is an output with all of them.
        let names = if PREFIXED.all().iter().any(has) { PREFIXED } else { PLAIN };
        let others = [Column::Confidence, Column::Value, Column::Entities, Column::Error];
        let is_output = has(&names.full(Column::Prediction)) && others.iter().any(|other| has(&names.full(*other)));
        is_output.then_some(names)
    }

    /// Recognizes an output in JSON lines whose first rows failed, so that the known fields have no
    /// `prediction`: each of these rows has an `error`.
    fn in_rows(output: &mut TableFile) -> Result<Option<Self>, Error> {
        'names: for names in [PREFIXED, PLAIN] {
            let columns = [Column::Prediction, Column::Error].map(|column| output.optional(&names.full(column)));
            let [Some(prediction), Some(error)] = columns else { continue };
            let mut any_failed = false;
            for chunk in output.rows(&[prediction, error])? {
                for cells in chunk?.rows.iter().map(|row| &row.cells) {
                    match (is_in_row(&cells[0]), is_in_row(&cells[1])) {
                        (true, _) if any_failed => return Ok(Some(names)),
                        (false, true) => any_failed = true,
                        _ => continue 'names,
                    }
                }
            }
            return Ok(any_failed.then_some(names));
        }
        Ok(None)
    }

    /// Returns all names that a column of ours may have.
    pub(crate) fn candidates() -> impl Iterator<Item = String> {
        [PLAIN, PREFIXED].into_iter().flat_map(|names| names.all())
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

const PLAIN: ColumnNames = ColumnNames { prefix: "" };
const PREFIXED: ColumnNames = ColumnNames { prefix: PREFIX };

/// Returns whether a row has a cell in a column, regardless of its value. In JSON lines it may not.
pub(crate) fn is_in_row(cell: &Cell) -> bool {
    match cell {
        Ok(_) => true,
        Err(error @ tables::Error::BadCell { .. }) => !error.is_absent(),
        Err(_) => false,
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
    pub(crate) fn new(output: &mut TableFile, columns: &[Column]) -> Result<Self, Error> {
        let names = ColumnNames::of_output(output)?;
        let names = names.ok_or_else(|| Error::NotAnOutput { path: output.path().to_owned() })?;
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
        for columns in [&["text", "local_model_error"], &["prediction", "local_model_error"]] {
            assert_eq!(name(columns).unwrap_err(), Error::OutputColumns { name: "local_model_error".into() });
        }
    }

    #[test]
    fn an_output_is_told_from_a_file_with_a_column_of_its_own_called_prediction() {
        let names = |columns: &[&str]| {
            let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
            ColumnNames::among(&columns).map(|names| names.prefix)
        };
        assert_eq!(names(&["text", "prediction", "confidence"]), Some(""));
        assert_eq!(names(&["text", "prediction"]), None);
        assert_eq!(names(&["prediction", "confidence", "local_model_prediction", "local_model_value"]), Some(PREFIX));
        // The first rows of this output failed; `prediction` and `value` are the user's.
        assert_eq!(names(&["prediction", "value", "local_model_error"]), None);
    }
}

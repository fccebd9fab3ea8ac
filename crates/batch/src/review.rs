//! Finds the rows of an output to review: those that the model marked as uncertain, otherwise those
//! with the lowest confidence.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use crate::FileJob;
use crate::columns::{Column, OutputColumns};
use crate::error::Error;
use crate::handle::{Monitor, Progress, Stage};
use tables::{CellKind, ColumnRef, TableFile};

/// Longest part of a text that is returned.
const MAX_CHARACTERS: usize = 300;

/// A row to review.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ReviewRow {
    /// From 1, without the header.
    pub row: u64,
    /// At most 300 characters.
    pub text: String,
    pub prediction: String,
    pub confidence: Option<f64>,
}

/// The rows of an output to review.
#[derive(Clone, Debug)]
pub struct Review {
    pub output: PathBuf,
    /// Least certain first.
    pub rows: Vec<ReviewRow>,
    /// The number of rows still to review, including those returned.
    pub left: u64,
    /// Whether the model marked rows of this output as uncertain. If not, the rows are the least
    /// certain of all.
    pub uncertain: bool,
}

/// The least certain of the rows seen, in that order, and the number of rows seen.
struct LeastCertain {
    limit: usize,
    seen: u64,
    rows: Vec<ReviewRow>,
}

impl LeastCertain {
    fn new(limit: usize) -> Self {
        Self { limit, seen: 0, rows: Vec::new() }
    }

    fn add(&mut self, row: ReviewRow) {
        self.seen += 1;
        let confidence = |row: &ReviewRow| row.confidence.unwrap_or(0.0);
        let place = self.rows.partition_point(|other| confidence(other) <= confidence(&row));
        if place < self.limit {
            self.rows.truncate(self.limit - 1);
            self.rows.insert(place, row);
        }
    }
}

/// Finds the rows to review, at most `limit`.
pub(crate) fn review(job: &FileJob, limit: usize, monitor: &mut Monitor) -> Result<Review, Error> {
    let mut output = job.open_output()?;
    let read = [Column::Prediction, Column::Confidence, Column::Uncertain, Column::CorrectedFrom];
    let columns = OutputColumns::new(&mut output, &read)?;
    let text = text_column(job, &mut output, &columns)?;
    let wanted: Vec<ColumnRef> = columns.wanted.iter().cloned().chain([text]).collect();
    let (mut marked, mut all) = (LeastCertain::new(limit), LeastCertain::new(limit));
    let (mut row, mut any_marked) = (0, false);
    for chunk in output.rows(&wanted)? {
        for cells in chunk?.rows.into_iter().map(|row| row.cells) {
            row += 1;
            let value = |column| columns.cell(&cells, column);
            // A correction sets the mark to `false`.
            any_marked |= value(Column::Uncertain).is_some();
            let uncertain = value(Column::Uncertain) == Some("true");
            let confidence = value(Column::Confidence).and_then(|confidence| confidence.parse().ok());
            let Some(prediction) = value(Column::Prediction).map(str::to_owned) else { continue };
            if value(Column::CorrectedFrom).is_some() || !uncertain && (any_marked || confidence.is_none()) {
                continue;
            }
            let text = shortened(cells.last().and_then(|text| text.as_deref().ok()).unwrap_or_default());
            let candidate = ReviewRow { row, text, prediction, confidence };
            if uncertain { marked.add(candidate) } else { all.add(candidate) }
        }
        monitor.report(Progress::new(Stage::Reading, row))?;
    }
    let kept = if any_marked { marked } else { all };
    Ok(Review { output: output.path().to_owned(), rows: kept.rows, left: kept.seen, uncertain: any_marked })
}

fn text_column(job: &FileJob, output: &mut TableFile, columns: &OutputColumns) -> Result<ColumnRef, Error> {
    if let Some(name) = &job.text_column {
        return Ok(output.column(name, CellKind::Text)?);
    }
    let own = columns.names.all();
    let except: Vec<&str> = own.iter().map(String::as_str).chain(job.label_column.as_deref()).collect();
    Ok(output.text_column(&except)?)
}

/// The first 300 characters of a text.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

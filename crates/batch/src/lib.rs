//! Whole files: predictions for every row, a summary, the rows to review, and the reviewer's
//! decisions.
//!
//! [`FileJob`] classifies a file, finds rows to review in its output, and corrects them there.
//! [`EvaluationRun`] classifies the rows of a labelled file. Both run on their own thread and are
//! controlled through a [`JobHandle`]. All rows, including those of the filter, go through the loop
//! [`classify_rows`]. Nothing here depends on the protocol or the terminal.
//!
//! # Files
//! - `rows`, `context`: sending rows through the engine, in order
//! - `run`: one run over a file; `journal`: its finished rows, for the output and for resuming
//! - `record`, `columns`: the outcome of a row, and its columns in the output
//! - `summary`, `review`, `corrections`: results for callers, and decisions from them
//! - `handle`: progress, cancellation, and the slots that jobs wait for
//! - `evaluate`: the rows of a labelled file with their scores

mod columns;
mod context;
mod corrections;
mod error;
mod evaluate;
mod handle;
mod journal;
mod record;
mod review;
mod rows;
mod run;
mod summary;

use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use cache_dir::digest::hex;
use classifier::{Input, ModelInfo, Question};
use columns::ColumnNames;
use context::Context;
pub use corrections::{CorrectionReport, Corrections};
use engine::Engine;
pub use error::Error;
pub use evaluate::EvaluationRun;
use handle::Slots;
pub use handle::{JobHandle, Progress, Stage};
pub use review::{Review, ReviewRow};
pub use rows::{RowOptions, classify_rows};
use run::Run;
pub use summary::{RowSample, Summary};
use tables::{Cell, CellKind, ColumnRef, CsvOptions, IfExists, Location, PathPolicy, TableFile, output_location};

/// The usual name of a column with second texts, and the name of the argument for one.
pub const PAIR_COLUMN: &str = "text_pair";

/// Settings for every job of a process.
#[derive(Clone, Debug)]
pub struct JobSettings {
    pub paths: PathPolicy,
    /// Rows of one file that may be in the engine at a time.
    pub in_flight: usize,
    runs: Slots,
    /// Reviews and corrections take seconds, so they do not wait for runs.
    edits: Slots,
}

impl JobSettings {
    /// Returns the settings for a process. Its jobs share four slots for runs, and four for reviews
    /// and corrections.
    pub fn new(paths: PathPolicy, in_flight: usize) -> Self {
        Self { paths, in_flight, runs: Slots::default(), edits: Slots::default() }
    }

    /// Enough rows to keep the workers busy while finished ones are written in order.
    pub fn in_flight(workers: usize) -> usize {
        4 * workers
    }
}

/// A file and the caller's options for it.
#[derive(Clone, Debug)]
pub struct FileJob {
    pub path: PathBuf,
    /// `None` means `NAME.predicted.csv` next to the input.
    pub output: Option<PathBuf>,
    pub text_column: Option<String>,
    /// A column with second texts, for models trained on pairs.
    pub pair_column: Option<String>,
    /// A column with the right labels, for the accuracy.
    pub label_column: Option<String>,
    pub csv_options: CsvOptions,
    /// `None` means the first model.
    pub model: Option<String>,
    /// One second text for all rows.
    pub text_pair: Option<String>,
    /// Candidate labels; empty for the model's own.
    pub labels: Vec<String>,
    /// For decision models: what is asked about every text.
    pub question: Option<Arc<Question>>,
    pub if_exists: IfExists,
    pub settings: JobSettings,
}

/// All methods must be called inside a tokio runtime, which must keep running until the job has
/// ended.
impl FileJob {
    /// Classifies the file.
    pub fn start(self, engine: Arc<Engine>) -> JobHandle<Summary> {
        let runtime = Handle::current();
        self.settings.runs.clone().spawn(move |monitor| Run::new(&self, Context { engine, runtime, monitor })?.finish())
    }

    /// Finds the rows of the output to review, the least certain first, at most `limit`.
    pub fn review(self, limit: usize) -> JobHandle<Review> {
        self.settings.edits.clone().spawn(move |monitor| review::review(&self, limit, monitor))
    }

    /// Writes a reviewer's decisions into the output. They are on disk when the job has finished.
    pub fn correct(self, corrections: Corrections) -> JobHandle<CorrectionReport> {
        self.settings.edits.clone().spawn(move |monitor| corrections::correct(&self, corrections, monitor))
    }

    /// Checks whether the output exists.
    pub fn output_exists(self) -> JobHandle<bool> {
        self.settings.edits.clone().spawn(move |_| match self.open_output() {
            Ok(_) => Ok(true),
            Err(Error::OutputMissing { .. }) => Ok(false),
            Err(error) => Err(error),
        })
    }

    /// The columns to read: the texts, the second texts and the right labels if there are any.
    ///
    /// # Errors
    /// `PairUnread` if the file names second texts and the caller names no column.
    fn columns(&self, source: &mut TableFile) -> Result<Vec<ColumnRef>, Error> {
        let label = self.label_column.as_deref().map(|name| source.column(name, CellKind::Value)).transpose()?;
        let pair = self.pair_column.as_deref().map(|name| source.column(name, CellKind::Text)).transpose()?;
        let text = match &self.text_column {
            Some(name) => source.column(name, CellKind::Text)?,
            None if pair.is_none()
                && self.text_pair.is_none()
                && source.columns().iter().any(|column| column == PAIR_COLUMN) =>
            {
                return Err(Error::PairUnread { column: PAIR_COLUMN });
            }
            None => {
                let others: Vec<&str> = label.iter().chain(&pair).map(|column| column.column.as_str()).collect();
                source.text_column(&others)?
            }
        };
        let twice = pair.as_ref().filter(|pair| {
            pair.column == text.column || label.as_ref().is_some_and(|label| label.column == pair.column)
        });
        if let Some(pair) = twice {
            return Err(Error::ColumnTwice { column: pair.column.clone() });
        }
        Ok(std::iter::once(text).chain(pair).chain(label).collect())
    }

    /// The number of columns that make the input of a row.
    fn input_columns(&self) -> usize {
        1 + usize::from(self.pair_column.is_some())
    }

    /// The output of this file: the one named, the one next to it, or the file itself if it is named
    /// as an output is and has the columns of one. Columns alone do not suffice, because another
    /// program's file may have the same.
    fn output_location(&self) -> Result<Location, Error> {
        let mut source = TableFile::open(&self.path, &self.settings.paths, self.csv_options)?;
        let location = output_location(&source, self.output.as_deref(), &self.settings.paths)?;
        if location.exists() {
            return Ok(location);
        }
        let is_named = source.path().file_name().is_some_and(|name| name.to_string_lossy().contains(".predicted"));
        if self.output.is_none() && is_named && ColumnNames::of_output(&mut source)?.is_some() {
            return Ok(self.settings.paths.locate(source.path())?);
        }
        Err(Error::OutputMissing { path: location.path().to_owned() })
    }

    fn open_output(&self) -> Result<TableFile, Error> {
        Ok(TableFile::open_at(&self.output_location()?, CsvOptions { header: true, ..self.csv_options })?)
    }

    /// The input of a row, from its text and its second text.
    fn input(&self, cells: Vec<Cell>) -> Result<Input, Error> {
        let mut cells = cells.into_iter();
        let text = cells.next().unwrap_or(Ok(String::new()))?;
        let pair = cells.next().transpose()?.filter(|pair| !pair.is_empty());
        Ok(Input {
            text,
            text_pair: pair.or_else(|| self.text_pair.clone()),
            labels: self.labels.clone(),
            question: self.question.clone(),
        })
    }

    /// A digest of everything that determines the answers of a run besides the texts.
    fn fingerprint(&self, model: &ModelInfo, text_column: &str) -> String {
        let pair = (&self.text_pair, &self.pair_column);
        let asked = (&self.labels, &self.question);
        let settings = (hex(&model.digest), text_column, pair, asked, model.threshold);
        hex(&Sha256::digest(format!("{settings:?}"))[..12])
    }
}

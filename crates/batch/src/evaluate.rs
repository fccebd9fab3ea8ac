//! Classifies the rows of a labelled file, to evaluate the model. The crate `evaluation` computes
//! the metrics.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use evaluation::{Gold, GoldKind, GoldParser, GoldScan, ScoredFile, ScoredRow};
use tables::{Cell, CellKind, Chunk, ColumnRef, CsvOptions, PathPolicy, TableFile};
use tokio::runtime::Handle;

use crate::context::Context;
use crate::error::Error;
use crate::handle::{JobHandle, Progress, Slots, Stage};
use crate::review::shortened;
use crate::rows::RowOptions;
use crate::summary::{MAX_REASONS, RowSample};
use cache_dir::digest::{self, hex};
use classifier::{Input, ModelInfo, Question, Task};
use engine::{Answer, Engine, Priority};

/// A labelled file to classify with the first model.
#[derive(Clone, Debug)]
pub struct EvaluationRun {
    pub path: PathBuf,
    /// `None` means the only column of texts.
    pub text_column: Option<String>,
    /// Second texts, for models trained on pairs.
    pub pair_column: Option<String>,
    /// `None` means the column named `label` or similar.
    pub label_column: Option<String>,
    pub csv_options: CsvOptions,
    /// Candidate labels; empty for the model's own.
    pub labels: Vec<String>,
    /// For decision models: what is asked about every text.
    pub question: Option<Arc<Question>>,
    /// Rows that may be in the engine at a time.
    pub in_flight: usize,
}

impl EvaluationRun {
    /// Classifies every row with a label. Must be called inside a tokio runtime, which must keep
    /// running until the job has ended.
    pub fn start(self, engine: Arc<Engine>) -> JobHandle<ScoredFile> {
        let runtime = Handle::current();
        Slots::new(1)
            .spawn(move |monitor| Job { run: &self, context: Context { engine, runtime, monitor } }.score_file())
    }
}

/// A run in progress.
struct Job<'a> {
    run: &'a EvaluationRun,
    context: Context<'a>,
}

/// A row on its way through the engine: its number, and its label unless it cannot be read.
type LabelledRow = (u64, Option<Gold>);

impl Job<'_> {
    fn score_file(mut self) -> Result<ScoredFile, Error> {
        let (started, run) = (Instant::now(), self.run);
        let mut table = TableFile::open(&run.path, &PathPolicy::Unrestricted, run.csv_options)?;
        let mut info = self.context.wait_for_model(None)?;
        // A calibration is for the question of the settings.
        if run.question.is_some() && info.calibration.is_some() {
            info = Arc::new(ModelInfo { calibration: None, ..ModelInfo::clone(&info) });
        }
        let columns = run.columns(&mut table, &info)?;
        let sha256 = digest::of_file(table.path()).map_err(|error| {
            let (path, message) = (run.path.clone(), error.to_string());
            tables::Error::FileNotOpened { path, message }
        })?;
        let mut file = ScoredFile {
            name: run.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            sha256: hex(&sha256),
            text_column: columns[0].column.clone(),
            label_column: columns[1].column.clone(),
            labels: info.labels_of(&run.labels, run.question.as_deref()),
            info,
            rows: Vec::new(),
            total_rows: 0,
            unlabelled: 0,
            failed: 0,
            first_failed: Vec::new(),
            reasons: Vec::new(),
            truncated: 0,
            duration: Duration::ZERO,
        };
        let parser = self.scan_labels(&mut table, &columns[1], &mut file)?;
        self.classify(&mut table, &columns, &parser, &mut file)?;
        if file.rows.is_empty() && file.failed == 0 {
            return Err(evaluation::Error::NothingLabelled { column: file.label_column }.into());
        }
        file.unlabelled = file.total_rows.saturating_sub(file.rows.len() as u64 + file.failed);
        file.duration = started.elapsed();
        Ok(file)
    }

    /// Reads all labels once, so that an unknown one is found before hours of classification.
    fn scan_labels(
        &mut self,
        table: &mut TableFile,
        label: &ColumnRef,
        file: &mut ScoredFile,
    ) -> Result<GoldParser, Error> {
        let mut scan = GoldScan::new(GoldKind::for_model(&file.info, &file.labels));
        self.context.monitor.report(Progress::default())?;
        for chunk in table.rows(std::slice::from_ref(label))? {
            let rows = chunk?.rows;
            file.total_rows += rows.len() as u64;
            for cell in rows.iter().filter_map(|row| row.cells[0].as_deref().ok()) {
                if !cell.trim().is_empty() {
                    scan.observe(cell);
                }
            }
            self.context.monitor.report(Progress::new(Stage::Reading, file.total_rows))?;
        }
        if file.total_rows == 0 {
            return Err(tables::Error::NoRows { found: "a header at most" }.into());
        }
        Ok(scan.finish()?)
    }

    fn classify(
        &mut self,
        table: &mut TableFile,
        columns: &[ColumnRef],
        parser: &GoldParser,
        file: &mut ScoredFile,
    ) -> Result<(), Error> {
        let (run, total, started) = (self.run, Some(file.total_rows), Some((Instant::now(), 0)));
        let rows = table.rows(columns)?.flat_map(split_chunk).zip(1..);
        let rows = rows.filter_map(|(cells, row)| run.parse_row(parser, row, cells));
        let options = RowOptions { priority: Priority::Background, in_flight: run.in_flight, ..RowOptions::default() };
        let mut failed = RowSample::default();
        self.context.classify(rows, options, |(row, gold), outcome| {
            match outcome {
                Ok(answer) => add_row(file, row, gold, &answer),
                Err(error) => {
                    failed.add(row);
                    add_reason(&mut file.reasons, error.to_string());
                }
            }
            Ok(Progress { stage: Stage::Predicting, done: row, total, started })
        })?;
        (file.failed, file.first_failed) = (failed.count, failed.first);
        Ok(())
    }
}

impl EvaluationRun {
    /// Finds the columns for texts, labels and, if the run names one, second texts.
    fn columns(&self, table: &mut TableFile, info: &ModelInfo) -> Result<Vec<ColumnRef>, Error> {
        let label = match &self.label_column {
            Some(name) => table.column(name, CellKind::List)?,
            None => table.label_column()?,
        };
        let pair = self.pair_column.as_deref().map(|name| table.column(name, CellKind::Text));
        let pair = pair.transpose()?;
        // Data for taggers may have lists of words instead of texts.
        let is_tagger = info.task == Task::Tagging;
        let kind = if is_tagger { CellKind::List } else { CellKind::Text };
        let has_words = is_tagger && table.columns().iter().any(|column| column == "tokens");
        let text = match self.text_column.as_deref().or(has_words.then_some("tokens")) {
            Some(name) => table.column(name, kind)?,
            None => {
                let others = std::iter::once(&label).chain(&pair);
                let except: Vec<&str> = others.map(|column| column.column.as_str()).collect();
                table.text_column(&except)?
            }
        };
        Ok([text, label].into_iter().chain(pair).collect())
    }

    /// Returns a row's label and input, or the reason why it has none; `None` for a row without a
    /// label.
    fn parse_row(
        &self,
        parser: &GoldParser,
        row: u64,
        cells: Result<Vec<Cell>, tables::Error>,
    ) -> Option<(LabelledRow, Result<Input, Error>)> {
        let parse = || -> Result<Option<(Gold, Input)>, Error> {
            let mut cells = cells?.into_iter();
            let mut next = || cells.next().unwrap_or(Ok(String::new()));
            let (text, label, pair) = (next(), next(), next());
            let Some(label) = present(label)? else { return Ok(None) };
            let text = parser.join_words(text?);
            let gold = parser.parse(&label, &text)?;
            let text_pair = Some(pair?).filter(|pair| !pair.is_empty());
            let (labels, question) = (self.labels.clone(), self.question.clone());
            Ok(Some((gold, Input { text, text_pair, labels, question })))
        };
        match parse() {
            Ok(parsed) => parsed.map(|(gold, input)| ((row, Some(gold)), Ok(input))),
            Err(error) => Some(((row, None), Err(error))),
        }
    }
}

/// Returns the content of a cell unless it is blank, null or absent.
fn present(cell: Cell) -> Result<Option<String>, tables::Error> {
    match cell {
        Ok(label) => Ok(Some(label).filter(|label| !label.trim().is_empty())),
        Err(error) if error.is_null() || error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the rows of a chunk. A chunk that cannot be read counts as one row.
fn split_chunk(chunk: Result<Chunk, tables::Error>) -> Vec<Result<Vec<Cell>, tables::Error>> {
    match chunk {
        Ok(chunk) => chunk.rows.into_iter().map(|row| Ok(row.cells)).collect(),
        Err(error) => vec![Err(error)],
    }
}

fn add_row(file: &mut ScoredFile, row: u64, gold: Option<Gold>, answer: &Answer) {
    let Some(gold) = gold else { return };
    let prediction = Arc::clone(&answer.prediction);
    file.truncated += u64::from(prediction.tokens_read < prediction.tokens);
    let text = shortened(&answer.input.text).into();
    file.rows.push(ScoredRow { row, text, gold, prediction });
}

fn add_reason(reasons: &mut Vec<String>, reason: String) {
    if reasons.len() < MAX_REASONS && !reasons.contains(&reason) {
        reasons.push(reason);
    }
}

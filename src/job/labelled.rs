//! Rows whose right answer is known, each with the model's: what an evaluation measures.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use tokio::runtime::Handle;

use crate::digest;
use crate::engine::{Answer, Engine, Lane};
use crate::error::Error;
use crate::evaluation::{Gold, GoldKind, GoldParser, GoldScan, ScoredRow};
use crate::files::{self, Cell, Extent, Places, Reading, Reads, Source, Wanted};
use crate::job::review::shortened;
use crate::job::rows::{RowOptions, classify, concerns_every_row};
use crate::job::run::wait_for_model;
use crate::job::running::{Monitor, Progress, Running, Slots, Stage};
use crate::job::summary::{MAX_REASONS, RowSample};
use crate::prediction::{Input, ModelInfo, Task};

/// What a caller says about a file with right answers.
#[derive(Clone, Debug)]
pub struct LabelledFile {
    pub path: PathBuf,
    pub text_column: Option<String>,
    /// Second texts, for models trained on pairs.
    pub pair_column: Option<String>,
    pub label_column: Option<String>,
    pub reading: Reading,
    pub model: Option<String>,
    /// Candidate labels; empty for the model's own.
    pub labels: Vec<String>,
    /// Rows that may be on their way through the engine at a time.
    pub in_flight: usize,
}

/// A file that has been answered.
pub struct Labelled {
    pub info: Arc<ModelInfo>,
    /// What the scores stand for, in their order.
    pub labels: Vec<Arc<str>>,
    pub judged: Vec<ScoredRow>,
    /// The beginning of each judged row's text.
    pub texts: Vec<Box<str>>,
    /// All rows, those without a right answer included.
    pub rows: u64,
    pub unlabelled: u64,
    pub failed: RowSample,
    /// What was wrong with the first of them, once each.
    pub reasons: Vec<String>,
    /// Judged rows of which the model did not read all.
    pub truncated: u64,
    /// SHA-256 of the file.
    pub digest: [u8; 32],
    pub text_column: String,
    pub label_column: String,
    pub duration: Duration,
}

impl LabelledFile {
    /// Answers every row that has a right answer. Must be called inside the runtime, which has to be kept going meanwhile.
    pub fn start(self, engine: Arc<Engine>) -> Running<Labelled> {
        let runtime = Handle::current();
        Slots::new(1).spawn(move |watch| self.run(&engine, &runtime, watch))
    }

    fn run(self, engine: &Arc<Engine>, runtime: &Handle, watch: &mut Monitor) -> Result<Labelled, Error> {
        let started = Instant::now();
        let mut source = Source::open(&self.path, &Places::Unrestricted, self.reading)?;
        let label = match &self.label_column {
            Some(name) => source.column(name, Reads::List)?,
            None => source.label_column()?,
        };
        let pair = self.pair_column.as_deref().map(|name| source.column(name, Reads::Text)).transpose()?;
        let info = wait_for_model(engine, runtime, self.model.as_deref(), watch)?;
        let text = self.text_column(&mut source, &info, &label, pair.as_ref())?;
        let labels: Vec<Arc<str>> = match self.labels.as_slice() {
            [] => info.labels.clone(),
            labels => labels.iter().map(|label| label.as_str().into()).collect(),
        };
        let scan = GoldScan::new(GoldKind::for_model(&info, &labels));
        let (total, gold) = scan_labels(&mut source, &label, scan, watch)?;
        let mut labelled = Labelled {
            labels,
            judged: Vec::new(),
            texts: Vec::new(),
            rows: 0,
            unlabelled: 0,
            failed: RowSample::default(),
            reasons: Vec::new(),
            truncated: 0,
            digest: digest::of_file(source.path())
                .map_err(|error| files::Error::FileNotOpened { path: self.path.clone(), message: error.to_string() })?,
            text_column: text.column.clone(),
            label_column: label.column.clone(),
            duration: Duration::ZERO,
            info,
        };
        let wanted: Vec<Wanted> = [text, label].into_iter().chain(pair).collect();
        self.judge(&mut labelled, engine, runtime, &mut source, &wanted, &gold, total, watch)?;
        if labelled.judged.is_empty() && labelled.failed.count == 0 {
            return Err(evaluation::Error::NothingLabelled { column: labelled.label_column }.into());
        }
        labelled.duration = started.elapsed();
        Ok(labelled)
    }

    /// A tagger's data may have lists of words in place of texts.
    fn text_column(
        &self,
        source: &mut Source,
        info: &ModelInfo,
        label: &Wanted,
        pair: Option<&Wanted>,
    ) -> Result<Wanted, Error> {
        let tagging = info.task == Task::Tagging;
        match &self.text_column {
            Some(name) => Ok(source.column(name, if tagging { Reads::List } else { Reads::Text })?),
            None if tagging && source.columns().iter().any(|column| column == "tokens") => {
                Ok(source.column("tokens", Reads::List)?)
            }
            None => {
                let except: Vec<&str> =
                    std::iter::once(label).chain(pair).map(|wanted| wanted.column.as_str()).collect();
                Ok(source.text_column(&except)?)
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the one step between the parts, called from one place")]
    fn judge(
        &self,
        labelled: &mut Labelled,
        engine: &Arc<Engine>,
        runtime: &Handle,
        source: &mut Source,
        wanted: &[Wanted],
        gold: &GoldParser,
        total: u64,
        watch: &mut Monitor,
    ) -> Result<(), Error> {
        let started = Instant::now();
        let rows = source.rows(wanted, Extent::Selected)?.flat_map(|chunk| match chunk {
            Ok(chunk) => chunk.rows.into_iter().map(|row| Ok(row.cells)).collect::<Vec<_>>(),
            Err(error) => vec![Err(error.into())],
        });
        runtime.block_on(async {
            let answered = stream::iter(rows).map(|cells| self.answer(engine, gold, cells)).buffered(self.in_flight);
            let mut answered = pin!(answered);
            let mut stopped = pin!(watch.stopped());
            loop {
                let row = tokio::select! {
                    biased;
                    () = &mut stopped => return Err(Error::Cancelled),
                    row = answered.next() => row,
                };
                let Some(row) = row else { return Ok(()) };
                labelled.add(row?);
                watch.report(|| Progress::predicting(labelled.rows, 0, total, started))?;
            }
        })
    }

    /// One row's right answer and the model's; an error only where no row can go on.
    async fn answer(&self, engine: &Engine, gold: &GoldParser, cells: Result<Vec<Cell>, Error>) -> Result<Row, Error> {
        let mut cells = cells?.into_iter();
        let mut next = || cells.next().unwrap_or(Ok(String::new()));
        let (text, label, pair) = (next(), next(), next());
        let label = match label {
            Ok(label) if !label.trim().is_empty() => label,
            Ok(_) => return Ok(Row::Unlabelled),
            // What a format says of a value that is not there.
            Err(files::Error::BadCell { found, .. }) if found == "null" => return Ok(Row::Unlabelled),
            Err(problem) => return Ok(Row::Failed(problem.into())),
        };
        let read = || -> Result<(Input, Gold), Error> {
            let text = gold.join_words(text?);
            let gold = gold.parse(&label, &text)?;
            let pair = Some(pair?).filter(|pair| !pair.is_empty());
            Ok((Input { text, text_pair: pair, labels: self.labels.clone() }, gold))
        };
        let (input, gold) = match read() {
            Ok(read) => read,
            Err(problem) => return Ok(Row::Failed(problem)),
        };
        let options = RowOptions { model: self.model.clone(), priority: Lane::Background, ..RowOptions::default() };
        match classify(engine, &options, input).await {
            Ok(answer) => Ok(Row::Judged(gold, Box::new(answer))),
            Err(error) if concerns_every_row(&error) => Err(error),
            Err(problem) => Ok(Row::Failed(problem)),
        }
    }
}

enum Row {
    Judged(Gold, Box<Answer>),
    Unlabelled,
    Failed(Error),
}

impl Labelled {
    fn add(&mut self, row: Row) {
        self.rows += 1;
        match row {
            Row::Unlabelled => self.unlabelled += 1,
            Row::Failed(problem) => {
                self.failed.add(self.rows);
                let problem = problem.to_string();
                if self.reasons.len() < MAX_REASONS && !self.reasons.contains(&problem) {
                    self.reasons.push(problem);
                }
            }
            Row::Judged(gold, answer) => {
                let prediction = Arc::clone(&answer.prediction);
                self.truncated += u64::from(prediction.tokens_read < prediction.tokens);
                self.texts.push(shortened(&answer.input.text).into());
                self.judged.push(ScoredRow { row: self.rows, gold, prediction });
            }
        }
    }
}

/// Reads through the file once, so that a label that the model does not know is found before the model has worked for hours.
fn scan_labels(
    source: &mut Source,
    label: &Wanted,
    mut gold: GoldScan,
    watch: &mut Monitor,
) -> Result<(u64, GoldParser), Error> {
    watch.report_now(Progress { stage: Stage::Reading, ..Progress::default() })?;
    let mut done = 0;
    for chunk in source.rows(std::slice::from_ref(label), Extent::Selected)? {
        for row in chunk?.rows {
            done += 1;
            if let [Ok(cell)] = row.cells.as_slice()
                && !cell.trim().is_empty()
            {
                gold.observe(cell);
            }
        }
        watch.report(|| Progress { done, ..Progress::default() })?;
    }
    if done == 0 {
        return Err(files::Error::NoRows { found: "a header at most" }.into());
    }
    Ok((done, gold.finish()?))
}

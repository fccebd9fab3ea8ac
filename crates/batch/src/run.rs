//! One run over a file: reads it through, classifies its rows, writes the output.
//!
//! The file is read three times. The first pass counts the rows and finds unreadable parts before
//! the model works for hours. The last pass writes the output, whose columns are known by then.
//! Together they take less than a hundredth of the time of the predictions, and an interrupted run
//! can be resumed from its journal alone.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::Value;

use crate::FileJob;
use crate::columns::{Column, ColumnNames, is_formula, is_in_row};
use crate::context::Context;
use crate::error::Error;
use crate::handle::{Progress, Stage};
use crate::journal::Journal;
use crate::record::{Record, digest};
use crate::rows::RowOptions;
use crate::summary::Summary;
use engine::Priority;
use evaluation::{GoldKind, GoldParser, GoldScan};
use tables::{Cell, ColumnRef, OutputFile, PartialFile, TableFile, output_location};

pub(crate) struct Run<'a> {
    job: &'a FileJob,
    context: Context<'a>,
    source: TableFile,
    /// The texts, the second texts and the right labels if there are any.
    columns: Vec<ColumnRef>,
    /// Rows that are in the journal.
    finished: u64,
    /// Columns in which at least one row has a value.
    occurring: BTreeSet<Column>,
    /// The names of our columns.
    names: ColumnNames,
    /// Columns of the input; for JSON lines, fields of any row with one of our names.
    taken: BTreeSet<String>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(job: &'a FileJob, context: Context<'a>) -> Result<Self, Error> {
        if let Some(label) = job.labels.iter().find(|label| is_formula(label)) {
            return Err(Error::FormulaLabel { label: label.clone() });
        }
        let mut source = TableFile::open(&job.path, &job.settings.paths, job.csv_options)?;
        let columns = job.columns(&mut source)?;
        let occurring = BTreeSet::from([Column::Prediction]);
        let taken = source.columns().iter().cloned().collect();
        Ok(Self { job, context, source, columns, finished: 0, occurring, names: ColumnNames::default(), taken })
    }

    /// Classifies the file and gives the output its name.
    pub(crate) fn finish(mut self) -> Result<Summary, Error> {
        let started = Instant::now();
        let location = output_location(&self.source, self.job.output.as_deref(), &self.job.settings.paths)?;
        self.source.check_output(location.path())?;
        let target = OutputFile::claim(location, &self.source, self.job.if_exists)?;
        let begun_before = target.progress().begun;
        match self.classify_and_write(&target) {
            Ok((mut summary, partial)) => {
                summary.output = target.path().to_owned();
                target.commit(partial, &self.source)?;
                summary.duration = started.elapsed();
                Ok(summary)
            }
            // A cancelled call leaves nothing. After any other end, finished rows are kept for a
            // later run, and those of an earlier run are always kept.
            Err(error) => {
                if !begun_before && (self.finished == 0 || self.context.monitor.is_discarded()) {
                    target.discard();
                }
                Err(error)
            }
        }
    }

    fn classify_and_write<'t>(&mut self, target: &'t OutputFile) -> Result<(Summary, PartialFile<'t>), Error> {
        let model = self.context.wait_for_model(self.job.model.as_deref())?;
        let fingerprint = self.job.fingerprint(&model, &self.columns[0].column);
        let file = target.progress_file()?;
        let mut journal = Journal::open(file, target.progress().start, &fingerprint, target.path())?;
        let resumed = journal.rows();
        self.finished = resumed;
        let labels = model.labels_of(&self.job.labels, self.job.question.as_deref());
        let mut scan = GoldScan::new(GoldKind::Label(labels));
        let total = self.read_through(&mut journal, &mut scan)?;
        self.names = ColumnNames::for_input(&self.taken)?;
        self.classify(&mut journal, total)?;
        let (mut summary, partial) = self.write(&mut journal, target, scan.finish_with_unknown())?;
        summary.model = self.job.model.clone().unwrap_or_else(|| self.context.engine.names().swap_remove(0));
        summary.resumed = resumed;
        Ok((summary, partial))
    }

    /// Counts the rows, compares the first ones with the journal of an earlier run, and looks for
    /// fields with the names of our columns. Also collects the labels in the label column.
    fn read_through(&mut self, journal: &mut Journal, scan: &mut GoldScan) -> Result<u64, Error> {
        self.context.monitor.report(Progress::default())?;
        let mut records = journal.records()?;
        let mut done = 0;
        // A JSON line may have any field, and the known columns are those of the first lines.
        let ours = ColumnNames::candidates().filter(|name| !self.taken.contains(name));
        let ours: Vec<ColumnRef> = ours.filter_map(|name| self.source.optional(&name)).collect();
        let wanted = [self.columns.as_slice(), &ours].concat();
        for chunk in self.source.rows(&wanted)? {
            for row in chunk?.rows {
                done += 1;
                let cells = ours.iter().zip(&row.cells[self.columns.len()..]);
                self.taken.extend(cells.filter(|(_, cell)| is_in_row(cell)).map(|(column, _)| column.column.clone()));
                let (inputs, others) = row.cells[..self.columns.len()].split_at(self.job.input_columns());
                if let [Ok(label)] = others {
                    scan.observe(label);
                }
                if done <= self.finished {
                    let record = records.next(inputs).ok_or_else(|| self.changed(done))?;
                    note(&mut self.occurring, &record);
                }
            }
            self.context.monitor.report(Progress::new(Stage::Reading, done))?;
        }
        match done {
            0 => Err(tables::Error::NoRows { found: "a header at most" }.into()),
            done if done < self.finished => Err(self.changed(done + 1)),
            done => Ok(done),
        }
    }

    /// Classifies every row that the journal does not have yet.
    fn classify(&mut self, journal: &mut Journal, total: u64) -> Result<(), Error> {
        let started = Some((Instant::now(), self.finished));
        let progress = |done| Progress { stage: Stage::Predicting, done, total: Some(total), started };
        self.context.monitor.report(progress(self.finished))?;
        let cells = self.source.rows(&self.columns[..self.job.input_columns()])?.flat_map(inputs);
        let rows = cells.skip(self.finished as usize);
        let rows = rows.map(|cells| (digest(&cells), self.job.input(cells)));
        let options = RowOptions {
            model: self.job.model.clone(),
            priority: Priority::Background,
            in_flight: self.job.settings.in_flight,
            ..RowOptions::default()
        };
        self.context.classify(rows, options, |digest, outcome| {
            let record = Record::new(digest, outcome);
            note(&mut self.occurring, &record);
            journal.append(&record)?;
            self.finished += 1;
            Ok(progress(self.finished))
        })
    }

    /// Writes the output under a temporary name and returns its summary.
    fn write<'t>(
        &mut self,
        journal: &mut Journal,
        target: &'t OutputFile,
        gold: GoldParser,
    ) -> Result<(Summary, PartialFile<'t>), Error> {
        let total = self.finished;
        let progress = Progress { total: Some(total), ..Progress::new(Stage::Writing, total) };
        let partial = target.create()?;
        let added = self.occurring.iter().map(|column| self.names.added(*column)).collect();
        let mut output = self.source.writer(target.path(), &partial, added)?;
        let mut summary = Summary::new(self.columns[0].column.clone(), gold);
        let mut records = journal.records()?;
        for chunk in self.source.rows(&self.columns)? {
            let chunk = chunk?;
            let mut values: Vec<Vec<Value>> = Vec::with_capacity(chunk.rows.len());
            for row in &chunk.rows {
                let (inputs, others) = row.cells.split_at(self.job.input_columns());
                let record = records.next(inputs).ok_or_else(|| self.changed(summary.rows + 1))?;
                summary.add(&record, others.first());
                let mut fields = record.fields(row.cells[0].as_deref().unwrap_or_default());
                let value = |column: &Column| fields.remove(column.name()).unwrap_or_default();
                values.push(self.occurring.iter().map(value).collect());
            }
            output.write(chunk, values)?;
            self.context.monitor.report(progress)?;
        }
        if summary.rows != total {
            return Err(self.changed(summary.rows + 1));
        }
        output.finish()?;
        Ok((summary.finish(), partial))
    }

    fn changed(&self, row: u64) -> Error {
        Error::FileChanged { path: self.source.path().to_owned(), row }
    }
}

/// Adds the columns in which a row has a value.
fn note(occurring: &mut BTreeSet<Column>, record: &Record) {
    let fields = record.fields("");
    occurring.extend(Column::all().filter(|column| fields.contains_key(column.name())));
}

/// The cells of every row of a chunk. A chunk that cannot be read counts as one row.
fn inputs(chunk: Result<tables::Chunk, tables::Error>) -> Vec<Vec<Cell>> {
    match chunk {
        Ok(chunk) => chunk.rows.into_iter().map(|row| row.cells).collect(),
        Err(error) => vec![vec![Err(error)]],
    }
}

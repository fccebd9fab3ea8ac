//! Whole files: rows in, predictions beside them, a summary out; and the few rows that need a look.
//!
//! A job runs on a thread of its own, because files block and the server's one thread must not. It knows the engine and
//! `files`, and neither the protocol nor the terminal. `predict` is where rows meet the engine.

mod corrections;
mod journal;
mod labelled;
mod names;
mod output;
mod predict;
mod review;
mod rows;
mod summary;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;

use crate::engine::Engine;
use crate::error::Error;
use crate::files::{Existing, Places, Reading, Reads, Source, Target, Wanted, output_path};
pub use corrections::Corrected;
use journal::Journal;
pub use labelled::{Labelled, LabelledFile};
pub use review::{Review, ReviewRow};
pub use rows::{RowOptions, classify_rows, concerns_every_row};
pub use summary::{Noted, Summary};
use watch::Watch;
pub use watch::{Progress, Running, Stage};

/// What holds for every job of a process.
#[derive(Clone, Debug)]
pub struct JobSettings {
    pub places: Places,
    /// Rows that may be on their way through the engine at a time.
    pub in_flight: usize,
}

impl JobSettings {
    /// Enough rows to keep so many workers busy while finished ones are taken up in order.
    pub fn in_flight(workers: usize) -> usize {
        4 * workers
    }
}

/// What a caller says about a file.
#[derive(Clone, Debug)]
pub struct FileJob {
    pub path: PathBuf,
    /// Beside the input, as `NAME.predicted.csv`, if left out.
    pub output: Option<PathBuf>,
    pub text_column: Option<String>,
    /// A column with the right labels, to count how many predictions agree.
    pub label_column: Option<String>,
    pub reading: Reading,
    pub model: Option<String>,
    pub text_pair: Option<String>,
    pub labels: Vec<String>,
    pub existing: Existing,
    pub settings: JobSettings,
}

impl FileJob {
    /// Classifies the file. Must be called inside the runtime, which has to be kept going meanwhile.
    ///
    /// # Errors
    /// `Thread`.
    pub fn start(self, engine: Arc<Engine>) -> Result<Running<Summary>, Error> {
        let runtime = Handle::current();
        watch::spawn(move |watch| self.run(&engine, &runtime, watch))
    }

    /// Looks for the rows of the output that are worth a look, the least certain first, at most `most`.
    ///
    /// # Errors
    /// `Thread`.
    pub fn review(self, most: usize) -> Result<Running<Review>, Error> {
        watch::spawn(move |watch| review::review(&self, most, watch))
    }

    /// Writes somebody's decisions into the output.
    ///
    /// # Errors
    /// `Thread`.
    pub fn correct(self, corrections: Vec<(u64, String)>) -> Result<Running<Corrected>, Error> {
        watch::spawn(move |watch| corrections::correct(&self, corrections, watch))
    }

    /// Whether there is an output already.
    ///
    /// # Errors
    /// What keeps the file from being opened.
    pub fn output_exists(&self) -> Result<bool, Error> {
        match self.open_output() {
            Ok(_) => Ok(true),
            Err(Error::OutputMissing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn run(self, engine: &Arc<Engine>, runtime: &Handle, watch: &mut Watch) -> Result<Summary, Error> {
        let started = Instant::now();
        let mut source = Source::open(&self.path, &self.settings.places, self.reading)?;
        let wanted = self.wanted(&mut source)?;
        let path = output_path(&source, self.output.as_deref(), &self.settings.places)?;
        source.check_output(&path)?;
        let (target, file) = Target::claim(path, &source, &self.settings.places, self.existing)?;
        let begun_before = file.begun;
        let outcome = self.predict_and_write(engine, runtime, watch, &mut source, &wanted, &target, file);
        match outcome {
            Ok((mut summary, partial)) => {
                summary.output = target.path().to_owned();
                target.commit(partial, &source)?;
                summary.duration = started.elapsed();
                Ok(summary)
            }
            // Whoever withdraws a call wants nothing of it; whatever else happens, finished rows are kept for later, and
            // those of an earlier run always.
            Err((error, rows)) => {
                if !begun_before && (rows == 0 || watch.discards()) {
                    target.discard();
                }
                Err(error)
            }
        }
    }

    /// The columns to read: the texts, and the right labels if there are any.
    fn wanted(&self, source: &mut Source) -> Result<Vec<Wanted>, Error> {
        let label = self.label_column.as_deref().map(|name| source.column(name, Reads::Value)).transpose()?;
        let text = match &self.text_column {
            Some(name) => source.column(name, Reads::Text)?,
            None => source.text_column(label.as_ref().map(|label| label.column.as_str()).as_slice())?,
        };
        Ok(std::iter::once(text).chain(label).collect())
    }

    /// The output of this file: the one named, the one beside it, or the file itself where it is one.
    fn open_output(&self) -> Result<Source, Error> {
        let source = Source::open(&self.path, &self.settings.places, self.reading)?;
        let path = output_path(&source, self.output.as_deref(), &self.settings.places)?;
        if Path::exists(&path) {
            return Ok(Source::open(&path, &self.settings.places, Reading { header: true, ..self.reading })?);
        }
        if self.output.is_none() && names::Names::of(&source).is_some() {
            return Ok(source);
        }
        Err(Error::OutputMissing { path })
    }
}

impl FileJob {
    /// Reads the file three times: to count its rows and see whether it can be read to the end, to predict, and to write.
    /// The first and the last are a fraction of a percent of the second; and a header can only be written when it is
    /// known which columns occur.
    #[expect(clippy::too_many_arguments, reason = "the one step between the parts, called from one place")]
    fn predict_and_write(
        &self,
        engine: &Arc<Engine>,
        runtime: &Handle,
        watch: &mut Watch,
        source: &mut Source,
        wanted: &[Wanted],
        target: &Target,
        file: crate::files::Journal,
    ) -> Result<(Summary, crate::files::Partial), (Error, u64)> {
        let fresh = |error| (error, 0);
        let total = predict::count(source, wanted, watch).map_err(fresh)?;
        let model = predict::ready(engine, runtime, self.model.as_deref(), watch).map_err(fresh)?;
        let mut journal = Journal::open(file, &model, self, &wanted[0].column, target.path()).map_err(fresh)?;
        let resumed = journal.rows();
        let run = predict::Run { engine, job: self, total };
        let written = run
            .predict(runtime, source, &wanted[..1], &mut journal, watch)
            .and_then(|()| output::write(source, wanted, target, &mut journal, &model, watch));
        let (mut summary, partial) = written.map_err(|error| (error, journal.rows()))?;
        summary.model = self.model.clone().unwrap_or_else(|| engine.names().swap_remove(0));
        summary.resumed = resumed;
        Ok((summary, partial))
    }
}

//! Rows through the engine: many on their way at a time, taken up and finished in order, each noted in the journal.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, StreamExt};
use tokio::runtime::Handle;

use crate::engine::{Engine, Lane};
use crate::error::Error;
use crate::files::{self, Cell, Extent, Rows, Source, Wanted};
use crate::job::FileJob;
use crate::job::journal::{Journal, Record, digest};
use crate::job::rows::{RowOptions, classify_rows, concerns_every_row};
use crate::job::watch::{Progress, SHOWN_EVERY, Stage, Watch};
use crate::prediction::{Input, ModelInfo};

/// Reads through the file once, so that what cannot be read to its end is known before hours are spent on it.
pub(super) fn count(source: &mut Source, wanted: &[Wanted], watch: &mut Watch) -> Result<u64, Error> {
    let mut done = 0;
    for chunk in source.rows(wanted, Extent::Wanted)? {
        done += chunk?.rows.len() as u64;
        watch.show(|| Progress { done, ..Progress::default() })?;
    }
    if done == 0 {
        return Err(files::Error::NoRows { found: "a header at most" }.into());
    }
    Ok(done)
}

/// Waits for the model.
pub(super) fn ready(
    engine: &Engine,
    runtime: &Handle,
    model: Option<&str>,
    watch: &mut Watch,
) -> Result<Arc<ModelInfo>, Error> {
    watch.enter(Progress { stage: Stage::Loading, ..Progress::default() })?;
    runtime.block_on(async {
        tokio::select! {
            info = engine.ready(model) => info,
            () = watch.stopped() => Err(Error::Cancelled),
        }
    })
}

pub(super) struct Run<'a> {
    pub engine: &'a Arc<Engine>,
    pub job: &'a FileJob,
    pub total: u64,
}

impl Run<'_> {
    /// Predicts every row that the journal does not have yet.
    pub(super) fn predict(
        &self,
        runtime: &Handle,
        source: &mut Source,
        text: &[Wanted],
        journal: &mut Journal,
        watch: &mut Watch,
    ) -> Result<(), Error> {
        let mut texts = Texts { rows: source.rows(text, Extent::Wanted)?, pending: Vec::new().into_iter() };
        let resumed = journal.rows();
        let mut records = journal.records()?;
        for row in 1..=resumed {
            let shorter = Error::FileChanged { path: self.job.path.clone(), row };
            let cell = texts.next().unwrap_or(Err(shorter))?;
            journal.note(&records.next(&cell)?);
            watch.show(Progress::default)?;
        }
        let started = Instant::now();
        watch.enter(self.progress(resumed, resumed, started))?;
        let input = |text| Input { text, text_pair: self.job.text_pair.clone(), labels: self.job.labels.clone() };
        let rows = stream::iter(texts).map(|cell| {
            let cell = cell.and_then(|cell| cell.map_err(Error::from));
            (digest(&cell), cell.map(input))
        });
        let options = RowOptions {
            model: self.job.model.clone(),
            priority: Lane::Background,
            in_flight: self.job.settings.in_flight,
            ..RowOptions::default()
        };
        runtime.block_on(async {
            let mut answered = pin!(classify_rows(Arc::clone(self.engine), rows, options));
            let mut stopped = pin!(watch.stopped());
            // Also while one long row holds up the rest.
            let mut ticks = tokio::time::interval(SHOWN_EVERY);
            loop {
                let row = tokio::select! {
                    biased;
                    () = &mut stopped => return Err(Error::Cancelled),
                    _ = ticks.tick() => {
                        watch.enter(self.progress(journal.rows(), resumed, started))?;
                        continue;
                    }
                    row = answered.next() => row,
                };
                match row {
                    None => return Ok(()),
                    Some((_, Err(error))) if concerns_every_row(&error) => return Err(error),
                    Some((digest, outcome)) => journal.append(&Record::new(digest, outcome))?,
                }
            }
        })
    }

    fn progress(&self, done: u64, resumed: u64, started: Instant) -> Progress {
        Progress::predicting(done, resumed, self.total, started)
    }
}

/// The first cell of every row.
struct Texts {
    rows: Rows,
    pending: std::vec::IntoIter<crate::files::Row>,
}

impl Iterator for Texts {
    type Item = Result<Cell, Error>;

    fn next(&mut self) -> Option<Result<Cell, Error>> {
        loop {
            if let Some(mut row) = self.pending.next() {
                return Some(Ok(row.cells.swap_remove(0)));
            }
            match self.rows.next()? {
                Ok(chunk) => self.pending = chunk.rows.into_iter(),
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}

//! The context of a job that classifies rows: the engine, the runtime and its monitor.

use std::pin::pin;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tokio::runtime::Handle;

use crate::error::Error;
use crate::handle::{Monitor, Progress, Stage};
use crate::rows::{RowOptions, classify_rows, concerns_every_row};
use classifier::{Input, ModelInfo};
use engine::{Answer, Engine};

pub(crate) struct Context<'a> {
    pub engine: Arc<Engine>,
    pub runtime: Handle,
    pub monitor: &'a mut Monitor,
}

impl Context<'_> {
    /// Waits until a model is loaded.
    ///
    /// # Errors
    /// The reason why it cannot be loaded; [`Error::CANCELLED`].
    pub(crate) fn wait_for_model(&mut self, model: Option<&str>) -> Result<Arc<ModelInfo>, Error> {
        self.monitor.report(Progress::new(Stage::Loading, 0))?;
        self.runtime.block_on(async {
            tokio::select! {
                info = self.engine.ready(model) => Ok(info?),
                () = self.monitor.stopped() => Err(Error::CANCELLED),
            }
        })
    }

    /// Classifies rows and hands each answer to `take`, which returns the progress to report.
    ///
    /// # Errors
    /// An error of `take`; an error that every further row would get; [`Error::CANCELLED`].
    pub(crate) fn classify<T>(
        &mut self,
        rows: impl Iterator<Item = (T, Result<Input, Error>)>,
        options: RowOptions,
        mut take: impl FnMut(T, Result<Answer, Error>) -> Result<Progress, Error>,
    ) -> Result<(), Error> {
        self.runtime.block_on(async {
            let mut answers = pin!(classify_rows(Arc::clone(&self.engine), stream::iter(rows), options));
            let mut stopped = pin!(self.monitor.stopped());
            loop {
                let answer = tokio::select! {
                    biased;
                    () = &mut stopped => return Err(Error::CANCELLED),
                    answer = answers.next() => answer,
                };
                match answer {
                    None => return Ok(()),
                    Some((_, Err(error))) if concerns_every_row(&error) => return Err(error),
                    Some((row, outcome)) => self.monitor.report(take(row, outcome)?)?,
                }
            }
        })
    }
}

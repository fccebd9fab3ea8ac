//! The pipeline over a graph that takes the text itself, as scikit-learn's exporter writes it.

use std::sync::Arc;

use crate::activation;
use crate::cancellation::Cancellation;
use crate::error::Error;
use crate::model::Model;
use crate::model_files::ModelFiles;
use crate::pipeline::check_memory;
use crate::prediction::{Input, Outcome, Prediction, Task};
use crate::scoring::{Scoring, check_scores, fit};
use crate::session::Session;
use crate::tensors::Feed;

/// What the sessions of one model share.
pub(crate) struct TextConfig {
    name: String,
    scoring: Scoring,
    /// Their number.
    labels: usize,
    temperature: Option<f64>,
}

impl TextConfig {
    pub(crate) fn new(name: &str, scoring: Scoring, files: &ModelFiles) -> Self {
        let temperature = files.settings.calibration.as_ref().map(|table| table.temperature);
        let temperature = temperature.filter(|_| scoring.task == Task::SingleLabel);
        Self { name: name.to_owned(), scoring, labels: files.config.labels.len(), temperature }
    }
}

/// A session with its pipeline.
pub(crate) struct TextPipeline {
    config: Arc<TextConfig>,
    session: Session,
}

impl TextPipeline {
    pub(crate) fn new(config: Arc<TextConfig>, session: Session) -> Self {
        Self { config, session }
    }
}

impl Model for TextPipeline {
    fn predict(&mut self, input: &Input, cancellation: &Cancellation) -> Result<Prediction, Error> {
        let TextConfig { name, scoring, labels, temperature } = &*self.config;
        check_memory(input.byte_len())?;
        if cancellation.is_cancelled() {
            return Err(Error::Cancelled);
        }
        input.refuse_labels(name)?;
        if input.text_pair.is_some() {
            return Err(Error::PairNotTaken { model: name.clone() });
        }
        let rows = self.session.rows(name, Feed::Text(&input.text), cancellation)?;
        let rows = fit(rows, *labels, scoring.binary).map_err(|message| Error::inference(name, &message))?;
        let mut scores = rows.row(0).to_vec();
        scoring.activation.apply(&mut scores);
        check_scores(scoring.task, &scores).map_err(|message| Error::inference(name, message))?;
        if let Some(temperature) = temperature {
            activation::temper_scores(&mut scores, *temperature);
        }
        // The graph's own words are not known here, so nothing is counted.
        Ok(Prediction { outcome: Outcome::Scores(scores.into()), tokens: 0, tokens_read: 0, doubt: None })
    }

    fn release_memory(&mut self) {
        self.session.release_memory();
    }
}

//! The three pipelines over one session: classification, tagging, and zero-shot classification.
//!
//! This file orders the steps. The rules of each step are in `tokenizer`, `activation`, `entities`
//! and `zero_shot`.

use std::sync::Arc;

use crate::activation::{self, Activation};
use crate::cancellation::Cancellation;
use crate::entities::{self, Aggregation, Token};
use crate::error::Error;
use crate::model::Model;
use crate::model_files::ModelFiles;
use crate::prediction::{Entity, Input, Outcome, Prediction, Task};
use crate::scoring::{Binary, Scoring, check_scores, fit};
use crate::session::Session;
use crate::special_tokens::TokenIds;
use crate::tensors::{Feed, Rows};
use crate::tokenizer::{Encoded, TextToken, Tokenizer};
use crate::zero_shot::{self, Template};

/// Memory needed to tokenize a text, for each of its bytes. Measured with the built-in tokenizer:
/// 220 to 330 for words, 570 if each byte is a token.
const MEMORY_PER_BYTE: usize = 600;
/// Texts up to this size are tokenized without a check for memory first.
const SHORT_TEXT_BYTES: usize = 8 << 10;

/// Everything that the pipelines of one model share, apart from their sessions.
pub(crate) struct PipelineConfig {
    name: String,
    task: Task,
    activation: Activation,
    binary: Option<Binary>,
    labels: Vec<Arc<str>>,
    tokenizer: Tokenizer,
    temperature: Option<f64>,
    aggregation: Aggregation,
    entailment: Option<usize>,
    template: Template,
    multi_label: bool,
    takes_pairs: bool,
}

impl PipelineConfig {
    pub(crate) fn new(name: &str, scoring: &Scoring, files: &ModelFiles, tokenizer: Tokenizer) -> Self {
        Self {
            name: name.to_owned(),
            task: scoring.task,
            activation: scoring.activation,
            binary: scoring.binary,
            labels: files.config.labels.clone(),
            tokenizer,
            temperature: files.settings.calibration.as_ref().map(|table| table.temperature),
            aggregation: files.settings.aggregation,
            entailment: files.config.entailment.filter(|_| scoring.takes_candidates()),
            template: files.settings.hypothesis_template.0.clone(),
            multi_label: files.settings.multi_label,
            takes_pairs: files.settings.pairs.unwrap_or(true) && scoring.task != Task::Tagging,
        }
    }

    /// Returns the position of the entailment label if candidate labels can be used.
    fn entailment(&self) -> Result<usize, Error> {
        self.entailment.ok_or_else(|| Error::LabelsNotTaken { model: self.name.clone() })
    }

    fn check_scores(&self, scores: &[f32]) -> Result<(), Error> {
        check_scores(self.task, scores).map_err(|message| Error::inference(&self.name, message))
    }
}

/// A session with its pipeline.
pub(crate) struct Pipeline {
    config: Arc<PipelineConfig>,
    session: Session,
}

impl Model for Pipeline {
    fn predict(&mut self, input: &Input, cancellation: &Cancellation) -> Result<Prediction, Error> {
        let config = Arc::clone(&self.config);
        check_memory(input.byte_len())?;
        if cancellation.is_cancelled() {
            return Err(Error::Cancelled);
        }
        input.refuse_question(&config.name)?;
        let has_pair = input.text_pair.is_some();
        let zero_shot = !input.labels.is_empty();
        let entailment = if zero_shot { Some(config.entailment()?) } else { None };
        if has_pair && (zero_shot || !config.takes_pairs) {
            return Err(Error::PairNotTaken { model: config.name.clone() });
        }
        match entailment {
            Some(entailment) => self.classify_zero_shot(&config, input, entailment, cancellation),
            None if config.task == Task::Tagging => self.tag(&config, input, cancellation),
            None => self.classify(&config, input, cancellation),
        }
    }

    fn release_memory(&mut self) {
        self.session.release_memory();
    }
}

impl Pipeline {
    pub(crate) fn new(config: Arc<PipelineConfig>, session: Session) -> Self {
        Self { config, session }
    }

    fn classify(
        &mut self,
        config: &PipelineConfig,
        input: &Input,
        cancellation: &Cancellation,
    ) -> Result<Prediction, Error> {
        let encoded = config.tokenizer.encode(&input.text, input.text_pair.as_deref())?;
        let mut scores = vec![0.0; config.labels.len()];
        let temperature = config.temperature.filter(|_| config.task == Task::SingleLabel);
        if let (Some(temperature), Activation::Softmax, [run]) =
            (temperature, config.activation, encoded.runs.as_slice())
        {
            scores.copy_from_slice(self.run(run, cancellation)?.row(0));
            activation::temper(&mut scores, temperature);
            config.activation.apply(&mut scores);
        } else {
            // All windows of a text have the same length, so weighting them by tokens gives the
            // mean.
            let share = 1.0 / encoded.runs.len() as f32;
            for run in &encoded.runs {
                let mut row = self.run(run, cancellation)?.row(0).to_vec();
                config.activation.apply(&mut row);
                scores.iter_mut().zip(row).for_each(|(sum, score)| *sum += share * score);
            }
            // Applied to the mean, so that the best label stays the same.
            if let Some(temperature) = temperature {
                activation::temper_scores(&mut scores, temperature);
            }
        }
        config.check_scores(&scores)?;
        Ok(prediction(scores, &encoded))
    }

    fn classify_zero_shot(
        &mut self,
        config: &PipelineConfig,
        input: &Input,
        entailment: usize,
        cancellation: &Cancellation,
    ) -> Result<Prediction, Error> {
        let mut logits = Vec::with_capacity(input.labels.len());
        let mut longest: Option<Encoded> = None;
        for label in &input.labels {
            let hypothesis = config.template.fill(label);
            let encoded = config.tokenizer.encode_hypothesis(&input.text, &hypothesis)?;
            logits.push(self.run(&encoded.runs[0], cancellation)?.row(0).to_vec());
            if longest.as_ref().is_none_or(|longest| encoded.tokens > longest.tokens) {
                longest = Some(encoded);
            }
        }
        let scores = zero_shot::scores(&logits, entailment, config.multi_label);
        config.check_scores(&scores)?;
        let longest = longest.ok_or_else(|| Error::LabelsNotTaken { model: config.name.clone() })?;
        Ok(prediction(scores, &longest))
    }

    fn tag(
        &mut self,
        config: &PipelineConfig,
        input: &Input,
        cancellation: &Cancellation,
    ) -> Result<Prediction, Error> {
        let tokens = config.tokenizer.text_tokens(&input.text)?;
        let scores = self.token_scores(config, &tokens, cancellation)?;
        let special = config.tokenizer.special_tokens().len();
        let tokens_read = special + scores.iter().flatten().count();
        let scored: Vec<Option<Token>> = tokens
            .iter()
            .zip(scores)
            .map(|(token, scores)| {
                Some(Token {
                    start: token.start as u32,
                    end: token.end as u32,
                    continues: token.continues,
                    scores: scores?,
                })
            })
            .collect();
        // No entity spans text that was not read.
        let entities: Vec<Entity> = scored
            .split(Option::is_none)
            .flat_map(|read| {
                let read: Vec<Token> = read.iter().flatten().cloned().collect();
                entities::entities(&read, &config.labels, config.aggregation)
            })
            .collect();
        Ok(Prediction {
            outcome: Outcome::Entities(entities.into()),
            tokens: (tokens.len() + special) as u32,
            tokens_read: tokens_read as u32,
            doubt: None,
        })
    }

    /// Returns the scores of each token that some window reads. If several windows read a token,
    /// the window in which it is farthest from an edge decides.
    fn token_scores(
        &mut self,
        config: &PipelineConfig,
        tokens: &[TextToken],
        cancellation: &Cancellation,
    ) -> Result<Vec<Option<Vec<f32>>>, Error> {
        let mut distances = vec![0; tokens.len()];
        let mut chosen = vec![None; tokens.len()];
        for (window, run) in config.tokenizer.tagger_runs(tokens)? {
            let logits = self.run(&run, cancellation)?;
            let last = run.ids.len() - 1;
            for (row, number) in window.iter().cloned().flatten().enumerate() {
                let row = row + config.tokenizer.special_tokens().len_before();
                let distance = 1 + row.min(last - row);
                if distance > distances[number] {
                    let mut scores = logits.row(row).to_vec();
                    config.activation.apply(&mut scores);
                    config.check_scores(&scores)?;
                    (distances[number], chosen[number]) = (distance, Some(scores));
                }
            }
        }
        Ok(chosen)
    }

    /// Runs one forward pass. A cancelled run ends before or during a pass.
    fn run(&mut self, run: &TokenIds, cancellation: &Cancellation) -> Result<Rows, Error> {
        let config = &self.config;
        if let Some(limit) = self.session.fixed_length.filter(|fixed| run.ids.len() > *fixed) {
            return Err(Error::TextTooLong { tokens: run.ids.len(), limit });
        }
        let rows = self.session.rows(&config.name, Feed::Tokens(run, config.tokenizer.pad), cancellation)?;
        fit(rows, config.labels.len(), config.binary).map_err(|message| Error::inference(&config.name, &message))
    }
}

/// Allocates and frees the memory that a long text will need. A failed allocation inside the
/// tokenizer would end the process; here it fails one call.
pub(crate) fn check_memory(bytes: usize) -> Result<(), Error> {
    let mut probe = Vec::<u8>::new();
    if bytes > SHORT_TEXT_BYTES && probe.try_reserve_exact(bytes * MEMORY_PER_BYTE).is_err() {
        return Err(Error::NoMemory { bytes });
    }
    std::hint::black_box(&probe);
    Ok(())
}

fn prediction(scores: Vec<f32>, encoded: &Encoded) -> Prediction {
    Prediction {
        outcome: Outcome::Scores(scores.into()),
        tokens: encoded.tokens as u32,
        tokens_read: encoded.tokens_read as u32,
        doubt: None,
    }
}

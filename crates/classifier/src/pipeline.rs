//! The three pipelines over one session: classify, tag, and classify by labels that the caller brings.
//!
//! The order of steps is here; each step's rule is in `tokenizer`, `activation`, `entities` and `zero_shot`.

use std::sync::Arc;
use std::time::Duration;

use crate::activation;
use crate::entities::{self, Aggregation, Token};
use crate::error::Error;
use crate::folder::ModelFiles;
use crate::frame::Chunk;
use crate::prediction::{Entity, Input, Outcome, Prediction, Task};
use crate::session::{Logits, Session};
use crate::tokenizer::{Encoded, Tokenizer};
use crate::zero_shot::{self, Template};
use crate::{Cancellation, Model};

/// What all replicas of a model share.
pub(super) struct Rules {
    name: String,
    task: Task,
    labels: Vec<Arc<str>>,
    tokenizer: Tokenizer,
    temperature: Option<f64>,
    aggregation: Aggregation,
    entailment: Option<usize>,
    template: Template,
    independent: bool,
}

impl Rules {
    pub(super) fn new(name: &str, task: Task, files: &ModelFiles, tokenizer: Tokenizer) -> Self {
        Self {
            name: name.to_owned(),
            task,
            labels: files.config.labels.clone(),
            tokenizer,
            temperature: files.settings.calibration.as_ref().map(|fitted| fitted.temperature),
            aggregation: files.settings.aggregation,
            entailment: files.config.entailment,
            template: files.settings.hypothesis_template.0.clone(),
            independent: files.settings.multi_label,
        }
    }
}

pub(super) struct Pipeline {
    rules: Arc<Rules>,
    session: Session,
}

impl Model for Pipeline {
    fn predict(&mut self, input: &Input, cancellation: &Cancellation) -> Result<Prediction, Error> {
        let rules = Arc::clone(&self.rules);
        check_memory(input)?;
        if cancellation.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match (rules.task, rules.entailment) {
            (Task::Tagging, _) if input.text_pair.is_some() => Err(Error::PairNotTaken { model: rules.name.clone() }),
            (Task::SingleLabel, Some(_)) if input.text_pair.is_some() && !input.labels.is_empty() => {
                Err(Error::PairNotTaken { model: rules.name.clone() })
            }
            (Task::SingleLabel, Some(entailment)) if !input.labels.is_empty() => {
                self.classify_by(&rules, input, entailment, cancellation)
            }
            _ if !input.labels.is_empty() => Err(Error::LabelsNotTaken { model: rules.name.clone() }),
            (Task::Tagging, _) => self.tag(&rules, input, cancellation),
            _ => self.classify(&rules, input, cancellation),
        }
    }

    fn bounded(&self) -> bool {
        !self.rules.tokenizer.patterned
    }

    fn release_memory(&mut self) {
        if let Err(error) = self.session.trim() {
            tracing::debug!(error = error.message(), "the session's memory was not trimmed");
        }
    }
}

impl Pipeline {
    pub(super) fn new(rules: Arc<Rules>, session: Session) -> Self {
        Self { rules, session }
    }

    /// Compares the number of scores with the number of names; returns how long the run took that shows it.
    pub(super) fn check_labels(&mut self) -> Result<Duration, Error> {
        let given = self.session.labels().map_err(|error| self.failed(error.message()))?;
        let named = self.rules.labels.len();
        if given == named { Ok(self.session.first_run_took()) } else { Err(Error::LabelCount { named, given }) }
    }

    fn classify(
        &mut self,
        rules: &Arc<Rules>,
        input: &Input,
        cancellation: &Cancellation,
    ) -> Result<Prediction, Error> {
        let encoded = rules.tokenizer.encode(&input.text, input.text_pair.as_deref())?;
        let mut scores = vec![0.0; rules.labels.len()];
        let temperature = rules.temperature.filter(|_| rules.task == Task::SingleLabel);
        if let (Some(temperature), [chunk]) = (temperature, encoded.chunks.as_slice()) {
            scores.copy_from_slice(self.run(chunk, cancellation)?.row(0));
            activation::temper(&mut scores, temperature);
            activation::apply(rules.task, &mut scores);
        } else {
            // All windows of a text have the same length, so that weighing them by tokens is the plain mean.
            let share = 1.0 / encoded.chunks.len() as f32;
            for chunk in &encoded.chunks {
                let mut row = self.run(chunk, cancellation)?.row(0).to_vec();
                activation::apply(rules.task, &mut row);
                scores.iter_mut().zip(row).for_each(|(sum, score)| *sum += share * score);
            }
            // Of the mean, so that it stays the same label.
            if let Some(temperature) = temperature {
                scores.iter_mut().for_each(|score| *score = score.max(f32::MIN_POSITIVE).ln());
                activation::temper(&mut scores, temperature);
                activation::apply(rules.task, &mut scores);
            }
        }
        self.finite(&scores)?;
        Ok(prediction(Outcome::Scores(scores.into()), &encoded))
    }

    fn classify_by(
        &mut self,
        rules: &Arc<Rules>,
        input: &Input,
        entailment: usize,
        cancellation: &Cancellation,
    ) -> Result<Prediction, Error> {
        let mut logits = Vec::with_capacity(input.labels.len());
        let mut longest: Option<Encoded> = None;
        for label in &input.labels {
            let hypothesis = rules.template.fill(label);
            let encoded = rules.tokenizer.encode_hypothesis(&input.text, &hypothesis)?;
            logits.push(self.run(&encoded.chunks[0], cancellation)?.row(0).to_vec());
            if longest.as_ref().is_none_or(|longest| encoded.tokens > longest.tokens) {
                longest = Some(encoded);
            }
        }
        let scores = zero_shot::scores(&logits, entailment, rules.independent);
        self.finite(&scores)?;
        let longest = longest.ok_or_else(|| Error::LabelsNotTaken { model: rules.name.clone() })?;
        Ok(prediction(Outcome::Scores(scores.into()), &longest))
    }

    fn tag(&mut self, rules: &Arc<Rules>, input: &Input, cancellation: &Cancellation) -> Result<Prediction, Error> {
        let pieces = rules.tokenizer.pieces(&input.text)?;
        // Of the windows that read a token, the one in which it stands farthest from an edge decides.
        let mut chosen: Vec<(usize, Vec<f32>)> = vec![(0, Vec::new()); pieces.len()];
        for (ranges, chunk) in rules.tokenizer.tagger_runs(&pieces)? {
            let logits = self.run(&chunk, cancellation)?;
            for (row, number) in ranges.iter().cloned().flatten().enumerate() {
                let last = chunk.ids.len() - 1;
                let row = row + rules.tokenizer.offset();
                let distance = 1 + row.min(last - row);
                if distance > chosen[number].0 {
                    let mut scores = logits.row(row).to_vec();
                    activation::apply(Task::SingleLabel, &mut scores);
                    self.finite(&scores)?;
                    chosen[number] = (distance, scores);
                }
            }
        }
        let special = rules.tokenizer.special_tokens();
        let tokens_read = special + chosen.iter().filter(|(distance, _)| *distance > 0).count();
        let tokens: Vec<Option<Token>> = pieces
            .iter()
            .zip(chosen)
            .map(|(piece, (distance, scores))| {
                (distance > 0).then_some(Token {
                    start: piece.start as u32,
                    end: piece.end as u32,
                    continues: piece.continues,
                    scores,
                })
            })
            .collect();
        // No entity reaches across what was not read.
        let entities: Vec<Entity> = tokens
            .split(Option::is_none)
            .flat_map(|read| {
                let read: Vec<Token> = read.iter().flatten().cloned().collect();
                entities::entities(&read, &rules.labels, rules.aggregation)
            })
            .collect();
        Ok(Prediction {
            outcome: Outcome::Entities(entities.into()),
            tokens: (pieces.len() + special) as u32,
            tokens_read: tokens_read as u32,
        })
    }

    /// One forward pass. Between two of them, and within each, is where a run ends that was cancelled.
    fn run(&mut self, chunk: &Chunk, cancellation: &Cancellation) -> Result<Logits, Error> {
        if cancellation.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if let Some(limit) = self.session.fixed.filter(|fixed| chunk.ids.len() > *fixed) {
            return Err(Error::TextTooLong { tokens: chunk.ids.len(), limit });
        }
        self.session
            .logits(chunk, self.rules.tokenizer.pad, cancellation)
            .map_err(|error| if cancellation.is_cancelled() { Error::Cancelled } else { self.failed(error.message()) })
    }

    /// fp16 graphs overflow where they were not made for it; such scores would mean nothing.
    fn finite(&self, scores: &[f32]) -> Result<(), Error> {
        if scores.iter().all(|score| score.is_finite()) {
            Ok(())
        } else {
            Err(self.failed("its scores are not numbers"))
        }
    }

    fn failed(&self, message: &str) -> Error {
        Error::Inference { model: self.rules.name.clone(), message: message.trim().to_owned() }
    }
}

/// Memory that a text takes while it is made tokens, for each of its bytes. Measured with the built-in tokenizer: 220 to 330
/// for words, 570 where each byte is a token.
const MEMORY_PER_BYTE: usize = 600;

/// Asks for the memory that a long text will need, and gives it back. An allocation that fails further down would end the
/// process; here it is one failed call.
fn check_memory(input: &Input) -> Result<(), Error> {
    let bytes = bytes(input);
    let mut probe = Vec::<u8>::new();
    // Short texts are served from what the process has.
    if bytes > 8 << 10 && probe.try_reserve_exact(bytes * MEMORY_PER_BYTE).is_err() {
        return Err(Error::NoMemory { bytes });
    }
    std::hint::black_box(&probe);
    Ok(())
}

fn bytes(input: &Input) -> usize {
    let labels: usize = input.labels.iter().map(String::len).sum();
    input.text.len() + input.text_pair.as_ref().map_or(0, String::len) + labels
}

fn prediction(outcome: Outcome, encoded: &Encoded) -> Prediction {
    Prediction { outcome, tokens: encoded.tokens as u32, tokens_read: encoded.tokens_read as u32 }
}

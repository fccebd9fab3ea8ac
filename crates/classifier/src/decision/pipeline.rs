//! The pipeline of a decision model: from a question about a text to a score for each label.

use std::sync::Arc;

use crate::activation;
use crate::cancellation::Cancellation;
use crate::decision::{Rules, decima, feed, laya};
use crate::error::Error;
use crate::labeled::Doubt;
use crate::model::Model;
use crate::pipeline::check_memory;
use crate::prediction::{Input, Outcome, Prediction, Task};
use crate::question::{Asked, Defaults};
use crate::scoring::check_scores;
use crate::session::Session;
use crate::settings::Overflow;
use crate::special_tokens::TokenIds;
use crate::tensors::Feed;
use crate::tokenizer::Tokenizer;

/// What the sessions of one model share.
pub(super) struct DecisionConfig {
    pub name: String,
    pub rules: Rules,
    /// Laya: the special tokens of a row.
    pub marks: Option<laya::Marks>,
    pub defaults: Defaults,
    pub tokenizer: Tokenizer,
    /// Fitted on the question of the settings.
    pub temperature: Option<f64>,
    pub overflow: Overflow,
}

impl DecisionConfig {
    pub(super) fn max_tokens(&self) -> usize {
        match &self.rules {
            Rules::Laya(rules) => rules.max_tokens,
            Rules::Decima(rules) => rules.max_tokens,
        }
    }
}

/// The sessions over a model's graphs.
pub(super) struct DecisionPipeline {
    pub config: Arc<DecisionConfig>,
    pub session: Session,
    /// Decima: the session over the second graph.
    pub scorer: Option<Session>,
    /// Decima: the options of the last question. Many texts in a row are asked the same.
    pub last: Option<EncodedOptions>,
}

/// Options as the encoder gives them, filled to the longest.
pub(super) struct EncodedOptions {
    rows: Vec<TokenIds>,
    width: usize,
    numbers: Vec<f32>,
    mask: Vec<i64>,
}

/// Scores in the order of the labels, and what was read.
struct Answer {
    scores: Vec<f32>,
    tokens: usize,
    tokens_read: usize,
    are_alike: bool,
}

impl Model for DecisionPipeline {
    fn predict(&mut self, input: &Input, cancellation: &Cancellation) -> Result<Prediction, Error> {
        let config = Arc::clone(&self.config);
        check_memory(input.byte_len())?;
        if cancellation.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if input.text_pair.is_some() {
            return Err(Error::PairNotTaken { model: config.name.clone() });
        }
        let unfit = |message| Error::QuestionUnfit { model: config.name.clone(), message };
        let asked = config.defaults.complete(input).map_err(unfit)?;
        let mut answer = match &config.rules {
            Rules::Laya(rules) => self.answer_in_one_row(&config, rules, &asked, &input.text, cancellation)?,
            Rules::Decima(rules) => self.answer_from_parts(&config, rules, &asked, &input.text, cancellation)?,
        };
        if let Some(temperature) = config.temperature.filter(|_| asked.is_default) {
            activation::temper_scores(&mut answer.scores, temperature);
        }
        check_scores(Task::SingleLabel, &answer.scores).map_err(|message| Error::inference(&config.name, message))?;
        Ok(Prediction {
            outcome: Outcome::Scores(answer.scores.into()),
            tokens: answer.tokens as u32,
            tokens_read: answer.tokens_read as u32,
            doubt: answer.are_alike.then_some(Doubt::Alike),
        })
    }

    fn release_memory(&mut self) {
        self.last = None;
        self.session.release_memory();
        self.scorer.iter_mut().for_each(Session::release_memory);
    }
}

impl DecisionPipeline {
    fn answer_in_one_row(
        &mut self,
        config: &DecisionConfig,
        rules: &laya::Rules,
        asked: &Asked<'_>,
        text: &str,
        cancellation: &Cancellation,
    ) -> Result<Answer, Error> {
        let marks = config.marks.as_ref().ok_or(Error::InputIdsMissing)?;
        let sequence = laya::sequence(rules, &config.tokenizer, marks, asked, text)?
            .map_err(|message| Error::QuestionUnfit { model: config.name.clone(), message })?;
        check_overflow(config, sequence.tokens, sequence.ids.len())?;
        let tensors = feed::options(&sequence.ids, &sequence.markers, laya::number(asked.kind));
        let rows = self.session.rows(&config.name, Feed::Named(&tensors), cancellation)?;
        let numbers = rows.row(0).get(..asked.labels.len());
        let numbers = numbers.ok_or_else(|| Error::inference(&config.name, "it gives fewer scores than labels"))?;
        Ok(Answer {
            scores: laya::scores(asked, rules, numbers),
            tokens: sequence.tokens,
            tokens_read: sequence.ids.len(),
            are_alike: sequence.are_alike,
        })
    }

    fn answer_from_parts(
        &mut self,
        config: &DecisionConfig,
        rules: &decima::Rules,
        asked: &Asked<'_>,
        text: &str,
        cancellation: &Cancellation,
    ) -> Result<Answer, Error> {
        let rows = decima::rows(rules, &config.tokenizer, asked, text, cancellation)?;
        check_overflow(config, rows.tokens, rows.text.ids.len())?;
        let tokens_read = rows.text.ids.len();
        let options = match self.last.take() {
            Some(last) if last.rows == rows.options => last,
            _ => self.encode(config, rows.options, cancellation)?,
        };
        let fed = Feed::Tokens(&rows.text, config.tokenizer.pad);
        let encoded = self.session.rows(&config.name, fed, cancellation)?;
        if encoded.width != options.width {
            return Err(Error::inference(&config.name, "its tokens differ in width"));
        }
        let tensors = feed::scorer(feed::Encoded {
            width: options.width,
            text: (&encoded.values).into(),
            options: (&options.numbers).into(),
            mask: (&options.mask).into(),
            count: options.rows.len(),
        });
        let scorer = self.scorer.as_mut().ok_or(Error::InputIdsMissing)?;
        let scored = scorer.rows(&config.name, Feed::Named(&tensors), cancellation)?;
        drop(tensors);
        self.last = Some(options);
        if scored.values.len() != asked.labels.len() * scored.width || scored.width != rules.width() + 1 {
            return Err(Error::inference(&config.name, "it gives another number of scores than labels"));
        }
        Ok(Answer {
            scores: rules.scores(asked.kind, scored.values.chunks(scored.width)),
            tokens: rows.tokens,
            tokens_read,
            are_alike: rows.are_alike,
        })
    }

    /// Encodes each option by itself.
    fn encode(
        &mut self,
        config: &DecisionConfig,
        rows: Vec<TokenIds>,
        cancellation: &Cancellation,
    ) -> Result<EncodedOptions, Error> {
        let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or_default();
        let (mut numbers, mut mask, mut width) = (Vec::new(), Vec::new(), 0);
        for row in &rows {
            let fed = Feed::Tokens(row, config.tokenizer.pad);
            let encoded = self.session.rows(&config.name, fed, cancellation)?;
            let fill = longest - row.ids.len();
            width = encoded.width;
            numbers.extend_from_slice(&encoded.values);
            numbers.extend(std::iter::repeat_n(0.0, fill * width));
            mask.extend(std::iter::repeat_n(1, row.ids.len()).chain(std::iter::repeat_n(0, fill)));
        }
        Ok(EncodedOptions { rows, width, numbers, mask })
    }
}

/// Refuses a text over the limit if the settings say so.
fn check_overflow(config: &DecisionConfig, tokens: usize, read: usize) -> Result<(), Error> {
    match config.overflow {
        Overflow::Error if read < tokens => Err(Error::TextTooLong { tokens, limit: config.max_tokens() }),
        _ => Ok(()),
    }
}

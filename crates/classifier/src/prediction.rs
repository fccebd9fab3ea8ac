//! The input and the output of a model, as plain values.
//!
//! Nothing here knows a protocol, a file format or the runtime. `labeled` makes the form that
//! people and assistants read.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::labeled::Doubt;
use crate::question::Question;

/// A text, a pair for models trained on pairs, or a text with candidate labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    pub text: String,
    pub text_pair: Option<String>,
    /// Candidate labels; empty unless the caller sends its own.
    pub labels: Vec<String>,
    /// For decision models: what the caller asks about the text. Never empty.
    pub question: Option<Arc<Question>>,
}

impl Input {
    pub fn single(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Returns the size of text, pair, labels and question together.
    pub fn byte_len(&self) -> usize {
        let labels: usize = self.labels.iter().map(String::len).sum();
        let question = self.question.as_ref().map_or(0, |question| question.byte_len());
        self.text.len() + self.text_pair.as_ref().map_or(0, String::len) + labels + question
    }

    /// Refuses labels and questions, for models that take neither.
    ///
    /// # Errors
    /// `LabelsNotTaken`, `QuestionNotTaken`.
    pub fn refuse_labels(&self, model: &str) -> Result<(), Error> {
        self.refuse_question(model)?;
        if self.labels.is_empty() { Ok(()) } else { Err(Error::LabelsNotTaken { model: model.to_owned() }) }
    }

    /// Refuses questions, for models that are no decision models.
    ///
    /// # Errors
    /// `QuestionNotTaken`.
    pub fn refuse_question(&self, model: &str) -> Result<(), Error> {
        match &self.question {
            Some(question) => Err(Error::QuestionNotTaken { model: model.to_owned(), arguments: question.arguments() }),
            None => Ok(()),
        }
    }
}

/// The meaning of a model's scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Exactly one label applies: scores sum to 1.
    SingleLabel,
    /// Any number of labels applies: each score is an independent probability.
    MultiLabel,
    /// Scores are numbers, not probabilities.
    Regression,
    /// Spans of the text are labelled.
    Tagging,
}

impl Task {
    /// Returns the task's name, as Hugging Face names it where it does.
    pub fn name(self) -> &'static str {
        match self {
            Self::SingleLabel => "text-classification",
            Self::MultiLabel => "multi-label-classification",
            Self::Regression => "regression",
            Self::Tagging => "token-classification",
        }
    }
}

/// A model's output for one input. Contains no part of the text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    pub outcome: Outcome,
    /// Tokens of the whole input, special tokens included, whether read or not.
    pub tokens: u32,
    /// Tokens that the model read; fewer than `tokens` if the input was truncated.
    pub tokens_read: u32,
    /// A doubt that the model itself has. Only models that can tell set it.
    #[serde(default)]
    pub doubt: Option<Doubt>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// One score per label, in label order, or in the order of the input's candidate labels.
    Scores(Box<[f32]>),
    /// In text order.
    Entities(Box<[Entity]>),
}

/// A labelled span of a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    pub label: Arc<str>,
    /// Code points from the start of the text.
    pub start: u32,
    /// Code points from the start of the text; the first one after the span.
    pub end: u32,
    pub score: f32,
}

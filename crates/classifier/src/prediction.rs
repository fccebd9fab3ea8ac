//! What goes into a model and what comes out of it, as plain values that every room may use.
//!
//! Nothing here knows a protocol, a file format or a runtime.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use crate::labeled::*;
pub use crate::model_info::*;

/// One text, a pair for models that were trained on two, or a text with labels to choose from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    pub text: String,
    pub text_pair: Option<String>,
    /// Candidate labels; empty unless the caller brings its own.
    pub labels: Vec<String>,
}

impl Input {
    pub fn single(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// What a model's scores mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Exactly one label applies: scores sum to 1.
    SingleLabel,
    /// Any number of labels applies: each score is a probability of its own.
    MultiLabel,
    /// The scores are numbers, not probabilities.
    Regression,
    /// Stretches of the text are labelled.
    Tagging,
}

impl Task {
    /// The name shown in `status` and `check`.
    pub fn name(self) -> &'static str {
        match self {
            Self::SingleLabel => "text-classification",
            Self::MultiLabel => "multi-label-classification",
            Self::Regression => "regression",
            Self::Tagging => "token-classification",
        }
    }
}

/// A model's answer to one input; holds nothing of the text itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    pub outcome: Outcome,
    /// Tokens of the whole input, special ones included, whether read or not.
    pub tokens: u32,
    /// Tokens that the model read; fewer than `tokens` where the input was cut.
    pub tokens_read: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// One score a label, in label order; in the caller's order where it brought labels.
    Scores(Box<[f32]>),
    /// In the order of the text.
    Entities(Box<[Entity]>),
}

/// A labelled stretch of a text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    pub label: Arc<str>,
    /// Code points from the start of the text.
    pub start: u32,
    pub end: u32,
    pub score: f32,
}

/// A prediction in words: what every surface shows, each in its own format. Scores are not yet rounded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The best label; of a tagger the labels it found, comma between, or `none`.
    pub prediction: String,
    /// Its probability; of a tagger that of its least certain entity. Absent where there is none to give.
    pub confidence: Option<f32>,
    /// All other labels, best first.
    pub others: Vec<(Arc<str>, f32)>,
    /// Where several may apply: those that do, best first.
    pub labels: Option<Vec<(Arc<str>, f32)>>,
    pub value: Option<f32>,
    /// Each with its slice of the text.
    pub entities: Option<Vec<(Entity, String)>>,
    /// Tokens of the input and tokens read, where not all were.
    pub truncated: Option<(u32, u32)>,
    pub uncertain: bool,
}

impl ModelInfo {
    /// The old form of [`ModelInfo::label`], until every surface uses that.
    pub fn verdict(&self, input: &Input, prediction: &Prediction) -> Verdict {
        let answer = self.label(input, prediction);
        let pairs = |labels: Vec<LabelScore>| labels.into_iter().map(|label| (label.label, label.confidence)).collect();
        let entity = |span: EntitySpan| {
            (Entity { label: span.label, start: span.start, end: span.end, score: span.confidence }, span.text)
        };
        Verdict {
            prediction: answer.prediction,
            confidence: answer.confidence,
            others: pairs(answer.alternatives),
            labels: answer.labels.map(pairs),
            value: answer.value,
            entities: answer.entities.map(|spans| spans.into_iter().map(entity).collect()),
            truncated: answer.truncated.map(|truncated| (truncated.tokens, truncated.limit)),
            uncertain: answer.uncertain,
        }
    }
}

//! Facts about a loaded model.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::language::Languages;
use crate::prediction::{Input, Task};
use crate::question::{Defaults, Question, QuestionKind};
use crate::sources::Source;

/// Description of a loaded model.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    pub task: Task,
    /// Label names, in the order of the graph's scores.
    pub labels: Vec<Arc<str>>,
    /// Whether the caller may send candidate labels (NLI models).
    pub supports_zero_shot: bool,
    /// Whether candidate labels are scored independently of each other.
    pub zero_shot_multi_label: bool,
    /// What a decision model needs with each call. `None`: it is none.
    pub decision: Option<DecisionInfo>,
    /// The function from the graph's numbers to scores, and why it is applied, for people.
    pub activation: String,
    /// Where its facts come from; empty for a decision model.
    pub sources: Vec<Source>,
    /// What the owner of the model should know, each a sentence.
    pub warnings: Vec<String>,
    /// Token limit of one run, special tokens included. `None`: the graph takes the text itself.
    pub max_tokens: Option<usize>,
    /// `fp32`, `fp16` or `int8`.
    pub precision: &'static str,
    /// Predictions with a lower confidence are marked `uncertain`. `None`: no prediction is.
    pub threshold: Option<f32>,
    /// Texts in other languages are marked `uncertain`. `None`: no text is.
    pub languages: Option<Languages>,
    /// How the confidences were calibrated. `None`: they are the model's own.
    pub calibration: Option<Calibration>,
    pub description: Option<String>,
    pub graph: GraphReport,
    pub load: LoadReport,
    /// SHA-256 of everything that determines a prediction: graph, weights, tokenizer,
    /// configuration and runtime.
    pub digest: [u8; 32],
    /// Texts worth computing in advance, most frequent first.
    pub frequent_texts: Vec<String>,
}

impl ModelInfo {
    /// Returns the labels that the scores of an input refer to: its own, otherwise the model's.
    pub fn labels_of(&self, labels: &[String], question: Option<&Question>) -> Vec<Arc<str>> {
        match &self.decision {
            Some(decision) => decision.defaults.labels(labels, question).into_iter().map(Arc::from).collect(),
            None if labels.is_empty() => self.labels.clone(),
            None => labels.iter().map(|label| label.as_str().into()).collect(),
        }
    }

    /// Describes the task, for people.
    pub fn task_name(&self) -> String {
        match &self.decision {
            Some(decision) => format!("decision model ({})", decision.family),
            None => self.task.name().into(),
        }
    }

    /// Returns whether the scores of an input are those of the levels of a scale.
    pub(crate) fn is_scale(&self, input: &Input) -> bool {
        let kind = self.decision.as_ref().map(|decision| decision.defaults.kind(input.question.as_deref()));
        kind == Some(QuestionKind::Score)
    }

    /// Describes an fp32 model without a threshold, a calibration or a file, as tests need it.
    pub fn new(task: Task, labels: Vec<Arc<str>>) -> Self {
        Self {
            task,
            labels,
            supports_zero_shot: false,
            zero_shot_multi_label: false,
            decision: None,
            activation: String::new(),
            sources: Vec::new(),
            warnings: Vec::new(),
            max_tokens: Some(8),
            precision: "fp32",
            threshold: None,
            languages: None,
            calibration: None,
            description: None,
            graph: GraphReport::default(),
            load: LoadReport::default(),
            digest: [0; 32],
            frequent_texts: Vec::new(),
        }
    }
}

/// What a decision model is, and what its settings ask.
#[derive(Clone, Debug)]
pub struct DecisionInfo {
    /// `Laya` or `Decima`.
    pub family: &'static str,
    pub defaults: Defaults,
    /// The tokens that it reads, for people.
    pub limits: String,
}

/// The temperature of a model, and the data that it was fitted on.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// Divides the logits; above 1 for an overconfident model.
    pub temperature: f64,
    /// Name of the file that it was fitted on.
    pub data: String,
    pub data_sha256: String,
    /// Labelled rows in that file.
    pub rows: u64,
    /// `2026-01-31`.
    pub date: String,
}

impl fmt::Display for Calibration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { temperature, data, data_sha256, rows, date } = self;
        let digest = data_sha256.get(..8).unwrap_or(data_sha256);
        write!(formatter, "temperature {temperature}, fitted on {rows} ")?;
        write!(formatter, "{} of {data} ({digest}…) on {date}", if *rows == 1 { "row" } else { "rows" })
    }
}

/// The loaded graph and its declarations, for people.
#[derive(Clone, Debug, Default)]
pub struct GraphReport {
    /// Path of the file, or `built in`.
    pub file: String,
    /// Why this file was chosen.
    pub reason: &'static str,
    pub opset: u64,
    /// Files of weights next to the graph.
    pub weights: Vec<String>,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
}

/// Duration of each step of a load.
///
/// Library, session and first run follow each other; files and tokenizer are read in parallel.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadReport {
    pub library: Duration,
    pub files: Duration,
    pub tokenizer: Duration,
    pub session: Duration,
    pub first_run: Duration,
    /// Whether the weights are mapped from a file and so shared with other sessions and processes.
    pub weights_shared: bool,
}

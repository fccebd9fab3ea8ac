//! What goes into a model and what comes out of it, as plain values that every room may use.
//!
//! Nothing here knows a protocol, a file format or a runtime.

use std::sync::Arc;
use std::time::Duration;

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

/// What is known of a model once it has loaded.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    pub task: Task,
    /// In the order of the graph's scores.
    pub labels: Vec<Arc<str>>,
    /// Whether the caller may bring labels of its own (an NLI model).
    pub takes_candidates: bool,
    /// Whether such labels are scored each by itself.
    pub candidates_are_independent: bool,
    /// Longest input in tokens, special ones included.
    pub max_tokens: usize,
    /// `fp32`, `fp16` or `int8`.
    pub precision: &'static str,
    /// Scores below it are marked `uncertain`; absent: none is.
    pub threshold: Option<f32>,
    /// What the confidences were fitted by; absent where they are the model's own.
    pub calibration: Option<Calibration>,
    pub description: Option<String>,
    pub graph: GraphReport,
    pub load: LoadReport,
    /// SHA-256 of everything that decides an answer: graph, weights, tokenizer, configuration, runtime.
    pub digest: [u8; 32],
    /// Texts to precompute, most frequent first.
    pub frequent_texts: Vec<String>,
}

/// How a model's confidence was brought to its accuracy, and on what data.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// Divides the logits; above 1 for a model that is too sure of itself.
    pub temperature: f64,
    /// Name of the file that it was fitted on.
    pub data: String,
    pub data_sha256: String,
    /// Rows of it with a right answer.
    pub rows: u64,
    /// As `2026-01-31`.
    pub date: String,
}

impl std::fmt::Display for Calibration {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { temperature, data, data_sha256, rows, date } = self;
        let digest = data_sha256.get(..8).unwrap_or(data_sha256);
        write!(formatter, "temperature {temperature}, fitted on {rows} rows of {data} ({digest}…) on {date}")
    }
}

/// Which graph was loaded and what it declares, for people.
#[derive(Clone, Debug, Default)]
pub struct GraphReport {
    /// The file, or `built in`.
    pub file: String,
    /// Why this file and not another.
    pub reason: &'static str,
    pub opset: u64,
    /// Files of weights beside the graph.
    pub weights: Vec<String>,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
}

/// How long the steps of a load took: library, session and first run one after the other, files and tokenizer beside them.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadReport {
    pub library: Duration,
    pub files: Duration,
    pub tokenizer: Duration,
    pub session: Duration,
    pub first_run: Duration,
    /// Whether the weights are mapped from a file, and so shared with other sessions and processes.
    pub weights_shared: bool,
}

/// A model's answer to one input; holds nothing of the text itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    pub outcome: Outcome,
    /// Tokens of the whole input, special ones included, whether read or not.
    pub tokens: u32,
    /// Tokens that the model read; fewer than `tokens` where the input was cut.
    pub tokens_read: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// One score a label, in label order; in the caller's order where it brought labels.
    Scores(Box<[f32]>),
    /// In the order of the text.
    Entities(Box<[Entity]>),
}

/// A labelled stretch of a text.
#[derive(Clone, Debug, PartialEq)]
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

/// A multi-label model's label applies from here on where its folder names no threshold, as is the custom.
pub const MULTI_LABEL_THRESHOLD: f32 = 0.5;

impl ModelInfo {
    /// Reads a prediction that this model made of this input.
    pub fn verdict(&self, input: &Input, prediction: &Prediction) -> Verdict {
        let mut verdict = match &prediction.outcome {
            Outcome::Entities(entities) => tagged(entities, &input.text),
            Outcome::Scores(scores) if input.labels.is_empty() => self.scored(&self.labels, scores, false),
            Outcome::Scores(scores) => {
                let labels: Vec<Arc<str>> = input.labels.iter().map(|label| label.as_str().into()).collect();
                self.scored(&labels, scores, true)
            }
        };
        verdict.truncated =
            (prediction.tokens_read < prediction.tokens).then_some((prediction.tokens, prediction.tokens_read));
        verdict.uncertain = match (&verdict.labels, verdict.confidence, self.threshold) {
            (Some(applying), ..) => applying.is_empty(),
            (None, Some(confidence), Some(threshold)) => confidence < threshold,
            _ => false,
        };
        verdict
    }

    fn scored(&self, labels: &[Arc<str>], scores: &[f32], candidates: bool) -> Verdict {
        let ranked: Vec<(Arc<str>, f32)> = ranking(&scores[..scores.len().min(labels.len())], candidates)
            .into_iter()
            .map(|number| (Arc::clone(&labels[number]), scores[number]))
            .collect();
        let (best, score) = ranked[0].clone();
        let several = self.task == Task::MultiLabel || candidates && self.candidates_are_independent;
        let threshold = self.threshold.unwrap_or(MULTI_LABEL_THRESHOLD);
        let regression = self.task == Task::Regression;
        Verdict {
            prediction: best.to_string(),
            confidence: (!regression).then_some(score),
            value: regression.then_some(score),
            labels: several.then(|| ranked.iter().filter(|(_, score)| *score >= threshold).cloned().collect()),
            others: ranked[1..].to_vec(),
            ..Verdict::default()
        }
    }
}

fn tagged(entities: &[Entity], text: &str) -> Verdict {
    let mut names: Vec<&str> = Vec::new();
    for entity in entities {
        if !names.contains(&&*entity.label) {
            names.push(&entity.label);
        }
    }
    let slice = |entity: &Entity| {
        text.chars().skip(entity.start as usize).take(entity.end.saturating_sub(entity.start) as usize).collect()
    };
    Verdict {
        prediction: if names.is_empty() { "none".into() } else { names.join(", ") },
        confidence: entities.iter().map(|entity| entity.score).reduce(f32::min),
        entities: Some(entities.iter().map(|entity| (entity.clone(), slice(entity))).collect()),
        ..Verdict::default()
    }
}

/// Label numbers from best to worst. Equal scores keep label order, as in transformers' classification; among candidates
/// the later comes first, as in its zero-shot pipeline.
fn ranking(scores: &[f32], candidates: bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    if candidates {
        order.reverse();
    }
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}

/// With four decimals: a score has seven digits, and nobody needs the last three.
pub fn rounded(score: f32) -> f64 {
    (f64::from(score) * 1e4).round() / 1e4
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The model ran for this call.
    Model,
    /// An earlier call's result.
    Cache,
    /// An identical call was already running.
    Joined,
    /// Computed before anybody asked: a frequent text, or a hot one of an earlier session.
    Precomputed,
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Cache => "cache",
            Self::Joined => "joined",
            Self::Precomputed => "precomputed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(task: Task, threshold: Option<f32>) -> ModelInfo {
        ModelInfo {
            task,
            labels: ["a", "b", "c"].map(Arc::from).to_vec(),
            takes_candidates: false,
            candidates_are_independent: false,
            max_tokens: 8,
            precision: "fp32",
            threshold,
            calibration: None,
            description: None,
            graph: GraphReport::default(),
            load: LoadReport::default(),
            digest: [0; 32],
            frequent_texts: vec![],
        }
    }

    fn scores(scores: [f32; 3]) -> Prediction {
        Prediction { outcome: Outcome::Scores(scores.into()), tokens: 9, tokens_read: 8 }
    }

    #[test]
    fn equal_scores_keep_label_order_and_candidates_reverse_it() {
        assert_eq!(ranking(&[0.2, 0.4, 0.4, 0.0], false), [1, 2, 0, 3]);
        assert_eq!(ranking(&[0.2, 0.4, 0.4, 0.0], true), [2, 1, 0, 3]);
    }

    #[test]
    fn a_best_score_below_the_threshold_is_uncertain() {
        let verdict = model(Task::SingleLabel, Some(0.7)).verdict(&Input::single("x"), &scores([0.3, 0.6, 0.1]));
        assert_eq!((verdict.prediction.as_str(), verdict.confidence), ("b", Some(0.6)));
        assert!(verdict.uncertain);
        assert_eq!(verdict.truncated, Some((9, 8)));
        let certain = model(Task::SingleLabel, None).verdict(&Input::single("x"), &scores([0.3, 0.6, 0.1]));
        assert!(!certain.uncertain);
    }

    #[test]
    fn labels_at_the_threshold_apply_and_none_is_uncertain() {
        let applying = |threshold| {
            let verdict = model(Task::MultiLabel, threshold).verdict(&Input::single("x"), &scores([0.5, 0.9, 0.1]));
            (verdict.labels.unwrap().len(), verdict.uncertain)
        };
        assert_eq!(applying(None), (2, false));
        assert_eq!(applying(Some(0.95)), (0, true));
    }

    #[test]
    fn entities_carry_their_slice_of_the_text() {
        let entity = |label: &str, start, end, score| Entity { label: label.into(), start, end, score };
        let found = [entity("PER", 0, 4, 0.9), entity("LOC", 8, 12, 0.6), entity("PER", 8, 12, 0.8)];
        let prediction = Prediction { outcome: Outcome::Entities(found.into()), tokens: 5, tokens_read: 5 };
        let verdict = model(Task::Tagging, None).verdict(&Input::single("Zoë→ in Köln"), &prediction);
        assert_eq!((verdict.prediction.as_str(), verdict.confidence), ("PER, LOC", Some(0.6)));
        let slices: Vec<_> = verdict.entities.unwrap().into_iter().map(|(_, slice)| slice).collect();
        assert_eq!(slices, ["Zoë→", "Köln", "Köln"]);
    }
}

//! What goes into a model and what comes out of it, as plain values that every room may use.
//!
//! Nothing here knows a protocol, a file format or a runtime.

use std::sync::Arc;

/// One text, or a pair for models that were trained on two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub text: String,
    pub text_pair: Option<String>,
}

impl Input {
    pub fn single(text: impl Into<String>) -> Self {
        Self { text: text.into(), text_pair: None }
    }
}

/// What a model's scores mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Exactly one label applies: scores sum to 1.
    SingleLabel,
    /// Any number of labels applies: each score is a probability of its own.
    MultiLabel,
    /// The one score is a number, not a probability.
    Regression,
}

impl Task {
    /// The name shown in `status` and `check`.
    pub fn name(self) -> &'static str {
        match self {
            Self::SingleLabel => "text-classification",
            Self::MultiLabel => "multi-label-classification",
            Self::Regression => "regression",
        }
    }
}

/// What is known of a model once it has loaded.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    pub task: Task,
    /// In the order of the graph's scores.
    pub labels: Vec<Arc<str>>,
    /// Longest input in tokens, special ones included.
    pub max_tokens: usize,
    /// `fp32`, `fp16` or `int8`.
    pub precision: &'static str,
    /// Scores below it are marked `uncertain`; absent: none is.
    pub threshold: Option<f32>,
    pub description: Option<String>,
    /// The graph file, or `built in`.
    pub graph: String,
    /// SHA-256 of everything that decides an answer: graph, tokenizer, configuration, runtime version.
    pub digest: [u8; 32],
    /// Texts to precompute, most frequent first.
    pub frequent_texts: Vec<String>,
}

/// A model's answer to one input: one score a label, in label order.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    pub scores: Box<[f32]>,
    /// Tokens of the whole input, special ones included, whether read or not.
    pub tokens: u32,
    /// Tokens that the model read; fewer than `tokens` where the input was cut.
    pub tokens_read: u32,
}

impl Prediction {
    /// Label numbers from best to worst; equal scores keep label order.
    pub fn ranking(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.scores.len()).collect();
        order.sort_by(|&a, &b| self.scores[b].total_cmp(&self.scores[a]));
        order
    }

    pub fn truncated(&self) -> bool {
        self.tokens_read < self.tokens
    }
}

/// A prediction in words: which labels, how sure, and what to be careful of.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Every label with its score, best first; never empty.
    pub ranked: Vec<(Arc<str>, f32)>,
    pub task: Task,
    /// How many of `ranked` apply: those at or above the threshold for multi-label models, else 1.
    pub applying: usize,
    /// Tokens of the input and tokens read, where not all were.
    pub truncated: Option<(u32, u32)>,
    /// Whether the best score is below the model's threshold.
    pub uncertain: bool,
}

/// A multi-label model's label applies from here on where its folder names no threshold, as is the custom.
const MULTI_LABEL_THRESHOLD: f32 = 0.5;

impl ModelInfo {
    /// Reads a prediction of this model.
    pub fn verdict(&self, prediction: &Prediction) -> Verdict {
        let ranked: Vec<(Arc<str>, f32)> = prediction
            .ranking()
            .into_iter()
            .map(|number| (Arc::clone(&self.labels[number]), prediction.scores[number]))
            .collect();
        let best = ranked.first().map_or(f32::NAN, |(_, score)| *score);
        let applying = match self.task {
            Task::MultiLabel => {
                let threshold = self.threshold.unwrap_or(MULTI_LABEL_THRESHOLD);
                ranked.iter().filter(|(_, score)| *score >= threshold).count()
            }
            Task::SingleLabel | Task::Regression => 1,
        };
        Verdict {
            applying,
            task: self.task,
            truncated: prediction.truncated().then_some((prediction.tokens, prediction.tokens_read)),
            uncertain: self.task == Task::SingleLabel && self.threshold.is_some_and(|threshold| best < threshold),
            ranked,
        }
    }
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

    #[test]
    fn equal_scores_keep_label_order() {
        let prediction = Prediction { scores: [0.2, 0.4, 0.4, 0.0].into(), tokens: 3, tokens_read: 3 };
        assert_eq!(prediction.ranking(), [1, 2, 0, 3]);
    }

    fn model(task: Task, threshold: Option<f32>) -> ModelInfo {
        ModelInfo {
            task,
            labels: ["a", "b", "c"].map(Arc::from).to_vec(),
            max_tokens: 8,
            precision: "fp32",
            threshold,
            description: None,
            graph: "m".into(),
            digest: [0; 32],
            frequent_texts: vec![],
        }
    }

    #[test]
    fn a_best_score_below_the_threshold_is_uncertain() {
        let prediction = Prediction { scores: [0.3, 0.6, 0.1].into(), tokens: 9, tokens_read: 8 };
        let verdict = model(Task::SingleLabel, Some(0.7)).verdict(&prediction);
        assert_eq!(verdict.ranked[0], ("b".into(), 0.6));
        assert!(verdict.uncertain);
        assert_eq!(verdict.truncated, Some((9, 8)));
        assert!(!model(Task::SingleLabel, None).verdict(&prediction).uncertain);
    }

    #[test]
    fn labels_at_the_threshold_apply() {
        let prediction = Prediction { scores: [0.5, 0.9, 0.1].into(), tokens: 3, tokens_read: 3 };
        assert_eq!(model(Task::MultiLabel, None).verdict(&prediction).applying, 2);
        assert_eq!(model(Task::MultiLabel, Some(0.95)).verdict(&prediction).applying, 0);
    }
}

//! The answer that every surface shows: tool results, JSON lines, text, file columns, reports.
//!
//! Field comments are product text: the assistant reads them in the tool's schema. A new field of
//! a result is added here and where its value is computed.

use std::collections::HashSet;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use crate::model_info::ModelInfo;
use crate::prediction::{Entity, Input, Outcome, Prediction, Task};

/// Multi-label models: a label applies from this score on, unless the folder sets a threshold.
pub const MULTI_LABEL_THRESHOLD: f32 = 0.5;

/// A prediction with label names.
///
/// Scores are kept as the model gave them and rounded to four decimals when serialized. Fields
/// that do not apply are omitted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LabeledPrediction {
    /// The best label; taggers: the labels found, or `none`.
    pub prediction: String,
    /// Probability of `prediction` (taggers: the lowest entity score); omitted when there is none.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_score")]
    #[schemars(with = "f64", range(min = 0.0, max = 1.0))]
    pub confidence: Option<f32>,
    /// The next best labels, if `top_k` asked for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<LabelScore>,
    /// Multi-label models: the labels that apply, best first; may be empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<LabelScore>")]
    pub labels: Option<Vec<LabelScore>>,
    /// Regression models: the number. Scales of decision models: the mean level, from 0.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "optional_score")]
    #[schemars(with = "f64")]
    pub value: Option<f32>,
    /// Taggers: the entities, in text order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<EntitySpan>")]
    pub entities: Option<Vec<EntitySpan>>,
    /// Present if only part of the text was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Truncation")]
    pub truncated: Option<Truncation>,
    /// If `explain` asked for it: the words that moved the answer most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<WordWeight>")]
    pub explanation: Option<Vec<WordWeight>>,
    /// True if the model is unsure: check it yourself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub uncertain: bool,
    /// Why, if the text itself is the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub doubt: Option<Doubt>,
}

/// A doubt that does not come from the scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Doubt {
    #[serde(rename = "in another language than the model's")]
    Language,
    #[serde(rename = "unlike all taught texts")]
    Unfamiliar,
    #[serde(rename = "some labels were cut to the same words")]
    Alike,
}

/// A label and its score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct LabelScore {
    pub label: Arc<str>,
    #[serde(serialize_with = "score")]
    #[schemars(with = "f64")]
    pub confidence: f32,
}

/// An entity with its slice of the text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct EntitySpan {
    pub text: String,
    pub label: Arc<str>,
    /// First character, counted from 0.
    pub start: u32,
    /// After the last character.
    pub end: u32,
    #[serde(serialize_with = "score")]
    #[schemars(with = "f64")]
    pub confidence: f32,
}

/// How much of a text was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Truncation {
    /// Tokens in the text.
    pub tokens: u32,
    /// Tokens read.
    pub limit: u32,
}

/// A word, or a few neighbouring ones, and its effect on the score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct WordWeight {
    pub text: String,
    /// Confidence lost without it; below 0: it speaks against the answer.
    #[serde(serialize_with = "score")]
    #[schemars(with = "f64")]
    pub weight: f32,
}

impl LabeledPrediction {
    /// Keeps the best `top_k` labels: `prediction`, and `top_k - 1` alternatives.
    pub fn with_top_k(mut self, top_k: usize) -> Self {
        self.alternatives.truncate(top_k.saturating_sub(1));
        // A batch keeps many results; models may have thousands of labels.
        self.alternatives.shrink_to_fit();
        self
    }

    fn from_entities(entities: &[Entity], text: &str) -> Self {
        let mut seen = HashSet::new();
        let names: Vec<&str> = entities.iter().map(|entity| &*entity.label).filter(|name| seen.insert(*name)).collect();
        // Looked up for each entity: a long text has thousands.
        let starts: Vec<usize> = text.char_indices().map(|(byte, _)| byte).collect();
        let byte = |character: u32| starts.get(character as usize).copied().unwrap_or(text.len());
        let span = |entity: &Entity| EntitySpan {
            text: text.get(byte(entity.start)..byte(entity.end)).unwrap_or_default().to_owned(),
            label: Arc::clone(&entity.label),
            start: entity.start,
            end: entity.end,
            confidence: entity.score,
        };
        Self {
            prediction: if names.is_empty() { "none".into() } else { names.join(", ") },
            confidence: entities.iter().map(|entity| entity.score).reduce(f32::min),
            entities: Some(entities.iter().map(span).collect()),
            ..Self::default()
        }
    }
}

impl ModelInfo {
    /// Turns a prediction of this model for `input` into label names, with all labels as
    /// alternatives.
    pub fn label(&self, input: &Input, prediction: &Prediction) -> LabeledPrediction {
        let mut answer = match &prediction.outcome {
            Outcome::Entities(entities) => LabeledPrediction::from_entities(entities, &input.text),
            Outcome::Scores(scores) => {
                let labels = self.labels_of(&input.labels, input.question.as_deref());
                let zero_shot = !input.labels.is_empty() && self.decision.is_none();
                let answer = self.label_scores(&labels, scores, zero_shot);
                let level = || (0u16..).zip(&**scores).map(|(level, score)| f32::from(level) * score).sum();
                LabeledPrediction { value: answer.value.or_else(|| self.is_scale(input).then(level)), ..answer }
            }
        };
        answer.truncated = (prediction.tokens_read < prediction.tokens)
            .then_some(Truncation { tokens: prediction.tokens, limit: prediction.tokens_read });
        let texts = || std::iter::once(&input.text).chain(&input.text_pair);
        let is_foreign = || self.languages.as_ref().is_some_and(|known| !texts().all(|text| known.include(text)));
        answer.doubt = prediction.doubt.or_else(|| is_foreign().then_some(Doubt::Language));
        answer.uncertain = answer.doubt.is_some()
            || match (&answer.labels, answer.confidence, self.threshold) {
                (Some(applying), ..) => applying.is_empty(),
                (None, Some(confidence), Some(threshold)) => confidence < threshold,
                _ => false,
            };
        answer
    }

    fn label_scores(&self, labels: &[Arc<str>], scores: &[f32], zero_shot: bool) -> LabeledPrediction {
        let ranked: Vec<LabelScore> = ranking(&scores[..scores.len().min(labels.len())], zero_shot)
            .into_iter()
            .map(|number| LabelScore { label: Arc::clone(&labels[number]), confidence: scores[number] })
            .collect();
        let LabelScore { label, confidence } = ranked[0].clone();
        let multi_label = self.task == Task::MultiLabel || zero_shot && self.zero_shot_multi_label;
        let threshold = self.threshold.unwrap_or(MULTI_LABEL_THRESHOLD);
        let applies = |label: &&LabelScore| label.confidence >= threshold;
        let regression = self.task == Task::Regression;
        LabeledPrediction {
            prediction: label.to_string(),
            confidence: (!regression).then_some(confidence),
            value: regression.then_some(confidence),
            labels: multi_label.then(|| ranked.iter().filter(applies).cloned().collect()),
            alternatives: ranked[1..].to_vec(),
            ..LabeledPrediction::default()
        }
    }
}

/// Returns label numbers from best to worst.
///
/// Equal scores keep label order, as in transformers' text classification. Among candidate labels
/// the later one comes first, as in its zero-shot pipeline.
fn ranking(scores: &[f32], zero_shot: bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    if zero_shot {
        order.reverse();
    }
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}

/// Rounds a score to four decimals. An f32 has seven digits; the last three are noise to a reader.
pub fn rounded(score: f32) -> f64 {
    (f64::from(score) * 1e4).round() / 1e4
}

fn score<S: Serializer>(score: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(rounded(*score))
}

fn optional_score<S: Serializer>(score: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
    score.map(rounded).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Languages;

    fn model(task: Task, threshold: Option<f32>) -> ModelInfo {
        ModelInfo { threshold, ..ModelInfo::new(task, ["a", "b", "c"].map(Arc::from).to_vec()) }
    }

    fn scores(scores: [f32; 3]) -> Prediction {
        Prediction { outcome: Outcome::Scores(scores.into()), tokens: 9, tokens_read: 8, doubt: None }
    }

    fn label(task: Task, threshold: Option<f32>, values: [f32; 3]) -> LabeledPrediction {
        model(task, threshold).label(&Input::single("x"), &scores(values))
    }

    #[test]
    fn equal_scores_keep_label_order_and_candidates_reverse_it() {
        assert_eq!(ranking(&[0.2, 0.4, 0.4, 0.0], false), [1, 2, 0, 3]);
        assert_eq!(ranking(&[0.2, 0.4, 0.4, 0.0], true), [2, 1, 0, 3]);
    }

    #[test]
    fn a_best_score_below_the_threshold_is_uncertain() {
        let answer = label(Task::SingleLabel, Some(0.7), [0.3, 0.6, 0.1]);
        assert_eq!((answer.prediction.as_str(), answer.confidence), ("b", Some(0.6)));
        assert!(answer.uncertain);
        assert_eq!(answer.truncated, Some(Truncation { tokens: 9, limit: 8 }));
        assert!(!label(Task::SingleLabel, None, [0.3, 0.6, 0.1]).uncertain);
    }

    #[test]
    fn an_unfamiliar_text_is_uncertain_whatever_its_score() {
        let prediction = Prediction { doubt: Some(Doubt::Unfamiliar), ..scores([0.0, 1.0, 0.0]) };
        let answer = model(Task::SingleLabel, None).label(&Input::single("x"), &prediction);
        assert_eq!((answer.uncertain, answer.doubt), (true, Some(Doubt::Unfamiliar)));
    }

    #[test]
    fn a_text_in_another_language_is_uncertain_and_says_why() {
        let model = ModelInfo { languages: Languages::parse(["en"]), ..model(Task::SingleLabel, None) };
        let answer = model.label(&Input::single("Das Essen war kalt und fade."), &scores([0.0, 1.0, 0.0]));
        let json = serde_json::to_value(&answer).unwrap();
        assert_eq!(json["uncertain"], true, "{json}");
        assert_eq!(json["doubt"], "in another language than the model's");
        let english = Input::single("The food was cold and bland.");
        assert!(!model.label(&english, &scores([0.0, 1.0, 0.0])).uncertain);
        let pair = Input { text_pair: Some("我一点也不喜欢".into()), ..english };
        assert!(model.label(&pair, &scores([0.0, 1.0, 0.0])).uncertain);
    }

    #[test]
    fn labels_at_the_threshold_apply_and_having_none_is_uncertain() {
        let applying = |threshold| {
            let answer = label(Task::MultiLabel, threshold, [0.5, 0.9, 0.1]);
            (answer.labels.unwrap().len(), answer.uncertain)
        };
        assert_eq!(applying(None), (2, false));
        assert_eq!(applying(Some(0.95)), (0, true));
    }

    #[test]
    fn entities_carry_their_slice_of_the_text() {
        let entity = |label: &str, start, end, score| Entity { label: label.into(), start, end, score };
        let found = [entity("PER", 0, 4, 0.9), entity("LOC", 8, 12, 0.6), entity("PER", 8, 12, 0.8)];
        let outcome = Outcome::Entities(found.into());
        let prediction = Prediction { outcome, tokens: 5, tokens_read: 5, doubt: None };
        let answer = model(Task::Tagging, None).label(&Input::single("Zoë→ in Köln"), &prediction);
        assert_eq!((answer.prediction.as_str(), answer.confidence), ("PER, LOC", Some(0.6)));
        let slices: Vec<_> = answer.entities.unwrap().into_iter().map(|span| span.text).collect();
        assert_eq!(slices, ["Zoë→", "Köln", "Köln"]);
    }

    #[test]
    fn a_long_text_may_have_an_entity_in_each_word() {
        let entity = |number: u32| Entity {
            label: format!("L{}", number % 1000).into(),
            start: number * 4,
            end: number * 4 + 3,
            score: 0.9,
        };
        let prediction = Prediction {
            outcome: Outcome::Entities((0..65_536).map(entity).collect()),
            tokens: 9,
            tokens_read: 9,
            doubt: None,
        };
        let started = std::time::Instant::now();
        let answer = model(Task::Tagging, None).label(&Input::single("aéb ".repeat(65_536)), &prediction);
        assert!(answer.entities.unwrap().iter().all(|entity| entity.text == "aéb"));
        // Skipping to each entity from the start takes minutes.
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    }

    #[test]
    fn serialized_scores_have_four_decimals_and_absent_fields_are_omitted() {
        let answer = label(Task::SingleLabel, None, [0.123_456, 0.765_432, 0.111_111]);
        let json = serde_json::to_string(&answer.clone().with_top_k(2)).unwrap();
        let expected = r#"{"prediction":"b","confidence":0.7654,"alternatives":[{"label":"a","confidence":0.1235}],"truncated":{"tokens":9,"limit":8}}"#;
        assert_eq!(json, expected);
        let read: LabeledPrediction = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), expected);
        let json = serde_json::to_string(&answer.with_top_k(1)).unwrap();
        assert!(!json.contains("alternatives"), "{json}");
    }
}

//! What goes over the wire: arguments and results of the tools. The comments here are what the assistant reads.
//!
//! These types belong to this room alone; they are made from `engine`'s answers here and nowhere else. Fields are written
//! in the order given, and absent ones are left out rather than null.

use std::sync::Arc;

use rmcp::model::JsonObject;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::engine::{Answer, Weight};
use crate::error::Error;
use crate::prediction::{Entity, rounded};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PredictArguments {
    /// The text to classify, as it stands; not blank.
    #[schemars(length(min = 1))]
    pub text: String,
    /// Second text, only for models trained on pairs.
    #[serde(default)]
    #[schemars(with = "String")]
    pub text_pair: Option<String>,
    /// The first one if left out.
    #[serde(default)]
    #[schemars(with = "String")]
    pub model: Option<String>,
    /// Labels to choose from; only for models that take them.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub labels: Option<Vec<String>>,
    /// How many labels, best first; 1 if left out.
    #[serde(default)]
    #[schemars(with = "usize", range(min = 1))]
    pub top_k: Option<usize>,
    /// True: also the words that moved the answer; a run for each word.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub explain: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PredictResult {
    /// The best label; of a tagger the labels it found, or `none`.
    pub prediction: String,
    /// Its probability; of a tagger that of the least certain entity. Absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64", range(min = 0.0, max = 1.0))]
    pub confidence: Option<f64>,
    /// The next best labels, where `top_k` asked for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Label>,
    /// Where several labels may apply: those that do, best first; may be empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Label>")]
    pub labels: Option<Vec<Label>>,
    /// Regression models: the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64")]
    pub value: Option<f64>,
    /// Taggers: what was found, in the order of the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<EntityFound>")]
    pub entities: Option<Vec<EntityFound>>,
    /// Not all of the text was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Truncated")]
    pub truncated: Option<Truncated>,
    /// Where `explain` asked for it: the words that moved the answer most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<WordWeight>")]
    pub explanation: Option<Vec<WordWeight>>,
    /// True: the model is unsure, judge for yourself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub uncertain: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchArguments {
    /// The texts to classify, as they stand.
    #[schemars(length(min = 1, max = 256))]
    pub texts: Vec<String>,
    /// The first one if left out.
    #[serde(default)]
    #[schemars(with = "String")]
    pub model: Option<String>,
    /// Labels to choose from; only for models that take them.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub labels: Option<Vec<String>>,
    /// How many labels for each, best first; 1 if left out.
    #[serde(default)]
    #[schemars(with = "usize", range(min = 1))]
    pub top_k: Option<usize>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BatchResult {
    /// One for each text, in the same order: what local_model_predict answers, or `error`.
    pub results: Vec<BatchElement>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum BatchElement {
    Predicted(PredictResult),
    Failed { error: String },
}

impl BatchElement {
    pub(super) fn new(answer: Result<Answer, Error>, top_k: usize) -> Self {
        match answer {
            Ok(answer) => Self::Predicted(PredictResult::new(&answer, top_k)),
            Err(error) => Self::Failed { error: error.to_string() },
        }
    }
}

/// One flat object in place of a choice between two, which some clients cannot read.
impl JsonSchema for BatchElement {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "BatchElement".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> Schema {
        let mut schema = PredictResult::json_schema(generator);
        schema.remove("required");
        if let Some(properties) = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut) {
            properties.remove("explanation");
            let error = serde_json::json!({ "type": "string", "description": "Why this text was not classified." });
            properties.insert("error".to_owned(), error);
        }
        schema
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct Label {
    pub label: String,
    pub confidence: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct WordWeight {
    pub text: String,
    /// Confidence lost without it; below 0: it speaks against the answer.
    pub weight: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct EntityFound {
    pub text: String,
    pub label: String,
    /// First character, counted from 0.
    pub start: u32,
    /// Behind the last character.
    pub end: u32,
    pub confidence: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct Truncated {
    /// Tokens in the text.
    pub tokens: u32,
    /// Tokens that were read.
    pub limit: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StatusArguments {}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StatusResult {
    /// The default model first.
    pub models: Vec<ModelStatus>,
    pub cache: CacheStatus,
    /// Of the whole process.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64")]
    pub memory_mb: Option<f64>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct ModelStatus {
    pub name: String,
    /// `loading`, `ready` or `failed`.
    pub state: &'static str,
    /// Why it failed and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub problem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub task: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// True: `labels` may be given with a call.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub takes_labels: bool,
    /// Longest text read whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "usize")]
    pub max_tokens: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub precision: Option<&'static str>,
    /// How its confidence was fitted, and on what; absent: as the model gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub calibration: Option<String>,
    /// Confidence below it is marked `uncertain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "f64")]
    pub threshold: Option<f64>,
    /// First 16 digits of the SHA-256 over all that decides an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub digest: Option<String>,
    /// How long its loading took, and each step of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LoadMs")]
    pub load_ms: Option<LoadMs>,
    pub calls: CallCounts,
    /// Arrival to answer, last 1,000 calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "LatencyMs")]
    pub latency_ms: Option<LatencyMs>,
}

/// Milliseconds: `library`, `session`, `first_run` in turn; `files` and `tokenizer` beside them.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct LoadMs {
    pub library: f64,
    pub files: f64,
    pub tokenizer: f64,
    pub session: f64,
    pub first_run: f64,
}

/// Finished calls by where their answer came from, or why there was none.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct CallCounts {
    pub model: u64,
    pub cache: u64,
    pub joined: u64,
    pub precomputed: u64,
    pub caller_errors: u64,
    pub cancelled: u64,
    pub errors: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct LatencyMs {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct CacheStatus {
    pub entries: u64,
    pub hits: u64,
    pub precomputed_hits: u64,
    pub joined: u64,
    pub misses: u64,
    /// Share of calls answered without running the model.
    pub hit_rate: f64,
}

impl WordWeight {
    fn new(Weight { text, weight }: &Weight) -> Self {
        Self { text: text.clone(), weight: rounded(*weight) }
    }
}

impl PredictResult {
    pub(super) fn new(answer: &Answer, top_k: usize) -> Self {
        let verdict = answer.verdict();
        let label = |(label, score): &(Arc<str>, f32)| Label { label: label.to_string(), confidence: rounded(*score) };
        let entity = |(entity, text): (Entity, String)| EntityFound {
            text,
            label: entity.label.to_string(),
            start: entity.start,
            end: entity.end,
            confidence: rounded(entity.score),
        };
        Self {
            prediction: verdict.prediction,
            confidence: verdict.confidence.map(rounded),
            alternatives: verdict.others.iter().take(top_k.saturating_sub(1)).map(label).collect(),
            labels: verdict.labels.map(|labels| labels.iter().map(label).collect()),
            value: verdict.value.map(rounded),
            entities: verdict.entities.map(|entities| entities.into_iter().map(entity).collect()),
            explanation: answer.explanation.as_ref().map(|weights| weights.iter().map(WordWeight::new).collect()),
            truncated: verdict.truncated.map(|(tokens, limit)| Truncated { tokens, limit }),
            uncertain: verdict.uncertain,
        }
    }
}

/// The schema of what a tool accepts.
pub(super) fn input<T: JsonSchema>() -> JsonObject {
    object(SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>())
}

/// The schema of what a tool answers.
pub(super) fn output<T: JsonSchema>() -> Arc<JsonObject> {
    Arc::new(object(SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()))
}

fn object(mut schema: Schema) -> JsonObject {
    RecursiveTransform(plain).transform(&mut schema);
    // The name of a Rust type and the dialect every client assumes are words that tell the assistant nothing.
    for key in ["title", "description", "$schema"] {
        schema.remove(key);
    }
    schema.insert("additionalProperties".to_owned(), false.into());
    // Some clients refuse an object without the list of its fields, also where there are none.
    schema.ensure_object().entry("properties").or_insert_with(|| serde_json::json!({}));
    match schema.to_value() {
        serde_json::Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

/// Removes `format: uint64` and its like, which are no formats of JSON Schema and make clients warn, the bound that comes
/// with them, and `default: null` of a field that is not null but absent.
fn plain(schema: &mut Schema) {
    schema.remove("format");
    if schema.get("default").is_some_and(serde_json::Value::is_null) {
        schema.remove("default");
    }
    if schema.get("minimum").and_then(serde_json::Value::as_f64) == Some(0.0) && schema.get("maximum").is_none() {
        schema.remove("minimum");
    }
}

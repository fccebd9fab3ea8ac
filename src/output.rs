//! Formats one answer as commands print it: the fields of a JSON object, or one aligned line of
//! text.

use classifier::{LabelScore, LabeledPrediction, WordWeight, rounded};
use engine::Answer;
use schemars::schema_for;
use serde_json::{Map, Value};

use crate::error::Error;

/// Returns the fields of an answer with its `top_k` best labels, or `error`.
pub(crate) fn fields(outcome: &Result<Answer, Error>, top_k: usize) -> Map<String, Value> {
    let error = |error: String| Map::from_iter([("error".to_owned(), Value::from(error))]);
    match outcome.as_ref().map(|answer| serde_json::to_value(answer.label().with_top_k(top_k))) {
        Ok(Ok(Value::Object(fields))) => fields,
        Ok(other) => error(format!("cannot write the answer: {other:?}")),
        Err(problem) => error(problem.to_string()),
    }
}

/// Returns the names that [`fields`] uses.
pub(crate) fn field_names() -> Vec<String> {
    let schema = schema_for!(LabeledPrediction);
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(Map::keys).cloned().chain(["error".to_owned()]).collect()
}

/// Formats an answer, or the error, as one line with aligned columns.
pub(crate) fn aligned(text: &str, outcome: &Result<Answer, Error>, top_k: usize) -> String {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(error) => return format!("error: {error}  {text}"),
    };
    let width = answer.info.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let LabeledPrediction {
        prediction,
        confidence,
        alternatives,
        labels,
        value,
        entities,
        truncated,
        explanation,
        uncertain,
        doubt,
    } = answer.label().with_top_k(top_k);
    let score = confidence.or(value).map_or_else(String::new, |score| format!("{:.4}", rounded(score)));
    let mut line = format!("{prediction:<width$} {score}");
    for LabelScore { label, confidence } in alternatives {
        line += &format!("  {label:<width$} {:.4}", rounded(confidence));
    }
    line += &format!("  {text}");
    for entity in entities.into_iter().flatten() {
        line += &format!("  [{}: {} {:.4}]", entity.text, entity.label, rounded(entity.confidence));
    }
    if let Some(labels) = labels {
        let names: Vec<&str> = labels.iter().map(|label| &*label.label).collect();
        line += &format!("  (labels: {})", if names.is_empty() { "none".into() } else { names.join(", ") });
    }
    if let Some(words) = explanation {
        let word = |WordWeight { text, weight }: &WordWeight| format!("{text} {:+.4}", rounded(*weight));
        line += &format!("  (words: {})", words.iter().map(word).collect::<Vec<_>>().join(", "));
    }
    match doubt.map(serde_json::to_value) {
        Some(Ok(Value::String(doubt))) => line += &format!("  (uncertain: {doubt})"),
        _ if uncertain => line += "  (uncertain)",
        _ => {}
    }
    if let Some(truncated) = truncated {
        line += &format!("  (read {} of {} tokens)", truncated.limit, truncated.tokens);
    }
    line
}

/// Rounds a share of the rows of a file.
pub(crate) fn four_decimals(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}

/// Rounds bytes to MB with one decimal.
pub(crate) fn megabytes(bytes: usize) -> f64 {
    (bytes as f64 / 1e5).round() / 10.0
}

//! One answer as people and scripts see it: aligned text, or the fields of a JSON object.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::engine::{Answer, Weight};
use crate::error::Error;
use crate::prediction::{Entity, rounded};

/// The fields of the tool's result, in its order.
pub(crate) fn fields(outcome: Result<&Answer, &Error>, top_k: usize) -> Vec<(&'static str, Value)> {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(error) => return vec![("error", json!(error.to_string()))],
    };
    let verdict = answer.verdict();
    let label = |(label, score): &(Arc<str>, f32)| json!({ "label": &**label, "confidence": rounded(*score) });
    let mut fields = vec![("prediction", json!(verdict.prediction))];
    if let Some(confidence) = verdict.confidence {
        fields.push(("confidence", json!(rounded(confidence))));
    }
    if top_k > 1 && !verdict.others.is_empty() {
        fields.push(("alternatives", verdict.others.iter().take(top_k - 1).map(label).collect()));
    }
    if let Some(labels) = &verdict.labels {
        fields.push(("labels", labels.iter().map(label).collect()));
    }
    if let Some(value) = verdict.value {
        fields.push(("value", json!(rounded(value))));
    }
    if let Some(entities) = &verdict.entities {
        fields.push(("entities", entities.iter().map(entity).collect()));
    }
    if let Some((tokens, limit)) = verdict.truncated {
        fields.push(("truncated", json!({ "tokens": tokens, "limit": limit })));
    }
    if let Some(explanation) = &answer.explanation {
        let weight = |Weight { text, weight }: &Weight| json!({ "text": text, "weight": rounded(*weight) });
        fields.push(("explanation", explanation.iter().map(weight).collect()));
    }
    if verdict.uncertain {
        fields.push(("uncertain", json!(true)));
    }
    fields
}

/// An answer, or why there is none, on one line with its columns aligned.
pub(crate) fn aligned(text: &str, outcome: Result<&Answer, &Error>, top_k: usize) -> String {
    match outcome {
        Err(error) => format!("error: {error}  {text}"),
        Ok(answer) => {
            let verdict = answer.verdict();
            let width = answer.info.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
            let score =
                verdict.confidence.or(verdict.value).map_or(String::new(), |score| format!("{:.4}", rounded(score)));
            let mut line = format!("{:<width$} {score}", verdict.prediction);
            for (label, score) in verdict.others.iter().take(top_k - 1) {
                line.push_str(&format!("  {label:<width$} {:.4}", rounded(*score)));
            }
            line.push_str(&format!("  {text}"));
            for (entity, slice) in verdict.entities.iter().flatten() {
                line.push_str(&format!("  [{slice}: {} {:.4}]", entity.label, rounded(entity.score)));
            }
            if let Some(labels) = verdict.labels {
                let names: Vec<&str> = labels.iter().map(|(label, _)| &**label).collect();
                line.push_str(&format!(
                    "  (applying: {})",
                    if names.is_empty() { "none".into() } else { names.join(", ") }
                ));
            }
            if let Some(explanation) = &answer.explanation {
                let shown = |Weight { text, weight }: &Weight| format!("{text} {:+.4}", rounded(*weight));
                line.push_str(&format!(
                    "  (by word: {})",
                    explanation.iter().map(shown).collect::<Vec<_>>().join(", ")
                ));
            }
            if verdict.uncertain {
                line.push_str("  (uncertain)");
            }
            if let Some((tokens, limit)) = verdict.truncated {
                line.push_str(&format!("  (read {limit} of {tokens} tokens)"));
            }
            line
        }
    }
}

fn entity((entity, slice): &(Entity, String)) -> Value {
    json!({ "text": slice, "label": &*entity.label, "start": entity.start, "end": entity.end,
            "confidence": rounded(entity.score) })
}

//! The outcome of one row, as a line of the journal and as values for the output.

use std::iter::once;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::Error;
use cache_dir::digest::hex;
use classifier::LabeledPrediction;
use engine::Answer;
use tables::Cell;

/// The outcome of one row, without the row's text.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Of the row's text, and of its second text if there is one.
    digest: String,
    /// The answer without slices of the text, or the reason why there is none.
    pub(crate) outcome: Result<LabeledPrediction, String>,
}

impl Record {
    pub(crate) fn new(digest: String, outcome: Result<Answer, Error>) -> Self {
        let outcome = outcome.map_err(|error| error.to_string()).map(|answer| {
            let mut answer = LabeledPrediction { explanation: None, doubt: None, ..answer.label().with_top_k(1) };
            answer.entities.iter_mut().flatten().for_each(|entity| entity.text.clear());
            answer
        });
        Self { digest, outcome }
    }

    /// Returns the digest of the row's text.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// Returns whether the record is of this text, or of this text and second text.
    pub(crate) fn is_of(&self, cells: &[Cell]) -> bool {
        self.digest == digest(cells)
    }

    /// Returns the values for the output by the names of their columns.
    ///
    /// They are the fields of the answer as other surfaces show them, with two exceptions: `labels`
    /// is a list of names, and `truncated` is true. Entities get their slices of the text back.
    pub(crate) fn fields(&self, text: &str) -> Map<String, Value> {
        let answer = match &self.outcome {
            Ok(answer) => answer,
            Err(error) => return Map::from_iter([("error".into(), Value::from(error.as_str()))]),
        };
        let mut answer = answer.clone();
        if let Some(entities) = &mut answer.entities {
            let starts: Vec<usize> = text.char_indices().map(|(start, _)| start).chain(once(text.len())).collect();
            let byte = |character: u32| starts.get(character as usize).copied().unwrap_or(text.len());
            for entity in entities {
                entity.text = text.get(byte(entity.start)..byte(entity.end)).unwrap_or_default().to_owned();
            }
        }
        let labels = answer.labels.take();
        let truncated = answer.truncated.take().is_some();
        let Ok(Value::Object(mut fields)) = serde_json::to_value(answer) else { return Map::new() };
        if let Some(labels) = labels {
            fields.insert("labels".into(), labels.iter().map(|label| Value::from(&*label.label)).collect());
        }
        if truncated {
            fields.insert("truncated".into(), Value::Bool(true));
        }
        fields
    }
}

/// Identifies a row's text, or its text and second text, in the journal. 96 bits of SHA-256 suffice
/// to detect accidental changes.
pub(crate) fn digest(cells: &[Cell]) -> String {
    let digest = |cell: &Cell| match cell {
        Ok(text) => Sha256::digest(text),
        Err(error) => Sha256::digest(error.to_string()),
    };
    let digest = match cells {
        [text] => digest(text),
        cells => Sha256::digest(cells.iter().map(digest).collect::<Vec<_>>().concat()),
    };
    hex(&digest[..12])
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use classifier::{EntitySpan, LabelScore, Truncation};

    /// The record of an answer to this text.
    pub(crate) fn record(text: &str, outcome: Result<LabeledPrediction, String>) -> Record {
        Record { digest: digest(&[Ok(text.into())]), outcome }
    }

    #[test]
    fn fields_are_those_of_the_answer_with_names_of_labels() {
        let answer = LabeledPrediction {
            prediction: "spam".into(),
            confidence: Some(0.700_04),
            labels: Some(vec![LabelScore { label: "spam".into(), confidence: 0.7 }]),
            truncated: Some(Truncation { tokens: 9, limit: 8 }),
            uncertain: true,
            ..LabeledPrediction::default()
        };
        let expected = json!({ "prediction": "spam", "confidence": 0.7, "uncertain": true, "labels": ["spam"],
            "truncated": true });
        assert_eq!(Value::Object(record("x", Ok(answer)).fields("x")), expected);
        assert_eq!(Value::Object(record("x", Err("blank".into())).fields("x")), json!({ "error": "blank" }));
    }

    #[test]
    fn entities_get_their_slices_of_the_text_back() {
        let span = |start, end| EntitySpan { text: String::new(), label: "X".into(), start, end, confidence: 0.5 };
        let entities = Some(vec![span(0, 3), span(5, 9), span(7, 99)]);
        let answer = LabeledPrediction { entities, ..LabeledPrediction::default() };
        let fields = record("x", Ok(answer)).fields("Zoë→ Köln");
        let slices: Vec<_> = fields["entities"].as_array().unwrap().iter().map(|entity| &entity["text"]).collect();
        assert_eq!(slices, ["Zoë", "Köln", "ln"]);
    }
}

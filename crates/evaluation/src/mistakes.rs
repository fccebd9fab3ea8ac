//! The worst predictions, for a person to inspect.

use std::sync::Arc;

use classifier::{Input, LabeledPrediction, Outcome, rounded};
use serde::Serialize;

use crate::tagging::contains;
use crate::{Gold, ScoredFile, ScoredRow};

/// Maximum number of reported mistakes.
const MAX_MISTAKES: usize = 20;

/// One wrong prediction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mistake {
    /// The row number, starting at 1; the header is not counted.
    pub row: u64,
    /// The beginning of the row's text.
    pub text: String,
    /// The correct answer.
    pub right: String,
    /// The model's answer.
    pub prediction: String,
    /// The prediction's probability; absent if the model gives none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
}

/// Returns the worst mistakes, worst first. A classifier's are sorted by confidence, a regression
/// model's by distance, all others by the number of wrong labels or entities.
pub(crate) fn worst_mistakes(file: &ScoredFile) -> Vec<Mistake> {
    let (labels, info) = (&file.labels, &file.info);
    let candidates: Vec<String> =
        if *labels == info.labels { Vec::new() } else { labels.iter().map(ToString::to_string).collect() };
    let wrong = file.rows.iter().filter_map(|row| {
        let input = Input { labels: candidates.clone(), ..Input::single(row.text.to_string()) };
        let answer = info.label(&input, &row.prediction);
        let severity = severity(labels, row, &answer);
        (severity > 0.0).then_some((severity, row, answer))
    });
    let mut wrong: Vec<(f64, &ScoredRow, LabeledPrediction)> = wrong.collect();
    wrong.sort_by(|a, b| b.0.total_cmp(&a.0));
    wrong.truncate(MAX_MISTAKES);
    let mistake = |(_, row, answer): (f64, &ScoredRow, LabeledPrediction)| Mistake {
        row: row.row,
        text: row.text.to_string(),
        right: format_gold(labels, row),
        prediction: format_answer(&answer),
        confidence: answer.confidence.filter(|_| matches!(row.gold, Gold::Label(_))).map(rounded),
    };
    wrong.into_iter().map(mistake).collect()
}

/// Returns how wrong an answer is; 0 for a correct one.
fn severity(labels: &[Arc<str>], row: &ScoredRow, answer: &LabeledPrediction) -> f64 {
    match (&row.gold, &row.prediction.outcome) {
        (Gold::Label(gold), _) if *labels[*gold] == *answer.prediction => 0.0,
        (Gold::Label(_), _) => answer.confidence.map_or(1.0, f64::from),
        (Gold::Labels(gold), _) => {
            let predicted: Vec<&str> = answer.labels.iter().flatten().map(|score| &*score.label).collect();
            let hits = gold.iter().filter(|&&label| predicted.contains(&&*labels[label])).count();
            (gold.len() + predicted.len() - 2 * hits) as f64
        }
        (Gold::Number(gold), _) => answer.value.map_or(0.0, |value| (f64::from(value) - gold).abs()),
        (Gold::Entities(gold), Outcome::Entities(predicted)) => {
            let hits = gold.iter().filter(|entity| contains(predicted, entity)).count();
            (gold.len() + predicted.len() - 2 * hits) as f64
        }
        (Gold::Entities(_), Outcome::Scores(_)) => 0.0,
    }
}

fn format_gold(labels: &[Arc<str>], row: &ScoredRow) -> String {
    match &row.gold {
        Gold::Label(label) => labels[*label].to_string(),
        Gold::Labels(applying) => join(applying.iter().map(|label| labels[*label].to_string())),
        Gold::Number(number) => number.to_string(),
        Gold::Entities(entities) => join(entities.iter().map(|(start, end, label)| {
            let length = end.saturating_sub(*start);
            let slice: String = row.text.chars().skip(*start).take(length).collect();
            format!("{slice}: {label}")
        })),
    }
}

fn format_answer(answer: &LabeledPrediction) -> String {
    if let Some(labels) = &answer.labels {
        join(labels.iter().map(|score| score.label.to_string()))
    } else if let Some(entities) = &answer.entities {
        join(entities.iter().map(|entity| format!("{}: {}", entity.text, entity.label)))
    } else if let Some(value) = answer.value {
        rounded(value).to_string()
    } else {
        answer.prediction.clone()
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "none".into() } else { parts.join(", ") }
}

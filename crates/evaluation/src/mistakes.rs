//! The worst predictions, for a person to look at.

use std::sync::Arc;

use serde::Serialize;

use super::tagging::contains;
use super::{Gold, ScoredRow};
use classifier::prediction::{Input, ModelInfo, Outcome, Verdict, rounded};

/// Mistakes that are reported.
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
///
/// `labels` as in [`measure`](super::measure); `texts` holds one text a row.
pub fn worst_mistakes(info: &ModelInfo, labels: &[Arc<str>], rows: &[ScoredRow], texts: &[Box<str>]) -> Vec<Mistake> {
    let candidates: Vec<String> =
        if labels == info.labels { Vec::new() } else { labels.iter().map(ToString::to_string).collect() };
    let mut wrong: Vec<(f64, usize, Verdict)> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let text = texts[index].to_string();
        let input = Input { text, labels: candidates.clone(), text_pair: None };
        let answer = info.verdict(&input, &row.prediction);
        let severity = severity(labels, row, &answer);
        if severity > 0.0 {
            wrong.push((severity, index, answer));
        }
    }
    wrong.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    wrong.truncate(MAX_MISTAKES);
    let mistake = |(_, index, answer): (f64, usize, Verdict)| {
        let (row, text) = (&rows[index], &texts[index]);
        Mistake {
            row: row.row,
            text: text.to_string(),
            right: format_gold(labels, &row.gold, text),
            prediction: format_answer(&answer),
            confidence: answer.confidence.filter(|_| matches!(row.gold, Gold::Label(_))).map(rounded),
        }
    };
    wrong.into_iter().map(mistake).collect()
}

/// Returns how wrong an answer is; 0 for a correct one.
fn severity(labels: &[Arc<str>], row: &ScoredRow, answer: &Verdict) -> f64 {
    match (&row.gold, &row.prediction.outcome) {
        (Gold::Label(gold), _) if *labels[*gold] == *answer.prediction => 0.0,
        (Gold::Label(_), _) => answer.confidence.map_or(1.0, f64::from),
        (Gold::Labels(gold), _) => {
            let predicted: Vec<&str> = answer.labels.iter().flatten().map(|(label, _)| &**label).collect();
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

fn format_gold(labels: &[Arc<str>], gold: &Gold, text: &str) -> String {
    match gold {
        Gold::Label(label) => labels[*label].to_string(),
        Gold::Labels(applying) => join(applying.iter().map(|label| labels[*label].to_string())),
        Gold::Number(number) => number.to_string(),
        Gold::Entities(entities) => join(entities.iter().map(|(start, end, label)| {
            let length = end.saturating_sub(*start);
            let slice: String = text.chars().skip(*start).take(length).collect();
            format!("{slice}: {label}")
        })),
    }
}

fn format_answer(answer: &Verdict) -> String {
    match answer {
        Verdict { labels: Some(labels), .. } => join(labels.iter().map(|(label, _)| label.to_string())),
        Verdict { value: Some(value), .. } => rounded(*value).to_string(),
        Verdict { entities: Some(entities), .. } => {
            join(entities.iter().map(|(entity, slice)| format!("{slice}: {}", entity.label)))
        }
        _ => answer.prediction.clone(),
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "none".into() } else { parts.join(", ") }
}

//! The answers that are most wrong, for a person to look at.

use std::sync::Arc;

use serde::Serialize;

use crate::evaluation::{Gold, Judged};
use crate::prediction::{Input, ModelInfo, Outcome, Verdict, rounded};

/// Mistakes that are shown.
const SHOWN: usize = 20;

/// One wrong answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mistake {
    /// From 1 on, the header not counted.
    pub row: u64,
    /// Its beginning.
    pub text: String,
    pub right: String,
    pub prediction: String,
    /// Of a classifier; absent where there is no probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
}

/// The worst first: of a classifier those it was surest of, of a regression those farthest off, otherwise those with most
/// wrong labels or entities.
pub fn mistakes(info: &ModelInfo, labels: &[Arc<str>], rows: &[Judged], texts: &[Box<str>]) -> Vec<Mistake> {
    let candidates: Vec<String> =
        if labels == info.labels { Vec::new() } else { labels.iter().map(ToString::to_string).collect() };
    let mut wrong: Vec<(f64, usize, Verdict)> = Vec::new();
    for (number, judged) in rows.iter().enumerate() {
        let input = Input { text: texts[number].to_string(), labels: candidates.clone(), text_pair: None };
        let verdict = info.verdict(&input, &judged.prediction);
        let weight = badness(labels, judged, &verdict);
        if weight > 0.0 {
            wrong.push((weight, number, verdict));
        }
    }
    wrong.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    wrong.truncate(SHOWN);
    let shown = |(_, number, verdict): (f64, usize, Verdict)| Mistake {
        row: rows[number].row,
        text: texts[number].to_string(),
        right: right(labels, &rows[number].gold, &texts[number]),
        prediction: answer(&verdict),
        confidence: verdict.confidence.filter(|_| matches!(rows[number].gold, Gold::Label(_))).map(rounded),
    };
    wrong.into_iter().map(shown).collect()
}

/// How wrong an answer is; 0 for a right one.
fn badness(labels: &[Arc<str>], judged: &Judged, verdict: &Verdict) -> f64 {
    match (&judged.gold, &judged.prediction.outcome) {
        (Gold::Label(gold), _) if *labels[*gold] == *verdict.prediction => 0.0,
        (Gold::Label(_), _) => verdict.confidence.map_or(1.0, f64::from),
        (Gold::Labels(gold), _) => {
            let given: Vec<&str> = verdict.labels.iter().flatten().map(|(label, _)| &**label).collect();
            let hits = gold.iter().filter(|&&number| given.contains(&&*labels[number])).count();
            (gold.len() + given.len() - 2 * hits) as f64
        }
        (Gold::Number(gold), _) => verdict.value.map_or(0.0, |value| (f64::from(value) - gold).abs()),
        (Gold::Entities(gold), Outcome::Entities(found)) => {
            let same = |(start, end, label): &(usize, usize, Arc<str>)| {
                found.iter().any(|entity| {
                    entity.label == *label && (entity.start as usize, entity.end as usize) == (*start, *end)
                })
            };
            let hits = gold.iter().filter(|entity| same(entity)).count();
            (gold.len() + found.len() - 2 * hits) as f64
        }
        (Gold::Entities(_), Outcome::Scores(_)) => 0.0,
    }
}

fn right(labels: &[Arc<str>], gold: &Gold, text: &str) -> String {
    match gold {
        Gold::Label(number) => labels[*number].to_string(),
        Gold::Labels(numbers) => listed(numbers.iter().map(|number| labels[*number].to_string())),
        Gold::Number(number) => number.to_string(),
        Gold::Entities(entities) => listed(entities.iter().map(|(start, end, label)| {
            let slice: String = text.chars().skip(*start).take(end.saturating_sub(*start)).collect();
            format!("{slice}: {label}")
        })),
    }
}

fn answer(verdict: &Verdict) -> String {
    match verdict {
        Verdict { labels: Some(labels), .. } => listed(labels.iter().map(|(label, _)| label.to_string())),
        Verdict { value: Some(value), .. } => rounded(*value).to_string(),
        Verdict { entities: Some(entities), .. } => {
            listed(entities.iter().map(|(entity, slice)| format!("{slice}: {}", entity.label)))
        }
        _ => verdict.prediction.clone(),
    }
}

fn listed(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "none".into() } else { parts.join(", ") }
}

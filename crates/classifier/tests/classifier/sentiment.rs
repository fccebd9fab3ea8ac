//! The built-in model: everyday sentences with a person's labels, and the scores of transformers.

use std::collections::HashMap;

use classifier::{Input, LabeledPrediction, LibrarySettings, Location};
use serde_json::Value;

use crate::{label, shared_cache};

/// Label, split and text of sentences that were written and labelled before any classifier read
/// them. Nothing is chosen on the split `measured`.
const EVERYDAY: &str = include_str!("../../../../tests/data/everyday.tsv");
/// Scores of the same weights in fp32, by transformers on torch
/// (models/sentiment/training/goldens.py).
const GOLDENS: &str = include_str!("../../../../tests/data/sentiment_goldens.json");
/// The calibration, which the scores of transformers do not have.
const SETTINGS: &str = include_str!("../../../../models/sentiment/local-model.toml");
/// The splits with the number of their sentences, and how many of them the model gets right.
/// models/sentiment/everyday.tsv has every answer.
const EVERYDAY_RIGHT: [(&str, usize, usize); 2] = [("development", 165, 152), ("measured", 115, 103)];
/// Answers that another processor may change: some scores of two labels are nearly equal.
const MAX_ROUNDING_CHANGES: usize = 2;
/// The shipped graph is int8, and its logits differ from fp32 by a few per cent. The tolerance is
/// half of the distance between 0.5 and 0.6.
const INT8_TOLERANCE: f64 = 0.05;

fn predict(texts: &[&str]) -> Vec<LabeledPrediction> {
    let library = LibrarySettings { path: None, cache_dir: Some(shared_cache().to_owned()) };
    let mut loaded = classifier::load("sentiment", &Location::BuiltIn, &library, 2).unwrap();
    texts.iter().map(|text| label(&mut loaded, &Input::single(*text))).collect()
}

#[test]
fn everyday_sentences_get_the_labels_of_a_person() {
    for (split, total, right) in EVERYDAY_RIGHT {
        let rows = EVERYDAY.lines().map(|line| line.splitn(3, '\t').collect::<Vec<_>>());
        let rows: Vec<_> = rows.filter(|row| row[1] == split).collect();
        let texts: Vec<&str> = rows.iter().map(|row| row[2]).collect();
        let answers = rows.iter().zip(predict(&texts));
        let wrong = answers.filter(|(row, found)| found.prediction != row[0]);
        let wrong: Vec<_> =
            wrong.map(|(row, found)| format!("{}: {}, not {}", row[2], found.prediction, row[0])).collect();
        assert_eq!(rows.len(), total);
        assert!(rows.len() - wrong.len() + MAX_ROUNDING_CHANGES >= right, "{split}: {wrong:#?}");
    }
}

/// The temperature of the shipped calibration is undone, since the reference scores have none.
#[test]
fn scores_agree_with_transformers() {
    let temperature = SETTINGS.lines().find_map(|line| line.strip_prefix("temperature = ")).unwrap();
    let temperature: f64 = temperature.parse().unwrap();
    let goldens: Vec<Value> = serde_json::from_str(GOLDENS).unwrap();
    let texts: Vec<&str> = goldens.iter().map(|golden| golden["text"].as_str().unwrap()).collect();
    for (golden, found) in goldens.iter().zip(&predict(&texts)) {
        let mut scores = HashMap::from([(&*found.prediction, f64::from(found.confidence.unwrap()))]);
        scores.extend(found.alternatives.iter().map(|other| (&*other.label, f64::from(other.confidence))));
        let sum: f64 = scores.values().map(|score| score.powf(temperature)).sum();
        scores.values_mut().for_each(|score| *score = score.powf(temperature) / sum);
        for (label, score) in golden["scores"].as_object().unwrap() {
            let difference = (scores[label.as_str()] - score.as_f64().unwrap()).abs();
            assert!(difference < INT8_TOLERANCE, "{}: {label} {scores:?}, expected {score}", golden["text"]);
        }
    }
}

//! The default model: everyday sentences with the label a person gives, and the scores that transformers gives.

use std::collections::HashMap;

use serde_json::Value;

use crate::client::{run, text};

/// Sentences and labels written by hand, none of them from the training data.
const EVERYDAY: &str = include_str!("../data/everyday.tsv");
/// Scores of the same weights in fp32 by transformers on torch (models/sentiment/training/goldens.py).
const GOLDENS: &str = include_str!("../data/sentiment_goldens.json");
/// What the scores are made with beyond the weights.
const SETTINGS: &str = include_str!("../../models/sentiment/local-model.toml");
/// How many of the fifty the model gets; the ones it misses are on its card.
const EVERYDAY_RIGHT: usize = 43;
/// Half of what separates one score in ten: the shipped graph is int8, whose logits differ from fp32 by a few percent.
const INT8_TOLERANCE: f64 = 0.05;

fn predict(texts: &[&str]) -> Vec<Value> {
    let mut arguments = vec!["predict", "--top-k", "3", "--"];
    arguments.extend(texts);
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let rows: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), texts.len());
    rows
}

#[test]
fn everyday_sentences_come_out_as_a_person_would_say() {
    let sentences: Vec<(&str, &str)> = EVERYDAY.lines().map(|line| line.split_once('\t').unwrap()).collect();
    let texts: Vec<&str> = sentences.iter().map(|(_, sentence)| *sentence).collect();
    let wrong: Vec<String> = sentences
        .iter()
        .zip(predict(&texts))
        .filter(|((label, _), found)| found["prediction"] != *label)
        .map(|((label, sentence), found)| format!("{sentence}: {}, not {label}", found["prediction"]))
        .collect();
    assert_eq!(sentences.len(), 50);
    assert!(sentences.len() - wrong.len() >= EVERYDAY_RIGHT, "{wrong:#?}");
}

/// The temperature of the shipped calibration is the only difference, and one that can be undone.
#[test]
fn scores_are_those_of_transformers() {
    let temperature = SETTINGS.lines().find_map(|line| line.strip_prefix("temperature = ")).unwrap();
    let temperature: f64 = temperature.parse().unwrap();
    let goldens: Vec<Value> = serde_json::from_str(GOLDENS).unwrap();
    let texts: Vec<&str> = goldens.iter().map(|golden| golden["text"].as_str().unwrap()).collect();
    for (golden, found) in goldens.iter().zip(predict(&texts)) {
        let mut scores: HashMap<&str, f64> = HashMap::new();
        scores.insert(found["prediction"].as_str().unwrap(), found["confidence"].as_f64().unwrap());
        for other in found["alternatives"].as_array().unwrap() {
            scores.insert(other["label"].as_str().unwrap(), other["confidence"].as_f64().unwrap());
        }
        let sum: f64 = scores.values().map(|score| score.powf(temperature)).sum();
        scores.values_mut().for_each(|score| *score = score.powf(temperature) / sum);
        for (label, score) in golden["scores"].as_object().unwrap() {
            let difference = (scores[label.as_str()] - score.as_f64().unwrap()).abs();
            assert!(difference < INT8_TOLERANCE, "{}: {label} {scores:?}, expected {score}", golden["text"]);
        }
    }
}

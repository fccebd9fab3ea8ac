//! The measures of an evaluation against those that scikit-learn and seqeval gave for the same answers
//! (tests/fixtures/measures.py).

use std::sync::Arc;

use local_model_mcp::evaluation::{Class, Expected, Gold, Judged, Measures, Reader, measure};
use local_model_mcp::prediction::{Entity, GraphReport, LoadReport, ModelInfo, Outcome, Prediction, Task};
use serde_json::Value;

const STORED: &str = include_str!("../fixtures/measures.json");
/// Sums of some hundred doubles in another order.
const TOLERANCE: f64 = 1e-9;

fn stored(name: &str) -> Value {
    let mut stored: Value = serde_json::from_str(STORED).unwrap();
    stored[name].take()
}

fn model(task: Task, labels: usize) -> ModelInfo {
    ModelInfo {
        task,
        labels: (0..labels).map(|number| format!("l{number}").into()).collect(),
        takes_candidates: false,
        candidates_are_independent: false,
        max_tokens: 8,
        precision: "fp32",
        threshold: None,
        calibration: None,
        description: None,
        graph: GraphReport::default(),
        load: LoadReport::default(),
        digest: [0; 32],
        frequent_texts: vec![],
    }
}

fn judged(gold: Gold, outcome: Outcome) -> Judged {
    Judged { row: 1, gold, prediction: Arc::new(Prediction { outcome, tokens: 1, tokens_read: 1 }) }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn scores(value: &Value) -> Outcome {
    let scores = value.as_array().map_or_else(|| vec![value.as_f64().unwrap()], |_| numbers(value));
    Outcome::Scores(scores.iter().map(|score| *score as f32).collect())
}

fn measured(case: &Value, info: &ModelInfo, gold: impl Fn(&Value) -> Gold) -> Measures {
    let rows = case["gold"].as_array().unwrap().iter().zip(case["scores"].as_array().unwrap());
    let rows: Vec<Judged> = rows.map(|(right, found)| judged(gold(right), scores(found))).collect();
    assert!(rows.len() >= 80);
    measure(info, &info.labels, &rows)
}

#[track_caller]
fn same(case: &Value, name: &str, found: f64) {
    let expected = case[name].as_f64().unwrap();
    assert!((found - expected).abs() < TOLERANCE, "{name}: {found}, expected {expected}");
}

#[track_caller]
fn same_classes(case: &Value, classes: &[Class]) {
    let expected = |name: &str| numbers(&case[name]);
    for (name, found) in [
        ("precision", classes.iter().map(|class| class.precision).collect::<Vec<_>>()),
        ("recall", classes.iter().map(|class| class.recall).collect()),
        ("f1", classes.iter().map(|class| class.f1).collect()),
        ("support", classes.iter().map(|class| class.support as f64).collect()),
    ] {
        let expected = expected(name);
        assert_eq!(found.len(), expected.len());
        let close = found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < TOLERANCE);
        assert!(close, "{name}: {found:?}, expected {expected:?}");
    }
}

#[test]
fn a_classifier_is_measured_as_scikit_learn_does() {
    for case in stored("classification").as_array().unwrap() {
        let info = model(Task::SingleLabel, case["precision"].as_array().unwrap().len());
        let measures = measured(case, &info, |gold| Gold::Label(gold.as_u64().unwrap() as usize));
        let Measures::Classification(found) = measures else { panic!("{measures:?}") };
        same(case, "accuracy", found.accuracy);
        same(case, "macro_f1", found.macro_f1);
        same(case, "weighted_f1", found.weighted_f1);
        same(case, "log_loss", found.probability.log_loss);
        same(case, "brier_score", found.probability.brier_score);
        same(case, "expected_calibration_error", found.probability.expected_calibration_error);
        same_classes(case, &found.classes);
        assert_eq!(serde_json::to_value(&found.confusion).unwrap(), case["confusion"]);
        let [low, high] = found.accuracy_interval;
        assert!(low < found.accuracy && found.accuracy < high && high - low < 0.2);
        // Three decimals are kept, and held-out rows gain by it: gold labels were drawn at temperature 2.
        let temperature = case["temperature"].as_f64().unwrap();
        let fit = found.fit.unwrap();
        assert!((fit.temperature - temperature).abs() < 6e-4, "{}, expected {temperature}", fit.temperature);
        assert!(fit.held_out.log_loss < fit.before.log_loss);
        assert!(fit.held_out.expected_calibration_error < fit.before.expected_calibration_error);
    }
}

#[test]
fn several_labels_are_measured_as_scikit_learn_does() {
    let case = stored("multi_label");
    let gold = |gold: &Value| Gold::Labels(numbers(gold).iter().map(|number| *number as usize).collect());
    let Measures::MultiLabel(found) = measured(&case, &model(Task::MultiLabel, 5), gold) else { panic!() };
    same(&case, "exact_match", found.exact_match);
    same(&case, "micro_f1", found.micro_f1);
    same(&case, "macro_f1", found.macro_f1);
    same(&case, "mean_average_precision", found.mean_average_precision);
    same_classes(&case, &found.classes);
    for (found, expected) in found.average_precision.iter().zip(numbers(&case["average_precision"])) {
        assert!((found.unwrap() - expected).abs() < TOLERANCE);
    }
}

#[test]
fn numbers_are_measured_as_scikit_learn_and_scipy_do() {
    let case = stored("regression");
    let gold = |gold: &Value| Gold::Number(gold.as_f64().unwrap());
    let Measures::Regression(found) = measured(&case, &model(Task::Regression, 1), gold) else { panic!() };
    same(&case, "mae", found.mae);
    same(&case, "rmse", found.rmse);
    same(&case, "spearman", found.spearman.unwrap());
}

/// Random tags, many of which continue nothing, read as a file's would be; predictions go through the same reader.
#[test]
fn entities_are_measured_as_seqeval_does() {
    let case = stored("tagging");
    let tags = |row: &Value| -> Vec<String> {
        row.as_array().unwrap().iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
    };
    let mut info = model(Task::Tagging, 0);
    info.labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "E-LOC", "S-ORG"].map(Arc::from).to_vec();
    let mut reader = Reader::new(Expected::Entities(info.labels.clone()));
    let mut read = |row: &Value| {
        let cell = tags(row).join(" ");
        reader.see(&cell);
        reader.close().unwrap();
        reader.read(&cell, &vec!["word"; tags(row).len()].join(" ")).unwrap()
    };
    let rows = case["gold"].as_array().unwrap().iter().zip(case["found"].as_array().unwrap());
    let rows: Vec<Judged> = rows
        .map(|(gold, found)| {
            let Gold::Entities(entities) = read(found) else { panic!() };
            let entity = |(start, end, label): &(usize, usize, Arc<str>)| Entity {
                label: Arc::clone(label),
                start: *start as u32,
                end: *end as u32,
                score: 1.0,
            };
            judged(read(gold), Outcome::Entities(entities.iter().map(entity).collect()))
        })
        .collect();
    let Measures::Tagging(found) = measure(&info, &info.labels, &rows) else { panic!() };
    assert!(found.micro_f1 > 0.3 && found.micro_f1 < 0.95);
    same(&case, "micro_precision", found.micro_precision);
    same(&case, "micro_recall", found.micro_recall);
    same(&case, "micro_f1", found.micro_f1);
    same(&case, "macro_f1", found.macro_f1);
    same(&case, "weighted_f1", found.weighted_f1);
}

/// Answers of a model that knows exactly how unsure it is.
#[test]
fn a_temperature_that_helps_nobody_stays_at_one() {
    let row = |number: usize| judged(Gold::Label(usize::from(number % 10 < 3)), Outcome::Scores([0.7, 0.3].into()));
    let rows: Vec<Judged> = (0..400).map(row).collect();
    let info = model(Task::SingleLabel, 2);
    let Measures::Classification(found) = measure(&info, &info.labels, &rows) else { panic!() };
    let fit = found.fit.unwrap();
    assert_eq!(fit.temperature, 1.0);
    assert_eq!(fit.held_out, fit.before);
    let best = fit.threshold(0.9).unwrap_err().unwrap();
    assert_eq!((best.coverage, best.accuracy), (1.0, Some(0.7)));
    assert_eq!(fit.threshold(0.6).unwrap().threshold, 0.0);
    let few = &rows[..99];
    let Measures::Classification(found) = measure(&info, &info.labels, few) else { panic!() };
    assert!(found.fit.is_none());
}

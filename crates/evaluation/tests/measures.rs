//! Metrics compared with those that scikit-learn, SciPy and seqeval computed for the same
//! predictions (tests/fixtures/measures.py).

#![allow(clippy::unwrap_used, reason = "a broken golden file fails the test")]

use std::sync::Arc;

use classifier::{Entity, ModelInfo, Outcome, Prediction, Task};
use evaluation::{Class, Classification, Gold, GoldKind, GoldScan, Measures, ScoredRow, measure};
use serde_json::Value;

const GOLDEN: &str = include_str!("../../../tests/fixtures/measures.json");
/// Tolerance for sums of a few hundred doubles in another order.
const TOLERANCE: f64 = 1e-9;

fn golden(name: &str) -> Value {
    let mut golden: Value = serde_json::from_str(GOLDEN).unwrap();
    golden[name].take()
}

fn model(task: Task, labels: usize) -> ModelInfo {
    ModelInfo::new(task, (0..labels).map(|number| format!("l{number}").into()).collect())
}

fn scored_row(gold: Gold, outcome: Outcome) -> ScoredRow {
    let prediction = Prediction { outcome, tokens: 1, tokens_read: 1, doubt: None };
    ScoredRow { row: 1, text: "".into(), gold, prediction: Arc::new(prediction) }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn scores(value: &Value) -> Outcome {
    let scores = match value {
        Value::Array(_) => numbers(value),
        number => vec![number.as_f64().unwrap()],
    };
    Outcome::Scores(scores.iter().map(|score| *score as f32).collect())
}

fn measure_case(case: &Value, info: &ModelInfo, gold: impl Fn(&Value) -> Gold) -> Measures {
    let rows = case["gold"].as_array().unwrap().iter().zip(case["scores"].as_array().unwrap());
    let rows: Vec<ScoredRow> = rows.map(|(right, found)| scored_row(gold(right), scores(found))).collect();
    assert!(rows.len() >= 80);
    measure(info, &info.labels, &rows)
}

fn measure_classifier(rows: &[ScoredRow], labels: usize) -> Classification {
    let info = model(Task::SingleLabel, labels);
    match measure(&info, &info.labels, rows) {
        Measures::Classification(measures) => *measures,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_metric(case: &Value, name: &str, found: f64) {
    let expected = case[name].as_f64().unwrap();
    assert!((found - expected).abs() < TOLERANCE, "{name}: {found}, expected {expected}");
}

#[track_caller]
fn assert_classes(case: &Value, classes: &[Class]) {
    for (name, found) in [
        ("precision", classes.iter().map(|class| class.precision).collect::<Vec<_>>()),
        ("recall", classes.iter().map(|class| class.recall).collect()),
        ("f1", classes.iter().map(|class| class.f1).collect()),
        ("support", classes.iter().map(|class| class.support as f64).collect()),
    ] {
        let expected = numbers(&case[name]);
        assert_eq!(found.len(), expected.len());
        let is_close = |(found, expected): (&f64, &f64)| (found - expected).abs() < TOLERANCE;
        let all_close = found.iter().zip(&expected).all(is_close);
        assert!(all_close, "{name}: {found:?}, expected {expected:?}");
    }
}

#[test]
fn classification_metrics_equal_scikit_learn() {
    for case in golden("classification").as_array().unwrap() {
        let info = model(Task::SingleLabel, case["precision"].as_array().unwrap().len());
        let gold = |gold: &Value| Gold::Label(gold.as_u64().unwrap() as usize);
        let Measures::Classification(found) = measure_case(case, &info, gold) else { panic!() };
        assert_metric(case, "accuracy", found.accuracy);
        assert_metric(case, "macro_f1", found.macro_f1);
        assert_metric(case, "weighted_f1", found.weighted_f1);
        assert_metric(case, "log_loss", found.probability.log_loss);
        assert_metric(case, "brier_score", found.probability.brier_score);
        let calibration_error = found.probability.expected_calibration_error;
        assert_metric(case, "expected_calibration_error", calibration_error);
        assert_classes(case, &found.classes);
        assert_eq!(serde_json::to_value(&found.confusion).unwrap(), case["confusion"]);
        let [low, high] = found.accuracy_interval;
        assert!(low < found.accuracy && found.accuracy < high && high - low < 0.2);
    }
}

/// The gold labels of the golden file were drawn at temperature 2.
#[test]
fn the_fitted_temperature_equals_scipy_and_helps_held_out_rows() {
    for case in golden("classification").as_array().unwrap() {
        let info = model(Task::SingleLabel, case["precision"].as_array().unwrap().len());
        let gold = |gold: &Value| Gold::Label(gold.as_u64().unwrap() as usize);
        let Measures::Classification(found) = measure_case(case, &info, gold) else { panic!() };
        let temperature = case["temperature"].as_f64().unwrap();
        let fit = found.fit.unwrap();
        // Temperatures have three decimals.
        let distance = (fit.temperature - temperature).abs();
        assert!(distance < 6e-4, "{}, expected {temperature}", fit.temperature);
        assert!(fit.held_out.log_loss < fit.before.log_loss);
        let error = |probability: &evaluation::Probability| probability.expected_calibration_error;
        assert!(error(&fit.held_out) < error(&fit.before));
    }
}

#[test]
fn multi_label_metrics_equal_scikit_learn() {
    let case = golden("multi_label");
    let gold = |gold: &Value| Gold::Labels(numbers(gold).iter().map(|number| *number as usize).collect());
    let measures = measure_case(&case, &model(Task::MultiLabel, 5), gold);
    let Measures::MultiLabel(found) = measures else { panic!() };
    assert_metric(&case, "exact_match", found.exact_match);
    assert_metric(&case, "micro_f1", found.micro_f1);
    assert_metric(&case, "macro_f1", found.macro_f1);
    assert_metric(&case, "mean_average_precision", found.mean_average_precision);
    assert_classes(&case, &found.classes);
    for (found, expected) in found.average_precision.iter().zip(numbers(&case["average_precision"])) {
        assert!((found.unwrap() - expected).abs() < TOLERANCE);
    }
}

#[test]
fn regression_metrics_equal_scikit_learn_and_scipy() {
    let case = golden("regression");
    let gold = |gold: &Value| Gold::Number(gold.as_f64().unwrap());
    let measures = measure_case(&case, &model(Task::Regression, 1), gold);
    let Measures::Regression(found) = measures else { panic!() };
    assert_metric(&case, "mae", found.mae);
    assert_metric(&case, "rmse", found.rmse);
    assert_metric(&case, "spearman", found.spearman.unwrap());
}

fn parse_tags(labels: &[Arc<str>], row: &Value) -> Gold {
    let tags: Vec<&str> = row.as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    let (cell, text) = (tags.join(" "), vec!["word"; tags.len()].join(" "));
    let mut scan = GoldScan::new(GoldKind::Entities(labels.to_vec()));
    scan.observe(&cell);
    scan.finish().unwrap().parse(&cell, &text).unwrap()
}

/// The tags are random, and many do not continue an entity. Gold tags and predictions are both
/// parsed as tags of a file.
#[test]
fn entity_metrics_equal_seqeval() {
    let case = golden("tagging");
    let mut info = model(Task::Tagging, 0);
    info.labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "E-LOC", "S-ORG"].map(Arc::from).to_vec();
    let row = |(gold, predicted): (&Value, &Value)| {
        let Gold::Entities(predicted) = parse_tags(&info.labels, predicted) else { panic!() };
        let entity = |(start, end, label): (usize, usize, Arc<str>)| Entity {
            label,
            start: start as u32,
            end: end as u32,
            score: 1.0,
        };
        let predicted = Outcome::Entities(predicted.into_iter().map(entity).collect());
        scored_row(parse_tags(&info.labels, gold), predicted)
    };
    let rows = case["gold"].as_array().unwrap().iter().zip(case["found"].as_array().unwrap());
    let rows: Vec<ScoredRow> = rows.map(row).collect();
    let Measures::Tagging(found) = measure(&info, &info.labels, &rows) else { panic!() };
    assert!(found.micro_f1 > 0.3 && found.micro_f1 < 0.95);
    assert_metric(&case, "micro_precision", found.micro_precision);
    assert_metric(&case, "micro_recall", found.micro_recall);
    assert_metric(&case, "micro_f1", found.micro_f1);
    assert_metric(&case, "macro_f1", found.macro_f1);
    assert_metric(&case, "weighted_f1", found.weighted_f1);
}

/// Seven of ten rows are correct at confidence 0.7.
fn calibrated_rows(count: usize) -> Vec<ScoredRow> {
    let gold = |row: usize| Gold::Label(usize::from(row % 10 < 3));
    (0..count).map(|row| scored_row(gold(row), Outcome::Scores([0.7, 0.3].into()))).collect()
}

#[test]
fn the_temperature_stays_at_one_if_held_out_rows_gain_nothing() {
    let fit = measure_classifier(&calibrated_rows(400), 2).fit.unwrap();
    assert_eq!(fit.temperature, 1.0);
    assert_eq!(fit.held_out, fit.before);
}

#[test]
fn a_target_accuracy_out_of_reach_returns_the_best_there_is() {
    let fit = measure_classifier(&calibrated_rows(400), 2).fit.unwrap();
    assert_eq!(fit.threshold(0.6).unwrap().threshold, 0.0);
    let best = fit.threshold(0.9).unwrap_err().unwrap();
    assert_eq!((best.coverage, best.accuracy), (1.0, Some(0.7)));
}

#[test]
fn fewer_than_100_rows_fit_no_temperature() {
    assert!(measure_classifier(&calibrated_rows(99), 2).fit.is_none());
}

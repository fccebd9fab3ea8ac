//! `eval` on labelled files: metrics of every task, the report, calibration, and the words that
//! moved an answer. The metrics themselves are tested in the crate `evaluation`.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{LargeListBuilder, ListBuilder, StringBuilder};
use batch::EvaluationRun;
use classifier::testing::{fixture, load_folder, with_settings};
use classifier::{Input, LabeledPrediction};
use classifier::{Location, write_calibration};
use engine::testing::settings;
use engine::{Engine, Request};
use evaluation::Evaluation;
use local_model_mcp::error::Error;
use onnx_runtime::LibrarySettings;
use parquet::basic::Compression;
use serde_json::{Value, json};
use tables::CsvOptions;

use crate::support::client::{Server, call, command, predict, run, shared_cache, text};
use crate::support::project::{Project, parquet};

fn start(model: Location) -> Arc<Engine> {
    let library = LibrarySettings { path: None, cache_dir: Some(shared_cache().to_owned()) };
    crate::support::start_forever(vec![("m".into(), classifier::loader("m".into(), model, library, 1))], settings())
}

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Evaluates a model on a file, in this process.
fn evaluate_with(place: &Project, file: &str, model: &Path, labels: &[&str]) -> Result<Evaluation, Error> {
    let run = EvaluationRun {
        path: place.path(file),
        text_column: None,
        pair_column: None,
        label_column: None,
        csv_options: CsvOptions::default(),
        labels: labels.iter().map(ToString::to_string).collect(),
        question: None,
        in_flight: 4,
    };
    let file = in_runtime(async { run.start(start(Location::Folder(model.to_owned()))).finished().await })?;
    Ok(Evaluation::new("m".into(), file, 0.7))
}

#[track_caller]
fn evaluate(place: &Project, file: &str, model: &Path) -> Evaluation {
    evaluate_with(place, file, model, &[]).unwrap()
}

/// Runs `eval` with the executable.
fn eval(place: &Project, arguments: &[&str]) -> Output {
    command(&["eval"]).args(arguments).current_dir(place.root()).output().unwrap()
}

fn predictions(model: &Path, texts: &[String]) -> Vec<LabeledPrediction> {
    let mut loaded = load_folder(model, Some(shared_cache())).unwrap();
    let mut label = |text: &String| {
        let input = Input::single(text);
        let prediction = loaded.first.predict(&input, &classifier::Cancellation::default()).unwrap();
        loaded.info.label(&input, &prediction)
    };
    texts.iter().map(&mut label).collect()
}

fn texts() -> Vec<String> {
    let words = ["food", "cold", "team", "match", "good", "never", "the service was", "won", "again", "bad"];
    let text = |number: usize| format!("{} {} {}", words[number % 10], words[number / 10 % 10], words[number * 7 % 9]);
    (0..200).map(text).collect()
}

/// Writes `labelled.csv`, in which every third label differs from the model's prediction. Returns
/// the number of correct predictions.
fn write_labelled(place: &Project, model: &Path) -> usize {
    let texts = texts();
    let mut rows = String::from("text,label\n");
    for (number, (text, answer)) in texts.iter().zip(predictions(model, &texts)).enumerate() {
        let label = if number % 3 == 0 { &*answer.alternatives[0].label } else { &*answer.prediction };
        rows += &format!("{text},{label}\n");
    }
    place.write("labelled.csv", rows);
    texts.len() - texts.len().div_ceil(3)
}

/// Writes a fitted calibration into the model's folder, as `--calibrate` does.
fn calibrate(evaluation: &Evaluation, model: &Path) {
    let calibration = evaluation.calibration("2026-01-31".into()).unwrap();
    write_calibration(model, &calibration, evaluation.threshold().map(|found| found.threshold)).unwrap();
}

#[test]
fn correct_predictions_are_counted() {
    let place = Project::new();
    let model = fixture("wordpiece-pairs");
    let correct = write_labelled(&place, &model) as f64;
    let found = evaluate(&place, "labelled.csv", &model).json();
    assert_eq!(found["measures"]["accuracy"], json!(correct / 200.0));
    assert_eq!((&found["judged"], &found["label_column"]), (&json!(200), &json!("label")));
    assert_eq!(found["measures"]["classes"].as_array().unwrap().len(), 3);
    let confidence = |mistake: usize| found["mistakes"][mistake]["confidence"].as_f64().unwrap();
    assert!(confidence(0) > confidence(19));
}

#[test]
fn unknown_labels_are_reported_before_the_model_runs() {
    let place = Project::new();
    let rows = "{\"text\":\"good\",\"label\":\"pos\"}\n{\"text\":\"bad\",\"label\":\"negative\"}\n";
    place.write("in.jsonl", rows);
    let output = eval(&place, &["in.jsonl"]);
    assert_eq!(output.status.code(), Some(2));
    let expected = "error: the file has 1 label that the model does not know: `pos`; expected `negative`, `neutral`, \
                    `positive`; rename those in the file, or the model's with `labels` in `local-model.toml`\n";
    assert_eq!(text(&output.stderr), expected);
    place.write("none.csv", "text,label\ngood,\n");
    let error = eval(&place, &["none.csv"]);
    assert!(text(&error.stderr).contains("no row has a label in column `label`"), "{error:?}");
    place.write("unclear.csv", "text,verdict\ngood,positive\n");
    assert!(text(&eval(&place, &["unclear.csv"]).stderr).contains("`--label-column`"));
}

#[test]
fn failed_rows_are_counted_and_left_out() {
    let place = Project::new();
    place.write("in.csv", "text,label\nI love it,2\n  ,0\nfine,\nI hate it,0\n");
    let output = eval(&place, &["in.csv", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let counts = ["rows", "judged", "unlabelled", "failed"].map(|name| found[name].as_u64().unwrap());
    assert_eq!(counts, [4, 2, 1, 1]);
    assert_eq!(found["measures"]["accuracy"], json!(1.0));
    assert!(found["reasons"][0].as_str().unwrap().contains("`text` is empty or blank"), "{found}");
    place.write("words.csv", "text,label\ngood,yes\n");
    assert!(!evaluate(&place, "words.csv", &fixture("regression")).text().contains("0.0000"));
}

#[test]
fn a_missing_label_is_not_a_failure() {
    let place = Project::new();
    let rows = ["{\"text\":\"a\",\"label\":null}", "{\"text\":\"b\"}", "{\"text\":\"c\",\"label\":0}"];
    place.write("in.jsonl", rows.join("\n"));
    let file = evaluate(&place, "in.jsonl", &fixture("wordpiece-pairs")).file;
    assert_eq!((file.total_rows, file.unlabelled, file.failed), (3, 2, 0));
}

#[test]
fn a_calibration_changes_confidence_but_no_label() {
    let place = Project::new();
    let model = with_settings("wordpiece-pairs", "");
    write_labelled(&place, model.path());
    let before = predictions(model.path(), &texts());
    let evaluation = evaluate(&place, "labelled.csv", model.path());
    let temperature = evaluation.measures.fit().unwrap().temperature;
    let threshold = evaluation.threshold().unwrap().threshold;
    assert!(temperature != 1.0 && threshold > 0.0, "{temperature} {threshold}");
    calibrate(&evaluation, model.path());
    for (before, after) in before.iter().zip(predictions(model.path(), &texts())) {
        assert_eq!(before.prediction, after.prediction);
        let others = before.alternatives.iter().map(|other| Some(other.confidence));
        let scores = std::iter::once(before.confidence).chain(others).flatten().map(f64::from);
        let powers: Vec<f64> = scores.map(|score| score.powf(1.0 / temperature)).collect();
        let expected = powers[0] / powers.iter().sum::<f64>();
        let confidence = f64::from(after.confidence.unwrap());
        assert!((confidence - expected).abs() < 1e-5, "{confidence}, expected {expected}");
        assert_eq!(after.uncertain, confidence < threshold);
    }
}

#[test]
fn a_calibrated_model_is_measured_as_if_it_were_not() {
    let place = Project::new();
    let model = with_settings("wordpiece-pairs", "");
    write_labelled(&place, model.path());
    let first = evaluate(&place, "labelled.csv", model.path());
    calibrate(&first, model.path());
    let again = evaluate(&place, "labelled.csv", model.path());
    let temperature = |evaluation: &Evaluation| evaluation.measures.fit().unwrap().temperature;
    assert!((temperature(&again) - temperature(&first)).abs() < 2e-3);
    let log_loss = |probability: &Value| probability["log_loss"].as_f64().unwrap();
    let raw = log_loss(&again.json()["measures"]["uncalibrated"]);
    assert!((raw - log_loss(&first.json()["measures"])).abs() < 1e-5);
    assert!(again.text().contains("calibrated on this very file"), "{}", again.text());
}

#[test]
fn eval_calibrate_writes_the_settings_that_check_and_serve_report() {
    let place = Project::new();
    let model = with_settings("wordpiece-pairs", "description = \"mine\" # stays\n");
    write_labelled(&place, model.path());
    let folder = model.path().to_str().unwrap();
    let arguments = ["labelled.csv", "--model", folder, "--calibrate", "--target-accuracy", "0.7", "--json"];
    let found: Value = serde_json::from_slice(&eval(&place, &arguments).stdout).unwrap();
    let (temperature, threshold) = (&found["measures"]["fit"]["temperature"], &found["threshold"]["threshold"]);
    let settings = fs::read_to_string(model.path().join("local-model.toml")).unwrap();
    assert!(settings.starts_with("description = \"mine\" # stays\n"), "{settings}");
    for line in [
        format!("temperature = {temperature}"),
        format!("threshold = {threshold}"),
        format!("data_sha256 = {}", found["data_sha256"]),
        "data = \"labelled.csv\"".into(),
        "rows = 200".into(),
    ] {
        assert!(settings.contains(&line), "{settings}");
    }
    let check = run(&["check", "--model", folder]);
    let expected = format!("temperature {temperature}, fitted on 200 rows of labelled.csv (");
    assert!(text(&check.stdout).contains(&expected), "{}", text(&check.stdout));
    let mut server = Server::over_pipes(command(&["serve", "--model", folder]));
    server.ask(&predict(1, "good food"));
    let status = server.ask(&call(2, "local_model_status", json!({})));
    let model = &status["result"]["structuredContent"]["models"][0];
    assert!(model["calibration"].as_str().unwrap().contains("200 rows of labelled.csv"), "{model}");
    assert_eq!(model["threshold"], *threshold);
}

#[test]
fn a_target_out_of_reach_leaves_no_earlier_threshold() {
    let place = Project::new();
    let model = with_settings("wordpiece-pairs", "threshold = 0.745\n");
    write_labelled(&place, model.path());
    // The file has two labels for one text, so no threshold makes all answers correct.
    let rows: String = (0..200).map(|row| format!("good food,{}\n", row % 3)).collect();
    place.write("labelled.csv", format!("text,label\n{rows}"));
    let folder = model.path().to_str().unwrap();
    let output = eval(&place, &["labelled.csv", "--model", folder, "--calibrate"]);
    let report = text(&output.stdout);
    assert!(report.contains("No threshold makes 95.0 % of the answers correct"), "{report}");
    assert!(report.contains("removed the earlier threshold of 0.745"), "{report}");
    let settings = fs::read_to_string(model.path().join("local-model.toml")).unwrap();
    assert!(!settings.contains("threshold") && settings.contains("temperature"), "{settings}");
}

/// Windows are averaged before the temperature is applied.
#[test]
fn windows_keep_their_label_under_a_temperature() {
    let long = ["the food was cold and the team won the match again ".repeat(40)];
    let answer = |settings: &str| {
        let model = with_settings("wordpiece-pairs", settings);
        predictions(model.path(), &long).remove(0)
    };
    let plain = answer("overflow = \"windows\"");
    let scaled = answer("overflow = \"windows\"\n[calibration]\ntemperature = 2.0");
    assert_eq!(plain.prediction, scaled.prediction);
    let best = plain.confidence.unwrap().sqrt();
    let sum: f32 = best + plain.alternatives.iter().map(|other| other.confidence.sqrt()).sum::<f32>();
    assert!((scaled.confidence.unwrap() - best / sum).abs() < 1e-5, "{plain:?} {scaled:?}");
}

#[test]
fn a_calibration_that_makes_no_sense_is_refused() {
    let place = Project::new();
    place.write("few.csv", "text,label\ngood,positive\n");
    place.write("numbers.csv", "text,label\ngood,1.5\n");
    let refusal = |file: &str, model: Option<&Path>| {
        let model = model.map(|model| ["--model", model.to_str().unwrap()]);
        let arguments = [file, "--calibrate"].into_iter().chain(model.into_iter().flatten());
        text(&eval(&place, &arguments.collect::<Vec<_>>()).stderr).to_owned()
    };
    let built_in = refusal("few.csv", None);
    assert!(built_in.contains("the built-in model cannot be calibrated"), "{built_in}");
    let few = refusal("few.csv", Some(&fixture("wordpiece-pairs")));
    assert!(few.contains("1 row has a label; expected at least 100"), "{few}");
    let regression = refusal("numbers.csv", Some(&fixture("regression")));
    assert!(regression.contains("exactly one label"), "{regression}");
}

#[test]
fn an_unusable_temperature_is_refused_with_its_value() {
    let model = with_settings("wordpiece-pairs", "[calibration]\ntemperature = 0.0");
    let error = load_folder(model.path(), None).err().unwrap().to_string();
    assert!(error.contains("`temperature` is 0, expected more than 0"), "{error}");
}

#[test]
fn a_report_overwrites_only_reports() {
    let place = Project::new();
    place.write("in.csv", "text,label\ngood,positive\nbad,negative\n");
    place.write("mine.html", "<p>mine</p>");
    let refused = eval(&place, &["in.csv", "--report", "mine.html"]);
    assert!(text(&refused.stderr).contains("is not a report of this program"), "{refused:?}");
    assert_eq!(place.read("mine.html"), "<p>mine</p>");
    for _ in 0..2 {
        assert_eq!(eval(&place, &["in.csv", "--report", "page.html"]).status.code(), Some(0));
    }
    assert!(place.read("page.html").contains("<h1>"));
}

#[test]
fn a_report_loads_nothing_and_escapes_what_it_quotes() {
    let place = Project::new();
    let model = fixture("wordpiece-pairs");
    write_labelled(&place, &model);
    let rows = place.read("labelled.csv") + "<script>alert(1)</script> good,neutral\n";
    place.write("labelled.csv", rows);
    let html = evaluate(&place, "labelled.csv", &model).html();
    assert_eq!(html.matches("<svg").count(), 5, "confusion, two reliability, confidence, coverage");
    let absent = ["could not be drawn", "<script", "@import", "src=", "https://"];
    assert!(absent.iter().all(|part| !html.contains(part)));
    assert!(!html.replace("http://www.w3.org/2000/svg", "").contains("http://"));
    // The style sheet has a light and a dark replacement for every color that is drawn.
    for color in html.split("fill=\"#").skip(1).map(|rest| &rest[..6]) {
        assert!(html.contains(&format!("[fill=\"#{color}\"]{{fill:var(")), "#{color}");
    }
}

/// Writes a Parquet file with one row: a text or its words, and a list of labels.
fn write_lists(place: &Project, name: &str, texts: (&str, ArrayRef), labels: (&str, &[&str])) {
    let mut builder = ListBuilder::new(StringBuilder::new());
    builder.append_value(labels.1.iter().map(|label| Some(*label)));
    let columns = vec![texts, (labels.0, Arc::new(builder.finish()) as ArrayRef)];
    parquet(&place.path(name), columns, Compression::UNCOMPRESSED);
}

#[test]
fn every_task_has_its_own_metrics() {
    let place = Project::new();
    let labels = "{\"text\":\"good food\",\"labels\":[\"spam\",\"toxic\"]}\n{\"text\":\"bad\",\"labels\":[]}\n";
    place.write("labels.jsonl", labels);
    place.write("numbers.csv", "text,label\ngood,0.5\nbad team,-1\ncold food,2\n");
    place.write("tags.jsonl", "{\"tokens\":[\"Maria\",\"met\",\"Vienna\"],\"ner_tags\":[1,0,5]}\n");
    let spans = "{\"text\":\"Maria met Vienna\",\"entities\":[{\"start\":0,\"end\":5,\"label\":\"PER\"}]}\n";
    place.write("spans.jsonl", spans);
    let mut words = ListBuilder::new(StringBuilder::new());
    words.append_value(["Maria", "met", "Vienna"].map(Some));
    let words: ArrayRef = Arc::new(words.finish());
    write_lists(&place, "tags.parquet", ("tokens", words), ("ner_tags", &["B-PER", "O", "B-LOC"]));
    for (file, name, metrics) in [
        ("tags.parquet", "ner-wordpiece", ["micro_f1", "weighted_f1"]),
        ("labels.jsonl", "xlm-roberta-multilabel", ["micro_f1", "exact_match"]),
        ("numbers.csv", "regression", ["rmse", "spearman"]),
        ("tags.jsonl", "ner-wordpiece", ["micro_f1", "weighted_f1"]),
        ("spans.jsonl", "ner-wordpiece", ["micro_precision", "macro_f1"]),
    ] {
        let evaluation = evaluate(&place, file, &fixture(name));
        let found = &evaluation.json()["measures"];
        assert!(metrics.iter().all(|metric| found[metric].is_number()), "{name}: {found}");
        assert!(evaluation.text().starts_with("rows "), "{}", evaluation.text());
        assert!(evaluation.html().contains("<h1>m on "));
    }
}

#[test]
fn candidate_labels_are_measured_in_place_of_the_models_own() {
    let place = Project::new();
    place.write("topics.csv", "text,label\nthe team won the match,sport\nthe food was cold,food\n");
    let evaluation = evaluate_with(&place, "topics.csv", &fixture("nli"), &["sport", "food"]).unwrap();
    assert_eq!(evaluation.json()["labels"], json!(["sport", "food"]));
}

/// polars writes `large_list<large_string>`, pyarrow and pandas write `list<string>`.
#[test]
fn lists_of_labels_are_read_as_polars_writes_them() {
    let place = Project::new();
    let texts: ArrayRef = Arc::new(arrow_array::LargeStringArray::from(vec!["good food", "bad"]));
    let mut lists = LargeListBuilder::new(arrow_array::builder::LargeStringBuilder::new());
    lists.append_value(["spam", "toxic"].map(Some));
    lists.append_value([Some("toxic")]);
    let columns = vec![("text", texts), ("labels", Arc::new(lists.finish()) as ArrayRef)];
    parquet(&place.path("labels.parquet"), columns, Compression::UNCOMPRESSED);
    let evaluation = evaluate(&place, "labels.parquet", &fixture("xlm-roberta-multilabel"));
    assert_eq!((evaluation.file.rows.len(), evaluation.file.failed), (2, 0));
}

#[test]
fn an_explanation_names_the_words_that_moved_the_answer() {
    let explain = |text: &str| Request { input: Input::single(text), explain: true, ..Request::default() };
    in_runtime(async {
        let engine = start(Location::BuiltIn);
        let answer = engine.predict(explain("the staff was rude but the food was wonderful")).await.unwrap();
        let words = answer.explanation.unwrap();
        assert_eq!(words[0].text, "wonderful");
        assert!(words[0].weight > 0.2, "{words:?}");
        assert!(words.iter().any(|word| word.text == "rude" && word.weight < 0.0), "{words:?}");
        let one = engine.predict(explain("wonderful")).await.unwrap();
        assert_eq!(one.explanation.unwrap(), []);
        let tagger = start(Location::Folder(fixture("ner-wordpiece")));
        let error = tagger.predict(explain("Vienna")).await.unwrap_err().to_string();
        assert!(error.contains("is a tagger"), "{error}");
    });
}

/// The words are left out one at a time, and each of these runs is cached like any other.
#[test]
fn the_runs_of_an_explanation_are_cached() {
    let input = Input::single("the staff was rude but the food was wonderful");
    in_runtime(async {
        let engine = start(Location::BuiltIn);
        engine.predict(Request { input, explain: true, ..Request::default() }).await.unwrap();
        let without = Input::single("the staff was rude but the food was");
        let answer = engine.predict(Request { input: without, ..Request::default() }).await.unwrap();
        assert_eq!(answer.answered_by.name(), "cache");
        assert_ne!(answer.info.label(&answer.input, &answer.prediction).prediction, "positive");
    });
}

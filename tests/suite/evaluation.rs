//! `eval` with the executable: what it says of a file, its page, what a calibration changes and what it does not; and the
//! words that moved an answer.

use std::fs::{self, File};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::client::{Server, call, command, predict, run, text};
use crate::goldens::{fixture, with_settings};
use crate::place::Place;

fn eval(place: &Place, arguments: &[&str]) -> Output {
    let mut command = command(&["eval"]);
    command.args(arguments).current_dir(place.root()).output().unwrap()
}

#[track_caller]
fn measured(place: &Place, arguments: &[&str]) -> Value {
    let output = eval(place, &[&["--json"], arguments].concat());
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Two hundred texts and what a model says of each.
fn answers(model: &Path) -> Vec<Value> {
    let words = ["food", "cold", "team", "match", "good", "never", "the service was", "won", "again", "bad"];
    let texts: Vec<String> = (0..200)
        .map(|number| format!("{} {} {}", words[number % 10], words[number / 10 % 10], words[number * 7 % 9]))
        .collect();
    let mut arguments = vec!["predict", "--json", "--top-k", "3", "--model", model.to_str().unwrap(), "--"];
    arguments.extend(texts.iter().map(String::as_str));
    let output = run(&arguments);
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A file of which every third row has another label than the model gives.
fn labelled(place: &Place, model: &Path) -> usize {
    let answers = answers(model);
    let mut rows = String::from("text,label\n");
    for (number, answer) in answers.iter().enumerate() {
        let label = if number % 3 == 0 { &answer["alternatives"][0]["label"] } else { &answer["prediction"] };
        rows += &format!("{},{}\n", answer["text"].as_str().unwrap(), label.as_str().unwrap());
    }
    place.write("labelled.csv", rows);
    answers.len() - answers.len().div_ceil(3)
}

#[test]
fn a_classifier_is_counted_right_where_it_is() {
    let place = Place::new();
    let model = fixture("wordpiece-pairs");
    let right = labelled(&place, &model) as f64;
    let found = measured(&place, &["labelled.csv", "--model", model.to_str().unwrap()]);
    assert_eq!(found["measures"]["accuracy"], json!(right / 200.0));
    assert_eq!((&found["judged"], &found["label_column"]), (&json!(200), &json!("label")));
    assert_eq!(found["measures"]["classes"].as_array().unwrap().len(), 3);
    assert!(
        found["mistakes"][0]["confidence"].as_f64().unwrap() > found["mistakes"][19]["confidence"].as_f64().unwrap()
    );
}

#[test]
fn labels_that_the_model_does_not_know_are_told_before_it_runs() {
    let place = Place::new();
    place.write("in.jsonl", "{\"text\":\"good\",\"label\":\"pos\"}\n{\"text\":\"bad\",\"label\":\"negative\"}\n");
    let output = eval(&place, &["in.jsonl"]);
    assert_eq!(output.status.code(), Some(2));
    let expected = "error: the file has 1 label that the model does not know: `pos`; expected `negative`, `neutral`, \
                    `positive`; rename those in the file, or the model's with `labels` in `local-model.toml`\n";
    assert_eq!(text(&output.stderr), expected);
    place.write("none.csv", "text,label\ngood,\n");
    assert!(text(&eval(&place, &["none.csv"]).stderr).contains("no row has a label in column `label`"));
    place.write("unclear.csv", "text,verdict\ngood,positive\n");
    assert!(text(&eval(&place, &["unclear.csv"]).stderr).contains("`--label-column`"));
}

#[test]
fn rows_that_cannot_be_judged_are_counted_and_left_out() {
    let place = Place::new();
    place.write("in.csv", "text,label\nI love it,2\n  ,0\nfine,\nI hate it,0\n");
    let output = eval(&place, &["in.csv", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let counts = [&found["rows"], &found["judged"], &found["unlabelled"], &found["failed"]];
    assert_eq!(counts, [&json!(4), &json!(2), &json!(1), &json!(1)]);
    assert_eq!(found["measures"]["accuracy"], json!(1.0));
    assert!(found["reasons"][0].as_str().unwrap().contains("`text` is empty or blank"));
}

#[test]
fn a_calibration_changes_confidence_and_no_label() {
    let place = Place::new();
    let model = with_settings("wordpiece-pairs", "description = \"mine\" # stays\n");
    labelled(&place, model.path());
    let folder = model.path().to_str().unwrap();
    let before = answers(model.path());
    let arguments = ["labelled.csv", "--model", folder, "--calibrate", "--target-accuracy", "0.7"];
    let found = measured(&place, &arguments);
    let temperature = found["measures"]["fit"]["temperature"].as_f64().unwrap();
    let threshold = found["threshold"]["threshold"].as_f64().unwrap();
    assert!(temperature != 1.0 && threshold > 0.0, "{temperature} {threshold}");
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
    let after = answers(model.path());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before["prediction"], after["prediction"]);
        let scores = |answer: &Value| -> Vec<f64> {
            let others = answer["alternatives"].as_array().unwrap().iter().map(|other| &other["confidence"]);
            std::iter::once(&answer["confidence"]).chain(others).map(|score| score.as_f64().unwrap()).collect()
        };
        let raised: Vec<f64> = scores(before).iter().map(|score| score.powf(1.0 / temperature)).collect();
        let expected = raised[0] / raised.iter().sum::<f64>();
        let confidence = after["confidence"].as_f64().unwrap();
        // Scores are shown with four decimals, which small ones lose most by.
        assert!((confidence - expected).abs() < 5e-3, "{confidence}, expected {expected}");
        assert_eq!(after["uncertain"] == json!(true), confidence < threshold);
    }
    let again = measured(&place, &["labelled.csv", "--model", folder]);
    let refit = again["measures"]["fit"]["temperature"].as_f64().unwrap();
    assert!((refit - temperature).abs() < 2e-3, "{refit}, first {temperature}");
    let log_loss = |of: &Value| of["log_loss"].as_f64().unwrap();
    let (raw, first) = (log_loss(&again["measures"]["uncalibrated"]), log_loss(&found["measures"]));
    assert!((raw - first).abs() < 1e-5, "{raw}, first {first}");
    let said = eval(&place, &["labelled.csv", "--model", folder]);
    assert!(text(&said.stdout).contains("calibrated on this very file"), "{}", text(&said.stdout));

    let check = run(&["check", "--model", folder]);
    let expected = format!("calibration     temperature {temperature}, fitted on 200 rows of labelled.csv (");
    assert!(text(&check.stdout).contains(&expected), "{}", text(&check.stdout));
    let mut server = Server::over_pipes(command(&["serve", "--model", folder]));
    server.ask(&predict(1, "good food"));
    let status = server.ask(&call(2, "local_model_status", json!({})));
    let model = &status["result"]["structuredContent"]["models"][0];
    assert!(model["calibration"].as_str().unwrap().contains("200 rows of labelled.csv"), "{model}");
    assert_eq!(model["threshold"], json!(threshold));
}

/// Windows are averaged before the temperature is applied, so that the label stays here too.
#[test]
fn windows_keep_their_label_under_a_temperature() {
    let long = "the food was cold and the team won the match again ".repeat(40);
    let answer = |settings: &str| -> Value {
        let model = with_settings("wordpiece-pairs", settings);
        let output = run(&["predict", "--json", "--top-k", "3", "--model", model.path().to_str().unwrap(), &long]);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let plain = answer("overflow = \"windows\"");
    let tempered = answer("overflow = \"windows\"\n[calibration]\ntemperature = 2.0");
    assert_eq!(plain["prediction"], tempered["prediction"]);
    let root = |score: &Value| score.as_f64().unwrap().sqrt();
    let sum: f64 = root(&plain["confidence"])
        + plain["alternatives"].as_array().unwrap().iter().map(|other| root(&other["confidence"])).sum::<f64>();
    let found = tempered["confidence"].as_f64().unwrap();
    assert!((found - root(&plain["confidence"]) / sum).abs() < 5e-3, "{plain} {tempered}");
}

#[test]
fn what_cannot_be_calibrated_is_refused_with_its_reason() {
    let place = Place::new();
    place.write("few.csv", "text,label\ngood,positive\n");
    let built_in = eval(&place, &["few.csv", "--calibrate"]);
    assert!(text(&built_in.stderr).contains("the built-in model is inside the executable"));
    let model = with_settings("wordpiece-pairs", "");
    let few = eval(&place, &["few.csv", "--calibrate", "--model", model.path().to_str().unwrap()]);
    assert!(text(&few.stderr).contains("1 rows with a right answer are too few"), "{}", text(&few.stderr));
    let regression = with_settings("regression", "");
    place.write("numbers.csv", "text,label\ngood,1.5\n");
    let refused = eval(&place, &["numbers.csv", "--calibrate", "--model", regression.path().to_str().unwrap()]);
    assert!(text(&refused.stderr).contains("exactly one label applies"), "{}", text(&refused.stderr));
    let broken = with_settings("wordpiece-pairs", "[calibration]\ntemperature = 0.0");
    let unusable = run(&["check", "--model", broken.path().to_str().unwrap()]);
    assert!(text(&unusable.stdout).contains("`temperature` is 0, expected more than 0"), "{}", text(&unusable.stdout));
}

#[test]
fn the_page_needs_nothing_else_and_replaces_only_its_like() {
    let place = Place::new();
    let model = fixture("wordpiece-pairs");
    labelled(&place, &model);
    let rows = place.read("labelled.csv") + "<script>alert(1)</script> good,neutral\n";
    place.write("labelled.csv", rows);
    place.write("mine.html", "<p>mine</p>");
    let arguments = |page| ["labelled.csv", "--model", model.to_str().unwrap(), "--report", page];
    let refused = eval(&place, &arguments("mine.html"));
    assert!(text(&refused.stderr).contains("is not a report of this program"), "{}", text(&refused.stderr));
    assert_eq!(place.read("mine.html"), "<p>mine</p>");
    for _ in 0..2 {
        assert_eq!(eval(&place, &arguments("page.html")).status.code(), Some(0));
    }
    let page = place.read("page.html");
    assert_eq!(page.matches("<svg").count(), 5, "confusion, two of reliability, confidence, coverage");
    assert!(!page.contains("could not be drawn") && !page.contains("<script") && !page.contains("@import"));
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!outside.contains("http://") && !outside.contains("https://") && !outside.contains("src="));
    // Every colour that was drawn is one that the style sheet knows in light and dark.
    for colour in page.split("fill=\"#").skip(1).map(|rest| &rest[..6]) {
        assert!(page.contains(&format!("[fill=\"#{colour}\"]{{fill:var(")), "#{colour}");
    }
}

/// A Parquet file of one row with a list in each of two columns, as tagged data is handed out.
fn lists(path: &Path, names: [&str; 2], lists: [&[&str]; 2]) {
    let column = |list: &[&str]| -> ArrayRef {
        let mut builder = ListBuilder::new(StringBuilder::new());
        builder.append_value(list.iter().map(|item| Some(*item)));
        Arc::new(builder.finish())
    };
    let batch = RecordBatch::try_from_iter(names.into_iter().zip(lists.map(column))).unwrap();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn every_other_kind_of_model_has_measures_of_its_own() {
    let place = Place::new();
    place.write(
        "labels.jsonl",
        "{\"text\":\"good food\",\"labels\":[\"spam\",\"toxic\"]}\n{\"text\":\"bad\",\"labels\":[]}\n",
    );
    place.write("numbers.csv", "text,label\ngood,0.5\nbad team,-1\ncold food,2\n");
    place.write("tags.jsonl", "{\"tokens\":[\"Maria\",\"met\",\"Vienna\"],\"ner_tags\":[1,0,5]}\n");
    place.write(
        "spans.jsonl",
        "{\"text\":\"Maria met Vienna\",\"entities\":[{\"start\":0,\"end\":5,\"label\":\"PER\"}]}\n",
    );
    lists(&place.path("tags.parquet"), ["tokens", "ner_tags"], [&["Maria", "met", "Vienna"], &["B-PER", "O", "B-LOC"]]);
    for (file, name, measures) in [
        ("tags.parquet", "ner-wordpiece", ["micro_f1", "weighted_f1"]),
        ("labels.jsonl", "xlm-roberta-multilabel", ["micro_f1", "exact_match"]),
        ("numbers.csv", "regression", ["rmse", "spearman"]),
        ("tags.jsonl", "ner-wordpiece", ["micro_f1", "weighted_f1"]),
        ("spans.jsonl", "ner-wordpiece", ["micro_precision", "macro_f1"]),
    ] {
        let model = fixture(name);
        let arguments = [file, "--model", model.to_str().unwrap(), "--report", "page.html"];
        let found = measured(&place, &arguments);
        for measure in measures {
            assert!(found["measures"][measure].is_number(), "{name}: {}", found["measures"]);
        }
        let said = eval(&place, &arguments[..3]);
        assert!(text(&said.stdout).starts_with("rows "), "{}", text(&said.stdout));
        assert!(place.read("page.html").contains("<h1>"));
    }
    let nli = fixture("nli");
    place.write("topics.csv", "text,label\nthe team won the match,sport\nthe food was cold,food\n");
    let arguments = ["topics.csv", "--labels", "sport,food", "--model", nli.to_str().unwrap()];
    assert_eq!(measured(&place, &arguments)["labels"], json!(["sport", "food"]));
}

#[test]
fn the_words_that_moved_an_answer_are_named_with_their_sign() {
    let mut server = Server::over_pipes(command(&["serve"]));
    let text = "the staff was rude but the food was wonderful";
    let answer = server.ask(&call(1, "local_model_predict", json!({ "text": text, "explain": true })));
    let found = &answer["result"]["structuredContent"];
    let words = found["explanation"].as_array().unwrap();
    assert_eq!((&found["prediction"], &words[0]["text"]), (&json!("positive"), &json!("wonderful")));
    assert!(words[0]["weight"].as_f64().unwrap() > 0.2, "{words:?}");
    let rude = words.iter().find(|word| word["text"] == "rude").unwrap();
    assert!(rude["weight"].as_f64().unwrap() < 0.0, "{words:?}");
    // The weight is the confidence that is lost.
    let without = server.ask(&predict(2, "the staff was rude but the food was"));
    let scored = &without["result"]["structuredContent"];
    assert_ne!(scored["prediction"], "positive");
    let meta = &without["result"]["_meta"]["local-model/source"];
    assert_eq!(meta, "cache", "the runs of an explanation are cached like any");
    let one = server.ask(&call(3, "local_model_predict", json!({ "text": "wonderful", "explain": true })));
    assert_eq!(one["result"]["structuredContent"]["explanation"], json!([]));
    drop(server);
    let tagger = fixture("ner-wordpiece");
    let mut server = Server::over_pipes(command(&["serve", "--model", tagger.to_str().unwrap()]));
    let refused = server.ask(&call(1, "local_model_predict", json!({ "text": "Vienna", "explain": true })));
    assert!(refused["result"]["content"][0]["text"].as_str().unwrap().contains("is a tagger"), "{refused}");
}

//! Decision models give the scores of their own packages' runtimes for ONNX.
//!
//! `tests/fixtures/README.md` describes how the fixtures were made.

use std::fs;

use classifier::testing::{fixture, with_settings};
use classifier::{Cancellation, Doubt, Error, Input, Labels, Outcome, Question, QuestionKind, Version};
use serde_json::{Map, Value};

use crate::{assert_refused, label, load, predict};

fn asked(case: &Value) -> Input {
    let labels: Option<Labels> = serde_json::from_value(case["labels"].clone()).unwrap();
    let Labels { names, descriptions } = labels.unwrap_or_default();
    let kind: QuestionKind = serde_json::from_value(case["kind"].clone()).unwrap();
    let question = Question::new(Some(case["question"].as_str().unwrap().into()), Some(kind), descriptions);
    Input { labels: names, question, ..Input::single(case["text"].as_str().unwrap()) }
}

/// A question about yes or no, or one that lacks what is `None`.
fn question(text: Option<&str>, kind: Option<QuestionKind>) -> Input {
    Input { question: Question::new(text.map(Into::into), kind, Vec::new()), ..Input::single("a film") }
}

fn goldens(name: &str) -> Vec<Value> {
    let golden = fs::read_to_string(fixture(name).join("expected.json")).unwrap();
    serde_json::from_str::<Value>(&golden).unwrap()["cases"].as_array().unwrap().clone()
}

/// Compares all cases that need these changes to the configuration.
#[track_caller]
fn compare(name: &str, config: &str, changes: &Map<String, Value>) {
    let folder = with_settings(name, "");
    if !changes.is_empty() {
        let path = folder.path().join(config);
        let mut content: Map<String, Value> = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        content.extend(changes.clone());
        fs::write(path, Value::from(content).to_string()).unwrap();
    }
    let mut loaded = load(folder.path()).unwrap();
    let cases = goldens(name).into_iter();
    for case in cases.filter(|case| case["config"].as_object().unwrap_or(&Map::new()) == changes) {
        let prediction = predict(&mut loaded, &asked(&case));
        let Outcome::Scores(scores) = &prediction.outcome else { panic!("{prediction:?}") };
        let expected: Vec<f64> = serde_json::from_value(case["expected"].clone()).unwrap();
        assert_eq!(scores.len(), expected.len(), "{case}");
        let off = scores.iter().zip(&expected).map(|(found, expected)| (f64::from(*found) - expected).abs());
        assert!(off.clone().all(|off| off <= 1e-5), "{}: {scores:?}, expected {expected:?}", case["name"]);
        let ids = case["input_ids"].as_array().unwrap();
        // Decima reads the text in a row of its own, the first.
        let read = ids[0].as_array().unwrap_or(ids).len() as u64;
        let counted = (u64::from(prediction.tokens), u64::from(prediction.tokens_read));
        assert_eq!(counted, (case["tokens"].as_u64().unwrap(), read), "{}", case["name"]);
    }
}

#[test]
fn laya_answers_as_its_package() {
    compare("laya", "rl_agent_config.json", &Map::new());
}

#[test]
fn decima_answers_as_its_package() {
    let mut changes: Vec<Map<String, Value>> =
        goldens("decima").iter().map(|case| case["config"].as_object().unwrap().clone()).collect();
    changes.dedup();
    assert!(changes.len() >= 3);
    changes.iter().for_each(|changes| compare("decima", "decima.json", changes));
}

#[test]
fn a_scale_has_a_mean_level() {
    let mut loaded = load(&fixture("laya")).unwrap();
    let case = goldens("laya").into_iter().find(|case| case["name"] == "score").unwrap();
    let answer = label(&mut loaded, &asked(&case));
    let expected: Vec<f64> = serde_json::from_value(case["expected"].clone()).unwrap();
    let level: f64 = expected.iter().zip(0..).map(|(share, level)| share * f64::from(level)).sum();
    assert!((f64::from(answer.value.unwrap()) - level).abs() < 1e-4, "{answer:?}");
    assert_eq!(answer.prediction, "angry");
}

#[test]
fn labels_that_are_cut_to_the_same_words_raise_a_doubt() {
    let long = "the light of a distant star ".repeat(20);
    for (name, is_cut) in [("laya", true), ("decima", false)] {
        let mut loaded = load(&fixture(name)).unwrap();
        let labels = vec![format!("{long} one"), format!("{long} two")];
        let answer = label(&mut loaded, &Input { labels, ..question(Some("Which?"), None) });
        assert_eq!(answer.doubt, Some(Doubt::Alike), "{name} {is_cut}");
        assert!(answer.uncertain);
    }
}

#[test]
fn settings_ask_what_a_call_leaves_out() {
    let settings = "question = \"What is it about?\"\n[labels]\nsport = \"a match\"\nmusic = \"\"\n";
    let mut loaded = load(with_settings("laya", settings).path()).unwrap();
    assert_eq!(loaded.info.labels, ["sport", "music"].map(Into::into));
    let short = predict(&mut loaded, &Input::single("a film"));
    let descriptions = vec!["a match".into(), String::new()];
    let question = Question::new(Some("What is it about?".into()), Some(QuestionKind::Choice), descriptions);
    let labels = vec!["sport".into(), "music".into()];
    let long = predict(&mut loaded, &Input { labels, question, ..Input::single("a film") });
    assert_eq!(short, long);
}

#[test]
fn a_calibration_is_for_the_question_of_the_settings() {
    let scores = |settings: &str, input: &Input| {
        let settings = format!("question = \"Is it good?\"\nlabels = [\"yes\", \"no\"]\n{settings}");
        let mut loaded = load(with_settings("decima", &settings).path()).unwrap();
        match predict(&mut loaded, input).outcome {
            Outcome::Scores(scores) => scores[0],
            Outcome::Entities(_) => unreachable!("no decision model is a tagger"),
        }
    };
    let calibrated = "[calibration]\ntemperature = 2.0";
    let (input, other) = (Input::single("a film"), question(Some("Is it bad?"), None));
    let root = |score: f32| score.sqrt() / (score.sqrt() + (1.0 - score).sqrt());
    assert!((scores(calibrated, &input) - root(scores("", &input))).abs() < 1e-5);
    assert_eq!(scores(calibrated, &other), scores("", &other));
}

#[test]
fn a_call_without_a_question_says_what_is_missing() {
    let mut loaded = load(&fixture("laya")).unwrap();
    let mut refused = |input: &Input| match loaded.first.predict(input, &Cancellation::default()) {
        Err(Error::QuestionUnfit { message, .. }) => message,
        other => panic!("{other:?}"),
    };
    let labels = |labels: &[&str], input: Input| Input {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        ..input
    };
    assert!(refused(&Input::single("a")).starts_with("it needs a `question`, for example"));
    assert!(refused(&question(Some(" "), None)).starts_with("it needs a `question`"));
    assert!(refused(&question(Some("?"), None)).starts_with("it needs `labels` for the kind `choice`"));
    let yes_no = question(Some("?"), Some(QuestionKind::YesNo));
    assert!(refused(&labels(&["a", "b", "c"], yes_no)).contains("takes two, that for yes first"));
    assert!(refused(&labels(&["a", "a"], question(Some("?"), None))).contains("`a` twice"));
    assert!(refused(&question(Some(&"x".repeat(4097)), Some(QuestionKind::YesNo))).contains("4097 bytes"));
    let many: Vec<String> = (0..64).map(|number| format!("label {number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(refused(&labels(&many, question(Some("?"), None))).contains("64 labels do not fit its 96 tokens"));
}

#[test]
fn other_models_refuse_questions() {
    for name in ["nli", "distilbert", "text-tfidf"] {
        let mut loaded = load(&fixture(name)).unwrap();
        let input = question(Some("?"), Some(QuestionKind::YesNo));
        let error = loaded.first.predict(&input, &Cancellation::default()).unwrap_err().to_string();
        let expected = "`question` and `kind` are only for decision models, and model `fixture` is none; leave it out";
        assert_eq!(error, expected);
    }
    assert_refused(with_settings("nli", "question = \"?\"").path(), "`question` is for decision models");
    assert_refused(with_settings("nli", "[labels]\na = \"b\"").path(), "`labels` is for decision models");
}

#[test]
fn configurations_that_do_not_fit_are_refused() {
    let changed = |name: &str, file: &str, from: &str, to: &str| {
        let folder = with_settings(name, "");
        let path = folder.path().join(file);
        let content = fs::read_to_string(&path).unwrap();
        assert!(content.contains(from), "{from}");
        fs::write(path, content.replace(from, to)).unwrap();
        folder
    };
    let laya = |from, to| changed("laya", "rl_agent_config.json", from, to);
    assert_refused(laya("\"max_len\": 96", "\"max_len\": 1e12").path(), "`max_len` is 1000000000000");
    assert_refused(laya("\"encoder\"", "\"option_layout\": \"parallel\", \"encoder\"").path(), "`option_layout`");
    let decima = |from, to| changed("decima", "decima.json", from, to);
    assert_refused(decima("\"temperature\": 1.3", "\"temperature\": -1").path(), "`temperature` is -1");
    assert_refused(decima("\"ord_gap_w\": [", "\"ord_gap_w\": [1,").path(), "differ in length");
    assert_refused(with_settings("laya", "overflow = \"windows\"").path(), "decision models know no other");
    assert_refused(with_settings("laya", "activation = \"none\"").path(), "`activation` is set, which this decision");
    assert_refused(with_settings("decima", "graph = \"encoder.onnx\"").path(), "`graph` is set");
    assert_refused(with_settings("laya", "kind = \"yes_no\"\nlabels = [\"a\"]").path(), "takes two");
    let folder = with_settings("decima", "");
    fs::remove_file(folder.path().join("scorer.onnx")).unwrap();
    assert_refused(folder.path(), "no `scorer.onnx`");
}

#[test]
fn a_folder_without_a_graph_is_told_its_exporter() {
    let without = |name: &str, graph: &str| {
        let folder = with_settings(name, "");
        fs::remove_file(folder.path().join(graph)).unwrap();
        folder
    };
    assert_refused(without("decima", "encoder.onnx").path(), "no `encoder.onnx`");
    let laya = without("laya", "laya.onnx");
    assert_refused(laya.path(), "no `laya.onnx`; it is a checkpoint of Laya; write one graph into it with `python");
    fs::write(laya.path().join("encoder.onnx"), "").unwrap();
    fs::write(laya.path().join("head.onnx"), "").unwrap();
    assert_refused(laya.path(), "its graph is split in two, as for laya-ts");
}

#[cfg(unix)]
#[test]
fn a_tokenizer_outside_the_folder_is_refused() {
    let folder = with_settings("laya", "");
    let tokenizer = folder.path().join("tokenizer");
    fs::remove_dir_all(&tokenizer).unwrap();
    std::os::unix::fs::symlink(fixture("laya").join("tokenizer"), &tokenizer).unwrap();
    assert_refused(folder.path(), "which lies outside it");
}

#[test]
fn every_file_that_is_read_counts_as_a_change() {
    for (name, file) in [
        ("laya", "rl_agent_config.json"),
        ("laya", "tokenizer/tokenizer.json"),
        ("laya", "laya.onnx.data"),
        ("decima", "decima.json"),
        ("decima", "scorer.onnx"),
    ] {
        let folder = with_settings(name, "");
        let before = Version::of_model(folder.path());
        let mut changed = fs::read(folder.path().join(file)).unwrap();
        changed.push(b'\n');
        fs::write(folder.path().join(file), changed).unwrap();
        assert_ne!(Version::of_model(folder.path()), before, "{file}");
    }
}

#[test]
fn the_shorter_configuration_of_other_exporters_is_read() {
    let folder = with_settings("laya", "");
    fs::rename(folder.path().join("rl_agent_config.json"), folder.path().join("laya_config.json")).unwrap();
    assert!(load(folder.path()).is_ok());
}

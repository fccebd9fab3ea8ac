//! Decision models on every surface: tools, files, evaluation and commands.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;

use classifier::testing::{fixture, with_settings};
use classifier::{LibrarySettings, Location};
use engine::testing::settings;
use serde_json::{Value, json};

use crate::protocol::{Session, error_text};
use crate::support::client::{call, command, shared_cache, text};
use crate::support::project::Project;

fn session(place: &Project) -> Session {
    let library = LibrarySettings { path: None, cache_dir: Some(shared_cache().to_owned()) };
    let loader = classifier::loader("laya".into(), Location::Folder(fixture("laya")), library, 1);
    let engine = crate::support::start_forever(vec![("laya".into(), loader)], settings());
    Session::over(engine, place.root().to_owned(), 2, &Arc::default())
}

fn golden(name: &str) -> Value {
    let golden: Value =
        serde_json::from_str(&fs::read_to_string(fixture("laya").join("expected.json")).unwrap()).unwrap();
    golden["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap().clone()
}

async fn ask(session: &mut Session, tool: &str, arguments: Value) -> Value {
    session.ask(&call(1, tool, arguments)).await["result"].take()
}

#[tokio::test]
async fn a_question_and_described_labels_reach_the_model() {
    let place = Project::new();
    let mut session = session(&place);
    let case = golden("choice-described");
    let arguments = json!({ "text": case["text"], "question": case["question"], "labels": case["labels"], "top_k": 3 });
    let answer = ask(&mut session, "local_model_predict", arguments.clone()).await;
    let found = &answer["structuredContent"];
    assert_eq!((&found["prediction"], &found["alternatives"][1]["label"]), (&json!("billing"), &json!("other")));
    let off = found["confidence"].as_f64().unwrap() - case["expected"][0].as_f64().unwrap();
    assert!(off.abs() < 1e-4, "{answer}");
    let source = |answer: &Value| answer["_meta"]["local-model/source"].clone();
    assert_eq!(source(&ask(&mut session, "local_model_predict", arguments.clone()).await), "cache");
    let mut other = arguments;
    other["question"] = json!("Which team wrote it?");
    assert_eq!(source(&ask(&mut session, "local_model_predict", other).await), "model");

    let statement = json!({ "text": "a film", "question": "The customer is happy.", "kind": "yes_no" });
    let answer = ask(&mut session, "local_model_predict", statement).await;
    assert!(["yes", "no"].contains(&answer["structuredContent"]["prediction"].as_str().unwrap()), "{answer}");
    let long = json!({ "texts": [golden("cut")["text"]], "question": "?", "kind": "score", "labels": ["low", "high"] });
    let answer = ask(&mut session, "local_model_predict_batch", long).await;
    let found = &answer["structuredContent"]["results"][0];
    assert_eq!(found["truncated"]["limit"], 96, "{answer}");
    assert!((0.0..=1.0).contains(&found["value"].as_f64().unwrap()), "{answer}");

    let status = ask(&mut session, "local_model_status", json!({})).await;
    let model = &status["structuredContent"]["models"][0];
    assert_eq!((&model["task"], &model["takes_question"]), (&json!("decision model (Laya)"), &json!(true)));
}

#[tokio::test]
async fn what_is_missing_or_wrong_is_explained() {
    let place = Project::new();
    place.write("in.txt", "one\ntwo\n");
    let mut session = session(&place);
    for (tool, arguments, expected) in [
        ("local_model_predict", json!({ "text": "a" }), "it needs a `question`, for example"),
        ("local_model_predict", json!({ "text": "a", "question": "?" }), "it needs `labels` for the kind `choice`"),
        ("local_model_predict", json!({ "text": "a", "question": "?", "kind": "maybe" }), "`choice` or `score` or"),
        ("local_model_predict", json!({ "text": "a", "question": "?", "labels": 3 }), "`labels`"),
        ("local_model_predict", json!({ "text": "a", "labels": { "b": 3 } }), "invalid type: integer `3`"),
        ("local_model_predict_batch", json!({ "texts": ["a", "b"] }), "it needs a `question`"),
        ("local_model_predict_file", json!({ "path": "in.txt" }), "it needs a `question`"),
    ] {
        let error = error_text(&ask(&mut session, tool, arguments.clone()).await).to_owned();
        assert!(error.contains(expected), "{arguments}: {error}");
    }
}

#[tokio::test]
async fn a_file_is_asked_one_question() {
    let place = Project::new();
    let case = golden("choice");
    place.write(
        "in.csv",
        format!(
            "id,text\n1,{}\n2,{}\n",
            case["text"].as_str().unwrap(),
            golden("cut")["text"].as_str().unwrap().replace(',', "")
        ),
    );
    let arguments = json!({ "path": "in.csv", "question": case["question"], "labels": case["labels"] });
    let summary = ask(&mut session(&place), "local_model_predict_file", arguments).await;
    let summary = &summary["structuredContent"];
    assert_eq!((&summary["rows"], &summary["truncated"]["rows"]), (&json!(2), &json!([2])), "{summary}");
    let output = place.read("in.predicted.csv");
    assert!(output.lines().nth(1).unwrap().contains("sport,0.303"), "{output}");
}

#[test]
fn commands_take_questions() {
    let folder = fixture("laya");
    let model = ["--model", folder.to_str().unwrap()];
    let mut running = command(&["predict", "--question", "The customer is happy.", "--kind", "yes_no", "--json"])
        .args(model)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let case = golden("yes-no");
    writeln!(running.stdin.take().unwrap(), "{}", case["text"].as_str().unwrap()).unwrap();
    let output = running.wait_with_output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["prediction"], "no", "{answer}");
    assert!((answer["confidence"].as_f64().unwrap() - case["expected"][1].as_f64().unwrap()).abs() < 1e-4, "{answer}");

    let check = command(&["check"]).args(model).output().unwrap();
    let report = text(&check.stdout);
    assert!(report.contains("task            decision model (Laya)\n"), "{report}");
    assert!(report.contains("reads           96 tokens, with up to 48 for question and labels\n"), "{report}");
    assert!(report.contains("choice:11+ 0.5"), "{report}");
    assert!(report.contains("warning         the temperature `choice:11+` is 0.1006"), "{report}");

    let place = Project::new();
    place.write("labelled.csv", "text,label\nthe film was good,sport\nthe food was cold,music\n");
    let arguments =
        ["eval", "labelled.csv", "--question", "What is it about?", "--label", "sport=a match", "--label", "music"];
    let eval = |more: &str| command(&arguments).args(model).arg(more).current_dir(place.root()).output().unwrap();
    let found: Value = serde_json::from_slice(&eval("--json").stdout).unwrap();
    assert_eq!((&found["judged"], &found["labels"]), (&json!(2), &json!(["sport", "music"])), "{found}");
    let refused = eval("--calibrate");
    assert!(text(&refused.stderr).contains("`--calibrate` was given with `--label`"), "{}", text(&refused.stderr));
}

#[test]
fn a_question_in_the_settings_is_evaluated_and_calibrated() {
    let place = Project::new();
    let model =
        with_settings("laya", "question = \"What is it about?\"\n[labels]\nsport = \"a match\"\nmusic = \"\"\n");
    let rows: String = (0..120)
        .map(|row| format!("the film {row} was good,{}\n", if row % 3 == 0 { "sport" } else { "music" }))
        .collect();
    place.write("labelled.csv", format!("text,label\n{rows}"));
    let output = command(&["eval", "labelled.csv", "--calibrate", "--model"])
        .arg(model.path())
        .current_dir(place.root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let written = fs::read_to_string(model.path().join("local-model.toml")).unwrap();
    assert!(written.contains("[calibration]\ntemperature = ") && written.contains("sport = \"a match\""), "{written}");
}

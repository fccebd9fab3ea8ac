//! `local_model_teach` and `local_model_audit` through the protocol, over the scripted encoder.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use engine::testing::settings;
use serde_json::{Map, Value, json};
use teaching::testing::ScriptedEncoder;
use teaching::{TaughtDir, Teacher};

use crate::protocol::{Session, error_text};
use crate::support::client::{call, modern_meta, predict, request};
use crate::support::project::Project;

/// A teacher for the models of a project, next to the scripted model.
pub(crate) fn teacher(project: &Path, encoder: &Arc<ScriptedEncoder>) -> Arc<Teacher> {
    let store = TaughtDir::in_project(project.to_owned());
    Arc::new(Teacher::new(store, Arc::clone(encoder) as _, vec!["fake".into()]))
}

/// The text and the right label of a row: billing or crash, by its words.
fn row(number: u64) -> (String, &'static str) {
    let words = ["refund", "crash", "invoice", "freeze", "charge", "restart", "price", "error"];
    let label = if number.is_multiple_of(2) { "billing" } else { "crash" };
    let index = number as usize % 8;
    (format!("{} and {} in case {number}", words[index], words[(index + 2) % 8]), label)
}

fn project(rows: u64) -> Project {
    let place = Project::new();
    let mut content = String::from("id,text\n");
    (1..=rows).for_each(|number| writeln!(content, "{number},{}", row(number).0).unwrap());
    place.write("tickets.csv", content);
    place
}

fn session(place: &Project) -> Session {
    Session::with(&place.script, settings(), place.root().to_owned())
}

/// Calls a tool and returns its structured result; notifications are skipped.
async fn ask(session: &mut Session, tool: &str, arguments: Value) -> Value {
    session.send(&call(7, tool, arguments)).await;
    let mut result = session.receive_answer(7).await["result"].take();
    assert_ne!(result["isError"], true, "{result}");
    result["structuredContent"].take()
}

/// The right labels of the rows that a result asks for.
fn labels(result: &Value) -> Value {
    let rows = result["label_next"].as_array().unwrap().iter();
    let label = |asked: &Value| {
        let number = asked["row"].as_u64().unwrap();
        assert_eq!(asked["text"], row(number).0);
        (number.to_string(), Value::from(row(number).1))
    };
    Value::Object(rows.map(label).collect::<Map<_, _>>())
}

/// Teaches until the server says that labels move nothing.
async fn taught(session: &mut Session) -> Value {
    let mut round = ask(session, "local_model_teach", json!({ "name": "mine", "path": "tickets.csv" })).await;
    for _ in 0..20 {
        if round["next"].as_str().unwrap().starts_with("the last 30 labels changed less than 5 %") {
            return round;
        }
        let arguments = json!({ "name": "mine", "labels": labels(&round) });
        round = ask(session, "local_model_teach", arguments).await;
    }
    panic!("{round}");
}

async fn audited(session: &mut Session) -> Value {
    let mut answer = ask(session, "local_model_audit", json!({ "name": "mine" })).await;
    while answer["left"].is_number() {
        let arguments = json!({ "name": "mine", "labels": labels(&answer) });
        answer = ask(session, "local_model_audit", arguments).await;
    }
    answer
}

#[tokio::test]
async fn a_model_is_taught_audited_and_used_on_the_file_in_one_session() {
    let place = project(300);
    let mut session = session(&place);
    let round = taught(&mut session).await;
    assert_eq!((&round["rows"], &round["audit_rows"]), (&json!(300), &json!(75)));
    let predicted = ask(&mut session, "local_model_predict", json!({ "text": row(4).0, "model": "mine" })).await;
    assert_eq!(predicted["prediction"], "billing");

    let audit = audited(&mut session).await;
    let agreement = audit["agreement"].as_str().unwrap();
    assert!(agreement.starts_with("75 rows were drawn at random before teaching; on "), "{audit}");
    assert!(audit["promise"].as_str().unwrap().starts_with("If you decide the rows marked uncertain (about "));
    assert!(audit["conditions"].as_str().unwrap().starts_with("Agreement is with your labels, not with the truth."));

    let arguments = json!({ "path": "tickets.csv", "model": "mine" });
    let summary = ask(&mut session, "local_model_predict_file", arguments).await;
    let count = summary["uncertain"]["count"].as_u64().unwrap_or(0);
    let promise = summary["promise"].as_str().unwrap();
    assert!(
        promise.starts_with(&format!("If you decide the {count} rows marked uncertain, at most 10 %")),
        "{promise}"
    );

    let status = ask(&mut session, "local_model_status", json!({})).await;
    let mine = status["models"].as_array().unwrap().iter().find(|model| model["name"] == "mine").unwrap();
    assert_eq!(mine["description"], format!("{agreement} {}", audit["promise"].as_str().unwrap()));

    // The corrections of a review teach, and void what was stated.
    let review =
        json!({ "path": "tickets.csv", "model": "mine", "only": "uncertain", "corrections": { "1": "crash" } });
    ask(&mut session, "local_model_predict_file", review).await;
    let again =
        ask(&mut session, "local_model_teach", json!({ "name": "mine", "path": "tickets.predicted.csv" })).await;
    let labels = again["examples"].as_object().unwrap().values().filter_map(Value::as_u64).sum::<u64>();
    let before = round["examples"].as_object().unwrap().values().filter_map(Value::as_u64).sum::<u64>();
    if labels > before {
        assert!(again["next"].as_str().unwrap().ends_with("it states it again for the new model."), "{again}");
    }
}

#[tokio::test]
async fn the_promise_of_an_audit_is_not_repeated_for_another_file() {
    let place = project(300);
    place.write("may.csv", "text\nrefund and invoice\ncrash and freeze\n");
    let mut session = session(&place);
    taught(&mut session).await;
    audited(&mut session).await;
    let summary = ask(&mut session, "local_model_predict_file", json!({ "path": "may.csv", "model": "mine" })).await;
    assert_eq!(summary["promise"], "The audit of this model was about tickets.csv; it promises nothing for this file.");
}

#[tokio::test]
async fn the_client_is_told_of_a_new_model_once_and_later_sessions_find_it() {
    let place = project(200);
    let mut one = session(&place);
    let start = ask(&mut one, "local_model_teach", json!({ "name": "mine", "path": "tickets.csv" })).await;
    let list = request(2, "tools/list", json!({}));
    let names = |list: &Value| list["result"]["tools"][1]["inputSchema"]["properties"]["model"]["enum"].clone();
    assert_eq!(names(&one.ask(&list).await), json!(["fake"]));
    let mut two = session(&place);
    assert_eq!(names(&two.ask(&list).await), json!(["fake"]));
    for _ in 0..2 {
        one.send(&call(3, "local_model_teach", json!({ "name": "mine", "labels": labels(&start) }))).await;
        let first = one.receive().await;
        if first["id"] == 3 {
            continue;
        }
        assert_eq!(first["method"], "notifications/tools/list_changed");
        assert_eq!(one.receive().await["id"], 3);
    }
    assert_eq!(names(&one.ask(&list).await), json!(["fake", "mine"]));
    // The other session began before the model existed.
    let predicted = ask(&mut two, "local_model_predict", json!({ "text": row(5).0, "model": "mine" })).await;
    assert_eq!(predicted["prediction"], "crash");
}

#[tokio::test]
async fn results_hold_at_most_twenty_texts_of_three_hundred_characters() {
    let place = Project::new();
    let mut content = String::from("text\n");
    for number in 0..400_u64 {
        writeln!(content, "{} {}", row(number).0, "word ".repeat(200)).unwrap();
    }
    place.write("tickets.csv", content);
    let mut session = session(&place);
    let mut result = ask(&mut session, "local_model_teach", json!({ "name": "mine", "path": "tickets.csv" })).await;
    for _ in 0..4 {
        let texts: Vec<&str> = ["label_next", "read_again"]
            .into_iter()
            .flat_map(|field| result[field].as_array().into_iter().flatten())
            .filter_map(|shown| shown["text"].as_str())
            .collect();
        assert!(texts.len() <= 20 && texts.iter().all(|text| text.chars().count() <= 301));
        assert!(result.to_string().chars().count() < 20 * 301 + 2000);
        let labels = result["label_next"].as_array().unwrap().iter().map(|shown| {
            let number = shown["row"].as_u64().unwrap();
            (number.to_string(), Value::from(row(number - 1).1))
        });
        let arguments = json!({ "name": "mine", "labels": Value::Object(labels.collect()) });
        result = ask(&mut session, "local_model_teach", arguments).await;
    }
}

#[tokio::test]
async fn groups_and_meanings_come_before_labels() {
    let place = project(300);
    let mut session = session(&place);
    let arguments = json!({ "name": "mine", "path": "tickets.csv", "explore": true });
    let groups = ask(&mut session, "local_model_teach", arguments).await;
    assert!(groups["groups"].as_array().unwrap().len() > 1 && groups["label_next"].is_null());
    assert_eq!(groups["groups"][0]["central"].as_array().unwrap().len(), 3);
    let meanings = json!({ "billing": "money", "crash": "the program stops" });
    let round = ask(&mut session, "local_model_teach", json!({ "name": "mine", "meanings": meanings })).await;
    assert_eq!(round["meanings"], meanings);
    assert_eq!(round["few_examples"], json!(["billing", "crash"]));
}

#[tokio::test]
async fn mistakes_are_results_that_say_what_to_do() {
    let place = project(100);
    let mut session = session(&place);
    ask(&mut session, "local_model_teach", json!({ "name": "mine", "path": "tickets.csv" })).await;
    for (tool, arguments, expected) in [
        ("local_model_teach", json!({ "name": "mine", "labels": { "999": "a" } }), "row 999 does not exist"),
        ("local_model_teach", json!({ "name": "mine", "labels": { "x": "a" } }), "`x` is not a row number"),
        ("local_model_teach", json!({ "name": "none" }), "start it with a file or examples (`path`, `examples`)"),
        ("local_model_teach", json!({ "name": "fake", "path": "tickets.csv" }), "`fake` is the name of another loaded"),
        ("local_model_teach", json!({ "name": "b", "path": "../x.csv" }), "contains `..`"),
        (
            "local_model_teach",
            json!({ "name": "b", "label_column": "x" }),
            "need `path`; expected `name`, and optionally",
        ),
        ("local_model_audit", json!({ "name": "mine" }), "all examples of `mine` have the same label"),
        ("local_model_audit", json!({ "name": "mine", "max_wrong": 2 }), "expected 0.01 to 0.5 (`max_wrong`)"),
        ("local_model_predict", json!({ "text": "a", "model": "mine" }), "no model is called `mine`"),
    ] {
        let answer = session.ask(&call(1, tool, arguments.clone())).await;
        assert!(error_text(&answer["result"]).contains(expected), "{arguments}: {answer}");
    }
}

#[tokio::test]
async fn a_cancelled_start_leaves_nothing() {
    let place = project(300);
    let encoder = Arc::new(ScriptedEncoder::default());
    encoder.holds.store(true, Ordering::SeqCst);
    let mut session = Session::with_encoder(&place.script, settings(), place.root().to_owned(), &encoder);
    let mut start = call(1, "local_model_teach", json!({ "name": "mine", "path": "tickets.csv" }));
    start["params"]["_meta"]["progressToken"] = json!("p");
    session.send(&start).await;
    while session.receive().await["params"]["message"] != "encoding, 0 of 225 rows" {}
    // Other calls are answered meanwhile.
    session.send(&predict(2, "hello")).await;
    assert_eq!(session.receive_answer(2).await["result"]["structuredContent"]["prediction"], "short");
    let cancel = json!({ "requestId": 1, "_meta": modern_meta() });
    session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel })).await;
    while place.root().join(".local-model").exists() {
        tokio::task::yield_now().await;
    }
    encoder.holds.store(false, Ordering::SeqCst);
    ask(&mut session, "local_model_teach", json!({ "name": "mine", "path": "tickets.csv" })).await;
}

/// Labels depend on two words together, which only a tuned encoder can tell.
#[tokio::test]
async fn a_taught_model_is_fine_tuned_in_the_background_and_served() {
    let (colours, shapes) = (["red", "blue"], ["circle", "square"]);
    let row = |number: usize| {
        let (colour, shape) = (number % 2, number / 2 % 2);
        let label = if colour == shape { "same" } else { "other" };
        (format!("{} {} number{number}", colours[colour], shapes[shape]), label)
    };
    let place = Project::new();
    place.write("shapes.csv", (1..=200).fold("text\n".to_owned(), |content, number| content + &row(number).0 + "\n"));
    let encoder = ScriptedEncoder { telling: [colours, shapes].concat(), ..ScriptedEncoder::default() };
    let mut session = Session::with_encoder(&place.script, settings(), place.root().to_owned(), &Arc::new(encoder));
    let mut round = ask(&mut session, "local_model_teach", json!({ "name": "mine", "path": "shapes.csv" })).await;
    for _ in 0..2 {
        let rows = round["label_next"].as_array().unwrap().iter();
        let label = |asked: &Value| (asked["row"].to_string(), row(asked["row"].as_u64().unwrap() as usize).1.into());
        let labels: Map<String, Value> = rows.map(label).collect();
        round = ask(&mut session, "local_model_teach", json!({ "name": "mine", "labels": labels })).await;
    }
    let learned = round["learned"].as_str().unwrap();
    assert!(!learned.starts_with("fine-tuned"), "a head on the shared encoder serves at once: {learned}");
    while !round["learned"].as_str().unwrap().starts_with("fine-tuned encoder: ") {
        round = ask(&mut session, "local_model_teach", json!({ "name": "mine" })).await;
    }
    for number in 1..=8 {
        let (text, label) = row(number);
        let answer = ask(&mut session, "local_model_predict", json!({ "text": text, "model": "mine" })).await;
        assert_eq!(answer["prediction"], label, "{text}");
    }
    let status = ask(&mut session, "local_model_status", json!({})).await;
    let description = status["models"][1]["description"].as_str().unwrap();
    assert!(description.contains("and a fine-tuned encoder"), "{description}");
}

//! `local_model_predict_file` and `local_model_predict_batch` through the protocol, over the
//! scripted fake.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::protocol::{MAX_FILE_BYTES, Session, error_text};
use crate::support::client::{call, modern_meta};
use crate::support::project::Project;
use engine::testing::{LABELS, Script, settings};

/// No tokenizer gives a token less than three characters of such JSON on average, so this is an
/// upper bound.
const CHARACTERS_A_TOKEN: usize = 3;

fn session(place: &Project) -> Session {
    Session::with(&place.script, settings(), place.root().to_owned())
}

async fn ask(session: &mut Session, arguments: Value) -> Value {
    session.ask(&call(1, "local_model_predict_file", arguments)).await["result"].take()
}

#[tokio::test]
async fn the_model_labels_the_bulk_and_the_assistant_reviews_the_rest() {
    let place = Project::with(Script { threshold: Some(0.6), ..Script::default() });
    place.write("in.csv", "id,text\n1,hello\n2,one two three\n3,fail\n4,four five six\n");
    let mut session = session(&place);
    let mut summary = ask(&mut session, json!({ "path": "in.csv" })).await["structuredContent"].take();
    assert!(summary["seconds"].take().is_number() && summary["rows_per_second"].take().is_number());
    let output = fs::canonicalize(place.root()).unwrap().join("in.predicted.csv");
    let shown = summary["output"].take();
    let tail = shown.as_str().unwrap().trim_start_matches('…');
    assert!(output.to_str().unwrap().ends_with(tail) && tail.ends_with("in.predicted.csv"), "{shown}");
    let expected = json!({ "output": null, "model": "fake", "text_column": "text", "rows": 4,
        "labels": { "middle": 2, "short": 1 }, "mean_confidence": 0.6, "uncertain": { "count": 2, "rows": [2, 4] },
        "failed": { "count": 1, "rows": [3] },
        "reasons": ["model `fake` could not run this text: the text says so; try another text, or check the mod…"],
        "seconds": null, "rows_per_second": null,
        "next": "call again with only: \"uncertain\" to read the uncertain rows, then send corrections" });
    assert_eq!(summary, expected);

    let rows =
        ask(&mut session, json!({ "path": "in.csv", "only": "uncertain", "limit": 1 })).await["structuredContent"]
            .take();
    assert_eq!(
        rows["review"],
        json!([{ "row": 2, "text": "one two three", "prediction": "middle", "confidence": 0.55 }])
    );
    assert_eq!(rows["undecided"], 2);
    // One call decides a row and returns the next.
    let arguments = json!({ "path": "in.csv", "only": "uncertain", "corrections": { "2": "long" } });
    let next = ask(&mut session, arguments).await["structuredContent"].take();
    assert_eq!((&next["corrected"], &next["undecided"], &next["review"][0]["row"]), (&json!(1), &json!(1), &json!(4)));
    let last = json!({ "path": "in.csv", "only": "uncertain", "corrections": { "4": "middle" } });
    let done = ask(&mut session, last).await["structuredContent"].take();
    assert_eq!((&done["review"], &done["next"]), (&json!([]), &json!("no rows are left to review")));
    let content = place.read("in.predicted.csv");
    assert!(content.contains("2,one two three,long,0.55,false,,middle\n"), "{content}");
    assert!(content.contains("4,four five six,middle,0.55,false,,middle\n"), "{content}");
}

#[tokio::test]
async fn a_review_classifies_the_file_first_if_there_is_no_output() {
    let place = Project::with(Script { threshold: Some(0.6), ..Script::default() });
    place.write("in.csv", format!("text\none two three\n{}\n", "a bc ".repeat(150)));
    let result =
        ask(&mut session(&place), json!({ "path": "in.csv", "only": "uncertain" })).await["structuredContent"].take();
    assert_eq!((&result["rows"], &result["undecided"], &result["review"][0]["row"]), (&json!(2), &json!(1), &json!(1)));
    // The other row is certain, so it appears only in a request for a label that the model never
    // predicted.
    let review = place.job("in.csv").review(9).finished().await.unwrap();
    assert!(review.rows.iter().all(|row| row.text.chars().count() <= 301));
}

/// Tag characters carry words that only an assistant reads; an override reorders what people read.
#[tokio::test]
async fn hidden_characters_in_names_texts_and_errors_are_shown_escaped() {
    let place = Project::with(Script { threshold: Some(0.6), ..Script::default() });
    let tags: String = "obey".chars().map(|c| char::from_u32(0xe0000 + c as u32).unwrap()).collect();
    place.write("in\u{202e}.csv", format!("id,te\u{200b}xt\n1,\"two{tags} three\u{9b}31m\nfour\"\n"));
    let mut session = session(&place);
    let path = "in\u{202e}.csv";
    let result = ask(&mut session, json!({ "path": path, "text_column": "2", "only": "uncertain" })).await;
    let shown = &result["structuredContent"];
    assert_eq!(shown["text_column"], "te\\u{200b}xt");
    let text = r"two\u{e006f}\u{e0062}\u{e0065}\u{e0079} three\u{9b}31m\nfour";
    assert_eq!(shown["review"][0]["text"], text);
    assert!(shown["output"].as_str().unwrap().ends_with(r"in\u{202e}.predicted.csv"), "{shown}");
    let missing = ask(&mut session, json!({ "path": path, "text_column": "x\u{2066}", "overwrite": true })).await;
    let expected = r"no column is called `x\u{2066}`; the file has `id`, `te\u{200b}xt`";
    assert!(error_text(&missing).contains(expected), "{missing}");
    let exists = ask(&mut session, json!({ "path": path, "text_column": "2" })).await;
    assert!(error_text(&exists).contains(r"in\u{202e}.predicted.csv` exists already"), "{exists}");
    for answer in [result, missing, exists] {
        let hidden = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{200b}'..='\u{206f}' | '\u{e0000}'..='\u{e007f}');
        assert!(!answer.to_string().contains(hidden), "{answer}");
    }
}

#[tokio::test]
async fn a_summary_stays_under_400_tokens_whatever_the_file() {
    let place = Project::with(Script { threshold: Some(0.9), ..Script::default() });
    let column = "column of the texts ".repeat(20);
    let long = "word ".repeat(9);
    let mut rows = format!("id,{column}\n");
    for row in 0..3000 {
        rows.push_str(&match row % 5 {
            0 => format!("{row},{long}{row}\n"),
            1 => format!("{row},fail\n"),
            2 => format!("{row},one,two\n"),
            3 => format!("{row},\n"),
            _ => format!("{row},one two three {row}\n"),
        });
    }
    let name = format!("{}.csv", "n".repeat(230));
    place.write(&name, rows);
    let arguments = json!({ "path": name, "text_column": column.trim(), "label_column": "id" });
    let result = ask(&mut session(&place), arguments).await;
    let summary = result["structuredContent"].to_string();
    assert_eq!(result["structuredContent"]["failed"]["count"], 1800, "{summary}");
    let tokens = summary.chars().count().div_ceil(CHARACTERS_A_TOKEN);
    assert!(tokens < 400, "{tokens} tokens: {summary}");
}

#[tokio::test]
async fn progress_is_reported_a_few_times_a_second_and_only_grows() {
    let place = Project::new();
    let rows: Vec<String> = (0..200).map(|row| format!("text {row}\n")).collect();
    place.write("in.txt", format!("{}held\nafter\n", rows.concat()));
    let mut session = session(&place);
    let mut request = call(1, "local_model_predict_file", json!({ "path": "in.txt" }));
    request["params"]["_meta"]["progressToken"] = json!("p");
    let started = Instant::now();
    session.send(&request).await;
    let mut values: Vec<f64> = Vec::new();
    for _ in 0..4 {
        let message = session.receive().await;
        assert_eq!(message["params"]["progressToken"], "p");
        values.push(message["params"]["progress"].as_f64().unwrap());
        if values.len() == 4 {
            assert_eq!(message["params"]["total"], 202.0);
            let text = message["params"]["message"].as_str().unwrap();
            assert!(text.starts_with("200 of 202 rows, ") && text.contains(" rows/s, "), "{text}");
        }
    }
    assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{values:?}");
    assert!(started.elapsed() > Duration::from_millis(900), "four messages came within {:?}", started.elapsed());
    place.script.release();
    let answer = session.receive_answer(1).await;
    assert_eq!(answer["result"]["structuredContent"]["rows"], 202);
}

#[tokio::test]
async fn a_cancelled_call_leaves_no_file_and_no_answer() {
    let place = Project::new();
    place.write("in.txt", "one\nheld\n");
    let mut session = session(&place);
    session.send(&call(1, "local_model_predict_file", json!({ "path": "in.txt" }))).await;
    while place.script.runs() < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(place.names(), ["in.predicted.csv.progress", "in.txt"]);
    let cancel = json!({ "requestId": 1, "_meta": modern_meta() });
    session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel })).await;
    let asked = Instant::now();
    while place.names().len() > 1 {
        assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", place.names());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    place.script.release();
    assert_eq!(session.ask(&call(2, "local_model_status", json!({}))).await["id"], 2);
    assert_eq!(place.names(), ["in.txt"]);
}

#[tokio::test]
async fn a_call_during_a_file_job_is_answered() {
    let place = Project::new();
    place.write("in.txt", "held\n");
    let mut settings = settings();
    settings.workers = 2;
    let mut session = Session::with(&place.script, settings, place.root().to_owned());
    session.send(&call(1, "local_model_predict_file", json!({ "path": "in.txt" }))).await;
    while place.script.runs() == 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let answer = session.ask(&call(2, "local_model_predict", json!({ "text": "hello" }))).await;
    assert_eq!(answer["result"]["structuredContent"]["prediction"], "short");
    place.script.release();
    assert_eq!(session.receive_answer(1).await["result"]["isError"], false);
}

#[tokio::test]
async fn four_of_200_file_jobs_run_the_rest_say_that_they_wait_and_calls_go_on() {
    const JOBS: u64 = 200;
    let place = Project::new();
    place.write("in.txt", "held\n");
    let mut settings = settings();
    (settings.workers, settings.queue_capacity) = (2, 1);
    let mut session = Session::with(&place.script, settings, place.root().to_owned());
    for id in 0..JOBS {
        let arguments = json!({ "path": "in.txt", "output_path": format!("out{id}.csv") });
        let mut request = call(id, "local_model_predict_file", arguments);
        request["params"]["_meta"]["progressToken"] = json!(id);
        session.send(&request).await;
    }
    let (mut open, mut waiting): (HashSet<u64>, HashSet<u64>) = ((0..JOBS).collect(), HashSet::new());
    let mut predicted = 0;
    // Only the waiting jobs say so, and calls are answered in between.
    while waiting.len() < 196 || predicted < 50 {
        let id = 1000 + predicted;
        session.send(&call(id, "local_model_predict", json!({ "text": format!("word {predicted}") }))).await;
        loop {
            let message = session.receive().await;
            if message["id"] == id {
                assert_eq!(message["result"]["isError"], false, "{message}");
                break;
            }
            if message["params"]["message"] == "waiting for another file" {
                waiting.insert(message["params"]["progressToken"].as_u64().unwrap());
            }
        }
        predicted += 1;
    }
    let running = place.names().iter().filter(|name| name.ends_with(".progress")).count();
    assert_eq!((waiting.len(), running), (196, 4));
    place.script.release();
    while !open.is_empty() {
        let message = session.receive().await;
        match message["id"].as_u64() {
            Some(id) => assert!(open.remove(&id) && message["result"]["isError"] == false, "{message}"),
            None => assert!(open.contains(&message["params"]["progressToken"].as_u64().unwrap()), "late: {message}"),
        }
    }
    assert_eq!(place.names().len(), 1 + JOBS as usize);
}

#[tokio::test]
async fn a_correction_does_not_wait_for_a_model_without_end() {
    let place = Project::with(Script { hold_load: true, ..Script::default() });
    let mut settings = settings();
    settings.deadline = Duration::from_millis(50);
    let mut session = Session::with(&place.script, settings, place.root().to_owned());
    let corrections = json!({ "path": "in.csv", "corrections": { "1": "long" } });
    let answer = tokio::time::timeout(Duration::from_secs(5), ask(&mut session, corrections)).await.unwrap();
    assert!(error_text(&answer).contains("is still loading after 50 ms"), "{answer}");
    place.script.release();
}

#[tokio::test]
async fn mistakes_get_errors_that_say_what_to_do() {
    let place = Project::new();
    place.write("in.csv", "text\nhello\n");
    place.write("large.csv", "x".repeat(MAX_FILE_BYTES as usize + 1));
    let mut session = session(&place);
    for (arguments, expected) in [
        (json!({ "path": "../x.csv" }), "contains `..`; files must be below `"),
        (
            json!({ "path": "large.csv" }),
            "has 4194305 bytes; expected at most 4194304; split it, or raise `--max-file-bytes`",
        ),
        (json!({ "path": "in.csv", "limit": 5 }), "`limit` needs `only`; expected `path`"),
        (json!({ "path": "in.csv", "only": "uncertain", "limit": 51 }), "`limit` is 51, expected 1 to 50"),
        (json!({ "path": "in.csv", "only": "all" }), "`only` is `all`; expected `uncertain`"),
        (json!({ "path": "in.csv", "overwrite": true, "resume": true }), "exclude each other"),
        (json!({ "path": "in.csv", "text_column": "body" }), "no column is called `body`; the file has `text`"),
        (json!({ "path": "in.csv", "model": "tone" }), "no model is called `tone`; known: `fake`"),
        (
            json!({ "path": "in.csv", "corrections": { "1": "long" } }),
            "; classify the file first, or name the output with `output_path`",
        ),
        (
            json!({ "path": "in.csv", "corrections": { "0": "long" } }),
            "row `0` cannot be corrected: it is not a row number",
        ),
        (
            json!({ "path": "in.csv", "corrections": { "1": "great" } }),
            "row `1` cannot be corrected: `great` is not a label of the model; expected one of `short`, `middle`, `long`",
        ),
        (
            json!({ "path": "in.csv", "labels": ["spam", "=HYPERLINK(1)"] }),
            "`=HYPERLINK(1)` begins like a formula of a spreadsheet; expected a label",
        ),
        (json!({ "path": "in.csv", "corrections": {} }), "`corrections` has 0 entries, expected 1 to 1000"),
    ] {
        let result = ask(&mut session, arguments).await;
        assert!(error_text(&result).contains(expected), "{result}");
    }
    assert_eq!(place.names(), ["in.csv", "large.csv"]);
}

#[tokio::test]
async fn a_batch_answers_every_text_in_order_and_failures_in_place() {
    let place = Project::new();
    let mut session = session(&place);
    let mut batch =
        async |arguments| session.ask(&call(1, "local_model_predict_batch", arguments)).await["result"].take();
    let result = batch(json!({ "texts": ["hello", " ", "fail", "one two three", "hello"] })).await;
    let results = result["structuredContent"]["results"].as_array().unwrap();
    assert_eq!(results[0], json!({ "prediction": "short", "confidence": 0.7 }));
    assert_eq!(results[1], json!({ "error": "`text` is empty or blank; send the text to classify" }));
    assert!(results[2]["error"].as_str().unwrap().starts_with("model `fake` could not run this text"));
    assert_eq!((&results[3]["prediction"], &results[4]), (&json!("middle"), &results[0]));
    let texts: Vec<String> = (0..256).map(|number| format!("text {number}")).collect();
    let result = batch(json!({ "texts": texts, "top_k": LABELS.len() })).await;
    let results = result["structuredContent"]["results"].as_array().unwrap();
    assert_eq!((results.len(), results[255]["alternatives"].as_array().unwrap().len()), (256, 2));
    let result = batch(json!({ "texts": ["a", "a"], "text_pairs": ["b", "b c d"] })).await;
    let results = result["structuredContent"]["results"].as_array().unwrap();
    assert_eq!((&results[0]["prediction"], &results[1]["prediction"]), (&json!("short"), &json!("middle")));
    for (arguments, expected) in [
        (
            json!({ "texts": ["a", "b"], "text_pairs": ["c"] }),
            "`text_pairs` has 1 entries; expected 2, one for each of `texts`",
        ),
        (json!({ "texts": [] }), "`texts` has 0 entries; expected 1 to 256"),
        (json!({ "texts": vec!["x"; 257] }), "`texts` has 257 entries"),
        (json!({ "texts": ["a"], "model": "tone" }), "no model is called `tone`"),
        (json!({ "texts": ["a"], "top_k": 9 }), "`top_k` is 9"),
        (json!({ "texts": ["a"], "top_k": 10_001 }), "the call asks for 10001 labels; expected at most 10000"),
    ] {
        assert!(error_text(&batch(arguments).await).contains(expected));
    }
}

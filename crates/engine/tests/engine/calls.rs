//! Checks, answers, errors and counts of single calls.

use std::sync::Arc;

use crate::{ask, ask_as, eventually, spawn};
use classifier::{Input, Question, QuestionKind, Task};
use engine::testing::{Script, ScriptedLoader, settings, start};
use engine::{AnsweredBy, Engine, EngineSettings, Error, Priority, Request};
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_repeated_text_is_answered_from_the_cache() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    let first = ask(&engine, "one two three").await.unwrap();
    let second = ask(&engine, "one two three").await.unwrap();
    assert_eq!((first.answered_by, second.answered_by), (AnsweredBy::Model, AnsweredBy::Cache));
    assert_eq!(first.prediction, second.prediction);
    assert_eq!(script.runs(), 1);
    let counts = engine.cache_counts().await;
    assert_eq!((counts.entries, counts.hits, counts.misses), (1, 1, 1));
}

#[tokio::test]
async fn failures_are_not_cached() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    for _ in 0..2 {
        let error = ask(&engine, "fail").await.unwrap_err();
        assert!(error.to_string().starts_with("model `fake` could not run this text: the text says so"), "{error}");
    }
    assert_eq!(script.runs(), 2);
}

#[tokio::test]
async fn a_panic_is_one_failed_call() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    let error = ask(&engine, "panic").await.unwrap_err();
    assert!(matches!(&error, Error::Panicked { message, .. } if message == "the text says so"), "{error}");
    assert_eq!(ask(&engine, "hello").await.unwrap().answered_by, AnsweredBy::Model);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let script = Arc::new(Script::default());
    let engine = start(&script, EngineSettings { queue_capacity: 1, ..settings() });
    let running = spawn(&engine, "held 1");
    eventually(|| script.runs() == 1).await;
    let waiting = spawn(&engine, "held 2");
    tokio::task::yield_now().await;
    let error = ask(&engine, "held 3").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the queue of model `fake` is full (1 waiting); send fewer at a time, or call again in a moment"
    );
    script.release();
    assert!(running.await.unwrap().is_ok() && waiting.await.unwrap().is_ok());
}

#[tokio::test]
async fn blank_and_oversized_texts_never_reach_the_model() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    assert_eq!(ask(&engine, " \n\t").await.unwrap_err(), Error::TextBlank);
    let oversized = "x".repeat(1001);
    assert_eq!(ask(&engine, &oversized).await.unwrap_err(), Error::TextTooLarge { bytes: 1001, limit: 1000 });
    let labels = vec!["one".into(), " ".into()];
    let input = Input { labels, ..Input::single("a text") };
    let error = engine.predict(Request { input, ..Request::default() }).await.unwrap_err();
    assert_eq!(error, Error::Labels { found: 2, blank: 1, limit: 64 });
    assert_eq!(script.runs(), 0);
    assert_eq!(engine.statistics()[0].2.caller_errors, 3);
}

#[tokio::test]
async fn top_k_is_at_most_the_number_of_labels() {
    let engine = start(&Arc::default(), settings());
    for (top_k, ok) in [(0, false), (1, true), (3, true), (4, false)] {
        let request = Request { input: Input::single("a text"), top_k: Some(top_k), ..Request::default() };
        assert_eq!(engine.predict(request).await.is_ok(), ok, "{top_k}");
    }
}

#[tokio::test]
async fn an_empty_second_text_is_no_second_text() {
    let script = Arc::new(Script::default());
    let engine = start(&script, settings());
    ask(&engine, "a text").await.unwrap();
    let input = Input { text_pair: Some(String::new()), ..Input::single("a text") };
    let answer = engine.predict(Request { input, ..Request::default() }).await.unwrap();
    assert_eq!(answer.answered_by, AnsweredBy::Cache);
}

#[tokio::test]
async fn answers_are_kept_apart_by_question() {
    let engine = start(&Arc::default(), settings());
    let question = |text: Option<&str>, kind, descriptions: &[&str]| {
        let descriptions = descriptions.iter().map(|text| (*text).to_owned()).collect();
        Question::new(text.map(Into::into), kind, descriptions)
    };
    let inputs = [
        (&["a", "b"][..], None),
        (&["a", "b"], question(Some("c"), None, &[])),
        (&["a", "b", "c"], question(None, Some(QuestionKind::Choice), &[])),
        (&["a", "b"], question(Some("d"), None, &[])),
        (&["a", "b"], question(Some("d"), Some(QuestionKind::Score), &[])),
        (&["a", "b"], question(Some("d"), None, &["x", ""])),
        (&["a", "b"], question(Some("d"), None, &["", "x"])),
        (&["a", "b"], question(None, None, &["d", "x"])),
    ];
    for expected in [AnsweredBy::Model, AnsweredBy::Cache] {
        for (labels, question) in &inputs {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            let input = Input { labels, question: question.clone(), ..Input::single("a text") };
            let answer = engine.predict(Request { input, ..Request::default() }).await.unwrap();
            assert_eq!(answer.answered_by, expected, "{question:?}");
        }
    }
}

#[tokio::test]
async fn models_are_chosen_by_name_and_fail_independently() {
    let bad = Script { failing_loads: 9.into(), ..Script::default() };
    let models = [("good", Script::default()), ("bad", bad)]
        .map(|(name, script)| (name.to_owned(), Arc::new(ScriptedLoader(Arc::new(script))) as Arc<_>));
    let engine = Engine::start(models.into(), settings());
    let to = |model: &str| Request { model: Some(model.into()), input: Input::single("hello"), ..Request::default() };
    assert_eq!(engine.predict(to("good")).await.unwrap().model, "good");
    assert!(matches!(engine.predict(to("bad")).await, Err(Error::ModelFailed { .. })));
    let unknown = engine.predict(to("other")).await.unwrap_err();
    assert_eq!(unknown.to_string(), "no model is called `other`; known: `good`, `bad`");
}

#[tokio::test]
async fn an_explanation_leaves_out_one_word_at_a_time() {
    let script = Arc::new(Script { threshold: Some(0.5), ..Script::default() });
    let engine = start(&script, settings());
    let request = Request { input: Input::single("one two three"), explain: true, ..Request::default() };
    let answer = engine.predict(request).await.unwrap();
    let weights = answer.explanation.unwrap();
    assert_eq!(weights.iter().map(|weight| weight.text.as_str()).collect::<Vec<_>>(), ["one", "two", "three"]);
    assert!(weights.iter().all(|weight| (weight.weight - 0.35).abs() < 1e-6), "{weights:?}");
    assert_eq!(script.runs(), 4);
}

#[tokio::test]
async fn only_calls_count_for_latencies() {
    let script = Arc::new(Script { task: Some(Task::SingleLabel), ..Script::default() });
    let engine = start(&script, settings());
    ask_as(&engine, "a row", Priority::Background).await.unwrap();
    assert_eq!(engine.statistics()[0].2.latency, None);
    ask(&engine, "a call").await.unwrap();
    assert!(engine.statistics()[0].2.latency.is_some());
    assert_eq!(engine.statistics()[0].2.from_model, 2);
    assert_eq!(script.loads.load(Ordering::SeqCst), 1);
}

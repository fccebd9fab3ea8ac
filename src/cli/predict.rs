//! `predict`: texts from the command line, or one a line from stdin; aligned text for people, JSON lines for pipes.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::num::NonZero;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinHandle;

use crate::cli::{Outcome, engine, runtime};
use crate::engine::{Answer, Engine, EngineSettings, Request};
use crate::error::Error;
use crate::prediction::{Entity, Input, rounded};
use crate::settings::{Options, PredictArgs};

pub(super) fn run(options: &Options, arguments: &PredictArgs) -> anyhow::Result<Outcome> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let settings = EngineSettings { precompute: false, snapshot_dir: None, ..options.engine() };
        let in_flight = 2 * settings.workers;
        let engine = engine(options, settings, arguments.use_model.as_deref())?;
        // A model that cannot be used is said once, before any text.
        engine.ready(None).await.map_err(|error| anyhow!(error))?;
        let rows = Rows { engine, arguments, pending: VecDeque::new(), in_flight };
        let writer = Writer {
            json: arguments.json || !io::stdout().is_terminal(),
            top_k: arguments.top_k.map_or(1, NonZero::get),
            some_failed: false,
        };
        rows.run(writer).await
    });
    runtime.shutdown_background();
    outcome
}

/// Texts on their way through the engine, answered in the order they came.
struct Rows<'a> {
    engine: Arc<Engine>,
    arguments: &'a PredictArgs,
    pending: VecDeque<JoinHandle<(String, Result<Answer, Error>)>>,
    /// Enough to keep every worker busy, few enough that memory does not grow with the input.
    in_flight: usize,
}

impl Rows<'_> {
    async fn run(mut self, mut writer: Writer) -> anyhow::Result<Outcome> {
        let mut given = self.arguments.texts.iter();
        let mut stdin = self.arguments.texts.is_empty().then(|| BufReader::new(tokio::io::stdin()).lines());
        let mut more = true;
        while more || !self.pending.is_empty() {
            let room = more && self.pending.len() < self.in_flight;
            tokio::select! {
                // Answers first: what is finished is written before more is taken in.
                biased;
                row = front(&mut self.pending) => {
                    let (text, outcome) = row?;
                    match writer.write(&text, outcome) {
                        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Outcome::Done),
                        written => written.context("the answer could not be written to stdout")?,
                    }
                }
                text = next(&mut given, &mut stdin), if room => match text.context("stdin could not be read")? {
                    Some(text) => self.submit(text),
                    None => more = false,
                },
            }
        }
        Ok(if writer.some_failed { Outcome::SomeFailed } else { Outcome::Done })
    }

    fn submit(&mut self, text: String) {
        let engine = Arc::clone(&self.engine);
        let (text_pair, labels) = (self.arguments.text_pair.clone(), self.arguments.labels.clone());
        let top_k = self.arguments.top_k.map(NonZero::get);
        self.pending.push_back(tokio::spawn(async move {
            let input = Input { text: text.clone(), text_pair, labels };
            let outcome = engine.predict(Request { input, top_k, ..Request::default() }).await;
            (text, outcome)
        }));
    }
}

/// The oldest row once it is answered; waits for ever where there is none.
async fn front<T>(pending: &mut VecDeque<JoinHandle<T>>) -> anyhow::Result<T> {
    let Some(oldest) = pending.front_mut() else { return std::future::pending().await };
    let row = oldest.await.context("a row's task ended early")?;
    pending.pop_front();
    Ok(row)
}

async fn next(
    given: &mut std::slice::Iter<'_, String>,
    stdin: &mut Option<tokio::io::Lines<BufReader<tokio::io::Stdin>>>,
) -> io::Result<Option<String>> {
    match stdin {
        Some(lines) => lines.next_line().await,
        None => Ok(given.next().cloned()),
    }
}

struct Writer {
    json: bool,
    top_k: usize,
    some_failed: bool,
}

impl Writer {
    fn write(&mut self, text: &str, outcome: Result<Answer, Error>) -> io::Result<()> {
        self.some_failed |= outcome.is_err();
        let line = if self.json { self.object(text, outcome).to_string() } else { self.aligned(text, outcome) };
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}")?;
        stdout.flush()
    }

    /// The fields of the tool's result, beside the text they belong to.
    fn object(&self, text: &str, outcome: Result<Answer, Error>) -> Value {
        let mut row = Map::from_iter([("text".to_owned(), json!(text))]);
        let mut put = |key: &str, value: Value| row.insert(key.to_owned(), value);
        match outcome {
            Err(error) => {
                put("error", json!(error.to_string()));
            }
            Ok(answer) => {
                let verdict = answer.verdict();
                let label =
                    |(label, score): &(Arc<str>, f32)| json!({ "label": &**label, "confidence": rounded(*score) });
                put("prediction", json!(verdict.prediction));
                if let Some(confidence) = verdict.confidence {
                    put("confidence", json!(rounded(confidence)));
                }
                if self.top_k > 1 && !verdict.others.is_empty() {
                    put("alternatives", verdict.others.iter().take(self.top_k - 1).map(label).collect());
                }
                if let Some(labels) = &verdict.labels {
                    put("labels", labels.iter().map(label).collect());
                }
                if let Some(value) = verdict.value {
                    put("value", json!(rounded(value)));
                }
                if let Some(entities) = &verdict.entities {
                    put("entities", entities.iter().map(entity).collect());
                }
                if let Some((tokens, limit)) = verdict.truncated {
                    put("truncated", json!({ "tokens": tokens, "limit": limit }));
                }
                if verdict.uncertain {
                    put("uncertain", json!(true));
                }
            }
        }
        Value::Object(row)
    }

    fn aligned(&self, text: &str, outcome: Result<Answer, Error>) -> String {
        match outcome {
            Err(error) => format!("error: {error}  {text}"),
            Ok(answer) => {
                let verdict = answer.verdict();
                let width = answer.info.labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
                let score = verdict
                    .confidence
                    .or(verdict.value)
                    .map_or(String::new(), |score| format!("{:.4}", rounded(score)));
                let mut line = format!("{:<width$} {score}", verdict.prediction);
                for (label, score) in verdict.others.iter().take(self.top_k - 1) {
                    line.push_str(&format!("  {label:<width$} {:.4}", rounded(*score)));
                }
                line.push_str(&format!("  {text}"));
                for (entity, slice) in verdict.entities.iter().flatten() {
                    line.push_str(&format!("  [{slice}: {} {:.4}]", entity.label, rounded(entity.score)));
                }
                if let Some(labels) = verdict.labels {
                    let names: Vec<&str> = labels.iter().map(|(label, _)| &**label).collect();
                    line.push_str(&format!(
                        "  (applying: {})",
                        if names.is_empty() { "none".into() } else { names.join(", ") }
                    ));
                }
                if verdict.uncertain {
                    line.push_str("  (uncertain)");
                }
                if let Some((tokens, limit)) = verdict.truncated {
                    line.push_str(&format!("  (read {limit} of {tokens} tokens)"));
                }
                line
            }
        }
    }
}

fn entity((entity, slice): &(Entity, String)) -> Value {
    json!({ "text": slice, "label": &*entity.label, "start": entity.start, "end": entity.end,
            "confidence": rounded(entity.score) })
}

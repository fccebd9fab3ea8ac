//! `predict`: texts from the command line, or one a line from stdin; aligned text for people, JSON lines for pipes.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinHandle;

use crate::cli::{Outcome, engine, runtime};
use crate::engine::{Answer, Engine, EngineSettings, Request};
use crate::error::Error;
use crate::prediction::{Input, Task, rounded};
use crate::settings::{Options, PredictArgs};

pub(super) fn run(options: &Options, arguments: &PredictArgs) -> anyhow::Result<Outcome> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let settings = EngineSettings { precompute: false, snapshot_dir: None, ..options.engine() };
        let in_flight = 2 * settings.workers;
        let engine = engine(options, settings)?;
        // A model that cannot be used is said once, before any text.
        let info = engine.ready(arguments.use_model.as_deref()).await.map_err(|error| anyhow!(error))?;
        let top_k = arguments.top_k.unwrap_or(1);
        if !(1..=info.labels.len()).contains(&top_k) {
            return Err(anyhow!("`--top-k` is {top_k} but the model has {} labels", info.labels.len()));
        }
        let rows = Rows { engine, model: arguments.use_model.clone(), pending: VecDeque::new(), in_flight };
        let writer = Writer { json: arguments.json || !io::stdout().is_terminal(), top_k, some_failed: false };
        rows.run(&arguments.texts, writer).await
    });
    runtime.shutdown_background();
    outcome
}

/// Texts on their way through the engine, answered in the order they came.
struct Rows {
    engine: Arc<Engine>,
    model: Option<String>,
    pending: VecDeque<JoinHandle<(String, Result<Answer, Error>)>>,
    /// Enough to keep every worker busy, few enough that memory does not grow with the input.
    in_flight: usize,
}

impl Rows {
    async fn run(mut self, texts: &[String], mut writer: Writer) -> anyhow::Result<Outcome> {
        let mut given = texts.iter();
        let mut stdin = texts.is_empty().then(|| BufReader::new(tokio::io::stdin()).lines());
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
        let (engine, model) = (Arc::clone(&self.engine), self.model.clone());
        self.pending.push_back(tokio::spawn(async move {
            let outcome = engine.predict(Request { model, input: Input::single(text.as_str()) }).await;
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
                let (best, score) = &verdict.ranked[0];
                put("prediction", json!(&**best));
                put(if verdict.task == Task::Regression { "value" } else { "confidence" }, json!(rounded(*score)));
                if self.top_k > 1 {
                    put("alternatives", verdict.ranked.iter().take(self.top_k).skip(1).map(label).collect());
                }
                if verdict.task == Task::MultiLabel {
                    put("labels", verdict.ranked.iter().take(verdict.applying).map(label).collect());
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
                let shown = verdict.ranked.iter().take(self.top_k.max(verdict.applying).max(1));
                let labels: Vec<String> =
                    shown.map(|(label, score)| format!("{label:<width$} {:.4}", rounded(*score))).collect();
                let mut notes = String::new();
                if verdict.uncertain {
                    notes.push_str("  (uncertain)");
                }
                if let Some((tokens, limit)) = verdict.truncated {
                    notes.push_str(&format!("  (read {limit} of {tokens} tokens)"));
                }
                format!("{}  {text}{notes}", labels.join("  "))
            }
        }
    }
}

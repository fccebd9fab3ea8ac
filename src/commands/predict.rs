//! `predict`: texts from the command line, or one a line from stdin; aligned text for people, JSON lines for pipes. As a
//! filter it writes exactly one line for each that it reads, in the same order.

use std::collections::VecDeque;
use std::io::{self, BufReader, ErrorKind, IsTerminal, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, anyhow};
use clap::Args;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::args::{Options, delimiter};
use crate::commands::{Outcome, engine, predict_file, runtime};
use crate::engine::{Answer, Engine, Request};
use crate::error::Error;
use crate::files::{Line, Lines, Object, Reads, Wanted};
use crate::output::{aligned, fields};
use crate::prediction::Input;

#[derive(Args, Debug)]
pub struct PredictArgs {
    /// Texts to classify; without any, each line of stdin is one text
    pub texts: Vec<String>,
    /// Classify a file: CSV, TSV, JSON lines, text lines or Parquet; gzip and zstd are detected
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    pub file: Option<PathBuf>,
    /// Column that holds the texts, by name or number (default: the only text column). On stdin: lines are JSON objects
    /// and this field is classified
    #[arg(long, value_name = "COLUMN")]
    pub text_column: Option<String>,
    /// Column with the correct labels, to report the accuracy
    #[arg(long, value_name = "COLUMN", requires = "file")]
    pub label_column: Option<String>,
    /// Output file (default: NAME.predicted.csv in the folder of the input)
    #[arg(short, long, value_name = "FILE", requires = "file")]
    pub output: Option<PathBuf>,
    /// Overwrite an existing output and discard any partial run
    #[arg(long, requires = "file", conflicts_with = "resume")]
    pub overwrite: bool,
    /// Continue an interrupted run of the same command
    #[arg(long, requires = "file")]
    pub resume: bool,
    /// CSV delimiter (default: detected)
    #[arg(long, value_name = "CHARACTER", requires = "file", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// The CSV file has no header; columns are named 1, 2, 3 and so on
    #[arg(long, requires = "file")]
    pub no_header: bool,
    /// Lines of stdin are JSON objects; the field `text` is classified and all others are passed on
    #[arg(long, conflicts_with_all = ["texts", "file"])]
    pub jsonl: bool,
    /// Name of the model to use (default: the first)
    #[arg(long, alias = "use", value_name = "NAME")]
    pub model_name: Option<String>,
    /// Show the N best labels
    #[arg(long, value_name = "N")]
    pub top_k: Option<NonZero<usize>>,
    /// Also show how much each word contributed, by leaving out one word at a time
    #[arg(long, conflicts_with = "file")]
    pub explain: bool,
    /// Second text to combine with each text, for models trained on text pairs
    #[arg(long, value_name = "TEXT")]
    pub text_pair: Option<String>,
    /// Candidate labels, separated by commas, for zero-shot (NLI) models
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// Write JSON lines even to a terminal
    #[arg(long)]
    pub json: bool,
}

/// Lines that are read before they are taken up.
const READ_AHEAD: usize = 64;

pub(super) fn run(options: &Options, arguments: &PredictArgs) -> anyhow::Result<Outcome> {
    if let Some(file) = &arguments.file {
        return predict_file::run(options, arguments, file);
    }
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let settings = options.batch_engine();
        let in_flight = 2 * settings.workers;
        let engine = engine(options, settings, arguments.model_name.as_deref())?;
        // A model that cannot be used is said once, before any text.
        engine.ready(None).await.map_err(|error| anyhow!(error))?;
        let rows = Rows { engine, arguments, pending: VecDeque::new(), in_flight };
        let writer = Writer {
            json: arguments.json || json_lines(arguments).is_some() || !io::stdout().is_terminal(),
            top_k: arguments.top_k.map_or(1, NonZero::get),
            some_failed: false,
        };
        rows.run(writer).await
    });
    runtime.shutdown_background();
    outcome
}

/// The field to classify, where the lines of stdin are JSON objects.
fn json_lines(arguments: &PredictArgs) -> Option<Wanted> {
    let field = arguments.text_column.clone().or_else(|| arguments.jsonl.then(|| "text".to_owned()))?;
    Some(Wanted { column: field, position: 0, reads: Reads::Text })
}

/// One text as it came, and what goes out with its answer.
struct Row {
    text: Result<String, Error>,
    shown: Object,
}

impl Row {
    fn of_text(text: String) -> Self {
        Self { shown: Object::of("text", &text), text: Ok(text) }
    }

    fn of_line(line: &Line) -> Self {
        match line.text() {
            Ok(text) => Self::of_text(text.to_owned()),
            Err(error) => Self { text: Err(error.into()), shown: kept("text", line) },
        }
    }

    fn of_json(line: &Line, field: &Wanted) -> Self {
        match Object::parse(line) {
            Ok(object) => Self { text: object.cell(field).map_err(Error::from), shown: object },
            Err(error) => Self { text: Err(error.into()), shown: kept("line", line) },
        }
    }
}

/// What there is of a line that cannot be used.
fn kept(name: &str, line: &Line) -> Object {
    match line {
        Line::Whole(bytes) => Object::of(name, &String::from_utf8_lossy(bytes)),
        Line::TooLong(_) => Object::default(),
    }
}

/// Lines of stdin, read on a thread of their own: reading blocks, and must not hold up the answers.
fn stdin(field: Option<Wanted>) -> io::Result<mpsc::Receiver<io::Result<Row>>> {
    let (sender, rows) = mpsc::channel(READ_AHEAD);
    thread::Builder::new().name("stdin".into()).spawn(move || {
        for line in Lines::new(BufReader::with_capacity(1 << 16, io::stdin())) {
            let row = line.map(|line| match &field {
                Some(field) => Row::of_json(&line, field),
                None => Row::of_line(&line),
            });
            // A receiver that is gone has met a closed stdout.
            if sender.blocking_send(row).is_err() {
                return;
            }
        }
    })?;
    Ok(rows)
}

/// Texts on their way through the engine, answered in the order they came.
struct Rows<'a> {
    engine: Arc<Engine>,
    arguments: &'a PredictArgs,
    pending: VecDeque<JoinHandle<(Row, Result<Answer, Error>)>>,
    /// Enough to keep every worker busy, few enough that memory does not grow with the input.
    in_flight: usize,
}

impl Rows<'_> {
    async fn run(mut self, mut writer: Writer) -> anyhow::Result<Outcome> {
        let mut given = self.arguments.texts.iter();
        let mut lines = match self.arguments.texts.is_empty() {
            true => Some(stdin(json_lines(self.arguments)).context("stdin could not be read")?),
            false => None,
        };
        let mut more = true;
        while more || !self.pending.is_empty() {
            let room = more && self.pending.len() < self.in_flight;
            tokio::select! {
                // Answers first: what is finished is written before more is taken in.
                biased;
                row = front(&mut self.pending) => {
                    let (row, outcome) = row?;
                    match writer.write(row, outcome.as_ref()) {
                        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Outcome::Done),
                        written => written.context("the answer could not be written to stdout")?,
                    }
                }
                row = next(&mut given, &mut lines), if room => match row.transpose().context("stdin could not be read")? {
                    Some(row) => self.submit(row),
                    None => more = false,
                },
            }
        }
        Ok(if writer.some_failed { Outcome::SomeFailed } else { Outcome::Done })
    }

    fn submit(&mut self, row: Row) {
        let engine = Arc::clone(&self.engine);
        let (text_pair, labels) = (self.arguments.text_pair.clone(), self.arguments.labels.clone());
        let top_k = self.arguments.top_k.map(NonZero::get);
        let explain = self.arguments.explain;
        self.pending.push_back(tokio::spawn(async move {
            let outcome = match row.text.clone() {
                Ok(text) => {
                    let input = Input { text, text_pair, labels };
                    engine.predict(Request { input, top_k, explain, ..Request::default() }).await
                }
                Err(error) => Err(error),
            };
            (row, outcome)
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
    lines: &mut Option<mpsc::Receiver<io::Result<Row>>>,
) -> Option<io::Result<Row>> {
    match lines {
        Some(lines) => lines.recv().await,
        None => given.next().map(|text| Ok(Row::of_text(text.clone()))),
    }
}

struct Writer {
    json: bool,
    top_k: usize,
    some_failed: bool,
}

impl Writer {
    fn write(&mut self, mut row: Row, outcome: Result<&Answer, &Error>) -> io::Result<()> {
        self.some_failed |= outcome.is_err();
        let line = if self.json {
            for (name, value) in fields(outcome, self.top_k) {
                row.shown.set(name, &value);
            }
            row.shown.line()
        } else {
            let text = row.shown.cell(&Wanted { column: "text".into(), position: 0, reads: Reads::Value });
            aligned(&text.unwrap_or_default(), outcome, self.top_k)
        };
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}")?;
        stdout.flush()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn fields_of_a_line_keep_their_order_and_spelling() {
        let field = Wanted { column: "body.text".into(), position: 0, reads: Reads::Text };
        let mut row = Row::of_json(
            &Line::Whole(br#"{"id":1.50,"body":{"text":"hi"},"n":12345678901234567890}"#.to_vec()),
            &field,
        );
        assert_eq!(row.text, Ok("hi".into()));
        row.shown.set("prediction", &Value::from("x"));
        let expected = r#"{"id":1.50,"body":{"text":"hi"},"n":12345678901234567890,"prediction":"x"}"#;
        assert_eq!(row.shown.line(), expected);
    }

    #[test]
    fn what_is_no_object_is_kept_as_it_came() {
        let field = Wanted { column: "text".into(), position: 0, reads: Reads::Text };
        let row = Row::of_json(&Line::Whole(b"not json \xFF".to_vec()), &field);
        assert_eq!(row.shown.line(), "{\"line\":\"not json \u{FFFD}\"}");
        assert!(row.text.is_err());
    }
}

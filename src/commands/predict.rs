//! `predict`: classifies texts from arguments or stdin; aligned text for people, JSON lines for
//! pipes. As a filter it writes exactly one line for each line that it reads, in the same order.

mod rows;

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use batch::{RowOptions, classify_rows};
use clap::Args;
use classifier::Input;
use engine::{Answer, Engine};
use futures_util::stream::{self, Stream, StreamExt};
use tables::{CellKind, ColumnRef, JsonObject};

use crate::args::{Options, delimiter};
use crate::commands::asked::Asked;
use crate::commands::{Outcome, engine, predict_file, runtime, warn};
use crate::error::Error;
use crate::output::{aligned, field_names, fields};
use crate::visible::visible;
use rows::{JsonFields, Row, read_stdin};

#[derive(Args, Debug)]
pub struct PredictArgs {
    /// Texts to classify; without any, each line of stdin is one text
    pub texts: Vec<String>,
    /// Classify a file: CSV, TSV, JSON lines, text lines or Parquet; gzip and zstd are detected
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    pub file: Option<PathBuf>,
    /// Column that holds the texts, by name or number (default: the only text column). On stdin:
    /// lines are JSON objects and this field is classified
    #[arg(long, value_name = "COLUMN")]
    pub text_column: Option<String>,
    /// Column or field that holds second texts, for models trained on text pairs
    #[arg(long, value_name = "COLUMN", conflicts_with = "texts")]
    pub pair_column: Option<String>,
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
    /// Lines of stdin are JSON objects; the field `text` is classified and all others are passed
    /// on. If an object has a field that the output uses, such as `error`, all fields added to it
    /// start with `local_model_`
    #[arg(long, conflicts_with_all = ["texts", "file"])]
    pub jsonl: bool,
    /// Name of the model to use (default: the first)
    #[arg(long, alias = "use", value_name = "NAME")]
    pub model_name: Option<String>,
    /// Show the N best labels
    #[arg(long, value_name = "N", conflicts_with = "file", value_parser = clap::value_parser!(u16).range(1..))]
    pub top_k: Option<u16>,
    /// Also show how much each word contributed, by leaving out one word at a time
    #[arg(long, conflicts_with = "file")]
    pub explain: bool,
    /// Second text to combine with each text, for models trained on text pairs
    #[arg(long, value_name = "TEXT", conflicts_with = "pair_column")]
    pub text_pair: Option<String>,
    #[command(flatten)]
    pub asked: Asked,
    /// Write JSON lines even to a terminal
    #[arg(long)]
    pub json: bool,
}

/// Prefix of our field names in lines that already have one of them.
const PREFIX: &str = "local_model_";

pub(super) fn run(options: &Options, arguments: &PredictArgs) -> anyhow::Result<Outcome> {
    if let Some(file) = &arguments.file {
        return predict_file::run(options, arguments, file);
    }
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let settings = options.batch_engine();
        let in_flight = 2 * settings.workers;
        let engine = engine(options, settings, arguments.model_name.as_deref())?;
        // A model that cannot be used is reported once, before any text.
        let info = engine.ready(None).await.map_err(|error| anyhow!(Error::from(error)))?;
        warn(&info.warnings);
        if !arguments.texts.is_empty() {
            let texts = arguments.texts.iter().map(|text| Row::from_text(text.clone()));
            return Ok(classify(engine, arguments, stream::iter(texts), in_flight).await?.unwrap_or(Outcome::Done));
        }
        if io::stdin().is_terminal() {
            let _ = writeln!(io::stderr(), "one text a line; Ctrl-D ends");
        }
        let (rows, reader) = read_stdin(JsonFields::new(arguments)).context("cannot read stdin")?;
        // With a closed stdout, the reader may still be waiting for a line.
        let Some(outcome) = classify(engine, arguments, rows, in_flight).await? else { return Ok(Outcome::Done) };
        reader.join().map_err(|_| anyhow!("the reader of stdin crashed"))?.context("cannot read stdin")?;
        Ok(outcome)
    });
    runtime.shutdown_background();
    outcome
}

/// Classifies the rows and writes the answers in row order, each as soon as it is available.
/// Returns `None` if stdout is closed before the end.
async fn classify(
    engine: Arc<Engine>,
    arguments: &PredictArgs,
    rows: impl Stream<Item = Row>,
    in_flight: usize,
) -> anyhow::Result<Option<Outcome>> {
    let top_k = arguments.top_k.map(usize::from);
    let options = RowOptions { in_flight, top_k, explain: arguments.explain, ..RowOptions::default() };
    let (labels, question) = arguments.asked.split();
    let inputs = rows.map(move |row| {
        let (text_pair, labels, question) = (arguments.text_pair.clone(), labels.clone(), question.clone());
        let input =
            row.texts.clone().map(|(text, pair)| Input { text, text_pair: pair.or(text_pair), labels, question });
        (row, input)
    });
    let writer = Writer {
        json: arguments.json || JsonFields::new(arguments).is_some() || !io::stdout().is_terminal(),
        top_k: top_k.unwrap_or(1),
        names: field_names(),
    };
    let mut answers = pin!(classify_rows(engine, inputs, options));
    let mut result = Outcome::Done;
    while let Some((row, outcome)) = answers.next().await {
        if outcome.is_err() {
            result = Outcome::SomeFailed;
        }
        match writer.write(row, &outcome) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(None),
            written => written.context("cannot write to stdout")?,
        }
    }
    Ok(Some(result))
}

struct Writer {
    json: bool,
    top_k: usize,
    /// All names that an answer's fields may have.
    names: Vec<String>,
}

impl Writer {
    fn write(&self, row: Row, outcome: &Result<Answer, Error>) -> io::Result<()> {
        let line = if self.json {
            self.with_fields(row.object, &fields(outcome, self.top_k)).line().to_owned()
        } else {
            let text = row.object.cell(&ColumnRef { column: "text".into(), position: 0, kind: CellKind::Value });
            visible(&aligned(&text.unwrap_or_default(), outcome, self.top_k)).into_owned()
        };
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}")?;
        stdout.flush()
    }

    /// Adds an answer's fields and never overwrites the object's own. The names depend on the
    /// object's names alone, and not on the answer, so that a reader can tell them apart.
    fn with_fields(&self, mut object: JsonObject, fields: &serde_json::Map<String, serde_json::Value>) -> JsonObject {
        let mut prefix = String::new();
        while self.names.iter().any(|name| object.names().any(|own| *own == format!("{prefix}{name}"))) {
            prefix += PREFIX;
        }
        for (name, value) in fields {
            object.set(&format!("{prefix}{name}"), value);
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tables::Line;

    use super::*;

    #[track_caller]
    fn check_output(line: &str, expected: &str) {
        let writer = Writer { json: true, top_k: 1, names: field_names() };
        let fields = json!({ "prediction": "x", "confidence": 0.5 });
        let object = JsonObject::parse(&Line::Whole(line.into())).unwrap();
        assert_eq!(writer.with_fields(object, fields.as_object().unwrap()).line(), expected);
    }

    #[test]
    fn fields_of_a_line_keep_their_order_and_spelling() {
        let line = r#"{"id":1.50,"body":{"text":"hi"},"n":12345678901234567890}"#;
        let expected = r#"{"id":1.50,"body":{"text":"hi"},"n":12345678901234567890,"prediction":"x","confidence":0.5}"#;
        check_output(line, expected);
    }

    #[test]
    fn fields_of_a_line_are_never_overwritten() {
        check_output(
            r#"{"text":"good","error":"E17"}"#,
            r#"{"text":"good","error":"E17","local_model_prediction":"x","local_model_confidence":0.5}"#,
        );
        check_output(
            r#"{"prediction":"HUMAN","local_model_uncertain":true}"#,
            r#"{"prediction":"HUMAN","local_model_uncertain":true,"local_model_local_model_prediction":"x","local_model_local_model_confidence":0.5}"#,
        );
    }
}

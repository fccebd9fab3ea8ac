//! `predict`: classifies texts from arguments or stdin; aligned text for people, JSON lines for
//! pipes. As a filter it writes exactly one line for each line that it reads, in the same order.

use std::io::{self, BufReader, ErrorKind, IsTerminal, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, anyhow};
use batch::{PAIR_COLUMN, RowOptions, classify_rows};
use clap::Args;
use classifier::Input;
use engine::{Answer, Engine};
use futures_util::stream::{self, Stream, StreamExt};
use tables::{CellKind, ColumnRef, JsonObject, Line, Lines};
use tokio::sync::mpsc;

use crate::args::{Options, delimiter};
use crate::commands::asked::Asked;
use crate::commands::{Outcome, engine, predict_file, runtime, warn};
use crate::error::Error;
use crate::output::{aligned, field_names, fields};
use crate::visible::visible;

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

/// Lines read ahead of the rows that are in flight.
const READ_AHEAD: usize = 64;
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

/// The fields to read if the lines of stdin are JSON objects.
struct JsonFields {
    text: ColumnRef,
    pair: Option<ColumnRef>,
    /// Whether a second text may be there that nothing reads: no field was named.
    may_miss_pair: bool,
}

impl JsonFields {
    fn new(arguments: &PredictArgs) -> Option<Self> {
        let PredictArgs { text_column, pair_column, text_pair, jsonl, .. } = arguments;
        let is_json = *jsonl || pair_column.is_some();
        let text = text_column.clone().or_else(|| is_json.then(|| "text".to_owned()))?;
        let may_miss_pair = text_column.is_none() && pair_column.is_none() && text_pair.is_none();
        let pair = pair_column.clone().map(ColumnRef::text_field);
        Some(Self { text: ColumnRef::text_field(text), pair, may_miss_pair })
    }

    /// Returns the text and the second text of an object.
    fn read(&self, object: &JsonObject) -> Result<(String, Option<String>), Error> {
        if self.may_miss_pair && object.names().any(|name| name == PAIR_COLUMN) {
            return Err(batch::Error::PairUnread { column: PAIR_COLUMN }.into());
        }
        let pair = self.pair.as_ref().map(|pair| object.cell(pair)).transpose()?;
        Ok((object.cell(&self.text)?, pair.filter(|pair| !pair.is_empty())))
    }
}

/// One text, perhaps with a second one, and the object that its answer is added to.
struct Row {
    texts: Result<(String, Option<String>), Error>,
    object: JsonObject,
}

impl Row {
    fn from_text(text: String) -> Self {
        Self { object: JsonObject::with_text("text", &text), texts: Ok((text, None)) }
    }

    fn from_line(line: &Line) -> Self {
        match line.text() {
            Ok(text) => Self::from_text(text.to_owned()),
            Err(error) => Self { texts: Err(error.into()), object: unusable("text", line) },
        }
    }

    fn from_json(line: &Line, fields: &JsonFields) -> Self {
        match JsonObject::parse_shallow(line) {
            Ok(object) => Self { texts: fields.read(&object), object },
            Err(error) => Self { texts: Err(error.into()), object: unusable("line", line) },
        }
    }
}

/// Returns an object with the readable part of a line that cannot be used.
fn unusable(name: &str, line: &Line) -> JsonObject {
    match line {
        Line::Whole(bytes) => JsonObject::with_text(name, &String::from_utf8_lossy(bytes)),
        Line::TooLong(_) => JsonObject::default(),
    }
}

/// Reads lines on a separate thread, because reading blocks and must not delay the answers. The
/// thread returns the error that ended the input early.
fn read_stdin(fields: Option<JsonFields>) -> io::Result<(impl Stream<Item = Row>, JoinHandle<io::Result<()>>)> {
    let (sender, mut rows) = mpsc::channel(READ_AHEAD);
    let read = move || {
        for line in Lines::new(BufReader::with_capacity(1 << 16, io::stdin())) {
            let line = line?;
            let row = match &fields {
                Some(fields) => Row::from_json(&line, fields),
                None => Row::from_line(&line),
            };
            if sender.blocking_send(row).is_err() {
                break;
            }
        }
        Ok(())
    };
    let reader = thread::Builder::new().name("stdin".into()).spawn(read)?;
    Ok((stream::poll_fn(move |context| rows.poll_recv(context)), reader))
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

    use super::*;

    fn fields(text: &str, pair: Option<&str>, may_miss_pair: bool) -> JsonFields {
        JsonFields { text: ColumnRef::text_field(text), pair: pair.map(ColumnRef::text_field), may_miss_pair }
    }

    fn row(line: &str, column: &str) -> Row {
        Row::from_json(&Line::Whole(line.as_bytes().to_vec()), &fields(column, None, false))
    }

    #[test]
    fn a_second_text_is_read_or_told() {
        let line = Line::Whole(br#"{"text":"a","text_pair":"b"}"#.to_vec());
        let texts = |fields: JsonFields| Row::from_json(&line, &fields).texts;
        assert_eq!(texts(fields("text", Some("text_pair"), false)), Ok(("a".into(), Some("b".into()))));
        assert_eq!(texts(fields("text", None, false)), Ok(("a".into(), None)));
        let error = texts(fields("text", None, true)).unwrap_err().to_string();
        let expected = "the column `text_pair` would not be read; name the column with second texts, or the one with \
                        texts alone (`pair_column` or `text_column`; `--pair-column`, `--text-column`)";
        assert_eq!(error, expected);
    }

    #[track_caller]
    fn check_output(line: &str, expected: &str) {
        let writer = Writer { json: true, top_k: 1, names: field_names() };
        let fields = json!({ "prediction": "x", "confidence": 0.5 });
        assert_eq!(writer.with_fields(row(line, "text").object, fields.as_object().unwrap()).line(), expected);
    }

    #[test]
    fn fields_of_a_line_keep_their_order_and_spelling() {
        let line = r#"{"id":1.50,"body":{"text":"hi"},"n":12345678901234567890}"#;
        assert_eq!(row(line, "body.text").texts, Ok(("hi".into(), None)));
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

    #[test]
    fn a_line_that_other_readers_could_not_read_is_passed_on_as_text() {
        let line = format!("{{\"text\":\"good\",\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
        let row = row(&line, "text");
        assert_eq!(row.object.line(), json!({ "line": line }).to_string());
        let expected = "the row is nested more than 128 levels deep; expected a flatter object";
        assert_eq!(row.texts.unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_line_that_is_not_an_object_is_passed_on() {
        let row = Row::from_json(&Line::Whole(b"not json \xFF".to_vec()), &fields("text", None, false));
        assert_eq!(row.object.line(), "{\"line\":\"not json \u{FFFD}\"}");
        assert!(row.texts.is_err());
    }
}

//! `check`: loads every model as `serve` would and reports what was found, or what is wrong and how
//! to fix it.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use cache_dir::digest::hex;
use clap::Args;
use classifier::{Input, LabeledPrediction, Location, Question, QuestionKind, rounded, unread_files};
use engine::{Engine, EngineSettings, Error, Request, milliseconds, resident_bytes};
use serde_json::{Value, json};

use crate::args::Options;
use crate::commands::{Outcome, print, print_lines, runtime};
use crate::hints::WithHint;
use crate::output::megabytes;

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Write one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// Also say which file or rule each fact comes from, and which files are not read
    #[arg(long)]
    pub explain: bool,
}

/// Asked about the sample if a model needs a question.
const QUESTION: &str = "The text is a sample.";
const SAMPLE: &str = "This is a sample text for a first prediction.";
/// The reported latency is the median of these runs.
const RUNS: usize = 9;

pub(super) fn run(options: &Options, arguments: &CheckArgs) -> anyhow::Result<Outcome> {
    let runtime = runtime()?;
    let models = options.models().map_err(|problem| anyhow!(problem))?;
    let mut reports = Vec::new();
    let mut unusable = 0;
    for (name, location) in models {
        let unread = match &location {
            Location::Folder(folder) => unread_files(folder),
            Location::BuiltIn => Vec::new(),
        };
        let load = classifier::loader(name.clone(), location, options.library(), 1);
        // Without a cache, so that every run reaches the model. A slow model is reported, not
        // stopped.
        let settings = EngineSettings {
            precompute: false,
            cache_dir: None,
            cache_capacity_bytes: 0,
            deadline: Duration::from_secs(600),
            ..options.engine()
        };
        let report = runtime.block_on(async {
            let engine = Engine::start(vec![(name.clone(), load)], settings);
            inspect(&name, &engine, arguments.explain.then_some(unread)).await
        });
        let report = report.unwrap_or_else(|error| {
            unusable += 1;
            json!({ "model": name, "problem": WithHint(&error).to_string() })
        });
        reports.push(report);
    }
    runtime.shutdown_background();
    if arguments.json {
        let report = json!({ "models": reports, "resident_mb": resident_bytes().map(megabytes) });
        print(format!("{report}\n").as_bytes())?;
    } else {
        print_lines(&aligned_text(&reports))?;
    }
    if unusable > 0 {
        return Err(anyhow!("{unusable} of {} models cannot be used; see the problems above", reports.len()));
    }
    Ok(Outcome::Done)
}

/// Returns the findings about one model, in the order in which they are shown. If the files that are
/// not read are given, they are shown with the sources of the findings.
async fn inspect(name: &str, engine: &Engine, unread: Option<Vec<String>>) -> Result<Value, Error> {
    let started = Instant::now();
    let info = engine.ready(None).await?;
    let load_ms = milliseconds(started.elapsed()).round();
    let mut latencies = Vec::new();
    let mut sample = Value::Null;
    // A decision model may need a question.
    let asks = info.decision.as_ref().is_some_and(|decision| !decision.defaults.are_complete());
    let question = Question::new(Some(QUESTION.into()), Some(QuestionKind::YesNo), Vec::new()).filter(|_| asks);
    for _ in 0..RUNS {
        let input = Input { question: question.clone(), ..Input::single(SAMPLE) };
        let answer = engine.predict(Request { input, ..Request::default() }).await?;
        let LabeledPrediction { prediction, confidence, value, .. } = answer.label();
        let score = confidence.or(value).map(rounded);
        // A graph that takes the text itself counts none.
        let tokens = Some(answer.prediction.tokens).filter(|tokens| *tokens > 0);
        sample = json!({ "text": SAMPLE, "prediction": prediction, "score": score, "tokens": tokens });
        latencies.push(answer.inference);
    }
    latencies.sort();
    let defaults = info.decision.as_ref().map(|decision| &decision.defaults);
    let mut report = json!({
        "model": name,
        "graph": info.graph.file,
        "chosen_because": info.graph.reason,
        "weights": (!info.graph.weights.is_empty()).then_some(&info.graph.weights),
        "opset": info.graph.opset,
        "inputs": info.graph.inputs,
        "outputs": info.graph.outputs,
        "task": info.task_name(),
        "labels": info.labels.iter().map(|label| &**label).collect::<Vec<_>>(),
        "takes_labels": info.supports_zero_shot.then_some(true),
        "question": defaults.and_then(|defaults| defaults.question.as_ref()),
        "kind": defaults.and_then(|defaults| defaults.kind).map(QuestionKind::name),
        "reads": info.decision.as_ref().map(|decision| &decision.limits),
        "activation": info.activation,
        "max_tokens": info.max_tokens,
        "precision": info.precision,
        "threshold": info.threshold.map(rounded),
        "languages": info.languages.as_ref().map(ToString::to_string),
        "calibration": info.calibration.as_ref().map(ToString::to_string),
        "digest": hex(&info.digest[..8]),
        "frequent_texts": info.frequent_texts.len(),
        "warnings": (!info.warnings.is_empty()).then_some(&info.warnings),
        "sample": sample,
        "load_ms": load_ms,
        "inference_ms": milliseconds(latencies[RUNS / 2]),
    });
    if let (Some(unread), Some(fields)) = (unread, report.as_object_mut()) {
        fields.extend(info.sources.iter().map(|&(fact, source)| (fact.to_owned(), source.into())));
        fields.insert("not_read".into(), (!unread.is_empty()).then_some(unread).into());
    }
    Ok(report)
}

fn is_shown(value: &Value) -> bool {
    !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty())
}

/// Formats one finding per line, names aligned.
fn aligned_text(reports: &[Value]) -> String {
    let mut lines = Vec::new();
    for report in reports {
        for warning in report["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            lines.push(format!("{:<15} {warning}", "warning"));
        }
        for (key, value) in
            report.as_object().into_iter().flatten().filter(|(key, value)| is_shown(value) && *key != "warnings")
        {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
                Value::Object(sample) => {
                    let tokens = sample["tokens"].as_u64().map(|tokens| format!(" ({tokens} tokens)"));
                    format!(
                        "{} {}{}: {}",
                        sample["prediction"].as_str().unwrap_or_default(),
                        sample["score"],
                        tokens.unwrap_or_default(),
                        sample["text"].as_str().unwrap_or_default()
                    )
                }
                other => other.to_string(),
            };
            lines.push(format!("{key:<15} {value}"));
        }
        lines.push(String::new());
    }
    if let Some(bytes) = resident_bytes() {
        lines.push(format!("{:<15} {}", "resident_mb", megabytes(bytes)));
    }
    lines.join("\n")
}

//! `check`: loads every model as `serve` would and reports what was found, or what is wrong and the way out.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::Args;
use serde_json::{Value, json};

use crate::args::Options;
use crate::commands::{Outcome, print, runtime};
use crate::digest::hex;
use crate::engine::{Engine, EngineSettings, Request, milliseconds, resident_bytes};
use crate::hints::WithHint;
use crate::model;
use crate::output::megabytes;
use crate::prediction::{Input, rounded};

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Write one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

const SAMPLE: &str = "This is a sample text for a first prediction.";
/// Runs that the shown latency is the median of.
const RUNS: usize = 9;

pub(super) fn run(options: &Options, arguments: &CheckArgs) -> anyhow::Result<Outcome> {
    let runtime = runtime()?;
    let models = options.models().map_err(|problem| anyhow!(problem))?;
    let mut reports = Vec::new();
    let mut unusable = 0;
    for (name, location) in models {
        let load = model::loader(name.clone(), location, options.library(), 1);
        // Without a cache, so that every run is one of the model; and a slow model shall be reported, not cut off.
        let settings = EngineSettings {
            precompute: false,
            results_dir: None,
            cache_capacity_bytes: 0,
            deadline: Duration::from_secs(600),
            ..options.engine()
        };
        let report =
            runtime.block_on(async { inspect(&name, &Engine::start(vec![(name.clone(), load)], settings)).await });
        unusable += usize::from(report.get("problem").is_some());
        reports.push(report);
    }
    runtime.shutdown_background();
    let text = if arguments.json {
        json!({ "models": reports, "resident_mb": resident_bytes().map(megabytes) }).to_string()
    } else {
        readable(&reports)
    };
    print(format!("{text}\n").as_bytes())?;
    if unusable > 0 {
        return Err(anyhow!("{unusable} of {} models cannot be used", reports.len()));
    }
    Ok(Outcome::Done)
}

/// One model's findings, in the order they are shown.
async fn inspect(name: &str, engine: &Engine) -> Value {
    let started = Instant::now();
    let info = match engine.ready(None).await {
        Ok(info) => info,
        Err(error) => return json!({ "model": name, "problem": WithHint(&error).to_string() }),
    };
    let load_ms = milliseconds(started.elapsed()).round();
    let mut took = Vec::new();
    let mut sample = Value::Null;
    for _ in 0..RUNS {
        match engine.predict(Request { input: Input::single(SAMPLE), ..Request::default() }).await {
            Ok(answer) => {
                let verdict = answer.verdict();
                sample = json!({ "text": SAMPLE, "prediction": verdict.prediction,
                                 "score": verdict.confidence.or(verdict.value).map(rounded),
                                 "tokens": answer.prediction.tokens });
                took.push(answer.inference);
            }
            Err(error) => return json!({ "model": name, "problem": WithHint(&error).to_string() }),
        }
    }
    took.sort();
    json!({
        "model": name,
        "graph": info.graph.file,
        "chosen_because": info.graph.reason,
        "weights": (!info.graph.weights.is_empty()).then_some(&info.graph.weights),
        "opset": info.graph.opset,
        "inputs": info.graph.inputs,
        "outputs": info.graph.outputs,
        "task": info.task.name(),
        "labels": info.labels.iter().map(|label| &**label).collect::<Vec<_>>(),
        "takes_labels": info.supports_zero_shot.then_some(true),
        "max_tokens": info.max_tokens,
        "precision": info.precision,
        "threshold": info.threshold.map(rounded),
        "calibration": info.calibration.as_ref().map(ToString::to_string),
        "digest": hex(&info.digest[..8]),
        "frequent_texts": info.frequent_texts.len(),
        "sample": sample,
        "load_ms": load_ms,
        "inference_ms": milliseconds(took[took.len() / 2]),
    })
}

/// One line a finding, names aligned.
fn readable(reports: &[Value]) -> String {
    let mut lines = Vec::new();
    for report in reports {
        for (key, value) in report.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            let shown = match value {
                Value::String(text) => text.clone(),
                Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
                Value::Object(sample) => format!(
                    "{} {} ({} tokens): {}",
                    sample["prediction"].as_str().unwrap_or_default(),
                    sample["score"],
                    sample["tokens"],
                    sample["text"].as_str().unwrap_or_default()
                ),
                other => other.to_string(),
            };
            lines.push(format!("{key:<15} {shown}"));
        }
        lines.push(String::new());
    }
    if let Some(bytes) = resident_bytes() {
        lines.push(format!("{:<15} {}", "resident_mb", megabytes(bytes)));
    }
    lines.join("\n")
}

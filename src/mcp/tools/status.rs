//! `local_model_status`: the models, their state, and figures about the session.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::hints::WithHint;
use crate::mcp::server::{Context, Server};
use crate::mcp::tools::{LocalTool, MAX_ERROR_CHARACTERS, ToolResult, on_other_thread, result};
use crate::output::megabytes;
use crate::visible::shorten;
use cache_dir::digest::hex;
use classifier::{ModelInfo, QuestionKind, rounded};
use engine::{CacheCounts, Percentiles, State, Statistics, milliseconds, resident_bytes};
use teaching::Teacher;

/// Labels that are listed, and characters of a label and a description that are shown. Names and
/// descriptions come with the model and could be of any size.
const MAX_LABELS: usize = 50;
const MAX_LABEL_CHARACTERS: usize = 64;
const MAX_DESCRIPTION_CHARACTERS: usize = 400;

pub(super) struct Status;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Output {
    /// The default model first.
    models: Vec<Model>,
    cache: Cache,
    /// Resident memory of the whole process.
    memory_mb: Option<f64>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(inline)]
struct Model {
    name: String,
    /// `idle` until first used, `loading`, `ready` or `failed`.
    state: &'static str,
    /// Why it, or its changed files, cannot be used, and what to do.
    problem: Option<String>,
    description: Option<String>,
    task: Option<String>,
    /// The first 50.
    labels: Option<Vec<String>>,
    /// Number of labels, if there are more.
    label_count: Option<usize>,
    /// True: calls may send their own `labels` (zero-shot and decision models).
    takes_labels: Option<bool>,
    /// True: calls may send `question`, `kind` and descriptions of labels.
    takes_question: Option<bool>,
    /// The question of calls that send none; omitted: each call needs one.
    question: Option<String>,
    /// The kind of that question.
    kind: Option<&'static str>,
    /// The function from the model's numbers to confidences, and why it is applied.
    activation: Option<String>,
    /// What to mend in the model's folder; tell the user.
    warnings: Option<Vec<String>>,
    /// Longest text that is read completely.
    max_tokens: Option<usize>,
    precision: Option<&'static str>,
    /// How the confidence was calibrated; omitted if it was not.
    calibration: Option<String>,
    /// Predictions with a lower confidence are marked `uncertain`.
    threshold: Option<f64>,
    /// First 16 digits of a SHA-256 over everything that determines a result.
    digest: Option<String>,
    load_ms: Option<LoadMs>,
    /// Finished calls, by the source of their answer or the reason that there is none.
    calls: Statistics,
    /// From arrival to answer, for the last 1,000 calls.
    latency_ms: Option<Percentiles>,
}

/// Milliseconds of each step of loading; `files` and `tokenizer` run in parallel.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct LoadMs {
    library: f64,
    files: f64,
    tokenizer: f64,
    session: f64,
    first_run: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct Cache {
    #[serde(flatten)]
    counts: CacheCounts,
    /// Share of calls answered without running the model.
    hit_rate: f64,
}

impl LocalTool for Status {
    const NAME: &'static str = "local_model_status";
    const TITLE: &'static str = "Status of the local models";
    const DESCRIPTION: &'static str = "Lists the local models with their labels, limits, readiness or error, call counts \
        and latency. Use it when a prediction failed or before relying on label names.";
    const SEARCH_HINT: &'static str = "which local models do I have, labels of a classifier, loaded ready not working, how \
        fast, latency p95, memory, token limit _有哪些_本地_模型_本地模型_标签_加载_用不了_延迟_速度_内存_";
    const IDEMPOTENT: bool = false;
    type Arguments = Arguments;
    type Output = Output;

    async fn call(server: &Server, _: Arguments, _: &Context) -> ToolResult {
        let statistics = server.engine.statistics().into_iter();
        let counts = server.engine.cache_counts().await;
        let reused = counts.hits + counts.joined;
        let hit_rate = rounded(reused as f32 / (reused + counts.misses).max(1) as f32);
        let mut models: Vec<Model> = statistics.map(|(name, state, calls)| Model::new(name, &state, calls)).collect();
        for model in models.iter_mut().filter(|model| model.problem.is_none()) {
            model.problem = server.engine.reload_error(&model.name).map(|error| {
                let error = shorten(&WithHint(&error).to_string(), MAX_ERROR_CHARACTERS);
                format!("its folder changed, and the earlier model goes on: {error}")
            });
        }
        if let Ok(teacher) = server.teacher() {
            models = on_other_thread(move || described_by(&teacher, models)).await;
        }
        let output = Output { models, cache: Cache { counts, hit_rate }, memory_mb: resident_bytes().map(megabytes) };
        Ok(result(&output, None))
    }
}

/// Adds what is known of taught models that are not loaded yet.
fn described_by(teacher: &Teacher, mut models: Vec<Model>) -> Vec<Model> {
    for model in models.iter_mut().filter(|model| model.state == "idle") {
        let text = teacher.description(&model.name);
        model.description = text.map(|text| shorten(&text, MAX_DESCRIPTION_CHARACTERS));
    }
    models
}

impl Model {
    fn new(name: String, state: &State, calls: Statistics) -> Self {
        let model = Self { name, latency_ms: calls.latency, calls, ..Self::default() };
        match state {
            State::Idle => Self { state: "idle", ..model },
            State::Loading => Self { state: "loading", ..model },
            State::Failed(error) => {
                let problem = shorten(&WithHint(error).to_string(), MAX_ERROR_CHARACTERS);
                Self { state: "failed", problem: Some(problem), ..model }
            }
            State::Ready(info) => model.described(info),
        }
    }

    fn described(self, info: &ModelInfo) -> Self {
        let defaults = info.decision.as_ref().map(|decision| &decision.defaults);
        let question = defaults.and_then(|defaults| defaults.question.as_ref());
        let labels = info.labels.iter().take(MAX_LABELS).map(|label| shorten(label, MAX_LABEL_CHARACTERS));
        Self {
            state: "ready",
            description: info.description.as_ref().map(|text| shorten(text, MAX_DESCRIPTION_CHARACTERS)),
            task: Some(info.task_name()),
            labels: Some(labels.collect()),
            label_count: Some(info.labels.len()).filter(|count| *count > MAX_LABELS),
            takes_labels: info.supports_zero_shot.then_some(true),
            takes_question: info.decision.as_ref().map(|_| true),
            question: question.map(|question| shorten(question, MAX_DESCRIPTION_CHARACTERS)),
            kind: defaults.and_then(|defaults| defaults.kind).map(QuestionKind::name),
            activation: Some(info.activation.clone()),
            warnings: Some(info.warnings.clone()).filter(|warnings| !warnings.is_empty()),
            max_tokens: info.max_tokens,
            precision: Some(info.precision),
            calibration: info.calibration.as_ref().map(ToString::to_string),
            threshold: info.threshold.map(rounded),
            digest: Some(hex(&info.digest[..8])),
            load_ms: Some(LoadMs {
                library: milliseconds(info.load.library),
                files: milliseconds(info.load.files),
                tokenizer: milliseconds(info.load.tokenizer),
                session: milliseconds(info.load.session),
                first_run: milliseconds(info.load.first_run),
            }),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use classifier::Task;

    #[test]
    fn many_and_long_names_are_shortened() {
        let info = ModelInfo {
            description: Some(format!("\u{202e}{}", "x".repeat(1 << 20))),
            ..ModelInfo::new(
                Task::SingleLabel,
                (0..65_536).map(|number| format!("{number}{}", "é".repeat(1000)).into()).collect(),
            )
        };
        let model = Model::new("m".into(), &State::Ready(Arc::new(info)), Statistics::default());
        let labels = model.labels.unwrap();
        assert_eq!((labels.len(), model.label_count), (50, Some(65_536)));
        assert!(labels.iter().all(|label| label.len() <= 256), "{}", labels[0]);
        let description = model.description.unwrap();
        assert!(description.starts_with("\\u{202e}xx") && description.chars().count() == 401, "{description}");
        let error = engine::Error::Thread { message: "x".repeat(1 << 20) };
        let failed = Model::new("m".into(), &State::Failed(Arc::new(error)), Statistics::default());
        assert_eq!(failed.problem.unwrap().chars().count(), 2001);
    }
}

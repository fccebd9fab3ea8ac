//! `local_model_status`: the models, their state, and figures about the session.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::hex;
use crate::engine::{State, Statistics, milliseconds, resident_bytes};
use crate::hints::WithHint;
use crate::mcp::server::{Context, Server};
use crate::mcp::tools::{LocalTool, ToolResult, result, shorten};
use crate::prediction::{ModelInfo, rounded};

/// Labels that are listed, and characters of a label and a description that are shown. Names and
/// descriptions come with the model and could be of any size.
const MAX_LABELS: usize = 50;
const MAX_LABEL_CHARACTERS: usize = 64;
const MAX_DESCRIPTION_CHARACTERS: usize = 300;

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
    /// `loading`, `ready` or `failed`.
    state: &'static str,
    /// Why it failed and what to do.
    problem: Option<String>,
    description: Option<String>,
    task: Option<&'static str>,
    /// The first 50.
    labels: Option<Vec<String>>,
    /// Number of labels, if there are more.
    label_count: Option<usize>,
    /// True: calls may send their own `labels` (zero-shot).
    takes_labels: Option<bool>,
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
    calls: Calls,
    /// From arrival to answer, for the last 1,000 calls.
    latency_ms: Option<LatencyMs>,
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

/// Finished calls, by the source of their answer or the reason that there is none.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(inline)]
struct Calls {
    model: u64,
    cache: u64,
    joined: u64,
    precomputed: u64,
    caller_errors: u64,
    cancelled: u64,
    errors: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct LatencyMs {
    p50: f64,
    p95: f64,
    p99: f64,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct Cache {
    entries: u64,
    hits: u64,
    precomputed_hits: u64,
    joined: u64,
    misses: u64,
    /// Share of calls answered without running the model.
    hit_rate: f64,
}

impl LocalTool for Status {
    const NAME: &'static str = "local_model_status";
    const TITLE: &'static str = "Status of the local models";
    const DESCRIPTION: &'static str = "Lists the local models with their labels, limits, readiness or error, call counts \
        and latency. Use it when a prediction failed or before relying on label names.";
    const SEARCH_HINT: &'static str = "local model status labels ready latency";
    const IDEMPOTENT: bool = false;
    type Arguments = Arguments;
    type Output = Output;

    async fn call(server: &Server, _: Arguments, _: &Context) -> ToolResult {
        let statistics = server.engine.statistics().into_iter();
        let cache = server.engine.cache_counts().await;
        let answered = cache.hits + cache.joined + cache.misses;
        let output = Output {
            models: statistics.map(|(name, state, counts)| Model::new(name, &state, &counts)).collect(),
            cache: Cache {
                entries: cache.entries,
                hits: cache.hits,
                precomputed_hits: cache.precomputed_hits,
                joined: cache.joined,
                misses: cache.misses,
                hit_rate: rounded((cache.hits + cache.joined) as f32 / answered.max(1) as f32),
            },
            memory_mb: resident_bytes().map(|bytes| (bytes as f64 / 1e5).round() / 10.0),
        };
        Ok(result(&output, None))
    }
}

impl Model {
    fn new(name: String, state: &State, counts: &Statistics) -> Self {
        let calls = Calls {
            model: counts.from_model,
            cache: counts.from_cache,
            joined: counts.joined,
            precomputed: counts.precomputed,
            caller_errors: counts.caller_errors,
            cancelled: counts.cancelled,
            errors: counts.errors,
        };
        let latency_ms = counts.latency.map(|at| LatencyMs { p50: at.p50_ms, p95: at.p95_ms, p99: at.p99_ms });
        let model = Self { name, calls, latency_ms, ..Self::default() };
        match state {
            State::Loading => Self { state: "loading", ..model },
            State::Failed(error) => Self { state: "failed", problem: Some(WithHint(error).to_string()), ..model },
            State::Ready(info) => model.described(info),
        }
    }

    fn described(self, info: &ModelInfo) -> Self {
        let labels = info.labels.iter().take(MAX_LABELS).map(|label| shorten(label, MAX_LABEL_CHARACTERS));
        Self {
            state: "ready",
            description: info.description.as_ref().map(|text| shorten(text, MAX_DESCRIPTION_CHARACTERS)),
            task: Some(info.task.name()),
            labels: Some(labels.collect()),
            label_count: Some(info.labels.len()).filter(|count| *count > MAX_LABELS),
            takes_labels: info.supports_zero_shot.then_some(true),
            max_tokens: Some(info.max_tokens),
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

//! The tools: how each is described to the assistant, and what each does with a call.

use std::sync::Arc;

use rmcp::model::{CallToolRequestParams, CallToolResult, ContentBlock, MetaObject, Tool, ToolAnnotations};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::digest::hex;
use crate::engine::{Answer, Engine, Request, State, Statistics, milliseconds, resident_bytes};
use crate::error::Error;
use crate::mcp::schema::{
    CacheStatus, CallCounts, LatencyMs, LoadMs, ModelStatus, PredictArguments, PredictResult, StatusArguments,
    StatusResult, input, output,
};
use crate::prediction::{Input, rounded};

pub(super) const PREDICT: &str = "local_model_predict";
pub(super) const STATUS: &str = "local_model_status";

const PREDICT_DESCRIPTION: &str = "Classifies, tags or scores one text with the user's local model. Use it whenever a text \
    should be labelled by that model, instead of judging yourself; `model` lists the models there are, local_model_status \
    their labels. Answers in milliseconds, offline; the text stays on this machine. Where not all of a long text was read, \
    the result says so.";

const STATUS_DESCRIPTION: &str = "Tells which local models there are, their labels and limits, whether each is ready, why \
    one failed and what to do, and counts, latency and memory since the start. Use it when a prediction failed or before \
    relying on label names.";

/// All tools, ordered by name. `models` are the names that `model` may take.
pub(super) fn list(models: &[String]) -> Vec<Tool> {
    let mut predict = input::<PredictArguments>();
    predict["properties"]["model"]["enum"] = json!(models);
    let hint = json!("classify text label sentiment tag entities local model predict confidence");
    let meta = MetaObject(serde_json::Map::from_iter([("anthropic/searchHint".to_owned(), hint)]));
    vec![
        Tool::new(PREDICT, PREDICT_DESCRIPTION, Arc::new(predict))
            .with_title("Predict with the local model")
            .with_raw_output_schema(output::<PredictResult>())
            .with_annotations(read_only("Predict with the local model", true))
            .with_meta(meta),
        Tool::new(STATUS, STATUS_DESCRIPTION, Arc::new(input::<StatusArguments>()))
            .with_title("Status of the local models")
            .with_raw_output_schema(output::<StatusResult>())
            .with_annotations(read_only("Status of the local models", false)),
    ]
}

fn read_only(title: &str, idempotent: bool) -> ToolAnnotations {
    ToolAnnotations::from_raw(Some(title.into()), Some(true), Some(false), Some(idempotent), Some(false))
}

/// The model that a call names, where it names one at all.
pub(super) fn model_of(request: &CallToolRequestParams) -> Option<String> {
    request.arguments.as_ref()?.get("model")?.as_str().map(str::to_owned)
}

/// Answers one call of a known tool.
///
/// # Errors
/// Whatever the assistant can act on; unknown tools are told apart before, by `known`.
pub(super) async fn call(engine: &Engine, request: CallToolRequestParams) -> Result<CallToolResult, Error> {
    let arguments = Value::Object(request.arguments.unwrap_or_default());
    if request.name == STATUS {
        let StatusArguments {} = parse(arguments, "no arguments")?;
        return Ok(result(&status(engine).await, MetaObject::new()));
    }
    let PredictArguments { text, text_pair, model, labels, top_k } =
        parse(arguments, "`text`, and optionally `text_pair`, `model`, `labels`, `top_k`")?;
    let answer = engine
        .predict(Request {
            model,
            input: Input { text, text_pair, labels: labels.unwrap_or_default() },
            top_k,
            ..Request::default()
        })
        .await?;
    Ok(result(&PredictResult::new(&answer, top_k.unwrap_or(1)), diagnostics(&answer)))
}

pub(super) fn known(tool: &str) -> bool {
    matches!(tool, PREDICT | STATUS)
}

fn parse<T: DeserializeOwned>(arguments: Value, takes: &str) -> Result<T, Error> {
    serde_json::from_value(arguments)
        .map_err(|error| Error::Arguments { problem: error.to_string(), takes: takes.into() })
}

/// Structured content for the assistant and the same as text for clients that show nothing else.
fn result(content: &impl Serialize, meta: MetaObject) -> CallToolResult {
    let value = serde_json::to_value(content).expect("results are plain structs of strings and numbers");
    let mut result = CallToolResult::success(vec![ContentBlock::text(value.to_string())]);
    result.structured_content = Some(value);
    result.meta = (!meta.0.is_empty()).then_some(meta);
    result
}

/// What a developer wants to know of a call and an assistant does not.
fn diagnostics(answer: &Answer) -> MetaObject {
    let Value::Object(fields) = json!({
        "local-model/model": answer.model,
        "local-model/digest": hex(&answer.info.digest[..8]),
        "local-model/source": answer.source.name(),
        "local-model/tokens": answer.prediction.tokens,
        "local-model/queue_ms": milliseconds(answer.queued),
        "local-model/inference_ms": milliseconds(answer.inference),
        "local-model/total_ms": milliseconds(answer.total),
    }) else {
        unreachable!("the literal above is an object")
    };
    MetaObject(fields)
}

async fn status(engine: &Engine) -> StatusResult {
    let models = engine.statistics().into_iter().map(|(name, state, counts)| model_status(name, &state, &counts));
    let cache = engine.cache_counts().await;
    let answered = cache.hits + cache.joined + cache.misses;
    StatusResult {
        models: models.collect(),
        cache: CacheStatus {
            entries: cache.entries,
            hits: cache.hits,
            precomputed_hits: cache.precomputed_hits,
            joined: cache.joined,
            misses: cache.misses,
            hit_rate: rounded((cache.hits + cache.joined) as f32 / answered.max(1) as f32),
        },
        memory_mb: resident_bytes().map(|bytes| (bytes as f64 / 1e5).round() / 10.0),
    }
}

fn model_status(name: String, state: &State, counts: &Statistics) -> ModelStatus {
    let info = match state {
        State::Ready(info) => Some(info),
        State::Loading | State::Failed(_) => None,
    };
    ModelStatus {
        name,
        state: match state {
            State::Loading => "loading",
            State::Ready(_) => "ready",
            State::Failed(_) => "failed",
        },
        problem: match state {
            State::Failed(error) => Some(error.to_string()),
            State::Loading | State::Ready(_) => None,
        },
        description: info.and_then(|info| info.description.clone()),
        task: info.map(|info| info.task.name()),
        labels: info.map(|info| info.labels.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        takes_labels: info.is_some_and(|info| info.takes_candidates),
        max_tokens: info.map(|info| info.max_tokens),
        precision: info.map(|info| info.precision),
        digest: info.map(|info| hex(&info.digest[..8])),
        load_ms: info.map(|info| LoadMs {
            library: milliseconds(info.load.library),
            files: milliseconds(info.load.files),
            tokenizer: milliseconds(info.load.tokenizer),
            session: milliseconds(info.load.session),
            first_run: milliseconds(info.load.first_run),
        }),
        calls: CallCounts {
            model: counts.from_model,
            cache: counts.from_cache,
            joined: counts.joined,
            precomputed: counts.precomputed,
            caller_errors: counts.caller_errors,
            cancelled: counts.cancelled,
            errors: counts.errors,
        },
        latency_ms: counts.latency.map(|at| LatencyMs { p50: at.p50_ms, p95: at.p95_ms, p99: at.p99_ms }),
    }
}

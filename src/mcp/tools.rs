//! The tools: how each is described to the assistant, and what each does with a call.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use rmcp::model::{CallToolRequestParams, CallToolResult, ContentBlock, JsonObject, MetaObject, Tool, ToolAnnotations};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::digest::hex;
use crate::engine::{Answer, Engine, Lane, Request, State, Statistics, milliseconds, resident_bytes};
use crate::error::{Error, Kind};
use crate::mcp::file_schema::{FileArguments, FileResult};
use crate::mcp::schema::{
    BatchArguments, BatchElement, BatchResult, CacheStatus, CallCounts, LatencyMs, LoadMs, ModelStatus,
    PredictArguments, PredictResult, StatusArguments, StatusResult, input, output,
};
use crate::prediction::{Input, rounded};

pub(super) const PREDICT: &str = "local_model_predict";
pub(super) const PREDICT_BATCH: &str = "local_model_predict_batch";
pub(super) const PREDICT_FILE: &str = "local_model_predict_file";
pub(super) const STATUS: &str = "local_model_status";
pub(super) const NAMES: [&str; 4] = [PREDICT, PREDICT_BATCH, PREDICT_FILE, STATUS];

/// Texts in one batch. More belong into a file, whose rows need not pass through the conversation.
const MAX_BATCH: usize = 256;

const PREDICT_DESCRIPTION: &str = "Classifies, tags or scores one text with the user's local model, in milliseconds, offline. Use it \
    whenever a text should be labelled by that model, instead of judging yourself. Where not all of a long text was read, the \
    result says so.";

const BATCH_DESCRIPTION: &str = "Classifies up to 256 texts that are already in the conversation; one result per text, in the same \
    order. A text that cannot be classified has `error` and spoils no other. For files use local_model_predict_file.";

const FILE_DESCRIPTION: &str = "Classifies every row of a file (CSV, TSV, JSON lines, text lines, Parquet; also gzip, zstd) with the \
    user's local model into a new file; do not read the rows yourself. Answers with counts and the numbers of rows that are \
    uncertain or failed. Then decide the uncertain ones yourself: `only: \"uncertain\"` returns their texts, `corrections` writes \
    your decisions into the output; both together give the next rows at once. Rows are numbered from 1, without the header. Never \
    replaces a file unless told to.";

const STATUS_DESCRIPTION: &str = "Which local models there are, their labels and limits, whether each is ready or why it failed, \
    counts and latency. Use it when a prediction failed or before relying on label names.";

/// All tools, ordered by name. `models` are the names that `model` may take.
pub(super) fn list(models: &[String]) -> Vec<Tool> {
    let named = |mut schema: JsonObject| {
        schema["properties"]["model"]["enum"] = json!(models);
        schema
    };
    let predict = named(input::<PredictArguments>());
    let batch = named(input::<BatchArguments>());
    let file = named(input::<FileArguments>());
    let meta = hint("classify text label sentiment tag entities local model predict confidence");
    vec![
        Tool::new(PREDICT, PREDICT_DESCRIPTION, Arc::new(predict))
            .with_title("Predict with the local model")
            .with_raw_output_schema(output::<PredictResult>())
            .with_annotations(read_only("Predict with the local model", true))
            .with_meta(meta),
        Tool::new(PREDICT_BATCH, BATCH_DESCRIPTION, Arc::new(batch))
            .with_title("Predict a batch with the local model")
            .with_raw_output_schema(output::<BatchResult>())
            .with_annotations(read_only("Predict a batch with the local model", true))
            .with_meta(hint("classify many texts list batch labels local model")),
        Tool::new(PREDICT_FILE, FILE_DESCRIPTION, Arc::new(file))
            .with_title("Predict a file with the local model")
            .with_raw_output_schema(output::<FileResult>())
            .with_annotations(writing("Predict a file with the local model"))
            .with_meta(hint("classify file csv tsv jsonl parquet dataset rows column bulk labels local model")),
        Tool::new(STATUS, STATUS_DESCRIPTION, Arc::new(input::<StatusArguments>()))
            .with_title("Status of the local models")
            .with_raw_output_schema(output::<StatusResult>())
            .with_annotations(read_only("Status of the local models", false)),
    ]
}

fn hint(words: &str) -> MetaObject {
    MetaObject(serde_json::Map::from_iter([("anthropic/searchHint".to_owned(), json!(words))]))
}

/// Writes a new file; what is there stays there unless the call says otherwise.
fn writing(title: &str) -> ToolAnnotations {
    ToolAnnotations::from_raw(Some(title.into()), Some(false), Some(false), Some(false), Some(false))
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
pub(super) async fn call(
    engine: &Engine,
    in_flight: usize,
    request: CallToolRequestParams,
) -> Result<CallToolResult, Error> {
    let arguments = Value::Object(request.arguments.unwrap_or_default());
    if request.name == PREDICT_BATCH {
        let batch = parse(arguments, "`texts`, and optionally `model`, `labels`, `top_k`")?;
        return Ok(result(&Box::pin(predict_batch(engine, in_flight, batch)).await?, MetaObject::new()));
    }
    if request.name == STATUS {
        let StatusArguments {} = parse(arguments, "no arguments")?;
        return Ok(result(&status(engine).await, MetaObject::new()));
    }
    let PredictArguments { text, text_pair, model, labels, top_k, explain } =
        parse(arguments, "`text`, and optionally `text_pair`, `model`, `labels`, `top_k`, `explain`")?;
    let answer = engine
        .predict(Request {
            model,
            input: Input { text, text_pair, labels: labels.unwrap_or_default() },
            top_k,
            explain: explain.unwrap_or_default(),
            ..Request::default()
        })
        .await?;
    Ok(result(&PredictResult::new(&answer, top_k.unwrap_or(1)), diagnostics(&answer)))
}

/// Each text by itself, so that one that fails spoils no other.
async fn predict_batch(engine: &Engine, in_flight: usize, batch: BatchArguments) -> Result<BatchResult, Error> {
    let BatchArguments { texts, model, labels, top_k } = batch;
    if !(1..=MAX_BATCH).contains(&texts.len()) {
        return Err(Error::Batch { found: texts.len(), limit: MAX_BATCH });
    }
    let labels = labels.unwrap_or_default();
    let predict = |text: String| {
        let input = Input { text, text_pair: None, labels: labels.clone() };
        engine.predict(Request { model: model.clone(), input, top_k, lane: Lane::Batch, ..Request::default() })
    };
    let mut answers = stream::iter(texts).map(predict).buffered(in_flight);
    let mut results = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer {
            // What is wrong with every text is said once.
            Err(error @ (Error::UnknownModel { .. } | Error::TopK { .. })) => return Err(error),
            Err(error) if error.kind() == Kind::Model => return Err(error),
            answer => results.push(BatchElement::new(answer, top_k.unwrap_or(1))),
        }
    }
    Ok(BatchResult { results })
}

pub(super) fn known(tool: &str) -> bool {
    NAMES.contains(&tool)
}

pub(super) fn parse<T: DeserializeOwned>(arguments: Value, takes: &str) -> Result<T, Error> {
    serde_json::from_value(arguments)
        .map_err(|error| Error::Arguments { problem: error.to_string(), takes: takes.into() })
}

/// Structured content for the assistant and the same as text for clients that show nothing else.
pub(super) fn result(content: &impl Serialize, meta: MetaObject) -> CallToolResult {
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
        takes_labels: info.is_some_and(|info| info.supports_zero_shot),
        max_tokens: info.map(|info| info.max_tokens),
        precision: info.map(|info| info.precision),
        calibration: info.and_then(|info| info.calibration.as_ref().map(ToString::to_string)),
        threshold: info.and_then(|info| info.threshold).map(rounded),
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

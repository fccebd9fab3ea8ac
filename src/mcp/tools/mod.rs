//! The tools: one file each, with the description, arguments, result and call of that tool.
//!
//! Doc comments of argument and result fields are product text: they become the schemas that the
//! assistant reads. Absent fields of a result are omitted, never null.

mod audit;
mod models;
mod predict;
mod predict_batch;
mod predict_file;
mod schema;
mod status;
mod teach;
mod teaching_call;

use std::borrow::Cow;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResult, ContentBlock, MetaObject, ProgressNotificationParam, Tool, ToolAnnotations,
};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::Error;
use crate::mcp::server::{Context, Server};
use crate::visible::{shorten, visible};
use audit::Audit;
use engine::{Engine, State};
use predict::Predict;
use predict_batch::PredictBatch;
use predict_file::PredictFile;
use status::Status;
use teach::Teach;

/// The interval between progress notifications of a call.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Longest error that is shown. The runtime's messages quote model files, which could be of any size.
const MAX_ERROR_CHARACTERS: usize = 2000;

/// How much of a wrong argument an error quotes. What was expected comes after it.
const MAX_FOUND_CHARACTERS: usize = 200;

/// The answer to a call, or an error that the assistant reads and can act on.
type ToolResult = Result<CallToolResult, ToolError>;

/// One tool.
trait LocalTool {
    const NAME: &'static str;
    const TITLE: &'static str;
    /// Text for the assistant: what the tool does and when to use it.
    const DESCRIPTION: &'static str;
    /// Words of users that a client's search for tools should match; the assistant does not read
    /// them. `evals/search` measures their effect. Chinese words stand between underscores, because
    /// Claude Code searches with `\bword\b`, for which only letters, digits and `_` are word
    /// characters.
    const SEARCH_HINT: &'static str;
    /// Whether the assistant knows the tool from its first prompt on. Clients hide others until they
    /// are searched for, and a tool that has to be searched for is often not called at all.
    const ALWAYS_LOAD: bool = false;
    /// Whether calls change nothing. Clients run calls of such tools in parallel.
    const READ_ONLY: bool = true;
    const IDEMPOTENT: bool = true;
    type Arguments: DeserializeOwned + JsonSchema + Send;
    type Output: Serialize + JsonSchema;

    /// Answers one call.
    fn call(server: &Server, arguments: Self::Arguments, context: &Context) -> impl Future<Output = ToolResult> + Send;
}

/// The names of all tools, in alphabetical order.
pub(super) const NAMES: [&str; 6] =
    [Audit::NAME, Predict::NAME, PredictBatch::NAME, PredictFile::NAME, Status::NAME, Teach::NAME];

/// Describes all tools, in the order of [`NAMES`]. The description of `local_model_predict` also
/// lists the models' labels, which are read from files: blocks for at most 200 ms.
pub(super) fn list(engine: &Arc<Engine>) -> Vec<Tool> {
    let models = engine.names();
    let mut predict = describe::<Predict>(&models);
    predict.description = Some(format!("{} {}", Predict::DESCRIPTION, models::summary(engine)).into());
    vec![
        describe::<Audit>(&models),
        predict,
        describe::<PredictBatch>(&models),
        describe::<PredictFile>(&models),
        describe::<Status>(&models),
        describe::<Teach>(&models),
    ]
}

fn describe<T: LocalTool>(models: &[String]) -> Tool {
    let mut input = schema::input::<T::Arguments>();
    if let Some(model) = input["properties"].get_mut("model") {
        model["enum"] = json!(models);
    }
    // Not destructive, since files are replaced only on request. Not open-world, since no tool
    // reaches beyond this machine. The specification has no annotation for texts of others, so
    // descriptions and results say that they are data.
    let annotations = ToolAnnotations::from_raw(
        Some(T::TITLE.into()),
        Some(T::READ_ONLY),
        Some(false),
        Some(T::IDEMPOTENT),
        Some(false),
    );
    let meta = serde_json::Map::from_iter([
        ("anthropic/searchHint".to_owned(), json!(T::SEARCH_HINT)),
        ("anthropic/alwaysLoad".to_owned(), json!(T::ALWAYS_LOAD)),
    ]);
    Tool::new(T::NAME, T::DESCRIPTION, Arc::new(input))
        .with_title(T::TITLE)
        .with_raw_output_schema(Arc::new(schema::output::<T::Output>()))
        .with_annotations(annotations)
        .with_meta(MetaObject(meta))
}

/// Answers a call of one of the tools in [`NAMES`].
pub(super) async fn call(server: &Server, request: CallToolRequestParams, context: &Context) -> ToolResult {
    if let Some(model) = request.arguments.as_ref().and_then(|arguments| arguments.get("model")?.as_str()) {
        server.find_taught(model, context).await;
    }
    match &*request.name {
        Audit::NAME => run::<Audit>(server, request, context).await,
        PredictBatch::NAME => run::<PredictBatch>(server, request, context).await,
        PredictFile::NAME => run::<PredictFile>(server, request, context).await,
        Status::NAME => run::<Status>(server, request, context).await,
        Teach::NAME => run::<Teach>(server, request, context).await,
        _ => run::<Predict>(server, request, context).await,
    }
}

async fn run<T: LocalTool>(server: &Server, request: CallToolRequestParams, context: &Context) -> ToolResult {
    let arguments = Value::Object(request.arguments.unwrap_or_default());
    let arguments = serde_path_to_error::deserialize(arguments).map_err(|error| ToolError::malformed::<T>(&error))?;
    // Boxed because callers move this future, which would be as large as the largest tool's.
    Box::pin(T::call(server, arguments, context)).await
}

/// Why a call has no result, in words for the assistant.
pub(super) struct ToolError(String);

impl ToolError {
    /// The arguments do not fit the schema.
    fn malformed<T: LocalTool>(error: &serde_path_to_error::Error<serde_json::Error>) -> Self {
        let message = error.inner().to_string();
        // What follows are the terms of Rust and serde.
        let found = message.split_once(", expected ").map_or(&*message, |(found, _)| found);
        match schema::kind::<T::Arguments>(error.path()) {
            Some(expected) => {
                let found = ["invalid type: ", "invalid value: ", "unknown variant "]
                    .into_iter()
                    .find_map(|prefix| found.strip_prefix(prefix))
                    .unwrap_or(found);
                let (path, found) = (error.path(), shorten(found, MAX_FOUND_CHARACTERS));
                Self(format!("invalid arguments: `{path}` is {found}; expected {expected}"))
            }
            None => Self::arguments::<T>(found),
        }
    }

    /// The arguments do not fit each other, or a required one is missing.
    fn arguments<T: LocalTool>(problem: impl Display) -> Self {
        Self(format!("invalid arguments: {problem}; expected {}", schema::arguments::<T::Arguments>()))
    }
}

impl<E: Into<Error>> From<E> for ToolError {
    fn from(error: E) -> Self {
        Self(error.into().to_string())
    }
}

impl From<ToolError> for CallToolResult {
    fn from(error: ToolError) -> Self {
        Self::error(vec![ContentBlock::text(shorten(&error.0, MAX_ERROR_CHARACTERS))])
    }
}

/// Returns structured content for the assistant, and the same as text for clients that show only
/// text. Null fields are omitted, and hidden characters are escaped.
fn result(output: &impl Serialize, meta: Option<MetaObject>) -> CallToolResult {
    let mut value = serde_json::to_value(output).expect("results are plain structs of strings and numbers");
    make_presentable(&mut value);
    let mut result = CallToolResult::success(vec![ContentBlock::text(value.to_string())]);
    result.structured_content = Some(value);
    result.meta = meta;
    result
}

fn make_presentable(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(make_presentable);
        }
        Value::Array(items) => items.iter_mut().for_each(make_presentable),
        Value::String(text) => {
            if let Cow::Owned(shown) = visible(text) {
                *text = shown;
            }
        }
        _ => {}
    }
}

/// Runs work that may take more than 10 ms on another thread, so that other calls are answered
/// meanwhile.
pub(super) async fn on_other_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(output) => output,
        // The work is never aborted. A panic becomes the answer of this call.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Does the work of a call. Drops it when the call is cancelled, and reports progress while the
/// model loads.
async fn watched<T>(
    server: &Server,
    model: Option<String>,
    context: &Context,
    work: impl Future<Output = Result<T, ToolError>>,
) -> Result<T, ToolError> {
    let name = model.or_else(|| server.engine.names().into_iter().next()).unwrap_or_default();
    let mut value = 0.0;
    let next = || {
        value += 1.0;
        let is_loading = matches!(server.engine.state(&name), Some(State::Loading));
        is_loading.then(|| Progress { value, total: None, message: format!("model `{name}` is loading") })
    };
    tokio::select! {
        // The work is polled first, because it may start loading a failed model, which the report
        // then sees.
        biased;
        outcome = work => outcome,
        () = context.ct.cancelled() => Err(engine::Error::Cancelled.into()),
        never = report_progress(context, next) => match never {},
    }
}

/// One progress notification. `value` must grow from one to the next.
struct Progress {
    value: f64,
    total: Option<f64>,
    message: String,
}

/// Sends progress to a client that requested it, until `next` returns `None`. Never completes.
async fn report_progress(context: &Context, mut next: impl FnMut() -> Option<Progress>) -> std::convert::Infallible {
    if let Some(token) = context.meta.get_progress_token() {
        loop {
            tokio::time::sleep(PROGRESS_INTERVAL).await;
            let Some(Progress { value, total, message }) = next() else { break };
            let mut progress = ProgressNotificationParam::new(token.clone(), value).with_message(message);
            progress.total = total;
            // If the client cannot be reached, the session ends elsewhere.
            let _ = Box::pin(context.peer.notify_progress(progress)).await;
        }
    }
    std::future::pending().await
}

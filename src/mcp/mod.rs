//! The MCP server: protocol eras, tool calls, progress, cancellation.
//!
//! Nothing outside this folder may name `rmcp` or `schemars`. What the assistant reads is written in `schema` (fields) and
//! `tools` (descriptions); what a call does is `engine`'s business.

mod duplex;
mod file_schema;
mod files;
mod lines;
mod schema;
mod skill;
mod stdio;
mod tools;

use std::convert::Infallible;
use std::future::Future;
use std::io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomRequest, CustomResult,
    DiscoverResult, ErrorCode, GetSkillRequestParams, GetSkillResult, Implementation, ListResourceTemplatesResult,
    ListResourcesResult, ListSkillsResult, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam,
    ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, ServerInitializeError};
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};

use crate::engine::{Engine, State};
use crate::error::Error;
use crate::job::JobSettings;
pub use duplex::{Duplex, stdio};
use stdio::{Session, StdioTransport};

/// The list of tools never changes while the process lives.
const LIST_TTL_MS: u64 = 3_600_000;
/// A wait shorter than this is not worth a notification; a human notices a few a second at most.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// What a client puts before the assistant from the start; tools themselves may stay unseen until searched for.
fn instructions(models: &[String]) -> String {
    format!(
        "Runs the user's own text models ({}), offline. Use local_model_predict whenever texts shall be classified, labelled, tagged \
         or scored by their model; do not guess its answer. Many texts: local_model_predict_batch. A file: give its path to \
         local_model_predict_file, never read its rows. Results marked `uncertain` deserve a look of your own.",
        models.join(", ")
    )
}

/// Serves until the client closes its end or `shutdown` completes.
///
/// # Errors
/// What the transport reports where it cannot be used at all; a client that leaves is no error.
pub async fn serve(
    engine: Arc<Engine>,
    jobs: JobSettings,
    duplex: Duplex,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let session = Arc::new(Session::default());
    let (transport, written) = StdioTransport::new(duplex, Arc::clone(&session));
    let server = Server { tools: tools::list(&engine.names()), engine, jobs, session: Arc::clone(&session) };
    let served = async {
        match server.serve(transport).await {
            Ok(running) => {
                session.opened.store(true, Ordering::Relaxed);
                running.waiting().await.map(|_| ()).map_err(Into::into)
            }
            Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    };
    tokio::select! {
        outcome = served => outcome,
        written = written => match written {
            Err(error) if !matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected) => {
                Err(format!("answers cannot be written to stdout: {error}").into())
            }
            // The client has left.
            _ => Ok(()),
        },
        () = shutdown => Ok(()),
    }
}

struct Server {
    engine: Arc<Engine>,
    jobs: JobSettings,
    tools: Vec<Tool>,
    session: Arc<Session>,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let name = Implementation::new("local-model-mcp", env!("CARGO_PKG_VERSION")).with_title("Local model");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_resources().enable_skills().build())
            .with_server_info(name)
            .with_instructions(instructions(&self.engine.names()))
    }

    async fn discover(&self, _: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        Ok(DiscoverResult::from_server_info(versions, self.get_info())
            .with_ttl_ms(LIST_TTL_MS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let list = ListToolsResult::with_all_items(self.tools.clone());
        Ok(if modern(&context) { list.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Public) } else { list })
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let list = skill::resources();
        Ok(if modern(&context) { list.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Public) } else { list })
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let list = ListResourceTemplatesResult::default();
        Ok(if modern(&context) { list.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Public) } else { list })
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let read = skill::read(&request.uri)?;
        let read =
            if modern(&context) { read.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Public) } else { read };
        Ok(read.into())
    }

    async fn list_skills(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListSkillsResult, ErrorData> {
        Ok(skill::skills())
    }

    async fn get_skill(
        &self,
        request: GetSkillRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetSkillResult, ErrorData> {
        skill::get(&request.uri)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if !tools::known(&request.name) {
            let text = format!("no tool is called `{}`; known: {}", request.name, tools::NAMES.join(", "));
            return Err(ErrorData::invalid_params(text, None));
        }
        if request.name == tools::PREDICT_FILE {
            let outcome = caught(Box::pin(files::call(self, request, &context))).await?;
            return Ok(outcome.unwrap_or_else(failed).into());
        }
        let model = tools::model_of(&request);
        let outcome = tokio::select! {
            // The call first: it may set a failed model to loading, which the report then sees.
            biased;
            outcome = caught(Box::pin(tools::call(&self.engine, self.jobs.in_flight, request))) => outcome?,
            () = context.ct.cancelled() => Err(Error::Cancelled),
            never = self.report_loading(model, &context) => match never {},
        };
        Ok(outcome.unwrap_or_else(failed).into())
    }

    /// rmcp hands a known method whose parameters have the wrong shape to this one, as if it were unknown.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let method = request.method.as_str();
        if matches!(
            method,
            "initialize"
                | "ping"
                | "server/discover"
                | "tools/list"
                | "tools/call"
                | "resources/list"
                | "resources/read"
                | "skills/list"
                | "skills/get"
        ) {
            return Err(ErrorData::invalid_params(format!("the parameters of `{method}` are malformed"), None));
        }
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, format!("unknown method `{method}`"), None))
    }
}

impl Server {
    /// Tells a client that asked for progress that its call waits for the model. Never completes.
    async fn report_loading(&self, model: Option<String>, context: &RequestContext<RoleServer>) -> Infallible {
        let name = model.or_else(|| self.engine.names().into_iter().next()).unwrap_or_default();
        let loading = || matches!(self.engine.state(&name), Some(State::Loading));
        if let Some(token) = context.meta.get_progress_token()
            && loading()
        {
            let mut waits = 0.0;
            loop {
                tokio::time::sleep(PROGRESS_INTERVAL).await;
                if !loading() {
                    break;
                }
                waits += 1.0;
                let progress = ProgressNotificationParam::new(token.clone(), waits)
                    .with_message(format!("model `{name}` is loading"));
                // A client that cannot be reached any more ends the call elsewhere.
                let _ = Box::pin(context.peer.notify_progress(progress)).await;
            }
        }
        std::future::pending().await
    }
}

/// Clients of older revisions do not know how long an answer may be kept.
fn modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

/// A failure as a result that the assistant reads and can act on.
fn failed(error: Error) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(error.to_string())])
}

/// Turns a panic of the future into an error response; rmcp would leave the request without any.
///
/// Boxed, since rmcp moves what a call takes several times, as large as the largest kind of call.
async fn caught<T>(mut future: Pin<Box<impl Future<Output = T>>>) -> Result<T, ErrorData> {
    std::future::poll_fn(|context| {
        catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))).map_or_else(
            |_| {
                let text = "the server failed on this call; others are still answered; please report this";
                std::task::Poll::Ready(Err(ErrorData::internal_error(text, None)))
            },
            |poll| poll.map(Ok),
        )
    })
    .await
}

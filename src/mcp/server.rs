//! The handler of MCP requests: protocol eras, lists, and the frame around a tool call.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CustomRequest, CustomResult, DiscoverResult,
    ErrorCode, GetSkillRequestParams, GetSkillResult, Implementation, ListResourceTemplatesResult, ListResourcesResult,
    ListSkillsResult, ListToolsResult, PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams,
    ReadResourceResponse, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};

use crate::error::Error;
use crate::mcp::fine_tuning::FineTuning;
use crate::mcp::skill;
use crate::mcp::stdio::Session;
use crate::mcp::tools;
use batch::JobSettings;
use engine::Engine;
use teaching::Teacher;
use tokio::sync::Mutex;

pub(super) type Context = RequestContext<RoleServer>;
type Page = Option<PaginatedRequestParams>;
type Reply<T> = Result<T, ErrorData>;

/// How long clients of the newest revision may cache lists. They are not told that the list of tools
/// changes, which it does when a model is taught; clients of older revisions are.
const LIST_TTL_MS: u64 = 60_000;

/// Methods whose malformed parameters rmcp reports as an unknown method.
const METHODS: [&str; 9] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/read",
    "skills/list",
    "skills/get",
];

/// One session with a client.
pub(super) struct Server {
    pub engine: Arc<Engine>,
    pub jobs: JobSettings,
    pub session: Arc<Session>,
    /// Held by the call that teaches or audits.
    pub teaching: Arc<Mutex<()>>,
    teacher: Option<Arc<Teacher>>,
    /// `None` if models are not fine-tuned.
    fine_tuning: Option<FineTuning>,
}

/// Sets how long the client may cache a result. Clients of older revisions ignore it.
macro_rules! cacheable {
    ($result:expr, $context:expr) => {{
        let result = $result;
        match $context.protocol_version() {
            Some(version) if version >= ProtocolVersion::V_2026_07_28 => {
                result.with_ttl_ms(LIST_TTL_MS).with_cache_scope(CacheScope::Public)
            }
            _ => result,
        }
    }};
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let name = Implementation::new("local-model-mcp", env!("CARGO_PKG_VERSION")).with_title("Local model");
        ServerConfig::new(
            ServerCapabilities::builder()
                .enable_tools()
                .enable_tool_list_changed()
                .enable_resources()
                .enable_skills()
                .build(),
        )
        .with_server_info(name)
        .with_instructions(instructions(&self.engine.names()))
    }

    async fn discover(&self, _: Context) -> Reply<DiscoverResult> {
        let versions = self.supported_protocol_versions().into_owned();
        let mut info = self.get_info();
        // In the revision that discovers, changes go to subscriptions, which this server does not have.
        if let Some(tools) = &mut info.capabilities.tools {
            tools.list_changed = None;
        }
        Ok(DiscoverResult::from_server_info(versions, info)
            .with_ttl_ms(LIST_TTL_MS)
            .with_cache_scope(CacheScope::Public))
    }

    async fn list_tools(&self, _: Page, context: Context) -> Reply<ListToolsResult> {
        let engine = Arc::clone(&self.engine);
        let all = tools::on_other_thread(move || tools::list(&engine)).await;
        Ok(cacheable!(ListToolsResult::with_all_items(all), context))
    }

    async fn list_resources(&self, _: Page, context: Context) -> Reply<ListResourcesResult> {
        Ok(cacheable!(skill::resources(), context))
    }

    async fn list_resource_templates(&self, _: Page, context: Context) -> Reply<ListResourceTemplatesResult> {
        Ok(cacheable!(ListResourceTemplatesResult::default(), context))
    }

    async fn read_resource(&self, request: ReadResourceRequestParams, context: Context) -> Reply<ReadResourceResponse> {
        Ok(cacheable!(skill::read(&request.uri)?, context).into())
    }

    async fn list_skills(&self, _: Page, _: Context) -> Reply<ListSkillsResult> {
        Ok(skill::skills())
    }

    async fn get_skill(&self, request: GetSkillRequestParams, _: Context) -> Reply<GetSkillResult> {
        skill::get(&request.uri)
    }

    async fn call_tool(&self, request: CallToolRequestParams, context: Context) -> Reply<CallToolResponse> {
        if !tools::NAMES.contains(&&*request.name) {
            let text = format!("unknown tool `{}`; known tools: {}", request.name, tools::NAMES.join(", "));
            return Err(ErrorData::invalid_params(text, None));
        }
        // rmcp does not answer a request whose handler panics.
        match AssertUnwindSafe(tools::call(self, request, &context)).catch_unwind().await {
            Ok(outcome) => Ok(outcome.unwrap_or_else(CallToolResult::from).into()),
            Err(_) => {
                let text = "the server failed on this call; other calls are not affected; please report this";
                Err(ErrorData::internal_error(text, None))
            }
        }
    }

    /// rmcp also passes known methods with malformed parameters to this function.
    async fn on_custom_request(&self, request: CustomRequest, _: Context) -> Reply<CustomResult> {
        let method = request.method.as_str();
        if METHODS.contains(&method) {
            return Err(ErrorData::invalid_params(format!("malformed parameters for `{method}`"), None));
        }
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, format!("unknown method `{method}`"), None))
    }
}

impl Server {
    pub(super) fn new(
        engine: Arc<Engine>,
        jobs: JobSettings,
        teacher: Option<Arc<Teacher>>,
        fine_tunes: bool,
        session: Arc<Session>,
    ) -> Self {
        let fine_tuning = fine_tunes.then(FineTuning::default);
        Self { engine, jobs, session, teaching: Arc::default(), teacher, fine_tuning }
    }

    /// # Errors
    /// `NoProject`.
    pub(super) fn teacher(&self) -> Result<Arc<Teacher>, Error> {
        self.teacher.clone().ok_or(Error::NoProject)
    }

    /// Serves a taught model as it is now, and tells the client if its name is new.
    pub(super) async fn serve_taught(&self, name: &str, context: &Context) {
        let Some(teacher) = &self.teacher else { return };
        let is_known = self.engine.state(name).is_some();
        self.engine.add_model(name.to_owned(), teacher.loader(name));
        let version = context.protocol_version();
        if !is_known && version.is_none_or(|version| version < ProtocolVersion::V_2026_07_28) {
            // A client that cannot be told asks again, or learns the name from the call's result.
            let _ = Box::pin(context.peer.notify_tool_list_changed()).await;
        }
    }

    /// Fine-tunes a model that was just taught, in the background.
    pub(super) fn start_fine_tuning(&self, name: &str) {
        if let (Some(fine_tuning), Some(teacher)) = (&self.fine_tuning, &self.teacher) {
            let (teacher, engine) = (Arc::clone(teacher), Arc::clone(&self.engine));
            fine_tuning.start(name.to_owned(), teacher, engine, self.jobs.paths.clone());
        }
    }

    /// Ends a fine-tuning, whose result would be of labels that changed.
    pub(super) fn stop_fine_tuning(&self) {
        if let Some(fine_tuning) = &self.fine_tuning {
            fine_tuning.stop();
        }
    }

    /// Looks for a model that another session taught meanwhile.
    pub(super) async fn find_taught(&self, name: &str, context: &Context) {
        let (Some(teacher), None) = (&self.teacher, self.engine.state(name)) else { return };
        let teacher = Arc::clone(teacher);
        let names = tools::on_other_thread(move || teacher.names()).await;
        if names.iter().any(|known| known == name) {
            self.serve_taught(name, context).await;
        }
    }
}

/// The text that the assistant reads first. Clients may hide tools until they are searched for.
fn instructions(models: &[String]) -> String {
    format!(
        "Runs the user's own text models ({}) offline. Use local_model_predict whenever texts should be classified, \
         labelled, tagged or scored by their model; do not guess its answer. Many texts: local_model_predict_batch. \
         Files: pass the path to local_model_predict_file and never read the rows. Check results marked `uncertain` \
         yourself. Labels that no model has: teach one with local_model_teach.",
        models.join(", ")
    )
}

//! Protocol eras, tools, argument errors, progress: the server over the scripted fake, in memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use batch::JobSettings;
use classifier::Task;
use engine::testing::{Script, settings, start};
use engine::{Engine, EngineSettings};
use local_model_mcp::mcp::{self, Duplex};
use serde_json::{Value, json};
use tables::PathPolicy;
use teaching::testing::ScriptedEncoder;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines};
use tokio::task::JoinHandle;

use crate::support::client::{call, modern_meta, predict, request};

/// The size limit for files of these sessions.
pub(crate) const MAX_FILE_BYTES: u64 = 4 << 20;

/// Settings for file jobs below one folder.
pub(crate) fn jobs_in(project: PathBuf, workers: usize) -> JobSettings {
    let policy = PathPolicy::within([project], MAX_FILE_BYTES);
    JobSettings::new(policy, JobSettings::in_flight(workers))
}

/// A server over the scripted fake, connected in memory.
pub(crate) struct Session {
    writer: Option<DuplexStream>,
    lines: Option<Lines<BufReader<DuplexStream>>>,
    pub(crate) server: JoinHandle<()>,
}

impl Session {
    pub(crate) fn new(script: &Arc<Script>) -> Self {
        Self::with(script, settings(), std::env::temp_dir())
    }

    /// A session whose project folder is `project`.
    pub(crate) fn with(script: &Arc<Script>, settings: EngineSettings, project: PathBuf) -> Self {
        Self::with_encoder(script, settings, project, &Arc::default())
    }

    /// A session whose models are taught with this encoder.
    pub(crate) fn with_encoder(
        script: &Arc<Script>,
        settings: EngineSettings,
        project: PathBuf,
        encoder: &Arc<ScriptedEncoder>,
    ) -> Self {
        let workers = settings.workers;
        Self::over(start(script, settings), project, workers, encoder)
    }

    /// A session over these models.
    pub(crate) fn over(engine: Arc<Engine>, project: PathBuf, workers: usize, encoder: &Arc<ScriptedEncoder>) -> Self {
        let teacher = crate::teaching::teacher(&project, encoder);
        let jobs = jobs_in(project, workers);
        let (writer, reader) = tokio::io::duplex(1 << 16);
        let (stdout, stdin) = (tokio::io::duplex(1 << 16), reader);
        let server = tokio::spawn(async move {
            let duplex = Duplex::new(stdin, stdout.0);
            mcp::serve(engine, jobs, Some(teacher), true, duplex, std::future::pending()).await.unwrap();
        });
        Self { writer: Some(writer), lines: Some(BufReader::new(stdout.1).lines()), server }
    }

    /// Ends the client's input; the client still reads.
    pub(crate) fn close_input(&mut self) {
        self.writer = None;
    }

    /// The client does not read any more.
    pub(crate) fn close_output(&mut self) {
        self.lines = None;
    }

    /// Returns the messages up to the end of the server's output, which must come.
    pub(crate) async fn rest(mut self) -> Vec<Value> {
        let mut rest = Vec::new();
        while let Some(line) = self.lines.as_mut().unwrap().next_line().await.unwrap() {
            rest.push(serde_json::from_str(&line).unwrap());
        }
        self.server.await.unwrap();
        rest
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_line(&message.to_string()).await;
    }

    pub(crate) async fn send_line(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes()).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.writer.as_mut().expect("the input is open").write_all(bytes).await.unwrap();
    }

    pub(crate) async fn receive(&mut self) -> Value {
        let lines = self.lines.as_mut().expect("the output is open");
        serde_json::from_str(&lines.next_line().await.unwrap().expect("the server is up")).unwrap()
    }

    pub(crate) async fn ask(&mut self, message: &Value) -> Value {
        self.send(message).await;
        let answer = self.receive().await;
        assert_eq!(answer["id"], message["id"]);
        answer
    }

    /// Returns the answer to a request, skipping notifications.
    pub(crate) async fn receive_answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.receive().await;
            if message["id"] == id {
                return message;
            }
        }
    }

    /// Calls the tool and returns its result.
    async fn predict(&mut self, arguments: Value) -> Value {
        self.ask(&call(1, "local_model_predict", arguments)).await["result"].take()
    }
}

fn session() -> (Arc<Script>, Session) {
    let script = Arc::new(Script::default());
    let session = Session::new(&script);
    (script, session)
}

#[track_caller]
pub(crate) fn error_text(result: &Value) -> &str {
    assert_eq!(result["isError"], true, "{result}");
    assert_eq!(result.get("structuredContent"), None);
    result["content"][0]["text"].as_str().unwrap()
}

#[tokio::test]
async fn a_result_has_two_fields_and_diagnostics_are_in_meta() {
    let (_, mut session) = session();
    let result = session.predict(json!({ "text": "one two three" })).await;
    assert_eq!(result["structuredContent"], json!({ "prediction": "middle", "confidence": 0.55 }));
    assert_eq!(result["content"][0]["text"], r#"{"prediction":"middle","confidence":0.55}"#);
    assert_eq!(result["isError"], false);
    assert_eq!(result["_meta"]["local-model/source"], "model");
    assert_eq!(result["_meta"]["local-model/tokens"], 3);
}

#[tokio::test]
async fn top_k_adds_alternatives() {
    let (_, mut session) = session();
    let result = session.predict(json!({ "text": "one two three", "top_k": 2 })).await;
    let expected = json!({ "prediction": "middle", "confidence": 0.55,
        "alternatives": [{ "label": "long", "confidence": 0.35 }] });
    assert_eq!(result["structuredContent"], expected);
}

#[tokio::test]
async fn truncated_and_uncertain_results_are_marked() {
    let script = Arc::new(Script { threshold: Some(0.75), ..Script::default() });
    let result = Session::new(&script).predict(json!({ "text": "a b c d e f g h i" })).await;
    let expected = json!({ "prediction": "long", "confidence": 0.7,
        "truncated": { "tokens": 9, "limit": 8 }, "uncertain": true });
    assert_eq!(result["structuredContent"], expected);
}

#[tokio::test]
async fn a_multi_label_model_returns_all_labels_that_apply() {
    let script = Arc::new(Script { task: Some(Task::MultiLabel), threshold: Some(0.3), ..Script::default() });
    let result = Session::new(&script).predict(json!({ "text": "one two three" })).await;
    let expected = json!({ "prediction": "middle", "confidence": 0.55,
        "labels": [{ "label": "middle", "confidence": 0.55 }, { "label": "long", "confidence": 0.35 }] });
    assert_eq!(result["structuredContent"], expected);
}

#[tokio::test]
async fn a_regression_returns_a_value_without_confidence() {
    let script = Arc::new(Script { task: Some(Task::Regression), ..Script::default() });
    let result = Session::new(&script).predict(json!({ "text": "one two three" })).await;
    assert_eq!(result["structuredContent"], json!({ "prediction": "middle", "value": 0.55 }));
}

#[tokio::test]
async fn a_callers_mistake_is_a_tool_error_with_a_remedy() {
    let (script, mut session) = session();
    let takes = "expected `text`, and optionally `text_pair`, `model`, `labels`, `question`, `kind`, `top_k`, \
                 `explain`";
    for (arguments, expected) in [
        (json!({ "text": "  " }), "`text` is empty or blank; send the text to classify".to_owned()),
        (json!({}), format!("invalid arguments: missing field `text`; {takes}")),
        (json!({ "text": 7 }), "invalid arguments: `text` is integer `7`; expected a string".to_owned()),
        (
            json!({ "text": "hello", "lables": [] }),
            format!("invalid arguments: unknown field `lables`; {takes}"),
        ),
        (
            json!({ "text": "hello", "labels": ["a", " "] }),
            "`labels` has 2 entries, 1 of them blank; expected 1 to 64, none blank".to_owned(),
        ),
        (json!({ "text": "hello", "model": "tone" }), "no model is called `tone`; known: `fake`".to_owned()),
        (
            json!({ "text": "hello", "top_k": 4 }),
            "`top_k` is 4 but model `fake` has 3 labels; use 1 to 3".to_owned(),
        ),
        (
            json!({ "text": "x".repeat(1001) }),
            "text, pair and labels have 1001 bytes together; expected at most 1000; send a part of it, or split it into several \
             calls"
                .to_owned(),
        ),
    ] {
        assert_eq!(error_text(&session.predict(arguments).await), expected);
    }
    assert_eq!(script.runs(), 0);
}

#[tokio::test]
async fn unknown_tools_and_methods_and_malformed_calls_are_protocol_errors() {
    let (_, mut session) = session();
    let unknown = session.ask(&call(1, "predict", json!({}))).await;
    assert_eq!(unknown["error"]["code"], -32602);
    assert_eq!(
        unknown["error"]["message"],
        "unknown tool `predict`; known tools: local_model_audit, local_model_predict, local_model_predict_batch, local_model_predict_file, local_model_status, local_model_teach"
    );
    let malformed = session.ask(&request(2, "tools/call", json!({ "name": 5 }))).await;
    assert_eq!(malformed["error"]["code"], -32602, "{malformed}");
    let method = session.ask(&request(3, "prompts/make", json!({}))).await;
    assert_eq!(method["error"]["code"], -32601);
}

#[tokio::test]
async fn a_panicking_model_is_a_tool_error_and_the_server_stays() {
    let (_, mut session) = session();
    let result = session.predict(json!({ "text": "panic" })).await;
    assert!(error_text(&result).starts_with("model `fake` crashed on this text"));
    assert_eq!(session.predict(json!({ "text": "hello" })).await["isError"], false);
}

#[tokio::test]
async fn discovery_and_the_tool_list_do_not_wait_for_the_model() {
    let script = Arc::new(Script { hold_load: true, ..Script::default() });
    let mut session = Session::new(&script);
    let discovered = session.ask(&request(1, "server/discover", json!({}))).await;
    assert_eq!(discovered["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "local-model-mcp");
    let list = session.ask(&request(2, "tools/list", json!({}))).await;
    assert_eq!(list["result"]["ttlMs"], 60_000);
    let described = list["result"]["tools"][1]["description"].as_str().unwrap();
    assert!(described.ends_with(" Models: fake (short, middle, long)."), "{described}");
    let status = session.ask(&call(3, "local_model_status", json!({}))).await;
    assert_eq!(status["result"]["structuredContent"]["models"][0]["state"], "loading");
    script.release();
}

#[tokio::test]
async fn the_older_handshake_gets_the_older_shapes() {
    let (_, mut session) = session();
    let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } });
    let answer = session.ask(&hello).await;
    assert_eq!(answer["result"]["protocolVersion"], "2025-06-18");
    assert!(answer["result"]["instructions"].as_str().unwrap().len() < 2000);
    session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
    let list = session.ask(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })).await;
    assert_eq!(list["result"].get("ttlMs"), None);
    let call = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
        "name": "local_model_predict", "arguments": { "text": "hello" } } });
    let result = session.ask(&call).await["result"].take();
    assert_eq!(result["structuredContent"]["prediction"], "short");
    assert_eq!(result.get("resultType"), None);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_the_model_reports_progress() {
    let script = Arc::new(Script { hold_load: true, ..Script::default() });
    // Paused time may run hours ahead of the thread that loads.
    let settings = EngineSettings { deadline: Duration::from_secs(1 << 30), ..settings() };
    let mut session = Session::with(&script, settings, std::env::temp_dir());
    let mut waiting = predict(1, "hello");
    waiting["params"]["_meta"]["progressToken"] = json!("p");
    session.send(&waiting).await;
    for count in [1.0, 2.0] {
        let progress = session.receive().await;
        assert_eq!(progress["method"], "notifications/progress");
        let expected = json!({ "progressToken": "p", "progress": count, "message": "model `fake` is loading" });
        assert_eq!(progress["params"], expected);
    }
    // The run is on a real thread, and paused time would pass its deadline at once.
    tokio::time::resume();
    script.release();
    let answer = session.receive_answer(1).await;
    assert_eq!(answer["result"]["structuredContent"]["prediction"], "short", "{answer}");
}

#[tokio::test]
async fn a_notification_before_the_first_request_is_harmless() {
    let (_, mut session) = session();
    session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
    assert_eq!(session.predict(json!({ "text": "hello" })).await["isError"], false);
}

#[tokio::test]
async fn a_cancelled_call_gets_no_answer() {
    let (script, mut session) = session();
    session.send(&predict(1, "held")).await;
    while script.runs() == 0 {
        tokio::task::yield_now().await;
    }
    let cancel = json!({ "requestId": 1, "reason": "changed my mind", "_meta": modern_meta() });
    session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancel })).await;
    session.ask(&request(2, "server/discover", json!({}))).await;
    script.release();
    assert_eq!(session.ask(&predict(3, "hello")).await["id"], 3);
}

#[tokio::test]
async fn the_server_ends_when_the_client_leaves() {
    let (_, mut session) = session();
    session.ask(&request(1, "server/discover", json!({}))).await;
    session.close_input();
    session.close_output();
    session.server.await.unwrap();
}

#[tokio::test]
async fn status_counts_calls_by_where_their_answer_came_from() {
    let (_, mut session) = session();
    for text in ["hello", "hello", "fail", " "] {
        session.predict(json!({ "text": text })).await;
    }
    let result = session.ask(&call(9, "local_model_status", json!({}))).await["result"].take();
    let model = &result["structuredContent"]["models"][0];
    assert_eq!(model["labels"], json!(["short", "middle", "long"]));
    let expected = json!({ "model": 1, "cache": 1, "joined": 0, "precomputed": 0, "caller_errors": 1, "cancelled": 0,
        "errors": 1 });
    assert_eq!(model["calls"], expected);
    assert_eq!(result["structuredContent"]["cache"]["hit_rate"], 0.5);
}

#[tokio::test]
async fn the_tool_list_reads_as_reviewed() {
    let (_, mut session) = session();
    let list = session.ask(&request(1, "tools/list", json!({}))).await["result"]["tools"].take();
    for tool in list.as_array().unwrap() {
        assert!(tool["description"].as_str().unwrap().len() < 2000);
        for schema in ["inputSchema", "outputSchema"] {
            assert_eq!(tool[schema]["type"], "object");
        }
        assert_eq!(tool["inputSchema"]["additionalProperties"], false);
        assert!(!tool.to_string().contains("\"format\""), "{tool}");
    }
    insta::assert_snapshot!(serde_json::to_string_pretty(&list).unwrap());
}

//! rmcp's own client, connected in memory. The official clients of other languages are in
//! tests/clients.

use std::sync::Arc;

use local_model_mcp::mcp::{self, Duplex};
use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use serde_json::{Value, json};

use crate::protocol::jobs_in;
use engine::testing::{Script, settings, start};

fn call(tool: &'static str, arguments: Value) -> CallToolRequestParams {
    CallToolRequestParams::new(tool).with_arguments(arguments.as_object().unwrap().clone())
}

#[tokio::test]
async fn rmcps_own_client_lists_calls_and_leaves() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (reader, writer) = tokio::io::split(theirs);
    let (engine, jobs) = (start(&Arc::new(Script::default()), settings()), jobs_in(std::env::temp_dir(), 1));
    let server =
        tokio::spawn(mcp::serve(engine, jobs, None, true, Duplex::new(reader, writer), std::future::pending()));
    let client = ().serve(ours).await.unwrap();
    let info = client.peer_info().unwrap();
    assert!(info.instructions.as_deref().unwrap().contains("local_model_predict"));
    let tools = client.list_all_tools().await.unwrap();
    assert_eq!(tools.len(), 6);
    let answer = client.call_tool(call("local_model_predict", json!({ "text": "hello" }))).await.unwrap();
    let found = answer.structured_content.unwrap();
    assert_eq!((&found["prediction"], answer.is_error), (&json!("short"), Some(false)));
    let refused = client.call_tool(call("local_model_predict", json!({ "text": " " }))).await.unwrap();
    assert_eq!(refused.is_error, Some(true));
    assert!(client.call_tool(call("nothing", json!({}))).await.is_err());
    client.cancel().await.unwrap();
    server.await.unwrap().unwrap();
}

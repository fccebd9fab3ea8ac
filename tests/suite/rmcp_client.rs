//! rmcp's own client with the executable as its child. The official clients of other languages are in tests/clients.

use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::TokioChildProcess;
use serde_json::{Value, json};

use crate::client::command;

fn call(tool: &'static str, arguments: Value) -> CallToolRequestParams {
    CallToolRequestParams::new(tool).with_arguments(arguments.as_object().unwrap().clone())
}

#[test]
fn rmcps_own_client_lists_calls_and_leaves() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let child = TokioChildProcess::new(tokio::process::Command::from(command(&["serve"]))).unwrap();
        let client = ().serve(child).await.unwrap();
        let info = client.peer_info().unwrap();
        assert!(info.instructions.as_deref().unwrap().contains("local_model_predict"));
        let tools = client.list_all_tools().await.unwrap();
        assert_eq!(tools.len(), 4);
        let answer = client.call_tool(call("local_model_predict", json!({ "text": "I love it" }))).await.unwrap();
        let found = answer.structured_content.unwrap();
        assert_eq!((&found["prediction"], answer.is_error), (&json!("positive"), Some(false)));
        let refused = client.call_tool(call("local_model_predict", json!({ "text": " " }))).await.unwrap();
        assert_eq!(refused.is_error, Some(true));
        assert!(client.call_tool(call("nothing", json!({}))).await.is_err());
        client.cancel().await.unwrap();
    });
}

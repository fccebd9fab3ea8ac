//! A tool call in its usual form, read straight into its place.
//!
//! rmcp tries a message as each of its 22 kinds of request in turn, of which a tool call is the 14th, over copies of all that is in it:
//! 50 µs of a call that comes after a pause, with all that code to fetch, instead of 18 (docs/performance.md). Whatever has another
//! form goes that way, so nothing is refused here.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequest, CallToolRequestMethod, CallToolRequestParams, ClientRequest, JsonObject, JsonRpcMessage,
    JsonRpcVersion2_0, RequestId, RequestMetaObject,
};
use rmcp::service::RxJsonRpcMessage;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    #[serde(rename = "jsonrpc")]
    _version: JsonRpcVersion2_0,
    id: RequestId,
    #[serde(rename = "method")]
    _method: CallToolRequestMethod,
    params: Object<Params>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    name: Cow<'static, str>,
    arguments: Option<JsonObject>,
    #[serde(rename = "_meta")]
    meta: Option<JsonObject>,
}

/// What is written as an object; a structure by itself would also be read from a list of its fields.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

/// The message that rmcp would make of the line, where it is a tool call and has nothing unusual about it.
pub(super) fn read(line: &[u8]) -> Option<RxJsonRpcMessage<RoleServer>> {
    let Object(Call { id, params: Object(params), .. }) = serde_json::from_slice(line).ok()?;
    let mut inner = CallToolRequestParams::new(params.name);
    inner.arguments = params.arguments;
    let mut request = CallToolRequest::new(inner);
    if let Some(meta) = params.meta {
        request.extensions.insert(RequestMetaObject::from(meta));
    }
    Some(JsonRpcMessage::request(ClientRequest::CallToolRequest(request), id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_rmcp(line: &str) -> Option<RxJsonRpcMessage<RoleServer>> {
        serde_json::from_str(line).ok()
    }

    /// Messages cannot be compared, what they show of themselves can.
    fn shown(message: Option<RxJsonRpcMessage<RoleServer>>) -> String {
        let mut meta = None;
        if let Some(JsonRpcMessage::Request(request)) = &message
            && let ClientRequest::CallToolRequest(call) = &request.request
        {
            meta = call.extensions.get::<RequestMetaObject>();
        }
        format!("{message:?} {meta:?}")
    }

    #[test]
    fn a_call_in_its_usual_form_is_what_rmcp_makes_of_it() {
        for line in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"text":"x"}}}"#,
            r#"{"method":"tools/call","params":{"name":"a\u00e9"},"jsonrpc":"2.0","id":"one"}"#,
            r#"{"params":{"arguments":null,"_meta":null,"name":"a"},"id":1e2,"jsonrpc":"2.0","method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":-1,"method":"tools/call","params":
                {"name":"a","_meta":{"progressToken":7,"k":{}},"arguments":{"n":1.5,"m":18446744073709551615,"t":["\ud83d\ude00"]}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"text":"x","text":"y"}}}"#,
        ] {
            let found = read(line.as_bytes());
            assert!(found.is_some(), "{line}");
            assert_eq!(shown(found), shown(by_rmcp(line)), "{line}");
        }
    }

    #[test]
    fn whatever_has_another_form_is_left_to_rmcp() {
        for line in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","requestState":"s"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":[]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["a",{},null]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
            r#"["2.0",1,"tools/call",{"name":"a"}]"#,
            r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}]"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}} 1"#,
        ] {
            assert!(read(line.as_bytes()).is_none(), "{line}");
        }
    }
}

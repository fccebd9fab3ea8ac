//! Answers to what cannot be passed on as a message: what was found in the line, and what to send instead.
//!
//! An answer carries the `id` where one can be made out, and none otherwise, as MCP's schema wants it (JSON-RPC's own
//! `null` is no identifier there).

use rmcp::model::{ErrorCode, RequestId};
use serde::Serialize;
use serde_json::value::RawValue;

use super::lines::{MAX_LINE_BYTES, Outline};

/// The first two of the codes that are left to implementations.
const OVERLOADED: ErrorCode = ErrorCode(-32000);
const LEFT: ErrorCode = ErrorCode(-32001);

/// A line of an answer that is an error.
pub(super) fn error(id: Option<&RawValue>, code: ErrorCode, message: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct Answer<'a> {
        jsonrpc: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RawValue>,
        error: Failure<'a>,
    }
    #[derive(Serialize)]
    struct Failure<'a> {
        code: i32,
        message: &'a str,
    }
    let answer = Answer { jsonrpc: "2.0", id, error: Failure { code: code.0, message } };
    serde_json::to_vec(&answer).expect("strings and numbers can always be written")
}

/// The answer to a line that is no message, or `None` where nothing is to be answered.
pub(super) fn of_line(line: &[u8], problem: &serde_json::Error) -> Option<Vec<u8>> {
    let outline = Outline::of(line);
    let id = outline.id();
    let (code, message) = if problem.is_data() {
        // Notifications of other protocols, and answers to questions that nobody asked.
        if !outline.has_id && outline.has_method || outline.has_outcome && !outline.has_method {
            return None;
        }
        (ErrorCode::INVALID_REQUEST, no_request(&outline, id.as_deref()))
    } else {
        (ErrorCode::PARSE_ERROR, no_json(line, problem))
    };
    Some(error(id.as_deref(), code, &message))
}

fn no_request(outline: &Outline, id: Option<&RawValue>) -> String {
    match id {
        None if outline.has_id => "`id` is neither a string nor a number; expected a string or an integer".into(),
        Some(id) if !id.get().starts_with('"') && id.get().parse::<i64>().is_err() => {
            format!("`id` is {id}; expected a string, or an integer of at most 64 bits")
        }
        _ => "the line is no JSON-RPC request; expected an object with `\"jsonrpc\": \"2.0\"`, `id`, `method` and, if \
              any, `params`, and neither `result` nor `error`"
            .into(),
    }
}

fn no_json(line: &[u8], problem: &serde_json::Error) -> String {
    if let Err(error) = std::str::from_utf8(line) {
        return format!("the line is not UTF-8 at byte {}; send JSON in UTF-8", error.valid_up_to() + 1);
    }
    let said = problem.to_string();
    let at = problem.column();
    if said.contains("surrogate") || said.contains("end of hex escape") {
        return format!(
            "an escape that ends at byte {at} of the line is half of a surrogate pair, which is no character; send both \
             halves (`\\ud83d\\ude00`), and cut texts between characters, not within one"
        );
    }
    if said.contains("recursion") {
        return format!("the line nests too deep at byte {at}; at most 127 objects and lists may lie in each other");
    }
    format!("the line is not JSON: {said}; send one JSON-RPC message a line")
}

pub(super) fn too_long(outline: &Outline) -> Vec<u8> {
    let message = format!(
        "the line is longer than {MAX_LINE_BYTES} bytes, the most that is read; send less text in one call, or put the \
         texts into a file and use local_model_predict_file"
    );
    error(outline.id().as_deref(), ErrorCode::INVALID_REQUEST, &message)
}

pub(super) fn duplicate(id: &RequestId) -> Vec<u8> {
    let message =
        "a request with this `id` is still being answered, and will be; give every request an `id` of its own";
    error(Some(&raw(id)), ErrorCode::INVALID_REQUEST, message)
}

pub(super) fn overloaded(id: &RequestId, bound: &str) -> Vec<u8> {
    let message = format!("{bound} are being answered already; wait for answers before sending more");
    error(Some(&raw(id)), OVERLOADED, &message)
}

pub(super) fn left(id: &RequestId) -> Vec<u8> {
    let message = "the input ended before this request was answered, and the session ends with it; keep the input open until \
                   all answers have come";
    error(Some(&raw(id)), LEFT, message)
}

fn raw(id: &RequestId) -> Box<RawValue> {
    serde_json::value::to_raw_value(id).expect("strings and numbers can always be written")
}

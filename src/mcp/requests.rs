//! The requests in flight, by the numbers under which rmcp knows them.
//!
//! Requests and progress tokens reach rmcp under numbers that this file assigns. So a cancelled
//! request cannot be confused with a later one of the same `id`, and progress is forwarded only
//! while its request is unanswered.

use std::collections::HashMap;

use rmcp::model::{ClientRequest, ErrorCode, GetMeta, JsonRpcRequest, ProgressToken, RequestId};

use crate::mcp::envelope;

/// Limits on requests in flight: their number, and the bytes of their lines.
const MAX_REQUESTS: usize = 4096;
const MAX_REQUEST_BYTES: usize = 64 << 20;

#[derive(Default)]
pub(super) struct Requests {
    last: i64,
    pending: HashMap<i64, Pending>,
    /// The numbers by the client's names. Names may have megabytes, so none is compared with all.
    numbers: HashMap<RequestId, i64>,
    /// Bytes of all lines in flight.
    bytes: usize,
}

/// The client's names for a request and its progress.
struct Pending {
    id: RequestId,
    progress_token: Option<ProgressToken>,
    bytes: usize,
}

impl Requests {
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Gives a request a number, or returns the answer that refuses it.
    pub(super) fn admit(&mut self, request: &mut JsonRpcRequest<ClientRequest>, bytes: usize) -> Result<(), Vec<u8>> {
        let refusal = if self.numbers.contains_key(&request.id) {
            let text = "another request with this `id` is in flight; expected a unique `id` per request";
            Some((ErrorCode::INVALID_REQUEST, text))
        } else if self.pending.len() >= MAX_REQUESTS || self.bytes + bytes > MAX_REQUEST_BYTES {
            // The first of the codes that JSON-RPC reserves for implementations.
            Some((ErrorCode(-32000), "too many requests are in flight; wait for answers before sending more"))
        } else {
            None
        };
        if let Some((code, text)) = refusal {
            return Err(envelope::error(&serde_json::json!(request.id).to_string(), code, text));
        }
        self.last += 1;
        let meta = request.request.get_meta_mut();
        let progress_token = meta.get_progress_token();
        if progress_token.is_some() {
            meta.set_progress_token(ProgressToken(RequestId::Number(self.last)));
        }
        let id = std::mem::replace(&mut request.id, RequestId::Number(self.last));
        self.numbers.insert(id.clone(), self.last);
        self.bytes += bytes;
        self.pending.insert(self.last, Pending { id, progress_token, bytes });
        Ok(())
    }

    /// Forgets a request and puts its number in place of its `id`.
    pub(super) fn cancel(&mut self, id: &mut RequestId) -> Option<()> {
        let number = *self.numbers.get(id)?;
        *id = RequestId::Number(number);
        self.forget(number).map(drop)
    }

    /// Restores the client's `id` in an answer. Returns the bytes of the request's line, or `None`
    /// if the request was cancelled.
    pub(super) fn answer(&mut self, id: &mut RequestId) -> Option<usize> {
        let RequestId::Number(number) = id else { return None };
        let pending = self.forget(*number)?;
        *id = pending.id;
        Some(pending.bytes)
    }

    /// Restores the client's token. Returns false if the request was answered or cancelled.
    pub(super) fn restore_token(&self, token: &mut ProgressToken) -> bool {
        let RequestId::Number(number) = &token.0 else { return false };
        let known = self.pending.get(number).and_then(|pending| pending.progress_token.clone());
        known.map(|known| *token = known).is_some()
    }

    fn forget(&mut self, number: i64) -> Option<Pending> {
        let pending = self.pending.remove(&number)?;
        self.numbers.remove(&pending.id);
        self.bytes -= pending.bytes;
        Some(pending)
    }
}

//! Which requests are in flight: their bounds, and the numbers under which rmcp knows them.
//!
//! What is answered to one that cannot be taken is `refusal`'s business.

use std::collections::HashMap;

use rmcp::model::RequestId;

use super::refusal;

/// Requests being answered at a time, of whatever kind, and the bytes of their lines.
const MAX_REQUESTS: usize = 4096;
const MAX_REQUEST_BYTES: usize = 64 << 20;

/// Requests that are not answered yet: what the client calls them, and what rmcp does.
#[derive(Default)]
pub(super) struct Requests {
    last: i64,
    numbers: HashMap<RequestId, i64>,
    /// With the bytes of their lines.
    ids: HashMap<i64, (RequestId, usize)>,
    bytes: usize,
}

impl Requests {
    /// A number for a request, or the answer to one that cannot be taken.
    pub(super) fn admit(&mut self, id: &RequestId, bytes: usize) -> Result<RequestId, Vec<u8>> {
        if self.numbers.contains_key(id) {
            return Err(refusal::duplicate(id));
        }
        if self.ids.len() >= MAX_REQUESTS {
            return Err(refusal::overloaded(id, &format!("{MAX_REQUESTS} requests")));
        }
        if self.bytes + bytes > MAX_REQUEST_BYTES && !self.ids.is_empty() {
            return Err(refusal::overloaded(id, &format!("requests of {MAX_REQUEST_BYTES} bytes together")));
        }
        self.last += 1;
        self.bytes += bytes;
        self.numbers.insert(id.clone(), self.last);
        self.ids.insert(self.last, (id.clone(), bytes));
        Ok(RequestId::Number(self.last))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether there were any, and none waits.
    pub(super) fn all_answered(&self) -> bool {
        self.last > 0 && self.ids.is_empty()
    }

    /// What the client calls the requests that will have no result.
    pub(super) fn leave(&mut self) -> Vec<RequestId> {
        self.numbers.clear();
        self.bytes = 0;
        std::mem::take(&mut self.ids).into_values().map(|(id, _)| id).collect()
    }

    /// Gives an answer the client's name for the request, unless it was answered or withdrawn before.
    pub(super) fn answer(&mut self, id: &mut RequestId) -> bool {
        let RequestId::Number(number) = id else { return false };
        let Some((known, bytes)) = self.ids.remove(number) else { return false };
        self.numbers.remove(&known);
        self.bytes -= bytes;
        *id = known;
        true
    }

    pub(super) fn withdraw(&mut self, id: &RequestId) -> Option<RequestId> {
        let number = self.numbers.remove(id)?;
        let (_, bytes) = self.ids.remove(&number)?;
        self.bytes -= bytes;
        Some(RequestId::Number(number))
    }
}

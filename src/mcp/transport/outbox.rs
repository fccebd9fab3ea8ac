//! What is to be written to the client: whole lines in order, and how much of it the client has not taken yet.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use super::duplex::Writer;

/// So much may wait for a client that does not read; then nothing more is taken from it either. As many answers as there
/// may be requests in flight fit.
const MAX_WAITING_BYTES: usize = 16 << 20;

#[derive(Clone)]
pub(in crate::mcp) struct Outbox(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Told of every step forward, and of the end.
    changed: Notify,
}

struct State {
    waiting: Vec<u8>,
    /// Bytes at which a `Delivery` is.
    writing: usize,
    /// With a `Delivery` while there is one.
    writer: Option<Writer>,
    broken: Option<Arc<io::Error>>,
}

/// The work of writing what waits; nothing is written unless it is driven to its end.
#[must_use]
pub(super) struct Delivery {
    outbox: Outbox,
    writer: Writer,
}

impl Outbox {
    pub(super) fn new(writer: Writer) -> Self {
        let state = State { waiting: Vec::new(), writing: 0, writer: Some(writer), broken: None };
        Self(Arc::new(Inner { state: Mutex::new(state), changed: Notify::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a line. Whoever gets a delivery has to see to it; otherwise one is under way.
    pub(super) fn post(&self, line: &[u8]) -> Option<Delivery> {
        let mut state = self.state();
        if state.broken.is_some() {
            return None;
        }
        state.waiting.extend_from_slice(line);
        state.waiting.push(b'\n');
        state.writer.take().map(|writer| Delivery { outbox: self.clone(), writer })
    }

    /// Waits until the client has taken so much that it may ask for more.
    pub(super) async fn room(&self) {
        self.until(|state| (state.waiting.len() + state.writing <= MAX_WAITING_BYTES).then_some(())).await;
    }

    /// Waits until the client has taken all.
    pub(super) async fn empty(&self) {
        self.until(|state| (state.waiting.is_empty() && state.writing == 0).then_some(())).await;
    }

    /// Completes when nothing can be written any more, with the reason.
    pub(in crate::mcp) async fn broken(&self) -> Arc<io::Error> {
        self.until(|state| state.broken.clone()).await
    }

    async fn until<T>(&self, found: impl Fn(&State) -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // Before the look, so that nothing is missed that happens after it.
            changed.as_mut().enable();
            if let Some(found) = found(&self.state()) {
                return found;
            }
            changed.await;
        }
    }
}

impl Delivery {
    pub(super) async fn deliver(mut self) {
        let outbox = self.outbox;
        loop {
            let lines = {
                let mut state = outbox.state();
                state.writing = state.waiting.len();
                if state.waiting.is_empty() {
                    state.writer = Some(self.writer);
                    break;
                }
                std::mem::take(&mut state.waiting)
            };
            if let Err(error) = write(&mut self.writer, &lines).await {
                let mut state = outbox.state();
                *state = State { waiting: Vec::new(), writing: 0, writer: None, broken: Some(Arc::new(error)) };
                break;
            }
            outbox.0.changed.notify_waiters();
        }
        outbox.0.changed.notify_waiters();
    }
}

async fn write(writer: &mut Writer, lines: &[u8]) -> io::Result<()> {
    writer.write_all(lines).await?;
    writer.flush().await
}

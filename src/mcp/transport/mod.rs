//! What comes in and goes out as a transport of rmcp: every line answered. Where it comes from is `duplex`'s business.
//!
//! rmcp serves what it can parse. What it would lose is met here: lines that are no message, identifiers that are taken,
//! more requests than there may be, notifications too early, a client that does not read, and the end of input.

mod call;
mod duplex;
mod lines;
mod outbox;
mod refusal;
mod requests;

use std::borrow::Cow;
use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{ClientNotification, JsonRpcMessage};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde::de::IgnoredAny;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout_at};

use duplex::Reader;
pub use duplex::{Duplex, stdio};
use lines::{Line, Lines};
use outbox::Outbox;
use requests::Requests;

/// How long a client that leaves a conversation is still given results, and then has to take its last answers. With what an
/// exit takes, that is less than 50 ms.
const LEAVING: Duration = Duration::from_millis(10);
const FAREWELL: Duration = Duration::from_millis(10);
/// How long the next request is looked out for before this thread sleeps, once all are answered. A client that asks at once needs
/// about 10 µs for it; waking a virtual processor takes 15 to 40 (docs/performance.md).
const LOOKOUT: Duration = Duration::from_micros(30);

/// Lines of JSON-RPC. Requests reach rmcp under numbers of our own, so that no two in flight are mistaken for each other
/// whatever a client calls them.
pub(super) struct Lenient {
    lines: Lines<Reader>,
    gate: Gate,
    hung_up: fn() -> bool,
    written_before: bool,
    /// Whether the client has waited for answers before it went on, as clients do. Input that comes in one piece has an end
    /// that says nothing about who wants the answers.
    conversing: bool,
    /// How long requests may still take after the end of such input.
    patience: Duration,
    lookout: Duration,
    /// When the session is over whatever is left of it; known from the end of input on.
    leaves_at: Option<Instant>,
}

/// What is let through to rmcp, and what is answered here.
struct Gate {
    outbox: Outbox,
    /// A list of messages in one line, and how far it was read.
    batch: Option<(Vec<u8>, usize)>,
    requests: Requests,
    session: Arc<Session>,
}

/// What the transport and the server tell each other.
#[derive(Default)]
pub(super) struct Session {
    /// Set once rmcp has seen its first request; it would end the server on anything else before that.
    pub opened: AtomicBool,
    /// Set at the end of what the client sends.
    pub client_left: AtomicBool,
    /// Told when there is nobody left to answer.
    over: Notify,
}

impl Session {
    /// Completes when the client has left and needs no more answers.
    pub(super) async fn over(&self) {
        self.over.notified().await;
    }
}

impl Lenient {
    /// `patience` is how long a request may take at most. Beside the transport comes what becomes of its answers.
    pub(super) fn new(duplex: Duplex, patience: Duration, session: Arc<Session>) -> (Self, Outbox) {
        let outbox = Outbox::new(duplex.writer);
        let gate = Gate { outbox: outbox.clone(), batch: None, requests: Requests::default(), session };
        let lines = Lines::new(duplex.reader);
        let Duplex { hung_up, written_before, .. } = duplex;
        // On the only processor it would keep the client from running.
        let several = std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
        let lookout = if several { LOOKOUT } else { Duration::ZERO };
        (Self { lines, gate, hung_up, written_before, conversing: false, lookout, patience, leaves_at: None }, outbox)
    }

    /// Completes when every request has its answer, or nobody waits for it any more: a result where there is time for one.
    async fn finish(&mut self) {
        let time = if self.conversing { LEAVING } else { self.patience };
        let leaves_at = *self.leaves_at.get_or_insert_with(|| Instant::now() + time);
        let answered = async {
            if !self.gate.requests.is_empty() {
                // Every answer has `receive` called anew.
                pending::<()>().await;
            }
            self.gate.outbox.empty().await;
        };
        let left = async {
            // Looked for only now: as long as there is input, its end tells that the client has left.
            while !(self.hung_up)() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let finished = async {
            tokio::select! {
                biased;
                () = answered => {}
                () = left => {}
            }
        };
        if timeout_at(leaves_at, finished).await.is_err() {
            for id in self.gate.requests.leave() {
                self.gate.answer(Some(refusal::left(&id)));
            }
            let _ = timeout_at(leaves_at + FAREWELL, self.gate.outbox.empty()).await;
        }
    }
}

impl Gate {
    /// What a line is passed on as; what cannot be passed on is answered here.
    fn accept(&mut self, line: &[u8]) -> Option<RxJsonRpcMessage<RoleServer>> {
        let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line).trim_ascii();
        if line.is_empty() {
            return None;
        }
        match call::read(line).map_or_else(|| serde_json::from_slice(line), Ok) {
            Ok(message) => self.admit(message, line.len()),
            Err(problem) if line[0] == b'[' && self.batch.is_none() => self.open_batch(line, &problem),
            Err(problem) => {
                tracing::debug!(category = ?problem.classify(), "a line was no message");
                self.answer(refusal::of_line(line, &problem));
                None
            }
        }
    }

    fn admit(
        &mut self,
        mut message: RxJsonRpcMessage<RoleServer>,
        bytes: usize,
    ) -> Option<RxJsonRpcMessage<RoleServer>> {
        match &mut message {
            JsonRpcMessage::Request(request) => match self.requests.admit(&request.id, bytes) {
                Ok(number) => request.id = number,
                Err(refused) => {
                    self.answer(Some(refused));
                    return None;
                }
            },
            _ if !self.session.opened.load(Ordering::Relaxed) => return None,
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) = &mut notification.notification {
                    // rmcp answers nothing to a request that was withdrawn.
                    let number = self.requests.withdraw(cancelled.params.request_id.as_ref()?)?;
                    cancelled.params.request_id = Some(number);
                }
            }
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {}
        }
        Some(message)
    }

    /// Lists of messages were part of one revision; each is answered by itself.
    fn open_batch(&mut self, line: &[u8], problem: &serde_json::Error) -> Option<RxJsonRpcMessage<RoleServer>> {
        match serde_json::from_slice::<Vec<IgnoredAny>>(line) {
            Ok(messages) if !messages.is_empty() => self.batch = Some((line.to_vec(), 1)),
            _ => self.answer(refusal::of_line(line, problem)),
        }
        None
    }

    /// The next message of a list that was found to be well-formed.
    fn next_of_batch(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        let (list, begin) = self.batch.as_mut()?;
        let mut rest = serde_json::Deserializer::from_slice(&list[*begin..]).into_iter::<IgnoredAny>();
        let found = rest.next();
        let end = *begin + rest.byte_offset();
        let message = matches!(found, Some(Ok(_))).then(|| list[*begin..end].to_vec());
        // Behind it comes a comma, or the end.
        let next = list[end..].iter().position(|byte| *byte == b',').map(|comma| end + comma + 1);
        match (message, next) {
            (Some(message), Some(next)) => {
                *begin = next;
                self.accept(&message)
            }
            (message, _) => {
                // Still a list: one within it is refused.
                let accepted = message.and_then(|message| self.accept(&message));
                self.batch = None;
                accepted
            }
        }
    }

    /// Posts an answer of our own.
    fn answer(&self, line: Option<Vec<u8>>) {
        if let Some(delivery) = line.and_then(|line| self.outbox.post(&line)) {
            tokio::spawn(delivery.deliver());
        }
    }
}

/// The next line of a client that has all its answers; says whether it let us wait.
async fn look_out<'a>(lines: &'a mut Lines<Reader>, lookout: Duration, waited: &mut bool) -> Option<Line<'a>> {
    let since = std::time::Instant::now();
    let mut next = pin!(lines.next());
    loop {
        match poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await {
            Poll::Ready(line) => return line,
            Poll::Pending => *waited = true,
        }
        if since.elapsed() >= lookout {
            return next.await;
        }
        // Has the runtime look at its sockets.
        yield_now().await;
    }
}

impl Transport<RoleServer> for Lenient {
    type Error = io::Error;

    fn name() -> Cow<'static, str> {
        "stdio".into()
    }

    fn send(
        &mut self,
        mut message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let wanted = match &mut message {
            JsonRpcMessage::Response(response) => self.gate.requests.answer(&mut response.id),
            JsonRpcMessage::Error(error) => error.id.as_mut().is_none_or(|id| self.gate.requests.answer(id)),
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => true,
        };
        let line = serde_json::to_vec(&message).map_err(io::Error::other);
        let delivery = line.map(|line| if wanted { self.gate.outbox.post(&line) } else { None });
        async move {
            // A client that cannot be reached ends the session elsewhere.
            if let Some(delivery) = delivery? {
                delivery.deliver().await;
            }
            Ok(())
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            // A client that does not read its answers is asked for no more questions.
            self.gate.outbox.room().await;
            if self.gate.batch.is_some() {
                if let Some(message) = self.gate.next_of_batch() {
                    return Some(message);
                }
                continue;
            }
            if self.leaves_at.is_none() {
                let waited_for = !self.written_before && self.gate.requests.all_answered();
                let Self { lines, conversing, lookout, .. } = self;
                let line = if waited_for { look_out(lines, *lookout, conversing).await } else { lines.next().await };
                match line {
                    Some(Line::Whole(line)) => {
                        if let Some(message) = self.gate.accept(line) {
                            return Some(message);
                        }
                        continue;
                    }
                    Some(Line::TooLong(outline)) => {
                        self.gate.answer(Some(refusal::too_long(&outline)));
                        continue;
                    }
                    None => self.gate.session.client_left.store(true, Ordering::Relaxed),
                }
            }
            self.finish().await;
            self.gate.session.over.notify_one();
            // `None` would have rmcp wait for calls that nobody waits for.
            return pending().await;
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

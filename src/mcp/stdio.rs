//! The stdio transport: bounded lines of JSON-RPC between one client and rmcp.
//!
//! It adds what rmcp's own transport lacks: bounds on requests in flight, backpressure on a client
//! that does not read, answers to broken lines whose `id` can be found, and one rule for the end of
//! input. After the end of input nothing more is read, the calls in flight finish within their
//! deadlines, and the session ends. It ends at once if nothing is in flight or if the client cannot
//! read answers.

use std::collections::HashMap;
use std::future::{Future, pending, ready};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    ClientNotification, ClientRequest, ErrorCode, GetMeta, JsonRpcMessage, JsonRpcRequest, ProgressToken, RequestId,
    ServerNotification,
};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::mcp::duplex::{Duplex, Reader, Writer};
use crate::mcp::envelope::{self, EnvelopeScanner};

/// Longest line that is read, so that a client cannot fill the memory with one. The largest text
/// (256 KiB by default) fits even if every byte of it is escaped; a batch has to fit as a whole.
pub(super) const MAX_LINE_BYTES: usize = 4 << 20;
/// Limits on requests in flight: their number, and the bytes of their lines.
const MAX_REQUESTS: usize = 4096;
const MAX_REQUEST_BYTES: usize = 64 << 20;
/// Bytes that may wait for a client to read them. Above this limit the client's input is not read.
const MAX_UNREAD_BYTES: usize = 16 << 20;
/// Longer lines are parsed on another thread: parsing four megabytes takes tens of milliseconds.
const MAX_INLINE_PARSE_BYTES: usize = 64 << 10;
/// How long a client that has closed its writing end may take to read the last answers.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

type Message = RxJsonRpcMessage<RoleServer>;

/// Facts about a session that the transport and the server share.
#[derive(Default)]
pub(super) struct Session {
    /// Set once rmcp has accepted the first request. Until then, anything but a request ends rmcp's
    /// session.
    pub opened: AtomicBool,
    /// Set to true at the end of the client's input.
    pub input_ended: watch::Sender<bool>,
}

/// A bounded line transport for rmcp.
///
/// Requests and progress tokens reach rmcp under numbers that the transport assigns. So a cancelled
/// request cannot be confused with a later one of the same `id`, and progress is forwarded only
/// while its request is unanswered.
pub(super) struct StdioTransport {
    lines: Lines,
    /// A long line that is being parsed on another thread.
    parsing: Option<JoinHandle<Parsed>>,
    requests: Requests,
    outbox: Outbox,
    session: Arc<Session>,
}

/// A message with the length of its line, or the reason why there is none, with the answer if the
/// line gets one.
type Parsed = Result<(Message, usize), Option<Vec<u8>>>;

impl StdioTransport {
    /// Returns the transport, and a future that writes its answers. The future completes when
    /// nothing more can be written: with an error if a write failed.
    pub(super) fn new(duplex: Duplex, session: Arc<Session>) -> (Self, impl Future<Output = io::Result<()>>) {
        let Duplex { reader, writer, hung_up } = duplex;
        let (sender, receiver) = mpsc::unbounded_channel();
        let outbox = Outbox { lines: sender, unread: watch::Sender::new(0) };
        let written = write_lines(writer, receiver, outbox.unread.clone());
        let written = async {
            tokio::select! {
                outcome = written => outcome,
                () = hung_up => Ok(()),
            }
        };
        let (lines, requests) = (Lines::new(reader), Requests::default());
        (Self { lines, parsing: None, requests, outbox, session }, written)
    }

    /// Returns the next message, or `None` at the end of the input. Cancel safe.
    async fn next(&mut self) -> Option<Message> {
        loop {
            let parsed = if let Some(parsing) = &mut self.parsing {
                let parsed = parsing.await;
                self.parsing = None;
                parsed.unwrap_or(Err(None))
            } else {
                match self.lines.next().await? {
                    Line::Whole(line) if line.len() > MAX_INLINE_PARSE_BYTES => {
                        self.parsing = Some(spawn_blocking(move || parse(&line)));
                        continue;
                    }
                    Line::Whole(line) => parse(&line),
                    Line::TooLong(scanner) => Err(scanner.too_long()),
                }
            };
            match parsed.and_then(|(message, bytes)| self.admit(message, bytes)) {
                Ok(message) => return Some(message),
                Err(answer) => answer.into_iter().for_each(|answer| self.outbox.post(answer)),
            }
        }
    }

    /// Returns the message as rmcp should see it, or the reason to withhold it, with the answer if
    /// there is one.
    fn admit(&mut self, mut message: Message, bytes: usize) -> Result<Message, Option<Vec<u8>>> {
        match &mut message {
            JsonRpcMessage::Request(request) => self.requests.admit(request, bytes)?,
            _ if !self.session.opened.load(Ordering::Relaxed) => return Err(None),
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) = &mut notification.notification {
                    let id = cancelled.params.request_id.as_mut().ok_or(None)?;
                    // rmcp does not answer a cancelled request.
                    self.requests.cancel(id).ok_or(None)?;
                }
            }
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {}
        }
        Ok(message)
    }
}

impl Transport<RoleServer> for StdioTransport {
    type Error = io::Error;

    fn send(
        &mut self,
        mut message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let wanted = match &mut message {
            JsonRpcMessage::Response(response) => self.requests.answer(&mut response.id),
            JsonRpcMessage::Error(error) => error.id.as_mut().is_none_or(|id| self.requests.answer(id)),
            JsonRpcMessage::Notification(notification) => match &mut notification.notification {
                ServerNotification::ProgressNotification(progress) => {
                    self.requests.restore_token(&mut progress.params.progress_token)
                }
                _ => true,
            },
            JsonRpcMessage::Request(_) => true,
        };
        // Posted here rather than in the future, so that messages keep the order of these calls.
        let line = serde_json::to_vec(&message).map_err(io::Error::other);
        ready(line.map(|line| {
            if wanted {
                self.outbox.post(line);
            }
        }))
    }

    async fn receive(&mut self) -> Option<Message> {
        self.outbox.wait_until(MAX_UNREAD_BYTES).await;
        if !*self.session.input_ended.borrow() {
            if let Some(message) = self.next().await {
                return Some(message);
            }
            self.session.input_ended.send_replace(true);
        }
        if !self.requests.pending.is_empty() {
            // rmcp calls `receive` again after every answer.
            return pending().await;
        }
        let _ = timeout(FLUSH_TIMEOUT, self.outbox.wait_until(0)).await;
        None
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Splits a stream into lines.
struct Lines {
    reader: BufReader<Reader>,
    line: Vec<u8>,
    /// Reads the rest of a line that is too long.
    skipping: Option<EnvelopeScanner>,
}

enum Line {
    Whole(Vec<u8>),
    TooLong(EnvelopeScanner),
}

impl Lines {
    fn new(reader: Reader) -> Self {
        Self { reader: BufReader::new(reader), line: Vec::new(), skipping: None }
    }

    /// Returns the next line, or `None` at the end of the input. The last line needs no newline.
    ///
    /// Cancel safe: bytes that were already read are kept for the next call.
    async fn next(&mut self) -> Option<Line> {
        loop {
            let left = (MAX_LINE_BYTES + 1 - self.line.len()) as u64;
            let read = (&mut self.reader).take(left).read_until(b'\n', &mut self.line).await;
            // A broken connection counts as the end of the input.
            let at_end = read.unwrap_or_default() == 0;
            let complete = at_end || self.line.ends_with(b"\n");
            if self.skipping.is_some() || !complete && self.line.len() > MAX_LINE_BYTES {
                self.skipping.get_or_insert_default().read(&self.line);
                self.line.clear();
                if complete {
                    return self.skipping.take().map(Line::TooLong);
                }
            } else if complete {
                let line = std::mem::take(&mut self.line);
                return (!at_end || !line.is_empty()).then_some(Line::Whole(line));
            }
        }
    }
}

fn parse(line: &[u8]) -> Parsed {
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line).trim_ascii();
    if line.is_empty() {
        return Err(None);
    }
    serde_json::from_slice(line).map(|message| (message, line.len())).map_err(|problem| {
        // The problem itself may quote the line.
        tracing::debug!(category = ?problem.classify(), column = problem.column(), "invalid_line");
        envelope::refuse(line, &problem)
    })
}

/// The lines waiting to be written.
struct Outbox {
    lines: mpsc::UnboundedSender<Vec<u8>>,
    /// Bytes posted but not yet written.
    unread: watch::Sender<usize>,
}

impl Outbox {
    fn post(&self, mut line: Vec<u8>) {
        line.push(b'\n');
        self.unread.send_modify(|bytes| *bytes += line.len());
        // If the writer is gone, the session ends elsewhere.
        let _ = self.lines.send(line);
    }

    /// Waits until at most `limit` bytes are unread.
    async fn wait_until(&self, limit: usize) {
        // Cannot fail while `self` holds a sender.
        let _ = self.unread.subscribe().wait_for(|bytes| *bytes <= limit).await;
    }
}

async fn write_lines(
    mut writer: Writer,
    mut lines: mpsc::UnboundedReceiver<Vec<u8>>,
    unread: watch::Sender<usize>,
) -> io::Result<()> {
    while let Some(mut waiting) = lines.recv().await {
        while let Ok(line) = lines.try_recv() {
            waiting.extend_from_slice(&line);
        }
        writer.write_all(&waiting).await?;
        writer.flush().await?;
        unread.send_modify(|bytes| *bytes -= waiting.len());
    }
    Ok(())
}

/// The requests in flight, by the numbers under which rmcp knows them.
#[derive(Default)]
struct Requests {
    last: i64,
    pending: HashMap<i64, Pending>,
}

/// The client's names for a request and its progress.
struct Pending {
    id: RequestId,
    progress_token: Option<ProgressToken>,
    bytes: usize,
}

impl Requests {
    /// Gives a request a number, or returns the answer that refuses it.
    fn admit(&mut self, request: &mut JsonRpcRequest<ClientRequest>, bytes: usize) -> Result<(), Vec<u8>> {
        let bytes_in_flight: usize = self.pending.values().map(|pending| pending.bytes).sum();
        let refusal = if self.number(&request.id).is_some() {
            let text = "another request with this `id` is in flight; expected a unique `id` per request";
            Some((ErrorCode::INVALID_REQUEST, text))
        } else if self.pending.len() >= MAX_REQUESTS || bytes_in_flight + bytes > MAX_REQUEST_BYTES {
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
        self.pending.insert(self.last, Pending { id, progress_token, bytes });
        Ok(())
    }

    fn number(&self, id: &RequestId) -> Option<i64> {
        self.pending.iter().find(|(_, pending)| pending.id == *id).map(|(number, _)| *number)
    }

    /// Forgets a request and puts its number in place of its `id`.
    fn cancel(&mut self, id: &mut RequestId) -> Option<()> {
        let number = self.number(id)?;
        *id = RequestId::Number(number);
        self.pending.remove(&number).map(drop)
    }

    /// Restores the client's `id` in an answer. Returns false if the request was cancelled.
    fn answer(&mut self, id: &mut RequestId) -> bool {
        let RequestId::Number(number) = id else { return false };
        self.pending.remove(number).map(|pending| *id = pending.id).is_some()
    }

    /// Restores the client's token. Returns false if the request was answered or cancelled.
    fn restore_token(&self, token: &mut ProgressToken) -> bool {
        let RequestId::Number(number) = &token.0 else { return false };
        let known = self.pending.get(number).and_then(|pending| pending.progress_token.clone());
        known.map(|known| *token = known).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmcp::model::{EmptyResult, ProgressNotification, ProgressNotificationParam, ServerResult};

    #[tokio::test]
    async fn progress_is_written_only_before_the_answer() {
        let (theirs, mut client) = tokio::io::duplex(1 << 16);
        let (reader, writer) = tokio::io::split(theirs);
        let (mut transport, written) = StdioTransport::new(Duplex::new(reader, writer), Arc::default());
        let written = tokio::spawn(written);
        let request = r#"{"jsonrpc":"2.0","id":"a","method":"ping","params":{"_meta":{"progressToken":"p"}}}"#;
        client.write_all(format!("{request}\n").as_bytes()).await.unwrap();
        let Some(JsonRpcMessage::Request(mut request)) = transport.receive().await else {
            panic!("expected a request")
        };
        let token = request.request.get_meta_mut().get_progress_token().unwrap();
        let progress = |value: f64| {
            let params = ProgressNotificationParam::new(token.clone(), value);
            JsonRpcMessage::notification(ServerNotification::ProgressNotification(ProgressNotification::new(params)))
        };
        transport.send(progress(1.0)).await.unwrap();
        let answer = JsonRpcMessage::response(ServerResult::EmptyResult(EmptyResult {}), request.id);
        transport.send(answer).await.unwrap();
        // rmcp takes answers and notifications from two queues, so this order happens.
        transport.send(progress(2.0)).await.unwrap();
        drop(transport);
        written.await.unwrap().unwrap();
        let mut lines = BufReader::new(client).lines();
        let first = lines.next_line().await.unwrap().unwrap();
        assert!(first.contains(r#""progressToken":"p""#) && first.contains(r#""progress":1.0"#), "{first}");
        assert_eq!(lines.next_line().await.unwrap().unwrap(), r#"{"jsonrpc":"2.0","id":"a","result":{}}"#);
        let mut rest = String::new();
        lines.into_inner().read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "");
    }

    #[tokio::test]
    async fn lines_end_at_newlines_and_at_the_end_of_input() {
        let mut lines = Lines::new(Box::new(&b"a\n\nb\r\nc"[..]));
        let mut found = Vec::new();
        while let Some(Line::Whole(line)) = lines.next().await {
            found.push(String::from_utf8(line).unwrap());
        }
        assert_eq!(found, ["a\n", "\n", "b\r\n", "c"]);
    }

    #[tokio::test]
    async fn a_line_over_the_limit_is_skipped_and_its_id_is_found() {
        let input = format!("{{\"text\":\"{}\",\"id\":9}}\nnext\n", "x".repeat(MAX_LINE_BYTES));
        let mut lines = Lines::new(Box::new(std::io::Cursor::new(input)));
        let Some(Line::TooLong(scanner)) = lines.next().await else { panic!("expected a line over the limit") };
        assert_eq!(scanner.request_id().unwrap(), "9");
        let Some(Line::Whole(line)) = lines.next().await else { panic!("expected another line") };
        assert_eq!(line, b"next\n");
        assert!(lines.next().await.is_none());
    }
}

//! The stdio transport: bounded lines of JSON-RPC between one client and rmcp.
//!
//! It adds what rmcp's own transport lacks: bounds on requests in flight, backpressure on a client
//! that does not read, answers to broken lines whose `id` can be found, and one rule for the end of
//! input. After the end of input nothing more is read, the calls in flight finish within their
//! deadlines, and the session ends. It ends at once if nothing is in flight or if the client cannot
//! read answers.

use std::future::{Future, pending, ready};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{ClientNotification, ContentBlock, JsonRpcMessage, ServerNotification, ServerResult};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::mcp::duplex::Duplex;
use crate::mcp::envelope;
use crate::mcp::lines::{Line, Lines};
use crate::mcp::outbox::Outbox;
use crate::mcp::requests::Requests;

/// Bytes that may wait for a client to read them. Above this limit the client's input is not read.
const MAX_UNREAD_BYTES: usize = 16 << 20;
/// Longer lines are parsed and answered on another thread: four megabytes of JSON take tens of
/// milliseconds.
const MAX_INLINE_BYTES: usize = 64 << 10;
/// Values in one line. Each takes 30 times its length in memory, and time wherever it passes.
pub(super) const MAX_VALUES: usize = 1 << 16;
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
        let (outbox, written) = Outbox::new(writer);
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
                    Line::Whole(line) if line.len() > MAX_INLINE_BYTES => {
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
        // The bytes that the message repeats or contains, at least; `None` if no call waits for it.
        let bytes = match &mut message {
            JsonRpcMessage::Response(response) => {
                self.requests.answer(&mut response.id).map(|asked| asked.max(text_bytes(&response.result)))
            }
            JsonRpcMessage::Error(error) => {
                let asked = error.id.as_mut().map_or(Some(0), |id| self.requests.answer(id));
                asked.map(|asked| asked.max(error.error.message.len()))
            }
            JsonRpcMessage::Notification(notification) => match &mut notification.notification {
                ServerNotification::ProgressNotification(progress) => {
                    self.requests.restore_token(&mut progress.params.progress_token).then_some(0)
                }
                _ => Some(0),
            },
            JsonRpcMessage::Request(_) => Some(0),
        };
        // Posted here rather than in the future, so that messages keep the order of these calls.
        ready(match bytes {
            None => Ok(()),
            Some(bytes) if bytes > MAX_INLINE_BYTES => {
                self.outbox.post_large(message);
                Ok(())
            }
            Some(_) => serde_json::to_vec(&message).map(|line| self.outbox.post(line)).map_err(io::Error::other),
        })
    }

    async fn receive(&mut self) -> Option<Message> {
        self.outbox.wait_until(MAX_UNREAD_BYTES).await;
        if !*self.session.input_ended.borrow() {
            if let Some(message) = self.next().await {
                return Some(message);
            }
            self.session.input_ended.send_replace(true);
        }
        if !self.requests.is_empty() {
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

/// Returns the size of the texts in a result, which is about half of its JSON.
fn text_bytes(result: &ServerResult) -> usize {
    let ServerResult::CallToolResult(result) = result else { return 0 };
    result.content.iter().filter_map(ContentBlock::as_text).map(|text| text.text.len()).sum()
}

fn parse(line: &[u8]) -> Parsed {
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line).trim_ascii();
    if line.is_empty() {
        return Err(None);
    }
    // A shorter line cannot have more values.
    if line.len() > MAX_VALUES && envelope::values(line) > MAX_VALUES {
        return Err(envelope::too_many_values(line));
    }
    serde_json::from_slice(line).map(|message| (message, line.len())).map_err(|problem| {
        // The problem itself may quote the line.
        tracing::debug!(category = ?problem.classify(), column = problem.column(), "invalid_line");
        envelope::refuse(line, &problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmcp::model::{EmptyResult, GetMeta, ProgressNotification, ProgressNotificationParam};
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

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
}

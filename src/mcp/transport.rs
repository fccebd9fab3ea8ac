//! Standard input and output as a transport: the fast path for pipes and sockets, and what rmcp would stumble over.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rmcp::RoleServer;
use rmcp::model::JsonRpcMessage;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::io::{AsyncRead, AsyncWrite};

/// Longest message accepted: a batch of the largest texts fits, and a client that never ends a line fills no memory.
const MAX_LINE_BYTES: usize = 16 << 20;

type Reader = Box<dyn AsyncRead + Send + Unpin>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Two ends of a conversation with one client.
pub struct Duplex {
    reader: Reader,
    writer: Writer,
}

impl Duplex {
    pub fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self { reader: Box::new(reader), writer: Box::new(writer) }
    }
}

/// This process's stdin and stdout. Must be called inside a tokio runtime.
///
/// Pipes and sockets (which Node, and so Claude Code, connects) are driven by the runtime's own reactor; anything else
/// goes through tokio's blocking threads, at two thread switches a message.
pub fn stdio() -> Duplex {
    #[cfg(unix)]
    if let (Some(reader), Some(writer)) = (socket(std::io::stdin()), socket(std::io::stdout()))
        && let (Ok(reader), Ok(writer)) = (driven(reader), driven(writer))
    {
        return Duplex::new(reader, writer);
    }
    let (reader, writer) = rmcp::transport::stdio_pipes();
    Duplex::new(reader, writer)
}

/// The stream behind a descriptor, if it is a socket. Changes nothing about it yet: the other end may be none.
#[cfg(unix)]
fn socket(descriptor: impl std::os::fd::AsFd) -> Option<std::os::unix::net::UnixStream> {
    use std::os::unix::fs::FileTypeExt;
    let file = std::fs::File::from(descriptor.as_fd().try_clone_to_owned().ok()?);
    file.metadata().ok()?.file_type().is_socket().then(|| std::os::fd::OwnedFd::from(file).into())
}

#[cfg(unix)]
fn driven(stream: std::os::unix::net::UnixStream) -> std::io::Result<tokio::net::UnixStream> {
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

/// Lines of JSON-RPC, less the notifications that come before the first request: rmcp would end the server on them.
pub(super) struct Lenient {
    inner: AsyncRwTransport<RoleServer, Reader, Writer>,
    opened: bool,
    closed: Arc<AtomicBool>,
}

impl Lenient {
    /// `closed` is set at the end of what the client sends.
    pub(super) fn new(duplex: Duplex, closed: Arc<AtomicBool>) -> Self {
        let inner = AsyncRwTransport::new_server(duplex.reader, duplex.writer).with_max_line_length(MAX_LINE_BYTES);
        Self { inner, opened: false, closed }
    }
}

impl Transport<RoleServer> for Lenient {
    type Error = std::io::Error;

    fn name() -> Cow<'static, str> {
        "stdio".into()
    }

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(message)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            let Some(message) = self.inner.receive().await else {
                self.closed.store(true, Ordering::Relaxed);
                return None;
            };
            if self.opened || matches!(message, JsonRpcMessage::Request(_)) {
                self.opened = true;
                return Some(message);
            }
            tracing::debug!("ignored a message that came before the first request");
        }
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}

//! The streams of a conversation: this process's stdin and stdout.

use std::future::{Future, pending};
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

pub(super) type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub(super) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Both directions of a conversation with one client.
pub struct Duplex {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    /// Completes when the client closes its reading end. Never completes where that cannot be
    /// observed.
    pub(super) hung_up: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Duplex {
    /// Wraps any two streams, for instance both ends of an in-memory pipe in tests.
    pub fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self { reader: Box::new(reader), writer: Box::new(writer), hung_up: Box::pin(pending()) }
    }
}

/// Returns this process's stdin and stdout. Must be called inside a tokio runtime.
///
/// Pipes and sockets (Node, and so Claude Code, connects sockets) are driven by the runtime's
/// reactor. Everything else uses tokio's blocking threads, which costs two thread switches per
/// message.
pub fn stdio() -> Duplex {
    #[cfg(unix)]
    if let Some(duplex) = unix::sockets() {
        return duplex;
    }
    let (reader, writer) = rmcp::transport::stdio_pipes();
    let duplex = Duplex::new(reader, writer);
    #[cfg(target_os = "linux")]
    let duplex = Duplex { hung_up: Box::pin(unix::pipe_hung_up()), ..duplex };
    duplex
}

#[cfg(unix)]
mod unix {
    use std::fs::File;
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::os::unix::fs::FileTypeExt;
    use std::os::unix::net::UnixStream as BlockingStream;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use tokio::io::Interest;
    use tokio::net::UnixStream;

    /// Returns stdin and stdout on the reactor if both are sockets.
    pub(super) fn sockets() -> Option<super::Duplex> {
        let on_reactor = |stream: BlockingStream| {
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        };
        // Both are checked before either is switched to non-blocking.
        let (reader, writer) = (socket(io::stdin())?, socket(io::stdout())?);
        let watched = on_reactor(writer.try_clone().ok()?).ok()?;
        let duplex = super::Duplex::new(on_reactor(reader).ok()?, on_reactor(writer).ok()?);
        Some(super::Duplex { hung_up: Box::pin(socket_hung_up(watched)), ..duplex })
    }

    fn socket(descriptor: impl AsFd) -> Option<BlockingStream> {
        let file = File::from(descriptor.as_fd().try_clone_to_owned().ok()?);
        file.metadata().ok()?.file_type().is_socket().then(|| OwnedFd::from(file).into())
    }

    async fn socket_hung_up(stream: UnixStream) {
        let _ = stream.ready(Interest::READABLE | Interest::ERROR).await;
        let mut ends = [PollFd::new(&stream, PollFlags::HUP)];
        let polled = poll(&mut ends, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        if polled.is_err() || !ends[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
            // A client that only shut down its own writing, or wrote to this socket, can still
            // read.
            std::future::pending::<()>().await;
        }
    }

    #[cfg(target_os = "linux")]
    pub(super) async fn pipe_hung_up() {
        match tokio::net::unix::pipe::OpenOptions::new().open_sender("/proc/self/fd/1") {
            Ok(stdout) => drop(stdout.ready(Interest::ERROR).await),
            // Not a pipe.
            Err(_) => std::future::pending().await,
        }
    }
}

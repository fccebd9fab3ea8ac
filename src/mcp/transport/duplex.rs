//! Where a conversation comes in and goes out: this process's stdin and stdout, whatever they are connected to.
//!
//! What the bytes mean is the business of the rest of this folder.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

pub(super) type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub(super) type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// Two ends of a conversation with one client.
pub struct Duplex {
    pub(super) reader: Reader,
    pub(super) writer: Writer,
    /// Whether nobody can read any more what is written.
    pub(super) hung_up: fn() -> bool,
    /// Whether the input was there before this process, so that nobody can be waiting for answers before going on.
    pub(super) written_before: bool,
}

impl Duplex {
    pub fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self { reader: Box::new(reader), writer: Box::new(writer), hung_up: || false, written_before: false }
    }
}

/// This process's stdin and stdout. Must be called inside a tokio runtime.
///
/// Pipes and sockets (which Node, and so Claude Code, connects) are driven by the runtime's own reactor; anything else
/// goes through tokio's blocking threads, at two thread switches a message.
pub fn stdio() -> Duplex {
    #[cfg(unix)]
    if let (Some(reader), Some(writer)) = (socket(io::stdin()), socket(io::stdout()))
        && let (Ok(reader), Ok(writer)) = (driven(reader), driven(writer))
    {
        return Duplex { hung_up, ..Duplex::new(reader, writer) };
    }
    let (reader, writer) = rmcp::transport::stdio_pipes();
    Duplex { hung_up, written_before: is_file(io::stdin()), ..Duplex::new(reader, writer) }
}

#[cfg(unix)]
fn is_file(descriptor: impl std::os::fd::AsFd) -> bool {
    behind(descriptor).is_some_and(|(_, kind)| kind.is_file())
}

#[cfg(not(unix))]
fn is_file(_: io::Stdin) -> bool {
    false
}

/// Whether the other end of stdout is closed for good, which is told without writing to it.
#[cfg(unix)]
fn hung_up() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = io::stdout();
    let mut ends = [PollFd::new(&stdout, PollFlags::empty())];
    let asked = poll(&mut ends, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    asked.is_ok() && ends[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

#[cfg(not(unix))]
fn hung_up() -> bool {
    false
}

/// The stream behind a descriptor, if it is a socket. Changes nothing about it yet: the other end may be none.
#[cfg(unix)]
fn socket(descriptor: impl std::os::fd::AsFd) -> Option<std::os::unix::net::UnixStream> {
    use std::os::unix::fs::FileTypeExt;
    let (file, kind) = behind(descriptor)?;
    kind.is_socket().then(|| std::os::fd::OwnedFd::from(file).into())
}

/// What a descriptor stands for, and of what kind that is.
#[cfg(unix)]
fn behind(descriptor: impl std::os::fd::AsFd) -> Option<(std::fs::File, std::fs::FileType)> {
    let file = std::fs::File::from(descriptor.as_fd().try_clone_to_owned().ok()?);
    let kind = file.metadata().ok()?.file_type();
    Some((file, kind))
}

#[cfg(unix)]
fn driven(stream: std::os::unix::net::UnixStream) -> io::Result<tokio::net::UnixStream> {
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

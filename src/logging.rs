//! Structured logs on stderr; stdout belongs to the protocol or to results.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{LogFormat, no_color};

/// Starts logging, panics included. A second call in one process has no effect.
pub fn start(level: LevelFilter, format: LogFormat) {
    // rmcp logs whole requests at `debug` and error payloads at `warn`. They contain texts, which
    // are never logged.
    let filter = Targets::new().with_default(level).with_target("rmcp", LevelFilter::ERROR.min(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Stderr).log_internal_errors(false);
    let layer = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal() && !no_color()).boxed(),
    };
    // The default hook writes to stderr at any level, and a panic's message may quote the text that
    // caused it.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "panicked");
    }));
    // Fails only if another subscriber is installed, which then receives the logs.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

/// Non-blocking stderr: drops output when the pipe is full, because a client may never read it.
///
/// A background writer thread would lose the last lines of a process that exits at once, and those
/// matter most.
struct Stderr;

/// The bytes that a ready pipe takes without blocking: `PIPE_BUF` of POSIX, a page on Linux.
/// Sockets take more.
#[cfg(unix)]
const MAX_ATOMIC_BYTES: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// Held from the check of the pipe until the end of the write, so that no other thread fills the
/// pipe in between.
static WRITING: Mutex<()> = Mutex::new(());

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stderr = io::stderr().lock();
        #[cfg(unix)]
        for part in line.chunks(MAX_ATOMIC_BYTES) {
            if !is_ready(&stderr) {
                break;
            }
            stderr.write_all(part)?;
        }
        #[cfg(not(unix))]
        stderr.write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
fn is_ready(stderr: &io::StderrLock<'_>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut descriptors = [PollFd::new(stderr, PollFlags::OUT)];
    // Where `poll` is not available, as in some sandboxes, the pipe is nearly always ready.
    poll(&mut descriptors, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).map_or(true, |ready| ready > 0)
}

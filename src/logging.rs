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
    // rmcp logs whole requests at `debug` and error payloads at `warn`: texts of the user, which we promise not to log.
    let filter = Targets::new().with_default(level).with_target("rmcp", LevelFilter::ERROR.min(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(|| Stderr).log_internal_errors(false);
    let layer = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal() && !no_color()).boxed(),
    };
    // The default report goes to stderr whatever the level, and a panic may quote the text that caused it.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "panicked");
    }));
    // Fails only where another subscriber is in place already, which then keeps the logs.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

/// Stderr that holds up nobody: what does not fit into a pipe that its reader has forgotten is lost.
///
/// Why no thread that writes what others leave to it? It would lose the last lines of a process that exits at once, which
/// are those that matter, and wait for the reader where it tried not to.
struct Stderr;

/// A pipe that is ready takes so much without waiting: by POSIX, and on Linux a page. Sockets take more.
#[cfg(unix)]
const AT_ONCE_BYTES: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// Between the look at the pipe and the write nobody else of this process may write.
static TURN: Mutex<()> = Mutex::new(());

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stderr = io::stderr().lock();
        #[cfg(unix)]
        for part in line.chunks(AT_ONCE_BYTES) {
            if !ready(&stderr) {
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
fn ready(stderr: &io::StderrLock<'_>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut asked = [PollFd::new(stderr, PollFlags::OUT)];
    // Where it cannot be told, as in a sandbox without this call, writing is right nearly always.
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).map_or(true, |ready| ready > 0)
}

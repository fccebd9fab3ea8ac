//! Structured logs on stderr, and nowhere else: stdout belongs to the protocol or to the answers.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{LogFormat, LogLevel};

/// Starts logging, of panics too; a second call in one process has no effect.
pub fn start(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // rmcp logs whole requests at `debug` and error payloads at `warn`: texts of the user, which we promise not to log.
    let filter = Targets::new().with_default(level).with_target("rmcp", LevelFilter::ERROR.min(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).log_internal_errors(false);
    let layer = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
    };
    // The default report goes to stderr whatever the level, and a panic may quote the text that caused it.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "panicked");
    }));
    // Fails only where another subscriber is in place already, which then keeps the logs.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}

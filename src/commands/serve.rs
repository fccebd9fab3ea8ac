//! `serve`: runs the MCP server on stdin and stdout until the input ends or a signal arrives.

use std::sync::Arc;

use anyhow::anyhow;
use engine::Engine;

use crate::args::Options;
use crate::commands::{Outcome, engine, runtime};
use crate::{mcp, process};

pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    process::disable_huge_pages();
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        // First, so that a signal that arrives during the start ends the process cleanly too.
        let shutdown = process::shutdown_signal();
        let settings = options.engine();
        tracing::info!(version = env!("CARGO_PKG_VERSION"), ?settings, models = ?options.models(), "starting");
        let teacher = options.teacher(options.encoders(settings.workers));
        let engine = engine(options, settings, None)?;
        let loading = if options.preload { usize::MAX } else { 1 };
        for name in engine.names().into_iter().take(loading) {
            tokio::spawn(report_failure(engine.clone(), name));
        }
        for (name, loader) in teacher.iter().flat_map(|teacher| teacher.loaders()) {
            engine.add_model(name, loader);
        }
        let served =
            mcp::serve(engine.clone(), options.jobs(), teacher, !options.no_fine_tuning, mcp::stdio(), shutdown).await;
        engine.save();
        served.map(|()| Outcome::Done).map_err(|error| anyhow!(error))
    });
    // The process exits next. Dropping the runtime would wait for a blocking read of stdin and for
    // models that are loading, and would drop a thousand calls one by one.
    std::mem::forget(runtime);
    outcome
}

/// Logs a model that cannot be loaded. Clients keep stderr in their own log; calls report the error
/// as well.
async fn report_failure(engine: Arc<Engine>, name: String) {
    if let Err(error) = engine.ready(Some(&name)).await {
        tracing::error!(model = name, %error, "model_failed");
    }
}

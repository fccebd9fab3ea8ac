//! `serve`: the MCP server on stdin and stdout, until the client leaves or a signal arrives.

use std::sync::Arc;

use anyhow::anyhow;

use crate::cli::{Outcome, engine, memory, runtime};
use crate::engine::Engine;
use crate::mcp;
use crate::settings::Options;

pub(super) fn run(options: &Options) -> anyhow::Result<Outcome> {
    memory::in_small_pages();
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        // Before all else, so that there is hardly a moment in which a signal would end us in its own way.
        let shutdown = shutdown_signal();
        let settings = options.engine();
        tracing::info!(version = env!("CARGO_PKG_VERSION"), ?settings, models = ?options.models(), "starting");
        let engine = engine(options, settings, None)?;
        for name in engine.names() {
            tokio::spawn(report_failure(engine.clone(), name));
        }
        let served = mcp::serve(engine.clone(), options.jobs(), mcp::stdio(), shutdown).await;
        engine.save();
        served.map(|()| Outcome::Done).map_err(|error| anyhow!(error))
    });
    // The process ends next: a blocking read of stdin or a model that still loads must not hold that up, nor a thousand calls
    // that would be dropped one by one.
    std::mem::forget(runtime);
    outcome
}

/// One line on stderr for a model that cannot be loaded, which is where a client's own log keeps it; calls say it as well.
async fn report_failure(engine: Arc<Engine>, name: String) {
    if let Err(error) = engine.ready(Some(&name)).await {
        tracing::error!(model = name, %error, "model_failed");
    }
}

/// Takes signals from now on; completes when the process is asked to end.
fn shutdown_signal() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let signals = {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::interrupt()).and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)))
    };
    async move {
        #[cfg(unix)]
        if let Ok((mut interrupt, mut terminate)) = signals {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
        // Without handlers the system's own way of ending us stays in place.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

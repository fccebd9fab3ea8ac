//! Runs a call of the teacher on its own thread: with progress, cancelled with the call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use classifier::Cancellation;
use tables::PathPolicy;
use teaching::{Error as TeachingError, Progress as TeachingProgress, Teacher, Watch};
use tokio::sync::oneshot;

use crate::mcp::server::{Context, Server};
use crate::mcp::tools::{Progress, ToolError, report_progress};
use crate::process;

/// Runs `work` with the teacher once no other such call of this process runs, since each holds a
/// sample of a file in memory.
pub(super) async fn run<T: Send + 'static>(
    server: &Server,
    context: &Context,
    work: impl FnOnce(&Teacher, &PathPolicy, &Watch<'_>) -> Result<T, TeachingError> + Send + 'static,
) -> Result<T, ToolError> {
    let teacher = server.teacher()?;
    let paths = server.jobs.paths.clone();
    let cancellation = Cancellation::default();
    let _cancel_on_drop = cancellation.on_drop();
    let latest = Arc::new(Mutex::new(TeachingProgress::default()));
    let seen = Arc::clone(&latest);
    let work = move || {
        (process::engine_hooks().on_background_thread)();
        let report = |progress: TeachingProgress| *latest.lock().unwrap_or_else(PoisonError::into_inner) = progress;
        work(&teacher, &paths, &Watch { cancellation: &cancellation, report: &report })
    };
    let mut sent = 0.0;
    let next = || {
        let progress = *seen.lock().unwrap_or_else(PoisonError::into_inner);
        // The value must grow, also from one stage to the next.
        sent += 1.0;
        Some(Progress { value: sent, total: None, message: progress.to_string() })
    };
    let mut input_ended = server.session.input_ended.subscribe();
    tokio::select! {
        outcome = on_its_own_thread(server, work) => outcome,
        () = context.ct.cancelled() => Err(engine::Error::Cancelled.into()),
        _ = input_ended.wait_for(|ended| *ended) => {
            Err(ToolError("the input ended before the call did; labels sent with it may be kept; call again".into()))
        }
        never = report_progress(context, next) => match never {},
    }
}

async fn on_its_own_thread<T: Send + 'static>(
    server: &Server,
    work: impl FnOnce() -> Result<T, TeachingError> + Send + 'static,
) -> Result<T, ToolError> {
    let permit = Arc::clone(&server.teaching).lock_owned().await;
    let (sender, outcome) = oneshot::channel();
    let body = move || {
        let _permit = permit;
        // A damaged file may make a library panic. That ends only this call.
        let outcome = catch_unwind(AssertUnwindSafe(work));
        // Fails only if the call was cancelled.
        let _ = sender.send(outcome);
    };
    let spawned = thread::Builder::new().name("teach".into()).spawn(body);
    spawned.map_err(|error| engine::Error::Thread { message: error.to_string() })?;
    match outcome.await {
        Ok(Ok(outcome)) => Ok(outcome?),
        _ => Err(ToolError("teaching crashed on this call; nothing taught before is lost; please report this".into())),
    }
}

//! `local_model_predict_file`: one call that classifies, shows rows to decide, or takes decisions; with progress, and gone
//! without a trace when it is withdrawn.

use std::collections::BTreeMap;
use std::future::pending;

use rmcp::RoleServer;
use rmcp::model::{CallToolRequestParams, CallToolResult, MetaObject, ProgressNotificationParam};
use rmcp::service::RequestContext;
use serde_json::Value;

use crate::error::Error;
use crate::files::{Existing, Reading};
use crate::job::{Corrections, FileJob, Progress, Running, Stage};
use crate::mcp::file_schema::{DEFAULT_ROWS, FileArguments, FileResult, MAX_ROWS, shown};
use crate::mcp::{PROGRESS_INTERVAL, Server, tools};

const TAKES: &str = "`path`, and optionally `text_column`, `label_column`, `output_path`, `model`, `labels`, `header`, \
    `overwrite`, `resume`, `only`, `limit`, `corrections`";

/// Decisions in one call; an assistant that has more sends them in several.
const MAX_CORRECTIONS: usize = 1000;

/// Answers one call.
///
/// # Errors
/// Whatever the assistant can act on.
pub(super) async fn call(
    server: &Server,
    request: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, Error> {
    let arguments: FileArguments = tools::parse(Value::Object(request.arguments.unwrap_or_default()), TAKES)?;
    let most = arguments.limit.unwrap_or(DEFAULT_ROWS);
    let contradiction = match () {
        () if !(1..=MAX_ROWS).contains(&most) => Some(format!("`limit` is {most}, expected 1 to {MAX_ROWS}")),
        () if arguments.limit.is_some() && arguments.only.is_none() => Some("`limit` goes with `only`".into()),
        () if arguments.overwrite == Some(true) && arguments.resume == Some(true) => {
            Some("`overwrite` and `resume` exclude each other".into())
        }
        () => None,
    };
    if let Some(problem) = contradiction {
        return Err(Error::Arguments { problem, takes: TAKES.into() });
    }
    let only = arguments.only.is_some();
    let corrections = arguments.corrections.clone();
    let job = job(server, arguments);
    let mut result = FileResult::default();
    if let Some(corrections) = &corrections {
        let corrections = checked(server, &job, corrections).await?;
        let corrected = drive(server, job.clone().correct(corrections), context).await?;
        result.output = shown(&corrected.output);
        result.corrected = Some(corrected.rows);
    }
    let missing = corrections.is_none()
        && (!only || job.existing != Existing::Refuse || !drive(server, job.clone().output_exists(), context).await?);
    if missing {
        let summary = drive(server, job.clone().start(server.engine.clone()), context).await?;
        result = FileResult::summed_up(summary);
    }
    if only {
        let review = drive(server, job.review(most), context).await?;
        result = result.with_review(review);
    }
    Ok(tools::result(&result, MetaObject::new()))
}

fn job(server: &Server, arguments: FileArguments) -> FileJob {
    FileJob {
        path: arguments.path.into(),
        output: arguments.output_path.map(Into::into),
        text_column: arguments.text_column,
        label_column: arguments.label_column,
        reading: Reading { delimiter: None, header: arguments.header.unwrap_or(true) },
        model: arguments.model,
        text_pair: None,
        labels: arguments.labels.unwrap_or_default(),
        existing: match (arguments.overwrite, arguments.resume) {
            (Some(true), _) => Existing::Overwrite,
            (_, Some(true)) => Existing::Resume,
            _ => Existing::Refuse,
        },
        settings: server.jobs.clone(),
    }
}

/// Corrections with numbers for rows and labels that the model has.
async fn checked(server: &Server, job: &FileJob, corrections: &BTreeMap<String, String>) -> Result<Corrections, Error> {
    if corrections.is_empty() || corrections.len() > MAX_CORRECTIONS {
        let problem = format!("`corrections` has {} entries, expected 1 to {MAX_CORRECTIONS}", corrections.len());
        return Err(Error::Arguments { problem, takes: TAKES.into() });
    }
    let info = server.engine.ready(job.model.as_deref()).await?;
    Corrections::parse(corrections, &info)
}

/// Waits for a job and reports its progress. Stops it when the call is cancelled or the input ends.
async fn drive<T>(server: &Server, mut running: Running<T>, context: &RequestContext<RoleServer>) -> Result<T, Error> {
    let progress = running.progress.clone();
    let mut input_ended = server.session.input_ended.subscribe();
    tokio::select! {
        outcome = running.finished() => return outcome,
        () = context.ct.cancelled() => running.discard(),
        () = report(progress, context) => {}
        // Dropping the job keeps the rows that it has finished.
        _ = input_ended.wait_for(|ended| *ended) => {}
    }
    Err(Error::Cancelled)
}

/// Sends progress to a client that asked for it. Never completes.
async fn report(progress: tokio::sync::watch::Receiver<Progress>, context: &RequestContext<RoleServer>) {
    let Some(token) = context.meta.get_progress_token() else { return pending().await };
    let mut sent = 0.0;
    loop {
        tokio::time::sleep(PROGRESS_INTERVAL).await;
        let progress = *progress.borrow();
        // The value has to grow with every message, also while no row is finished.
        let rows = if progress.stage == Stage::Reading { 0.0 } else { progress.done as f64 };
        sent = if rows > sent { rows } else { sent + 0.001 };
        let mut message = ProgressNotificationParam::new(token.clone(), sent).with_message(progress.to_string());
        if let Some(total) = progress.total {
            message = message.with_total((total as f64).max(sent));
        }
        // A client that cannot be reached any more ends the call elsewhere.
        let _ = context.peer.notify_progress(message).await;
    }
}

//! The sessions and threads of one loaded model: a group for calls and one for rows of files.
//!
//! A single call is computed on several threads. Overlapping calls are computed side by side, each
//! on one thread. Rows of files have their own sessions, on threads of low priority, so that no
//! call waits for a row.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use classifier::{Input, LoadedModel, ModelInfo};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::error::Error;
use crate::group::{Group, GroupLimits};
use crate::job::RunOutput;
use crate::request::Priority;
use crate::settings::ProcessHooks;

/// Memory is released after this time without a job.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) struct Pool {
    /// The group for calls, and that for rows. The second is absent if each session would copy all
    /// weights; rows then wait behind calls.
    groups: Vec<Arc<Group>>,
    job_came: Arc<Notify>,
    releasing: AbortHandle,
}

impl Pool {
    /// Must be called inside a tokio runtime, which carries the task that releases memory.
    pub(crate) fn new(model: &str, loaded: LoadedModel, workers: usize, hooks: ProcessHooks) -> (Self, ModelInfo) {
        let LoadedModel { info, first, replicas } = loaded;
        let replicas = Arc::from(replicas);
        let cheap = info.load.weights_shared;
        let rows = GroupLimits {
            workers,
            narrow_sessions: workers,
            wide_threads: workers,
            on_start: hooks.on_background_thread,
        };
        let calls = match cheap && workers > 1 {
            true => GroupLimits { on_start: || (), ..rows },
            false => GroupLimits { workers: 1, narrow_sessions: 0, on_start: || (), ..rows },
        };
        let calls = Group::new(model, calls, Arc::clone(&replicas), Some(first));
        let rows = cheap.then(|| Group::new(model, rows, replicas, None));
        let job_came = Arc::new(Notify::new());
        // Loading also leaves memory to release.
        job_came.notify_one();
        let groups: Vec<_> = [Some(calls), rows].into_iter().flatten().collect();
        let weak = groups.iter().map(Arc::downgrade).collect();
        let releasing = tokio::spawn(release_when_idle(weak, Arc::clone(&job_came), hooks)).abort_handle();
        (Self { groups, job_came, releasing }, info)
    }

    /// Runs the model on one input. Dropping the future cancels the run.
    ///
    /// # Errors
    /// `Stuck` if no worker is left, `Panicked`, the error of a session that could not be made, and
    /// the model's own errors.
    pub(crate) async fn run(&self, input: Arc<Input>, priority: Priority) -> Result<RunOutput, Error> {
        self.job_came.notify_one();
        let rows = self.groups.get(1).filter(|_| priority == Priority::Background);
        rows.unwrap_or(&self.groups[0]).run(input, priority).await
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.releasing.abort();
        let groups = std::mem::take(&mut self.groups);
        groups.iter().for_each(|group| group.close());
        // Ending the sessions and the tokenizer of a large model takes longer than the protocol's
        // thread may be kept. If no thread can be started, they end here.
        let _ = thread::Builder::new().name("close".into()).spawn(move || drop(groups));
    }
}

/// Releases memory whenever no job has come for a while. The timer runs only until then.
async fn release_when_idle(groups: Vec<Weak<Group>>, job_came: Arc<Notify>, hooks: ProcessHooks) {
    loop {
        job_came.notified().await;
        while timeout(IDLE, job_came.notified()).await.is_ok() {}
        let groups = groups.clone();
        let release = move || {
            groups.iter().filter_map(Weak::upgrade).for_each(|group| group.release_memory());
            (hooks.release_memory)();
        };
        // Fails only if the runtime ends.
        let _ = tokio::task::spawn_blocking(release).await;
    }
}

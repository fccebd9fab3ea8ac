//! Threads that run a model for one kind of caller, and the queues in front of them.
//!
//! The threads are not those of the runtime's blocking pool: background threads get a low priority,
//! and a run that never ends costs only its own thread. One lock guards queues and sessions
//! together, so that a job and a suitable session are taken in one step.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use classifier::{Input, ReplicaFactory};

use crate::error::Error;
use crate::job::{CancelledAt, Job, RunOutput, catch_panic};
use crate::request::Priority;
use crate::sessions::{Kind, Session, Sessions};

/// A cancelled run that continues for longer than this is stuck. The runtime library checks for
/// cancellation between two nodes of the graph, and no node of a usable model takes this long.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
pub(crate) struct GroupLimits {
    /// Maximum number of threads. They are started when jobs wait for them.
    pub workers: usize,
    /// Maximum number of single-threaded sessions.
    pub narrow_sessions: usize,
    /// Threads of the wide session.
    pub wide_threads: usize,
    /// Called first on each thread.
    pub on_start: fn(),
}

pub(crate) struct Group {
    model: String,
    limits: GroupLimits,
    replicas: Arc<dyn ReplicaFactory>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// One queue per priority, the most urgent first.
    queues: [VecDeque<Job>; 3],
    sessions: Sessions,
    /// Number of the worker, and when its job was cancelled.
    running: Vec<(usize, CancelledAt)>,
    workers: usize,
    idle_workers: usize,
    is_closed: bool,
}

impl Group {
    pub(crate) fn new(
        model: &str,
        limits: GroupLimits,
        replicas: Arc<dyn ReplicaFactory>,
        wide: Option<Session>,
    ) -> Arc<Self> {
        let state = State {
            queues: Default::default(),
            sessions: Sessions::new(wide, limits.narrow_sessions),
            running: Vec::new(),
            workers: 0,
            idle_workers: 0,
            is_closed: false,
        };
        let (model, state) = (model.to_owned(), Mutex::new(state));
        Arc::new(Self { model, limits, replicas, state, changed: Condvar::new() })
    }

    /// Queues a job and waits for its answer. Dropping the future cancels the job.
    ///
    /// # Errors
    /// `Stuck` at once if no worker is left; otherwise the error of the run.
    pub(crate) async fn run(self: &Arc<Self>, input: Arc<Input>, priority: Priority) -> Result<RunOutput, Error> {
        let (job, answer, _cancel_on_drop) = Job::new(input);
        self.push(job, priority)?;
        let ended = || Error::Panicked { model: self.model.clone(), message: "its worker has ended".into() };
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    fn push(self: &Arc<Self>, job: Job, priority: Priority) -> Result<(), Error> {
        let mut state = self.lock();
        if state.is_stuck(self.limits.workers) {
            return Err(Error::Stuck { model: self.model.clone(), runs: state.running.len() });
        }
        let queue = &mut state.queues[priority as usize];
        // Cancelled jobs at the front of their queue are dropped here, so that they do not pile up.
        if queue.len() == queue.capacity() {
            queue.retain(|job| !job.is_cancelled());
        }
        queue.push_back(job);
        self.wake(&mut state);
        Ok(())
    }

    /// Ends the workers once they have finished their runs. Waiting jobs are dropped.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Drops the idle single-threaded sessions and lets the wide one release its memory. Blocks for
    /// one short run.
    pub(crate) fn release_memory(self: &Arc<Self>) {
        let (narrow, wide) = self.lock().sessions.release();
        drop(narrow);
        let Some(mut wide) = wide else { return };
        let released = catch_panic(|| {
            wide.release_memory();
            wide
        });
        let mut state = self.lock();
        state.sessions.put(Kind::Wide, released.ok());
        self.wake(&mut state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one more worker check the queues if a job waits. Starts a new one if all others are
    /// running. A worker that is neither running nor idle is about to check.
    fn wake(self: &Arc<Self>, state: &mut State) {
        if state.waiting() == 0 {
            return;
        }
        if state.idle_workers > 0 {
            self.changed.notify_one();
        } else if state.running.len() == state.workers && state.workers < self.limits.workers {
            let (group, number) = (Arc::clone(self), state.workers);
            match thread::Builder::new().name("inference".into()).spawn(move || group.work(number)) {
                Ok(_) => state.workers += 1,
                Err(error) if state.workers == 0 => state.fail_all(&Error::no_thread(&error)),
                Err(error) => tracing::warn!(model = self.model, %error, "a worker could not be started"),
            }
        }
    }

    fn work(self: &Arc<Self>, number: usize) {
        (self.limits.on_start)();
        while let Some((job, kind, model)) = self.next(number) {
            let (model, outcome) = job.run(&self.model, model);
            let mut state = self.lock();
            state.running.retain(|(worker, _)| *worker != number);
            state.sessions.put(kind, model);
            // Before the answer, so that the caller's next job finds the session idle.
            drop(state);
            // Fails only if the caller is gone.
            let _ = job.reply.send(outcome);
        }
    }

    /// Waits for a job and a session to run it with; `None` when the group is closed.
    fn next(self: &Arc<Self>, number: usize) -> Option<(Job, Kind, Session)> {
        let mut state = self.lock();
        while !state.is_closed {
            state.drop_cancelled();
            let waiting = state.waiting();
            let alone = waiting == 1 && state.running.is_empty();
            if waiting > 0
                && let Some(kind) = state.sessions.start_making(alone)
            {
                self.make(&mut state, kind);
            }
            if state.waiting() > 0
                && let Some((kind, model)) = state.sessions.take(alone)
                && let Some(job) = state.pop()
            {
                state.running.push((number, Arc::clone(&job.cancelled_at)));
                self.wake(&mut state);
                return Some((job, kind, model));
            }
            state.idle_workers += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle_workers -= 1;
        }
        None
    }

    /// Makes a session on a separate thread, so that it occupies no worker.
    fn make(self: &Arc<Self>, state: &mut State, kind: Kind) {
        let group = Arc::clone(self);
        let threads = if kind == Kind::Wide { self.limits.wide_threads } else { 1 };
        let make = move || {
            let made = catch_panic(|| group.replicas.replica(threads));
            let crashed = |message| Err(Error::LoadPanicked { model: group.model.clone(), message });
            let made = made.map_or_else(crashed, |made| made.map_err(Error::from));
            group.made(&mut group.lock(), kind, made);
        };
        if let Err(error) = thread::Builder::new().name("session".into()).spawn(make) {
            self.made(state, kind, Err(Error::no_thread(&error)));
        }
    }

    fn made(self: &Arc<Self>, state: &mut State, kind: Kind, made: Result<Session, Error>) {
        match made {
            Ok(model) => _ = state.sessions.made(kind, Some(model)),
            Err(error) => {
                tracing::warn!(model = self.model, %error, "a session could not be made");
                if !state.sessions.made(kind, None) {
                    state.fail_all(&error);
                }
            }
        }
        self.wake(state);
    }
}

impl State {
    fn waiting(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    fn pop(&mut self) -> Option<Job> {
        self.queues.iter_mut().find_map(VecDeque::pop_front)
    }

    fn drop_cancelled(&mut self) {
        for queue in &mut self.queues {
            while queue.front().is_some_and(Job::is_cancelled) {
                queue.pop_front();
            }
        }
    }

    fn fail_all(&mut self, error: &Error) {
        while let Some(job) = self.pop() {
            let _ = job.reply.send(Err(error.clone()));
        }
    }

    fn is_stuck(&self, workers: usize) -> bool {
        let is_stuck = |at: &tokio::time::Instant| at.elapsed() > STUCK_AFTER;
        self.running.len() == workers && self.running.iter().all(|(_, at)| at.get().is_some_and(is_stuck))
    }
}

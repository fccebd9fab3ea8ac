//! Threads that run a model for one kind of caller, and the queues in front of them.
//!
//! Threads of our own and not the runtime's blocking pool: background threads get a low priority,
//! and a run that never ends costs its thread alone. One lock guards queues and sessions together,
//! so that a job and a fitting session are taken in one step.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use classifier::prediction::Input;
use classifier::{Model, ReplicaFactory};

use crate::error::Error;
use crate::request::Priority;
use crate::run::{Abandoned, Job, RunOutput, load_unwinding};
use crate::sessions::{Kind, Sessions};

/// A cancelled run that goes on for longer than this is stuck. The runtime library looks for a
/// cancellation between two nodes of the graph, and no node of a usable model takes this long.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
pub(crate) struct GroupLimits {
    /// Threads at most. They start when jobs wait for them.
    pub workers: usize,
    /// Single-threaded sessions at most.
    pub narrow_sessions: usize,
    /// Threads of the wide session.
    pub wide_threads: usize,
    /// What each thread does first.
    pub on_start: fn(),
}

pub(crate) struct Group {
    model: String,
    limits: GroupLimits,
    replicas: Arc<dyn ReplicaFactory>,
    state: Mutex<State>,
    /// The first worker gets a job before the others: calls one after the other then find one
    /// thread's memory and processor caches warm.
    first: Condvar,
    others: Condvar,
}

struct State {
    /// One queue a priority, the most urgent first.
    queues: [VecDeque<Job>; 3],
    sessions: Sessions,
    /// Number of the worker, and when the caller of its run went away.
    running: Vec<(usize, Abandoned)>,
    workers: usize,
    first_is_idle: bool,
    idle_others: usize,
    is_closed: bool,
}

impl Group {
    pub(crate) fn new(
        model: &str,
        limits: GroupLimits,
        replicas: Arc<dyn ReplicaFactory>,
        wide: Option<Box<dyn Model>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            model: model.to_owned(),
            limits,
            replicas,
            state: Mutex::new(State {
                queues: Default::default(),
                sessions: Sessions::new(wide, limits.narrow_sessions),
                running: Vec::new(),
                workers: 0,
                first_is_idle: false,
                idle_others: 0,
                is_closed: false,
            }),
            first: Condvar::new(),
            others: Condvar::new(),
        })
    }

    /// Queues a job and waits for its answer. Dropping the future cancels the job.
    ///
    /// # Errors
    /// `Stuck` at once if no worker is left; otherwise what the run gives.
    pub(crate) async fn run(self: &Arc<Self>, input: Arc<Input>, priority: Priority) -> Result<RunOutput, Error> {
        let (job, caller) = Job::new(input);
        {
            let mut state = self.lock();
            if state.is_stuck(self.limits.workers) {
                return Err(Error::Stuck { model: self.model.clone(), runs: state.running.len() });
            }
            state.push(job, priority);
            self.wake(&mut state);
        }
        let ended = || Error::Panicked { model: self.model.clone(), message: "its worker has ended".into() };
        caller.answer().await.unwrap_or_else(|| Err(ended()))
    }

    /// Ends the workers once they have finished their runs. Waiting jobs are dropped.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.first.notify_all();
        self.others.notify_all();
    }

    /// Drops the idle single-threaded sessions and lets the wide one release its memory. Blocks for
    /// one short run.
    pub(crate) fn release_memory(self: &Arc<Self>) {
        let (narrow, wide) = self.lock().sessions.release();
        drop(narrow);
        let Some(mut wide) = wide else { return };
        let released = catch_unwind(AssertUnwindSafe(|| {
            wide.release_memory();
            wide
        }));
        let mut state = self.lock();
        state.sessions.put(Kind::Wide, released.ok());
        self.wake_if_jobs_wait(&mut state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has one more worker look at the queues, and starts it if there may be another.
    fn wake(self: &Arc<Self>, state: &mut State) {
        if state.first_is_idle {
            self.first.notify_one();
        } else if state.idle_others > 0 {
            self.others.notify_one();
        } else if state.workers < self.limits.workers {
            self.start_worker(state);
        }
    }

    fn wake_if_jobs_wait(self: &Arc<Self>, state: &mut State) {
        if state.waiting() > 0 {
            self.wake(state);
        }
    }

    fn start_worker(self: &Arc<Self>, state: &mut State) {
        let (group, number) = (Arc::clone(self), state.workers);
        match thread::Builder::new().name("inference".into()).spawn(move || group.work(number)) {
            Ok(_) => state.workers += 1,
            Err(error) if state.workers == 0 => state.fail_all(&Error::no_thread(&error)),
            Err(error) => tracing::warn!(model = self.model, %error, "a worker could not be started"),
        }
    }

    fn work(self: &Arc<Self>, number: usize) {
        (self.limits.on_start)();
        while let Some((job, kind, model)) = self.next(number) {
            let (model, outcome) = job.run(&self.model, model);
            let mut state = self.lock();
            state.running.retain(|(worker, _)| *worker != number);
            state.sessions.put(kind, model);
            // Before the answer: its caller's next job has to find the session idle.
            drop(state);
            job.reply(outcome);
        }
    }

    /// Waits for a job and a session to run it with; `None` when the group is closed.
    fn next(self: &Arc<Self>, number: usize) -> Option<(Job, Kind, Box<dyn Model>)> {
        let mut state = self.lock();
        while !state.is_closed {
            state.drop_cancelled();
            if state.waiting() > 0 {
                let alone = state.running.is_empty() && state.waiting() == 1;
                if let Some(kind) = state.sessions.start_making(alone) {
                    self.make(&mut state, kind);
                }
                if let Some((kind, model)) = state.sessions.take(alone)
                    && let Some(job) = state.pop()
                {
                    state.running.push((number, job.abandoned()));
                    self.wake_if_jobs_wait(&mut state);
                    return Some((job, kind, model));
                }
            }
            state = self.wait(state, number);
        }
        None
    }

    fn wait<'a>(&self, mut state: MutexGuard<'a, State>, number: usize) -> MutexGuard<'a, State> {
        if number == 0 {
            state.first_is_idle = true;
            state = self.first.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.first_is_idle = false;
        } else {
            state.idle_others += 1;
            state = self.others.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle_others -= 1;
        }
        state
    }

    /// Makes a session on a thread of its own, so that no worker is missing meanwhile.
    fn make(self: &Arc<Self>, state: &mut State, kind: Kind) {
        let group = Arc::clone(self);
        let threads = if kind == Kind::Wide { self.limits.wide_threads } else { 1 };
        let make = move || {
            let made = load_unwinding(&group.model, || group.replicas.replica(threads));
            let mut state = group.lock();
            match made {
                Ok(model) => state.sessions.made(kind, model),
                Err(error) => group.not_made(&mut state, &error),
            }
            group.wake_if_jobs_wait(&mut state);
        };
        if let Err(error) = thread::Builder::new().name("session".into()).spawn(make) {
            self.not_made(state, &Error::no_thread(&error));
        }
    }

    fn not_made(&self, state: &mut State, error: &Error) {
        tracing::warn!(model = self.model, %error, "a session could not be made");
        if !state.sessions.failed() {
            state.fail_all(error);
        }
    }
}

impl State {
    fn push(&mut self, job: Job, priority: Priority) {
        let queue = &mut self.queues[priority as usize];
        // Cancelled jobs stay until they come to the front; here, so that they cannot pile up.
        if queue.len() == queue.capacity() {
            queue.retain(Job::is_wanted);
        }
        queue.push_back(job);
    }

    fn pop(&mut self) -> Option<Job> {
        self.queues.iter_mut().find_map(VecDeque::pop_front)
    }

    fn waiting(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    fn drop_cancelled(&mut self) {
        for queue in &mut self.queues {
            while queue.front().is_some_and(|job| !job.is_wanted()) {
                queue.pop_front();
            }
        }
    }

    fn fail_all(&mut self, error: &Error) {
        while let Some(job) = self.pop() {
            job.reply(Err(error.clone()));
        }
    }

    fn is_stuck(&self, workers: usize) -> bool {
        let is_stuck = |at: &tokio::time::Instant| at.elapsed() > STUCK_AFTER;
        self.running.len() == workers && self.running.iter().all(|(_, abandoned)| abandoned.get().is_some_and(is_stuck))
    }
}

//! Threads that run a model, and the bounded queues in front of them.
//!
//! Plain threads, not the runtime's blocking pool: they can be given a low priority, and they wait without spinning. Which
//! calls come here is `dispatch`'s business.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, never, select_biased};
use tokio::sync::oneshot;

use crate::engine::answers::{Answers, Reply};
use crate::engine::crew::Crew;
use crate::engine::dispatch::Lane;
use crate::engine::durations::Durations;
use crate::error::Error;
use crate::model::{Cancellation, Model};
use crate::prediction::{Input, Prediction};

/// One run of the model, and what it took.
pub(super) struct Ran {
    pub prediction: Prediction,
    pub timing: Timing,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Timing {
    pub queued: Duration,
    pub inference: Duration,
}

/// A replica, locked only by the thread that runs it; absent after a panic, until a worker makes another.
pub(super) type Replica = Arc<Mutex<Option<Box<dyn Model>>>>;

/// Makes a replica.
pub(super) type Make = Arc<dyn Fn() -> Result<Box<dyn Model>, Error> + Send + Sync>;

/// After so long without work, memory that long texts took is given back.
const IDLE: Duration = Duration::from_secs(10);
/// A further worker that could not be made is not tried again sooner, while there are others.
const TRY_AGAIN: Duration = Duration::from_secs(10);

struct Job {
    input: Arc<Input>,
    cancellation: Cancellation,
    queued_at: Instant,
    reply: Reply,
}

/// What a group of workers is like.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub workers: usize,
    /// Texts that may wait.
    pub queue_capacity: usize,
    /// Whether they only get the time that nobody else wants.
    pub background: bool,
    /// Workers that were made for a burst end after so long without work, and their memory goes with them.
    pub ends_after: Option<Duration>,
}

/// Queues and their workers, which are made as texts wait for them and end when this is dropped.
pub(super) struct Workers {
    /// For calls of one text; all others let them pass.
    urgent: Sender<Job>,
    patient: Sender<Job>,
    group: Arc<Group>,
}

/// What the workers have of it.
struct Group {
    model: String,
    limits: Limits,
    urgent: Receiver<Job>,
    patient: Receiver<Job>,
    make: Make,
    crew: Crew,
    answers: Answers,
    durations: Durations,
    /// Workers that have a replica.
    ready: AtomicUsize,
    /// When a worker could not be made.
    failed_at: Mutex<Option<Instant>>,
}

impl Workers {
    pub(super) fn new(model: &str, limits: Limits, make: Make) -> Self {
        let (urgent, urgent_jobs) = crossbeam_channel::bounded(limits.queue_capacity);
        let (patient, patient_jobs) = crossbeam_channel::bounded(limits.queue_capacity);
        let group = Group {
            model: model.to_owned(),
            limits,
            urgent: urgent_jobs,
            patient: patient_jobs,
            make,
            crew: Crew::new(limits.workers),
            answers: Answers::new(limits.workers),
            durations: Durations::default(),
            ready: AtomicUsize::new(0),
            failed_at: Mutex::default(),
        };
        Self { urgent, patient, group: Arc::new(group) }
    }

    /// Waits for a worker and for its answer. Dropping the future ends the run.
    pub(super) async fn run(&self, input: Arc<Input>, lane: Lane) -> Result<Ran, Error> {
        let group = &self.group;
        let queue = if lane == Lane::Interactive { &self.urgent } else { &self.patient };
        let (reply, answer) = oneshot::channel();
        let cancellation = Cancellation::default();
        let _withdrawn = cancellation.on_drop();
        let unanswered = group.crew.announce();
        let sent = queue.try_send(Job { input, cancellation, queued_at: Instant::now(), reply });
        if let Err(error) = sent {
            group.crew.answered();
            return Err(match error {
                TrySendError::Full(_) => {
                    Error::Overloaded { model: group.model.clone(), limit: group.limits.queue_capacity }
                }
                TrySendError::Disconnected(_) => group.gone(),
            });
        }
        if group.crew.wants_a_worker(unanswered) {
            self.add(None);
        }
        answer.await.unwrap_or_else(|_| Err(group.gone()))
    }

    /// Whether there is a worker that has its replica.
    pub(super) fn ready(&self) -> bool {
        self.group.ready.load(Ordering::SeqCst) > 0
    }

    /// Whether a text waits or runs, be it one for which nobody waits any more.
    pub(super) fn busy(&self) -> bool {
        self.group.crew.busy()
    }

    /// Starts a worker, unless there are as many as there may be; without a replica it makes its own, and answers the
    /// waiting texts with what went wrong where nobody else could.
    pub(super) fn add(&self, replica: Option<Replica>) {
        let group = Arc::clone(&self.group);
        if replica.is_none() && group.had_better_wait() || !group.crew.joins() {
            return;
        }
        let worker = Arc::clone(&group);
        let spawned = thread::Builder::new().name("inference".into()).spawn(move || {
            if worker.limits.background {
                yield_to_all_others();
            }
            let made = replica.map_or_else(|| worker.make_replica().map(|made| Arc::new(Mutex::new(Some(made)))), Ok);
            match made {
                Ok(replica) => {
                    worker.ready.fetch_add(1, Ordering::SeqCst);
                    worker.work(&replica);
                    worker.ready.fetch_sub(1, Ordering::SeqCst);
                    drop(replica);
                    // Not at a low priority: all threads that want memory meanwhile would wait for this one's turn.
                    if !worker.limits.background {
                        give_back_free_memory();
                    }
                }
                Err(error) => worker.fail(&error),
            }
        });
        if let Err(error) = spawned {
            group.fail(&Error::Thread { message: error.to_string() });
        }
    }
}

impl Group {
    /// Whether another worker could not be made just now, and nobody depends on it.
    fn had_better_wait(&self) -> bool {
        let failed_at = *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        let nobody_waits = self.urgent.is_empty() && self.patient.is_empty();
        failed_at.is_some_and(|at| at.elapsed() < TRY_AGAIN) && (nobody_waits || self.crew.workers() > 0)
    }

    fn make_replica(&self) -> Result<Box<dyn Model>, Error> {
        catch_unwind(AssertUnwindSafe(&*self.make)).unwrap_or_else(|panic| Err(crashed(&self.model, &*panic)))
    }

    fn work(&self, replica: &Replica) {
        // Whether there may be memory to give back, as loading leaves it, and every run; an idle worker sets no timers.
        let mut swollen = true;
        loop {
            let job = match self.limits.ends_after {
                Some(idle) => self.next(Some(idle)).or_else(|| self.crew.leaves(|| self.waiting())),
                None if swollen => self.next(Some(IDLE)).or_else(|| {
                    trim(replica);
                    self.next(None)
                }),
                None => self.next(None),
            };
            let Some(Job { input, cancellation, queued_at, reply }) = job else { return };
            let wanted = !reply.is_closed();
            let outcome = wanted.then(|| self.answer(replica, &cancellation, &input, queued_at.elapsed()));
            swollen |= wanted;
            // Before the answer: whoever asks for the next text then shall not find a worker too few.
            self.crew.answered();
            let waiting = self.urgent.len() + self.patient.len();
            self.answers.add(outcome.map(|outcome| (reply, outcome)), waiting);
        }
    }

    /// Runs one job, on another replica where there is none any more.
    fn answer(
        &self,
        replica: &Replica,
        cancellation: &Cancellation,
        input: &Input,
        queued: Duration,
    ) -> Result<Ran, Error> {
        self.answers.before_run(self.durations.expected(input));
        let mut replica = replica.lock().unwrap_or_else(PoisonError::into_inner);
        if replica.is_none() {
            *replica = Some(self.make_replica()?);
        }
        let ran = execute(&self.model, &mut replica, cancellation, input, queued)?;
        self.durations.learn(input, ran.timing.inference);
        Ok(ran)
    }

    /// The next job, an urgent one if there is any; `None` after so long, or when there will be none.
    fn next(&self, wait: Option<Duration>) -> Option<Job> {
        let timeout = wait.map_or_else(never, crossbeam_channel::after);
        select_biased! {
            recv(self.urgent) -> job => job.ok(),
            recv(self.patient) -> job => job.ok(),
            recv(timeout) -> _ => None,
        }
    }

    /// The next job, if there is one already.
    fn waiting(&self) -> Option<Job> {
        self.urgent.try_recv().or_else(|_| self.patient.try_recv()).ok()
    }

    fn fail(&self, error: &Error) {
        tracing::warn!(model = self.model, %error, "a further worker could not be made");
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        if self.crew.fails() {
            while let Some(job) = self.waiting() {
                self.crew.answered();
                let _ = job.reply.send(Err(error.clone()));
            }
        }
    }

    fn gone(&self) -> Error {
        Error::Panicked { model: self.model.clone(), message: "its worker has ended".into() }
    }
}

fn trim(replica: &Replica) {
    let mut replica = replica.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(mut trimmed) = replica.take() {
        // One that panics is not put back.
        *replica = catch_unwind(AssertUnwindSafe(|| {
            trimmed.release_memory();
            trimmed
        }))
        .ok();
    }
    give_back_free_memory();
}

/// What was freed lies scattered in the heaps of the threads that asked for it: 2 to 4 MB after loading.
#[cfg_attr(all(target_os = "linux", target_env = "gnu"), expect(unsafe_code, reason = "no crate offers this safely"))]
fn give_back_free_memory() {
    // SAFETY: any thread may call it at any time.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Loading is over: from here on heaps begin as small as malloc has them, and what is freed at their ends goes back, which malloc
/// leaves to them up to the size that they begin with. 8 MB where a graph was prepared, 0.6 MB where it was there.
#[cfg_attr(all(target_os = "linux", target_env = "gnu"), expect(unsafe_code, reason = "no crate offers this safely"))]
pub(super) fn let_heaps_shrink() {
    // SAFETY: it writes one word, of which other threads may see the old or the new value at any time.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::mallopt(libc::M_TOP_PAD, 128 << 10);
    }
}

/// Runs the model on this thread. A replica that panics is gone: nobody knows what it was in the middle of.
pub(super) fn execute(
    model: &str,
    replica: &mut Option<Box<dyn Model>>,
    cancellation: &Cancellation,
    input: &Input,
    queued: Duration,
) -> Result<Ran, Error> {
    let gone = |message| Error::Panicked { model: model.to_owned(), message };
    let mut running = replica.take().ok_or_else(|| gone("it is being made anew".into()))?;
    let started = Instant::now();
    let run = catch_unwind(AssertUnwindSafe(|| {
        let outcome = running.predict(input, cancellation).map_err(Error::from);
        (running, outcome)
    }));
    let timing = Timing { queued, inference: started.elapsed() };
    match run {
        Ok((kept, outcome)) => {
            *replica = Some(kept);
            outcome.map(|prediction| Ran { prediction, timing })
        }
        Err(panic) => Err(gone(panic_message(&*panic))),
    }
}

/// A low priority for this thread alone. Not the lowest: a process ends with its last thread, and one at 19 waits for half a
/// second for the processor that it needs to end where others have work for all of them.
fn yield_to_all_others() {
    // Elsewhere the call would slow down the whole process.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 10);
}

pub(super) fn crashed(model: &str, panic: &(dyn Any + Send)) -> Error {
    Error::LoadPanicked { model: model.to_owned(), message: panic_message(panic) }
}

/// What a panic said, where it said anything.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into())
}

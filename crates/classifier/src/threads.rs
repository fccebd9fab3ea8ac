//! The threads that help one session with a run: made here, so that each run can keep them off its own processor.
//!
//! How many there are is `session`'s business, and when a run is worth several is `engine`'s.

use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use ort::environment::ThreadManager;

/// A session's intra-op threads beside the one that calls it.
///
/// # Why are they not left to the scheduler?
/// They are woken for each step of a run, dozens of times within milliseconds. Left alone, two threads took as long as one up to 128
/// tokens on a virtual machine; kept apart, two thirds of it (docs/performance.md).
#[derive(Clone, Default)]
pub(super) struct IntraOpThreads {
    /// Why one could not be started, of which the runtime says nothing.
    missing: Arc<OnceLock<String>>,
    #[cfg(target_os = "linux")]
    placed: Arc<std::sync::Mutex<linux::Placed>>,
}

impl ThreadManager for IntraOpThreads {
    type Thread = JoinHandle<()>;

    fn create(&self, work: impl FnOnce() + Send + 'static) -> ort::Result<Self::Thread> {
        let joining = self.joining();
        let spawned = thread::Builder::new().name("intra-op".into()).spawn(move || {
            joining();
            work();
        });
        spawned.map_err(|error| ort::Error::new(self.missing.get_or_init(|| error.to_string())))
    }

    fn join(thread: Self::Thread) -> ort::Result<()> {
        thread.join().map_err(|_| ort::Error::new("an intra-op thread panicked"))
    }
}

impl IntraOpThreads {
    pub(super) fn missing(&self) -> Option<String> {
        self.missing.get().cloned()
    }
}

#[cfg(not(target_os = "linux"))]
impl IntraOpThreads {
    fn joining(&self) -> impl FnOnce() + Send + 'static {
        || {}
    }

    pub(super) fn keep_off_this_processor(&self) {}
}

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::PoisonError;

    use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

    use super::IntraOpThreads;

    #[derive(Default)]
    pub(super) struct Placed {
        threads: Vec<Pid>,
        /// The processor that they are kept off.
        beside: Option<usize>,
    }

    impl IntraOpThreads {
        /// What a new thread does first. It begins by spinning, which shall not hold up the thread that makes it.
        pub(super) fn joining(&self) -> impl FnOnce() + Send + 'static {
            let (threads, maker) = (self.clone(), sched_getcpu());
            move || {
                let mut placed = threads.placed.lock().unwrap_or_else(PoisonError::into_inner);
                placed.threads.push(gettid());
                placed.keep_off(maker);
            }
        }

        /// Takes a few microseconds, and nothing where the processor is the same as in the last run.
        pub(crate) fn keep_off_this_processor(&self) {
            let mut placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
            let here = sched_getcpu();
            if placed.beside != Some(here) && !placed.threads.is_empty() {
                placed.keep_off(here);
            }
        }
    }

    impl Placed {
        /// Gives each thread a share of the processors that this process may use, without one.
        fn keep_off(&mut self, processor: usize) {
            self.beside = Some(processor);
            let Ok(allowed) = sched_getaffinity(None) else { return };
            let others = (0..CpuSet::MAX_CPU).filter(|&other| other != processor && allowed.is_set(other));
            let others: Vec<usize> = others.collect();
            for (number, thread) in self.threads.iter().enumerate() {
                let mut share = CpuSet::new();
                others.iter().skip(number).step_by(self.threads.len()).for_each(|&other| share.set(other));
                // Where none is left, and where the system wants it otherwise, it stays where it is.
                if share.count() > 0 {
                    let _ = sched_setaffinity(Some(*thread), &share);
                }
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::mpsc::channel;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

    use super::*;

    #[test]
    fn threads_stay_off_the_processor_of_the_run_and_share_the_others() {
        let all = sched_getaffinity(None).unwrap();
        let processors: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&processor| all.is_set(processor)).collect();
        let threads = IntraOpThreads::default();
        let (end, ended) = channel::<()>();
        let (started, start) = channel();
        let thread = threads.create(move || {
            started.send(rustix::thread::gettid()).unwrap();
            let _ = ended.recv();
        });
        let thread = (thread.unwrap(), start.recv().unwrap());
        for &here in &processors {
            let mut only = CpuSet::new();
            only.set(here);
            sched_setaffinity(None, &only).unwrap();
            assert_eq!(sched_getcpu(), here);
            sched_setaffinity(None, &all).unwrap();
            threads.keep_off_this_processor();
            let share = sched_getaffinity(Some(thread.1)).unwrap();
            assert_eq!(share.count() as usize, 1.max(processors.len() - 1));
            assert!(processors.len() == 1 || !share.is_set(here) || sched_getcpu() != here);
        }
        drop(end);
        IntraOpThreads::join(thread.0).unwrap();
    }
}

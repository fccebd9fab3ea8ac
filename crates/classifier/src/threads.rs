//! The helper threads of one session. They are started here so that each run can keep them off its
//! own processor.
//!
//! The number of threads is set in `session`.

use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use ort::environment::ThreadManager;

/// A session's intra-op threads, without the one that calls it.
///
/// # Why are they not left to the scheduler?
/// They are woken for each step of a run, dozens of times within milliseconds. Left to the
/// scheduler of a virtual machine, two threads took as long as one for up to 128 tokens; pinned
/// apart, they took two thirds of that (docs/lab-notes.md).
#[derive(Clone, Default)]
pub(crate) struct IntraOpThreads {
    /// Why a thread could not be started. The runtime does not report it.
    start_error: Arc<OnceLock<String>>,
    #[cfg(target_os = "linux")]
    placement: Arc<std::sync::Mutex<linux::Placement>>,
}

impl ThreadManager for IntraOpThreads {
    type Thread = JoinHandle<()>;

    fn create(&self, work: impl FnOnce() + Send + 'static) -> ort::Result<Self::Thread> {
        let place = self.place();
        let spawned = thread::Builder::new().name("intra-op".into()).spawn(move || {
            place();
            work();
        });
        spawned.map_err(|error| ort::Error::new(self.start_error.get_or_init(|| error.to_string())))
    }

    fn join(thread: Self::Thread) -> ort::Result<()> {
        thread.join().map_err(|_| ort::Error::new("an intra-op thread panicked"))
    }
}

impl IntraOpThreads {
    pub(crate) fn start_error(&self) -> Option<String> {
        self.start_error.get().cloned()
    }
}

#[cfg(not(target_os = "linux"))]
impl IntraOpThreads {
    fn place(&self) -> impl FnOnce() + Send + 'static {
        || {}
    }

    pub(crate) fn avoid_this_processor(&self) {}
}

#[cfg(target_os = "linux")]
mod linux {
    use std::sync::PoisonError;

    use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_getcpu, sched_setaffinity};

    use super::IntraOpThreads;

    #[derive(Default)]
    pub(super) struct Placement {
        threads: Vec<Pid>,
        /// The processor that the threads avoid.
        avoided: Option<usize>,
    }

    impl IntraOpThreads {
        /// Returns the first work of a new thread. It begins by spinning, which must not slow down
        /// the thread that starts it.
        pub(super) fn place(&self) -> impl FnOnce() + Send + 'static {
            let (threads, starter) = (self.clone(), sched_getcpu());
            move || {
                let mut placement = threads.placement.lock().unwrap_or_else(PoisonError::into_inner);
                placement.threads.push(gettid());
                placement.avoid(starter);
            }
        }

        /// Moves the threads off the processor of the calling thread. Takes a few microseconds, and
        /// nothing if the processor is the same as in the last run.
        pub(crate) fn avoid_this_processor(&self) {
            let mut placement = self.placement.lock().unwrap_or_else(PoisonError::into_inner);
            let here = sched_getcpu();
            if placement.avoided != Some(here) && !placement.threads.is_empty() {
                placement.avoid(here);
            }
        }
    }

    impl Placement {
        /// Gives each thread a share of the process's processors, excluding one.
        fn avoid(&mut self, processor: usize) {
            self.avoided = Some(processor);
            let Ok(allowed) = sched_getaffinity(None) else { return };
            let others = (0..CpuSet::MAX_CPU).filter(|&other| other != processor && allowed.is_set(other));
            let others: Vec<usize> = others.collect();
            for (number, thread) in self.threads.iter().enumerate() {
                let mut share = CpuSet::new();
                others.iter().skip(number).step_by(self.threads.len()).for_each(|&other| share.set(other));
                // If no processor is left, or the system refuses, the thread stays where it is.
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
    fn threads_avoid_the_processor_of_the_run_and_share_the_others() {
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
            threads.avoid_this_processor();
            let share = sched_getaffinity(Some(thread.1)).unwrap();
            assert_eq!(share.count() as usize, 1.max(processors.len() - 1));
            assert!(processors.len() == 1 || !share.is_set(here) || sched_getcpu() != here);
        }
        drop(end);
        IntraOpThreads::join(thread.0).unwrap();
    }
}

//! Jobs come while workers end.

use std::collections::VecDeque;

use loom::sync::{Arc, Mutex};
use loom::thread::{self, JoinHandle};

use super::crew::Crew;
use crate::every_order;

/// A queue and its crew, as `workers` uses them.
struct Group {
    crew: Crew,
    queue: Mutex<VecDeque<u32>>,
    done: Mutex<Vec<u32>>,
}

impl Group {
    /// With one worker, which finds nothing to do.
    fn new(most: usize) -> Arc<Self> {
        let group = Self { crew: Crew::new(most), queue: Mutex::default(), done: Mutex::default() };
        assert!(group.crew.joins());
        Arc::new(group)
    }

    fn next(&self) -> Option<u32> {
        self.queue.lock().unwrap().pop_front()
    }

    /// Until nothing is left, as a worker does whose time without work is over.
    fn work(&self) {
        while let Some(job) = self.next().or_else(|| self.crew.leaves(|| self.next())) {
            self.done.lock().unwrap().push(job);
            self.crew.answered();
        }
    }
}

/// With the worker that was started for it, if one was.
fn send(group: &Arc<Group>, job: u32) -> Option<JoinHandle<()>> {
    let unanswered = group.crew.announce();
    group.queue.lock().unwrap().push_back(job);
    (group.crew.wants_a_worker(unanswered) && group.crew.joins()).then(|| {
        let group = Arc::clone(group);
        thread::spawn(move || group.work())
    })
}

#[track_caller]
fn every_job_is_done(most: usize, jobs: u32) {
    every_order(move || {
        let group = Group::new(most);
        let ending = Arc::clone(&group);
        let worker = thread::spawn(move || ending.work());
        let more: Vec<_> = (0..jobs).filter_map(|job| send(&group, job)).collect();
        more.into_iter().chain([worker]).for_each(|worker| worker.join().unwrap());
        let mut done = group.done.lock().unwrap().clone();
        done.sort_unstable();
        assert_eq!(done, (0..jobs).collect::<Vec<_>>());
    });
}

#[test]
fn a_job_that_comes_while_the_only_worker_ends_is_done() {
    every_job_is_done(1, 1);
}

#[test]
fn several_jobs_are_done_while_workers_end() {
    every_job_is_done(2, 2);
}

#[test]
fn of_two_that_join_at_once_one_is_too_many() {
    every_order(|| {
        let crew = Arc::new(Crew::new(1));
        let other = Arc::clone(&crew);
        let thread = thread::spawn(move || usize::from(other.joins()));
        let joined = usize::from(crew.joins());
        assert_eq!(joined + thread.join().unwrap(), 1);
        assert_eq!(crew.workers(), 1);
    });
}

#[test]
fn of_workers_that_fail_one_knows_to_be_the_last() {
    every_order(|| {
        let crew = Arc::new(Crew::new(2));
        assert!(crew.joins() && crew.joins());
        let other = Arc::clone(&crew);
        let thread = thread::spawn(move || usize::from(other.fails()));
        let last = usize::from(crew.fails());
        assert_eq!(last + thread.join().unwrap(), 1);
    });
}

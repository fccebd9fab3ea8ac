//! A run is cancelled before, while and after it waits.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::Cancellation;
use crate::every_order;

#[test]
fn a_cancelled_wait_is_always_interrupted() {
    every_order(|| {
        let cancellation = Cancellation::default();
        let withdrawing = cancellation.clone();
        let withdrawn = thread::spawn(move || withdrawing.cancel());
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&interrupted);
        // Ends only by being interrupted: loom reports a wait that nobody ends.
        cancellation.interrupting(
            move || flag.store(true, Ordering::SeqCst),
            || {
                while !interrupted.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
            },
        );
        withdrawn.join().unwrap();
        assert!(cancellation.is_cancelled());
    });
}

#[test]
fn nothing_is_interrupted_after_the_wait() {
    every_order(|| {
        let cancellation = Cancellation::default();
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let withdrawing = cancellation.clone();
        let withdrawn = thread::spawn(move || withdrawing.cancel());
        cancellation.interrupting(move || assert!(!seen.load(Ordering::SeqCst)), || ());
        over.store(true, Ordering::SeqCst);
        withdrawn.join().unwrap();
    });
}

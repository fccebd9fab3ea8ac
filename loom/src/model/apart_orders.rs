//! Work comes to its end while its caller leaves.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::Cancellation;
use super::apart::Apart;
use crate::error::Error;
use crate::every_order;

#[test]
fn work_that_is_left_is_counted_until_its_end() {
    every_order(|| {
        let apart = Apart::default();
        let cancellation = Cancellation::default();
        let withdrawing = cancellation.clone();
        let withdrawn = thread::spawn(move || withdrawing.cancel());
        let ends = Arc::new(AtomicUsize::new(0));
        let ending = Arc::clone(&ends);
        // Held by the work as long as it may still run.
        let pending = std::sync::Arc::new(());
        let held = std::sync::Arc::clone(&pending);
        let work = move || {
            let _held = held;
            ending.fetch_add(1, Ordering::SeqCst)
        };
        let outcome = apart.run("m", &cancellation, work);
        assert!(matches!(outcome, Ok(0) | Err(Error::Cancelled)), "{outcome:?}");
        withdrawn.join().unwrap();
        // Not yet done means counted; the count goes with the end, and never below nothing.
        let left = apart.left();
        assert!(left <= 1, "{left}");
        let ended = ends.load(Ordering::SeqCst);
        match outcome {
            Ok(_) => assert_eq!((left, ended), (0, 1)),
            // The count goes after the end; a call that was cancelled before it began leaves nothing.
            Err(_) => {
                assert!(left == 1 || ended == 1 || std::sync::Arc::strong_count(&pending) == 1, "{left}, {ended}")
            }
        }
    });
}

#[test]
fn a_panic_is_the_callers() {
    every_order(|| {
        let run = || Apart::default().run("m", &Cancellation::default(), || panic!("as it was told to"));
        let outcome: Result<Result<(), Error>, _> = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        assert!(outcome.is_err());
    });
}

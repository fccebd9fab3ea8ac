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
        let outcome = apart.run("m", &cancellation, move || ending.fetch_add(1, Ordering::SeqCst));
        assert!(matches!(outcome, Ok(0) | Err(Error::Cancelled)), "{outcome:?}");
        withdrawn.join().unwrap();
        // Not yet done means counted; the count goes with the end, and never below nothing.
        let left = apart.left();
        assert!(left <= 1, "{left}");
        if outcome.is_ok() {
            assert_eq!((left, ends.load(Ordering::SeqCst)), (0, 1));
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

//! The hand-written synchronisation of `src` that a lost step would break, its orders tried by loom; what each file promises is in it.
//!
//! Counters that only count, and what threads share through channels, locks and cells of libraries, are not here.

#![cfg(test)]
#![allow(dead_code, reason = "each file is taken whole")]

/// Runs `test` in every order of steps in which threads are interrupted up to twice where they need not wait; all orders of
/// three threads would take hours, and few errors need a third interruption (Musuvathi and Qadeer 2007).
fn every_order(test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(test);
}

mod engine {
    #[path = "../../../src/engine/crew.rs"]
    mod crew;
    mod crew_orders;
}

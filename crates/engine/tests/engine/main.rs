//! The engine over the scripted model. Helpers here; tests by subject in the files below.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod calls;
mod lifecycle;
mod pool;
mod reload;
mod single_flight;

use std::sync::Arc;
use std::time::{Duration, Instant};

use classifier::Input;
use tokio::task::JoinHandle;

use engine::{Answer, Engine, Error, Priority, Request};

async fn ask(engine: &Engine, text: &str) -> Result<Answer, Error> {
    ask_as(engine, text, Priority::Interactive).await
}

async fn ask_as(engine: &Engine, text: &str, priority: Priority) -> Result<Answer, Error> {
    engine.predict(Request { input: Input::single(text), priority, ..Request::default() }).await
}

fn spawn(engine: &Arc<Engine>, text: &str) -> JoinHandle<Result<Answer, Error>> {
    spawn_as(engine, text, Priority::Interactive)
}

fn spawn_as(engine: &Arc<Engine>, text: &str, priority: Priority) -> JoinHandle<Result<Answer, Error>> {
    let (engine, text) = (Arc::clone(engine), text.to_owned());
    tokio::spawn(async move { ask_as(&engine, &text, priority).await })
}

/// Lets other tasks and threads run until `condition` holds.
#[track_caller]
fn eventually(condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    let started = Instant::now();
    let caller = std::panic::Location::caller();
    async move {
        while !condition() {
            assert!(started.elapsed() < Duration::from_secs(30), "waited in vain at {caller}");
            tokio::task::yield_now().await;
        }
    }
}

/// Advances the runtime's clock, which runs as usual afterwards.
async fn skip(duration: Duration) {
    tokio::time::pause();
    tokio::time::advance(duration).await;
    tokio::time::resume();
}

//! Serves classifiers in one process: loads them in the background, caches results, shares runs
//! between identical calls, and answers every call within its deadline.
//!
//! [`Engine::start`] takes named models; [`Engine::predict`] answers a [`Request`]. Models are used
//! only through the traits of `classifier`, so tests run a scripted one.
//!
//! # Files
//! - `engine`: a call from its arrival to its answer; the public interface
//! - `request`, `error`, `settings`: what callers ask, what they get, and the limits
//! - `slot`: loading, reloading, admission, taking a failing model out of service
//! - `pool`, `group`, `sessions`, `job`: queues, threads and sessions, and one run
//! - `cache`, `precompute`, `results`: results in memory, before the first call, between sessions
//! - `explain`, `stats`: words that moved an answer; counts and latencies

mod cache;
mod call;
mod engine;
mod error;
mod explain;
mod group;
mod health;
mod job;
mod pool;
mod precompute;
mod reload;
mod request;
mod results;
mod sessions;
mod settings;
mod slot;
mod stats;
#[cfg(feature = "testing")]
pub mod testing;

pub use engine::Engine;
pub use error::{Error, Kind};
pub use request::{Answer, AnsweredBy, Priority, Request, check_labels};
pub use settings::{EngineSettings, ProcessHooks};
pub use slot::State;
pub use stats::{CacheCounts, Percentiles, Statistics, milliseconds, resident_bytes};

//! ONNX Runtime itself: finding or unpacking the shared library, and opening it once per process.
//!
//! Sessions are `model`'s business. Only this room and `model` may name `ort`.

mod error;
mod library;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

pub use error::Error;

/// Where the library may come from.
#[derive(Clone, Debug)]
pub struct LibrarySettings {
    /// A library of the operator's (`ORT_DYLIB_PATH`), used instead of the built-in one.
    pub path: Option<PathBuf>,
    /// Where files that are made once are kept: the unpacked library, prepared graphs.
    pub cache_dir: Option<PathBuf>,
}

/// The one environment of this process, kept for its whole life: ONNX Runtime allows no second.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// Opens the library at the first call; later calls get the same environment.
///
/// A failed opening is tried again by the next call, so that a cause that went away is noticed.
///
/// # Errors
/// `LibraryUnusable` for a library that the operator named, `LibraryNowhere` where the built-in one has no place.
pub fn environment(settings: &LibrarySettings) -> Result<Environment, Error> {
    let mut slot = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*slot {
        return Ok(environment.clone());
    }
    let builder = match &settings.path {
        Some(path) if !path.is_file() => {
            return Err(Error::LibraryUnusable { path: path.clone(), message: "there is no such file".into() });
        }
        Some(path) => ort::init_from(path)
            .map_err(|error| Error::LibraryUnusable { path: path.clone(), message: error.to_string() })?,
        None => library::open_built_in(settings.cache_dir.as_deref())?,
    };
    let environment = builder
        .with_name("local-model-mcp")
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|error| Error::LibraryUnusable { path: library::NAME.into(), message: error.to_string() })?;
    // With a logger of our own the runtime starts at its most talkative, dozens of calls per run.
    environment.set_log_level(LogLevel::Error);
    *slot = Some(environment.clone());
    Ok(environment)
}

/// Branch, commit and flags of the opened library; part of every model digest, since another build may round differently.
///
/// Must not be called before `environment` has succeeded.
pub fn build_info() -> &'static str {
    ort::info()
}

/// Whatever the runtime reports also comes back as an error of the call that caused it, so here it is detail.
fn log(_: LogLevel, category: &str, _: &str, location: &str, message: &str) {
    tracing::debug!(category, location, message, "onnx runtime reported");
}

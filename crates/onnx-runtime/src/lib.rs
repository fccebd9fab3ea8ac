//! ONNX Runtime's shared library: found or unpacked, and opened once per process.
//!
//! The build script fetches the official library from the Python package index and embeds it.
//! Sessions are made by the classifier.

mod error;
mod library;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

pub use error::Error;

/// The source of the library.
#[derive(Clone, Debug)]
pub struct LibrarySettings {
    /// The operator's own library (`ORT_DYLIB_PATH`), used instead of the built-in one.
    pub path: Option<PathBuf>,
    /// The cache directory, for the unpacked library and prepared graphs.
    pub cache_dir: Option<PathBuf>,
}

/// The environment of this process. ONNX Runtime allows only one, so it is never closed.
static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);

/// Opens the library in the first call. Later calls return the same environment.
///
/// After a failure the next call tries again, so that the cause can be fixed in between.
///
/// # Errors
/// `LibraryUnusable` for a library that the operator named, `LibraryNowhere` if the built-in one
/// cannot be opened.
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
    // With a custom logger the runtime starts at its most verbose level: dozens of calls per run.
    environment.set_log_level(LogLevel::Error);
    *slot = Some(environment.clone());
    Ok(environment)
}

/// Returns branch, commit and flags of the opened library. They belong to every model digest,
/// because another build may round differently.
///
/// Must not be called before [`environment`] has succeeded.
pub fn build_info() -> &'static str {
    ort::info()
}

/// Returns the built-in library as a file. Only a start with an empty cache directory reads it.
pub fn built_in() -> &'static [u8] {
    library::LIBRARY
}

/// Logs at debug level: each report also comes back as an error of the call that caused it.
fn log(_: LogLevel, category: &str, _: &str, location: &str, message: &str) {
    tracing::debug!(category, location, message, "onnx runtime reported");
}

//! The reasons why ONNX Runtime cannot be opened.

use std::path::PathBuf;

/// ONNX Runtime cannot be opened.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The library that the operator named, or the built-in one, is not usable.
    #[error(
        "ONNX Runtime cannot be opened from `{path}`: {message}; expected version 1.22 or newer for this system; use another library, or the built-in one"
    )]
    LibraryUnusable { path: PathBuf, message: String },
    /// The built-in library can be opened neither from a directory nor from memory.
    #[error(
        "the built-in ONNX Runtime can neither be unpacked into `{cache_dir}` ({file}) nor opened from memory ({memory}); choose a cache directory that you can write to"
    )]
    LibraryNowhere { cache_dir: PathBuf, file: String, memory: String },
}

//! The reasons why ONNX Runtime cannot be opened.

use std::path::PathBuf;

/// ONNX Runtime cannot be opened.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    #[error(
        "ONNX Runtime cannot be opened from `{path}`: {message}; expected a library of version 1.22 or newer for this system; correct `ORT_DYLIB_PATH`, or leave it out to use the built-in one"
    )]
    LibraryUnusable { path: PathBuf, message: String },
    #[error(
        "the built-in ONNX Runtime can neither be unpacked into `{cache_dir}` ({file}) nor opened from memory ({memory}); point `--cache-dir` at a directory that you can write to, or set `ORT_DYLIB_PATH`"
    )]
    LibraryNowhere { cache_dir: PathBuf, file: String, memory: String },
}

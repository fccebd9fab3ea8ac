//! Your own text classifier as a tool of Claude Code: one binary, MCP over stdio, ONNX Runtime in
//! process.
//!
//! # Layout
//! Imports run one way: `commands` → `mcp` → `job` → `engine` → `model` → `onnxruntime`; `job` also
//! reads and writes `files`.
//! - [`commands`]: the command line, one file per command; prints for people and scripts
//! - [`args`], [`logging`], [`process`], [`output`]: global flags, logs, calls to the operating
//!   system, and the form in which results are printed
//! - [`mcp`]: the protocol, and all that the assistant reads
//! - [`job`]: whole files through the engine, and the rows that need a review
//! - [`evaluation`]: measures of quality, calibration, and the report
//! - [`files`]: rows of CSV, JSON lines, text and Parquet; which paths are allowed
//! - [`engine`]: model slots, cache, workers, deadlines
//! - [`model`]: one text to scored labels, as transformers would
//! - [`onnxruntime`]: the shared library, found or unpacked, opened once
//! - [`error`], [`prediction`], [`digest`], [`private_dir`], [`artifacts`]: used by all of these
//!
//! The library exists for the executable and its tests. Its interface may change with any version.

pub mod args;
pub mod commands;
pub mod error;
mod hints;
pub mod logging;
pub mod mcp;
pub mod output;
pub mod process;

pub use commands as settings;
// The names of modules that have become crates, until every user names the crate.
pub use batch as job;
pub use cache_dir::{artifacts, digest, private_dir};
pub use classifier as model;
pub use classifier as prediction;
pub use engine;
pub use evaluation;
pub use onnx_runtime as onnxruntime;
pub use tables as files;

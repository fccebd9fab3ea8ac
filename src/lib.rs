//! Your own text classifier as a tool of Claude Code: one binary, MCP over stdio, ONNX Runtime in process.
//!
//! # Layout
//! Arrows run one way: `cli` → `mcp` → `job` → `engine` → `model` → `onnxruntime`; `job` also reads and writes `files`.
//! - [`cli`]: one file per command; speaks to a person
//! - [`mcp`]: the protocol, and what the assistant reads
//! - [`job`]: whole files through the engine, and the rows that need a look
//! - [`files`]: rows of CSV, JSON lines, text and Parquet; where files may be
//! - [`engine`]: readiness, cache, workers, deadlines
//! - [`model`]: one text to scored labels, as transformers would
//! - [`onnxruntime`]: the shared library, found or unpacked, opened once
//! - [`settings`], [`telemetry`]: flags and logs
//! - [`error`], [`prediction`], [`digest`], [`stamp`], [`private_dir`], [`artifacts`]: leaves that everyone may use
//!
//! The library exists for the executable and its tests; its interface may change with any version.

pub mod artifacts;
pub mod cli;
pub mod digest;
pub mod engine;
pub mod error;
pub mod evaluation;
pub mod files;
pub mod job;
pub mod mcp;
pub mod model;
pub mod onnxruntime;
pub mod prediction;
pub mod private_dir;
pub mod settings;
pub mod stamp;
pub mod telemetry;

//! Your own text classifier as a tool of Claude Code: one binary, MCP over stdio, ONNX Runtime in
//! process.
//!
//! This package faces people and clients. The work is done by the crates below it: `batch` and
//! `evaluation` use `engine` and `tables`, which use `classifier`.
//!
//! - [`commands`]: the command line, one file per command
//! - [`mcp`]: the protocol and everything that the assistant reads, one file per tool
//! - [`args`]: the flags that all commands share, and the environment
//! - `encoders`: the vectors that taught models are made of
//! - [`logging`], [`process`]: logs, and calls to the operating system
//! - [`output`]: an answer in the forms that commands print
//! - [`error`]: the errors of all crates, with hints that name flags and tool arguments
//! - `visible`: texts of others, as they are shown to the assistant and at a terminal
//!
//! The library exists for the executable and its tests. Its interface may change with any version.

pub mod args;
pub mod commands;
mod encoders;
pub mod error;
mod hints;
pub mod logging;
pub mod mcp;
pub mod output;
pub mod process;
mod visible;

//! Reads files and writes them with one more column. The values are ones that are easily altered on
//! the way.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod bombs;
mod input;
mod parquet_files;
mod text;

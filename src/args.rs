//! The flags and environment variables that all commands share, with their defaults. No other
//! module reads the environment. The arguments of each command are in `commands`.

mod settings;

use std::ffi::{OsStr, OsString};
use std::num::NonZero;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum, ValueHint};
use tracing::level_filters::LevelFilter;

/// Each worker is a thread and a session of about 5 MB; no machine gains from more.
const MAX_WORKERS: u16 = 256;

#[derive(Args, Debug)]
pub struct Options {
    /// Model folder, optionally with a name. Repeatable; the first is the default. Without it, the
    /// built-in sentiment model is used
    #[arg(long, global = true, value_name = "[NAME=]DIR", env = "LOCAL_MODEL_MCP_MODEL", value_delimiter = ';')]
    pub model: Vec<OsString>,
    /// Maximum time from a call's arrival to its answer, including loading the model
    #[arg(long, global = true, value_name = "MS", env = "LOCAL_MODEL_MCP_DEADLINE_MS", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub deadline_ms: u64,
    /// Threads per model, shared by one text or used by several texts at once (default: number of
    /// processors, 1 to 4; all processors for whole files)
    #[arg(long, global = true, value_name = "N", env = "LOCAL_MODEL_MCP_WORKERS")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_WORKERS)))]
    pub workers: Option<u16>,
    /// Load all models at the start; without it, the first is loaded, and others when first used
    #[arg(long, global = true, env = "LOCAL_MODEL_MCP_PRELOAD", value_parser = BoolishValueParser::new())]
    pub preload: bool,
    /// Memory of this process above which a newly loaded model unloads the one that was not used
    /// for the longest time
    #[arg(long, global = true, value_name = "BYTES", env = "LOCAL_MODEL_MCP_UNLOAD_ABOVE_BYTES")]
    #[arg(default_value_t = 2 << 30)]
    pub unload_above_bytes: u64,
    /// Do not fine-tune encoders in the background after models were taught
    #[arg(long, global = true, env = "LOCAL_MODEL_MCP_NO_FINE_TUNING", value_parser = BoolishValueParser::new())]
    pub no_fine_tuning: bool,
    /// Maximum number of texts waiting for one model; further calls are rejected at once
    #[arg(long, global = true, value_name = "N", env = "LOCAL_MODEL_MCP_QUEUE_CAPACITY", default_value = "1024")]
    pub queue_capacity: NonZero<usize>,
    /// Size of the result cache
    #[arg(long, global = true, value_name = "BYTES", env = "LOCAL_MODEL_MCP_CACHE_BYTES", default_value_t = 16 << 20)]
    pub cache_bytes: u64,
    /// Maximum size of one text
    #[arg(long, global = true, value_name = "BYTES", env = "LOCAL_MODEL_MCP_MAX_TEXT_BYTES")]
    #[arg(default_value_t = 256 << 10)]
    pub max_text_bytes: usize,
    /// Folder of taught models (default: `.local-model` in the project directory)
    #[arg(long, global = true, value_name = "DIR", env = "LOCAL_MODEL_MCP_TAUGHT_DIR", value_hint = ValueHint::DirPath)]
    pub taught_dir: Option<PathBuf>,
    /// Folder of the sentence encoder that models are taught with (default: a built-in one for
    /// English)
    #[arg(long, global = true, value_name = "DIR", env = "LOCAL_MODEL_MCP_ENCODER", value_hint = ValueHint::DirPath)]
    pub encoder: Option<PathBuf>,
    /// Directory where tool calls may read and write files, in addition to the project directory.
    /// Repeatable
    #[arg(long, global = true, value_name = "DIR", env = "LOCAL_MODEL_MCP_ALLOW_DIR", value_delimiter = ';')]
    #[arg(value_hint = ValueHint::DirPath)]
    pub allow_dir: Vec<PathBuf>,
    /// Maximum size of a file that a tool call may classify
    #[arg(long, global = true, value_name = "BYTES", env = "LOCAL_MODEL_MCP_MAX_FILE_BYTES", default_value_t = 2 << 30)]
    pub max_file_bytes: u64,
    /// Memory limit of this process (Linux only); allocations beyond it fail instead of exhausting
    /// the machine (default: half of the machine's memory)
    #[arg(long, global = true, value_name = "BYTES", env = "LOCAL_MODEL_MCP_MAX_MEMORY_BYTES")]
    #[arg(value_parser = clap::value_parser!(u64).range(256 << 20..))]
    pub max_memory_bytes: Option<u64>,
    /// Directory for the runtime library, prepared graphs and results of earlier sessions (default:
    /// the user's cache directory)
    #[arg(long, global = true, value_name = "DIR", env = "LOCAL_MODEL_MCP_CACHE_DIR", value_hint = ValueHint::DirPath)]
    pub cache_dir: Option<PathBuf>,
    /// ONNX Runtime library to use instead of the built-in one
    #[arg(long, global = true, value_name = "FILE", env = "ORT_DYLIB_PATH", value_hint = ValueHint::FilePath)]
    pub onnxruntime: Option<PathBuf>,
    /// Log level; logs go to stderr
    #[arg(long, global = true, value_name = "LEVEL", env = "LOCAL_MODEL_MCP_LOG_LEVEL", default_value = "warn")]
    #[arg(value_parser = log_level())]
    pub log_level: LevelFilter,
    /// Log format
    #[arg(long, global = true, value_name = "FORMAT", env = "LOCAL_MODEL_MCP_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// Log the texts themselves; without it, the log contains only their digests
    #[arg(long, global = true, env = "LOCAL_MODEL_MCP_LOG_INPUTS", value_parser = BoolishValueParser::new())]
    pub log_inputs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}

/// Returns whether an environment variable is set, but empty.
pub(crate) fn is_empty_variable(name: &OsStr) -> bool {
    std::env::var_os(name).is_some_and(|value| value.is_empty())
}

/// Returns whether the user wants no colours in any program (no-color.org).
pub(crate) fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Parses a CSV delimiter: one ASCII character. `\t` and `tab` stand for a tab, which is hard to
/// type.
pub(crate) fn delimiter(argument: &str) -> Result<u8, String> {
    match argument.as_bytes() {
        b"\\t" | b"tab" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => Err("expected one ASCII character, such as `;` or `\\t`".into()),
    }
}

fn log_level() -> impl TypedValueParser<Value = LevelFilter> {
    PossibleValuesParser::new(["off", "error", "warn", "info", "debug", "trace"])
        .try_map(|level| level.parse::<LevelFilter>())
}

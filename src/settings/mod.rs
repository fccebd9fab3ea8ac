//! Every flag, environment variable and default, once. No other room reads the environment. What each command takes is in
//! `commands`; here is what all of them take.

mod commands;

use std::ffi::OsString;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, CommandFactory, ValueEnum};

use crate::engine::EngineSettings;
use crate::files::Places;
use crate::job::JobSettings;
use crate::model::Location;
use crate::onnxruntime::LibrarySettings;
pub use commands::{BenchArgs, CheckArgs, Cli, Client, Command, EvalArgs, PredictArgs, RegisterArgs, Scope};

#[derive(Args, Debug)]
pub struct Options {
    /// A model folder, optionally named; may be given several times, the first is the default; none: the built-in
    /// sentiment model
    #[arg(long, global = true, value_name = "[NAME=]DIR", env = "LOCAL_MODEL_MCP_MODEL", value_delimiter = ';')]
    pub model: Vec<OsString>,
    /// Longest time from a call's arrival to its answer, loading included
    #[arg(long, global = true, value_name = "MS", env = "LOCAL_MODEL_MCP_DEADLINE_MS", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub deadline_ms: u64,
    /// Threads per model: together for one text, each with its own session for many; default: the processors, 1 to 4
    #[arg(long, global = true, value_name = "N", env = "LOCAL_MODEL_MCP_WORKERS")]
    pub workers: Option<NonZero<usize>>,
    /// Texts that may wait for one model; more are refused at once
    #[arg(long, global = true, value_name = "N", env = "LOCAL_MODEL_MCP_QUEUE_CAPACITY", default_value = "1024")]
    pub queue_capacity: NonZero<usize>,
    /// Size of the result cache
    #[arg(long, global = true, value_name = "BYTES", env = "LOCAL_MODEL_MCP_CACHE_BYTES", default_value_t = 16 << 20)]
    pub cache_bytes: u64,
    /// Largest text accepted
    #[arg(long, global = true, value_name = "BYTES", env = "LOCAL_MODEL_MCP_MAX_TEXT_BYTES", default_value_t = 256 << 10)]
    pub max_text_bytes: usize,
    /// A directory that tool calls may read and write files below, beside the project's own; may be given several times
    #[arg(long, global = true, value_name = "DIR", env = "LOCAL_MODEL_MCP_ALLOW_DIR", value_delimiter = ';')]
    pub allow_dir: Vec<PathBuf>,
    /// Largest file that a tool call may classify
    #[arg(long, global = true, value_name = "BYTES", env = "LOCAL_MODEL_MCP_MAX_FILE_BYTES", default_value_t = 2 << 30)]
    pub max_file_bytes: u64,
    /// Largest memory of this process (Linux); default: half of the machine's. A model that asks for more fails, and no other
    #[arg(long, global = true, value_name = "BYTES", env = "LOCAL_MODEL_MCP_MAX_MEMORY_BYTES")]
    #[arg(value_parser = clap::value_parser!(u64).range(256 << 20..))]
    pub max_memory_bytes: Option<u64>,
    /// Where the runtime library, prepared graphs and results of earlier sessions are kept; default: the user's cache directory
    #[arg(long, global = true, value_name = "DIR", env = "LOCAL_MODEL_MCP_CACHE_DIR")]
    pub cache_dir: Option<PathBuf>,
    /// An ONNX Runtime library to use instead of the built-in one
    #[arg(long, global = true, value_name = "FILE", env = "ORT_DYLIB_PATH")]
    pub onnxruntime: Option<PathBuf>,
    /// What goes to stderr
    #[arg(long, global = true, value_name = "LEVEL", env = "LOCAL_MODEL_MCP_LOG_LEVEL", default_value = "warn")]
    pub log_level: LogLevel,
    /// How it is written
    #[arg(long, global = true, value_name = "FORMAT", env = "LOCAL_MODEL_MCP_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// Put the texts themselves into the log, which otherwise names them by digest
    #[arg(long, global = true, env = "LOCAL_MODEL_MCP_LOG_INPUTS", value_parser = BoolishValueParser::new())]
    pub log_inputs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Json,
    Text,
}

impl Options {
    /// The models to serve, the default one first; paths are absolute, since a client may start us anywhere.
    ///
    /// # Errors
    /// A sentence on the first name that is malformed or given twice.
    pub fn models(&self) -> Result<Vec<(String, Location)>, String> {
        let mut models: Vec<(String, Location)> = Vec::new();
        // An empty variable, as `${X:-}` in a client's configuration leaves it, names none.
        for argument in self.model.iter().filter(|argument| !argument.is_empty()) {
            let (name, folder) = named_folder(argument)?;
            if models.iter().any(|(known, _)| *known == name) {
                return Err(format!("two models are called `{name}`; name one with `--model OTHER=DIR`"));
            }
            let folder = std::path::absolute(&folder).map_err(|error| format!("`{}`: {error}", folder.display()))?;
            models.push((name, Location::Folder(folder)));
        }
        if models.is_empty() {
            models.push(("sentiment".into(), Location::BuiltIn));
        }
        Ok(models)
    }

    pub fn engine(&self) -> EngineSettings {
        EngineSettings {
            deadline: Duration::from_millis(self.deadline_ms),
            workers: self.workers.map_or_else(default_workers, NonZero::get),
            inline_below: Duration::from_millis(10),
            queue_capacity: self.queue_capacity.get(),
            cache_capacity_bytes: self.cache_bytes,
            max_text_bytes: self.max_text_bytes,
            snapshot_dir: self.cache_dir().map(|folder| folder.join("results")),
            precompute: true,
            log_inputs: self.log_inputs,
        }
    }

    /// The engine of a command that has nothing else to do than to get through a file.
    pub fn bulk_engine(&self) -> EngineSettings {
        let all = || thread::available_parallelism().map_or(1, NonZero::get);
        let workers = self.workers.map_or_else(all, NonZero::get);
        EngineSettings { workers, precompute: false, snapshot_dir: None, ..self.engine() }
    }

    /// What tool calls may do with files: below the project that the client works in, and where else it is allowed.
    pub fn jobs(&self) -> JobSettings {
        let project = std::env::var_os("CLAUDE_PROJECT_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        // Some clients start servers in the root directory, which is no project.
        let working = || std::env::current_dir().ok().filter(|folder| folder.parent().is_some());
        let allowed = self.allow_dir.iter().filter(|folder| **folder != Path::new(""));
        let roots = project.or_else(working).into_iter().chain(allowed.cloned());
        let places = Places::below(roots.filter_map(|root| std::path::absolute(root).ok()), self.max_file_bytes);
        JobSettings { places, in_flight: JobSettings::in_flight(self.engine().workers) }
    }

    /// The flags of this call, paths aside, that differ from what `serve` does without them.
    pub fn changed_limits(&self) -> Vec<String> {
        let default = |name: &str| -> Option<String> {
            let command = Cli::command();
            let argument = command.get_arguments().find(|argument| argument.get_id() == name)?;
            Some(argument.get_default_values().first()?.to_str()?.to_owned())
        };
        let level =
            |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| value().map(|value| value.get_name().to_owned());
        let values = [
            ("deadline_ms", Some(self.deadline_ms.to_string())),
            ("workers", self.workers.map(|workers| workers.to_string())),
            ("queue_capacity", Some(self.queue_capacity.to_string())),
            ("cache_bytes", Some(self.cache_bytes.to_string())),
            ("max_text_bytes", Some(self.max_text_bytes.to_string())),
            ("max_file_bytes", Some(self.max_file_bytes.to_string())),
            ("log_level", level(&|| self.log_level.to_possible_value())),
            ("log_format", level(&|| self.log_format.to_possible_value())),
        ];
        let changed = values.into_iter().filter(|(name, value)| value.is_some() && *value != default(name));
        let flag = |(name, value): (&str, Option<String>)| {
            [format!("--{}", name.replace('_', "-")), value.unwrap_or_default()]
        };
        let log_inputs = self.log_inputs.then(|| "--log-inputs".to_owned());
        changed.flat_map(flag).chain(log_inputs).collect()
    }

    pub fn library(&self) -> LibrarySettings {
        let path = self.onnxruntime.as_deref().and_then(|path| std::path::absolute(path).ok());
        LibrarySettings { path, cache_dir: self.cache_dir() }
    }

    fn cache_dir(&self) -> Option<PathBuf> {
        match &self.cache_dir {
            Some(folder) => std::path::absolute(folder).ok(),
            None => dirs::cache_dir().map(|folder| folder.join("local-model-mcp")),
        }
    }
}

/// Whether the user wants no colours anywhere (no-color.org).
pub fn colours_refused() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// The processors that this process may use, by affinity and cgroup; more than four workers help no assistant.
fn default_workers() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(4)
}

/// `NAME=DIR`, or `DIR` named after its last part.
fn named_folder(argument: &OsString) -> Result<(String, PathBuf), String> {
    let (name, folder) = match argument.to_str().and_then(|text| text.split_once('=')) {
        Some((name, folder)) => (name.to_owned(), PathBuf::from(folder)),
        None => {
            let folder = PathBuf::from(argument);
            let absolute = std::path::absolute(&folder).unwrap_or_else(|_| folder.clone());
            let name = absolute.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            (name.replace(|c: char| !allowed(c), "-"), folder)
        }
    };
    if name.is_empty() || !name.chars().all(allowed) || folder == Path::new("") {
        return Err(format!(
            "`--model {}` is not of the form NAME=DIR; a name has letters, digits, `.`, `-` and `_`",
            argument.display()
        ));
    }
    Ok((name, folder))
}

fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[track_caller]
    fn models(arguments: &[&str]) -> Result<Vec<(String, Location)>, String> {
        let command = ["local-model-mcp", "serve"].iter().chain(arguments);
        Cli::try_parse_from(command).unwrap().options.models()
    }

    #[test]
    fn no_model_means_the_built_in_one() {
        assert_eq!(models(&[]).unwrap(), [("sentiment".to_owned(), Location::BuiltIn)]);
    }

    #[cfg(unix)]
    #[test]
    fn folders_are_named_or_called_after_themselves() {
        let found = models(&["--model", "a=/m/x", "--model", "/m/my model"]).unwrap();
        let expected = [("a", "/m/x"), ("my-model", "/m/my model")];
        assert_eq!(found, expected.map(|(name, folder)| (name.to_owned(), Location::Folder(folder.into()))));
    }

    #[test]
    fn two_models_of_one_name_are_refused() {
        let error = models(&["--model", "a=/x", "--model", "a=/y"]).unwrap_err();
        assert_eq!(error, "two models are called `a`; name one with `--model OTHER=DIR`");
    }

    #[test]
    fn a_name_without_a_folder_is_refused() {
        assert!(models(&["--model", "a="]).unwrap_err().contains("not of the form NAME=DIR"));
    }
}

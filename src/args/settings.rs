//! Turns the flags that all commands share into the settings of libraries.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use batch::JobSettings;
use classifier::{EncoderLocation, Location};
use engine::EngineSettings;
use onnx_runtime::LibrarySettings;
use tables::PathPolicy;
use teaching::{TaughtDir, Teacher};

use super::{MAX_WORKERS, Options};
use crate::encoders::Encoders;
use crate::process;

impl Options {
    /// Returns the models to serve, the default one first. Paths are absolute, since a client may
    /// start this program in any directory.
    ///
    /// # Errors
    /// A sentence about the first name that is malformed or given twice.
    pub fn models(&self) -> Result<Vec<(String, Location)>, String> {
        let mut models: Vec<(String, Location)> = Vec::new();
        // An empty value, as `${X:-}` in a client's configuration leaves it, names no model.
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

    /// Returns the engine's settings for `serve`. More than 4 workers by default would not help one
    /// assistant.
    pub fn engine(&self) -> EngineSettings {
        EngineSettings {
            deadline: Duration::from_millis(self.deadline_ms),
            workers: self.workers.map_or_else(|| processors().min(4), usize::from),
            queue_capacity: self.queue_capacity.get(),
            cache_capacity_bytes: self.cache_bytes,
            max_text_bytes: self.max_text_bytes,
            cache_dir: self.cache_dir(),
            precompute: true,
            preload: self.preload,
            unload_above_bytes: self.unload_above_bytes,
            retry_after: Duration::from_secs(1),
            log_inputs: self.log_inputs,
            hooks: process::engine_hooks(),
        }
    }

    /// Returns the engine's settings for a one-off command, which does not use results of earlier
    /// sessions.
    pub fn batch_engine(&self) -> EngineSettings {
        let workers = self.workers.map_or_else(|| processors().min(MAX_WORKERS.into()), usize::from);
        EngineSettings { workers, precompute: false, cache_dir: None, ..self.engine() }
    }

    /// Returns the file access of tool calls: the project directory and each `--allow-dir`.
    pub fn jobs(&self) -> JobSettings {
        let project = project(std::env::var_os("CLAUDE_PROJECT_DIR"), std::env::current_dir().ok());
        if project.as_deref().is_some_and(|project| Some(real(project)) == dirs::home_dir().as_deref().map(real)) {
            // Clients show stderr as errors, and a home directory may be meant.
            tracing::info!("the project is the home directory: tool calls may read and write files in all of it");
        }
        let allowed = self.allow_dir.iter().filter(|folder| **folder != Path::new(""));
        let roots = project.into_iter().chain(allowed.cloned());
        let policy = PathPolicy::within(roots.filter_map(|root| std::path::absolute(root).ok()), self.max_file_bytes);
        JobSettings::new(policy, JobSettings::in_flight(self.engine().workers))
    }

    /// Returns the encoders of taught models, with sessions for this number of threads.
    pub(crate) fn encoders(&self, threads: usize) -> Arc<Encoders> {
        let folder = self.encoder.as_deref().and_then(|folder| std::path::absolute(folder).ok());
        let encoder = folder.map_or(EncoderLocation::BuiltIn, EncoderLocation::Folder);
        Arc::new(Encoders::new(encoder, &self.library(), threads))
    }

    /// Returns the teacher for the folder of taught models; `None` if there is no project.
    pub(crate) fn teacher(&self, encoders: Arc<Encoders>) -> Option<Arc<Teacher>> {
        let project = || project(std::env::var_os("CLAUDE_PROJECT_DIR"), std::env::current_dir().ok());
        let store = match &self.taught_dir {
            Some(folder) => TaughtDir::at(std::path::absolute(folder).ok()?),
            None => TaughtDir::in_project(std::path::absolute(project()?).ok()?),
        };
        let taken = self.models().unwrap_or_default().into_iter().map(|(name, _)| name).collect();
        Some(Arc::new(Teacher::new(store, encoders, taken)))
    }

    /// Returns where the ONNX Runtime library is found or unpacked to.
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

/// Chooses the folder that the client names, or the working directory. Some clients start servers
/// in the root directory, which is not a project and would allow every file.
fn project(named: Option<OsString>, working: Option<PathBuf>) -> Option<PathBuf> {
    [named.map(PathBuf::from), working].into_iter().flatten().find(|folder| real(folder).parent().is_some())
}

/// Resolves links and `..`, if the folder exists.
fn real(folder: &Path) -> PathBuf {
    std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned())
}

/// The processors that this process may use, by affinity and cgroup.
fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Parses `NAME=DIR`, or `DIR`, which is named after its last component.
fn named_folder(argument: &OsString) -> Result<(String, PathBuf), String> {
    let (name, folder) = match argument.to_str().and_then(|text| text.split_once('=')) {
        Some((name, folder)) => (name.to_owned(), PathBuf::from(folder)),
        None => {
            let folder = PathBuf::from(argument);
            let absolute = std::path::absolute(&folder).unwrap_or_else(|_| folder.clone());
            let name = absolute.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            (name.replace(|c: char| !allowed_in_name(c), "-"), folder)
        }
    };
    if name.is_empty() || !name.chars().all(allowed_in_name) || folder == Path::new("") {
        return Err(format!(
            "`--model {}` is not of the form NAME=DIR; a name has letters, digits, `.`, `-` and `_`",
            argument.display()
        ));
    }
    Ok((name, folder))
}

fn allowed_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::commands::Cli;

    #[track_caller]
    fn models(arguments: &[&str]) -> Result<Vec<(String, Location)>, String> {
        let command = ["local-model-mcp", "serve"].iter().chain(arguments);
        Cli::try_parse_from(command).unwrap().options.models()
    }

    #[cfg(unix)]
    #[test]
    fn the_root_directory_and_an_empty_name_are_not_a_project() {
        let choose = |named: &str, working: &str| project(Some(named.into()), Some(working.into()));
        assert_eq!(choose("/p", "/w"), Some("/p".into()));
        for named in ["/", "", "//", "/.", "/dev/.."] {
            assert_eq!(choose(named, "/w"), Some("/w".into()));
            assert_eq!(choose(named, "/"), None);
        }
    }

    #[test]
    fn without_a_model_flag_the_built_in_model_is_used() {
        assert_eq!(models(&[]).unwrap(), [("sentiment".to_owned(), Location::BuiltIn)]);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_without_a_name_gets_its_own() {
        let found = models(&["--model", "a=/m/x", "--model", "/m/my model"]).unwrap();
        let expected = [("a", "/m/x"), ("my-model", "/m/my model")];
        assert_eq!(found, expected.map(|(name, folder)| (name.to_owned(), Location::Folder(folder.into()))));
    }

    #[test]
    fn two_models_with_one_name_are_rejected() {
        let error = models(&["--model", "a=/x", "--model", "a=/y"]).unwrap_err();
        assert_eq!(error, "two models are called `a`; name one with `--model OTHER=DIR`");
    }

    #[test]
    fn a_name_without_a_folder_is_rejected() {
        assert!(models(&["--model", "a="]).unwrap_err().contains("not of the form NAME=DIR"));
    }
}

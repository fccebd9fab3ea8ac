//! The folder of taught models, and the files of one model.
//!
//! A project's folder may come from anyone, so no link in it is followed. Each file is replaced
//! whole or not at all. A lock file lets one session at a time change a model.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use cap_fs_ext::{DirExt, FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use cap_tempfile::TempFile;

use crate::error::Error;
use crate::watch::{Stage, Watch};

/// Name of the folder in a project.
const FOLDER: &str = ".local-model";
pub(crate) const STATE: &str = "taught.json";
pub(crate) const HEAD: &str = "head.json";
pub(crate) const VECTORS: &str = "rows.f16";
/// Numbers of a tuned encoder, and the vectors that it gives.
pub(crate) const TUNED: &str = "encoder.int8";
pub(crate) const TUNED_VECTORS: &str = "tuned.f16";
pub(crate) const CARD: &str = "README.md";
const LOCK: &str = ".lock";

/// Far more than a head of 256 labels takes.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Taught models of one project that are found.
const MAX_MODELS: usize = 256;
const MAX_NAME: usize = 64;
/// How long a call waits for another session, and how often it checks.
const MAX_WAIT: Duration = Duration::from_secs(30);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The folder that holds the taught models.
#[derive(Clone, Debug)]
pub struct TaughtDir {
    /// An existing folder, or one that the operator named.
    base: PathBuf,
    /// The folder below `base`, which may come from anyone.
    below: Option<&'static str>,
}

impl TaughtDir {
    /// Returns the folder `.local-model` of a project.
    pub fn in_project(project: PathBuf) -> Self {
        Self { base: project, below: Some(FOLDER) }
    }

    /// Returns a folder that the operator named.
    pub fn at(folder: PathBuf) -> Self {
        Self { base: folder, below: None }
    }

    /// Returns the path of the folder, which may not exist.
    pub fn path(&self) -> PathBuf {
        self.below.map_or_else(|| self.base.clone(), |below| self.base.join(below))
    }

    /// Returns the folder that relative paths of files start from.
    pub(crate) fn project(&self) -> &Path {
        &self.base
    }

    /// Returns the names of the models that can be used, in alphabetical order.
    pub fn names(&self) -> Vec<String> {
        self.names_with(HEAD)
    }

    /// Returns the names of all models that were started.
    pub(crate) fn started(&self) -> Vec<String> {
        self.names_with(STATE)
    }

    fn names_with(&self, file: &str) -> Vec<String> {
        let Ok(folder) = self.open_folder() else { return Vec::new() };
        let Ok(entries) = folder.entries() else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let has_file = |name: &String| {
            let model = folder.open_dir_nofollow(name);
            is_name(name) && model.is_ok_and(|model| model.symlink_metadata(file).is_ok_and(|found| found.is_file()))
        };
        let mut names: Vec<String> = names.filter(has_file).take(MAX_MODELS).collect();
        names.sort();
        names
    }

    fn open_folder(&self) -> io::Result<Dir> {
        let base = Dir::open_ambient_dir(&self.base, ambient_authority())?;
        self.below.map_or(Ok(base.try_clone()?), |below| base.open_dir_nofollow(below))
    }

    /// Opens the folder of a model; `None` if there is none.
    ///
    /// # Errors
    /// `NameInvalid`; `StateUnreadable` if it cannot be opened.
    pub(crate) fn open(&self, name: &str) -> Result<Option<ModelDir>, Error> {
        check_name(name)?;
        let path = self.path().join(name);
        match self.open_folder().and_then(|folder| folder.open_dir_nofollow(name)) {
            Ok(dir) => Ok(Some(ModelDir { dir, path, name: name.to_owned() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::StateUnreadable { path, message: error.to_string() }),
        }
    }

    /// Opens the folder of a model, creating it and its parents.
    ///
    /// # Errors
    /// `NameInvalid`, `NotWritten`; `FolderForeign` if it holds files of another kind.
    pub(crate) fn create(&self, name: &str) -> Result<ModelDir, Error> {
        check_name(name)?;
        let path = self.path().join(name);
        let create = || {
            if self.below.is_none() {
                std::fs::create_dir_all(&self.base)?;
            }
            let mut folder = Dir::open_ambient_dir(&self.base, ambient_authority())?;
            for part in self.below.into_iter().chain([name]) {
                match folder.create_dir(part) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => folder = folder.open_dir_nofollow(part)?,
                }
            }
            Ok(folder)
        };
        let dir = create().map_err(|error| Error::NotWritten { path: path.clone(), message: error.to_string() })?;
        let model = ModelDir { dir, path, name: name.to_owned() };
        if !model.exists(STATE) && model.has_foreign_files() {
            return Err(Error::FolderForeign { path: model.path });
        }
        Ok(model)
    }
}

/// Checks that a name is also a plain name of a folder.
fn check_name(name: &str) -> Result<(), Error> {
    if is_name(name) { Ok(()) } else { Err(Error::NameInvalid { name: name.chars().take(MAX_NAME).collect() }) }
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

/// The open folder of one model.
#[derive(Debug)]
pub(crate) struct ModelDir {
    dir: Dir,
    path: PathBuf,
    name: String,
}

/// Held by the session that changes a model.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "locked while it is open")] std::fs::File);

impl ModelDir {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Waits for other sessions and locks the model.
    ///
    /// # Errors
    /// `NotWritten`, `Busy`, `Cancelled`.
    pub(crate) fn lock(&self, watch: &Watch<'_>) -> Result<Lock, Error> {
        let mut options = options();
        let file = self.dir.open_with(LOCK, options.write(true).create(true));
        let file = file.map_err(|error| self.not_written(LOCK, &error))?.into_std();
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(std::fs::TryLockError::WouldBlock) if started.elapsed() < MAX_WAIT => {
                    watch.at(Stage::Waiting, 0)?;
                    thread::sleep(RETRY_INTERVAL);
                }
                Err(std::fs::TryLockError::WouldBlock) => return Err(Error::Busy { name: self.name.clone() }),
                // Some network drives do not support locks.
                Err(std::fs::TryLockError::Error(error)) => {
                    tracing::debug!(%error, "the taught model could not be locked");
                    return Ok(Lock(file));
                }
            }
        }
    }

    /// Returns the content of a file; `None` if it does not exist.
    ///
    /// # Errors
    /// `StateUnreadable`.
    pub(crate) fn read(&self, file: &str) -> Result<Option<Vec<u8>>, Error> {
        let read = || {
            let opened = self.dir.open_with(file, options().read(true))?;
            let metadata = opened.metadata()?;
            if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
                return Err(io::Error::other("it is not a file of the expected size"));
            }
            let mut content = Vec::new();
            opened.take(MAX_FILE_BYTES).read_to_end(&mut content)?;
            Ok(content)
        };
        match read() {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.unreadable(file, &error)),
        }
    }

    /// Replaces a file. It is on disk when this returns.
    ///
    /// # Errors
    /// `NotWritten`; the file is then as it was.
    pub(crate) fn write(&self, file: &str, content: &[u8]) -> Result<(), Error> {
        let write = || {
            let mut partial = TempFile::new(&self.dir)?;
            partial.write_all(content)?;
            partial.as_file().sync_all()?;
            partial.replace(file)?;
            // Some file systems do not support this.
            if let Err(error) = self.dir.open(".").and_then(|folder| folder.sync_all()) {
                tracing::debug!(%error, "the folder could not be written to the disk");
            }
            Ok(())
        };
        write().map_err(|error: io::Error| self.not_written(file, &error))
    }

    /// Removes a file if it exists.
    pub(crate) fn remove(&self, file: &str) {
        match self.dir.remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::debug!(%error, file, "a file of the taught model was not removed");
            }
            _ => {}
        }
    }

    pub(crate) fn exists(&self, file: &str) -> bool {
        self.dir.symlink_metadata(file).is_ok()
    }

    /// Returns whether the model was written once.
    pub(crate) fn is_started(&self) -> bool {
        self.exists(STATE)
    }

    /// Returns whether the folder still exists, so that the lock is the one that others see.
    pub(crate) fn is_locked_by_name(&self) -> bool {
        self.exists(LOCK)
    }

    fn has_foreign_files(&self) -> bool {
        let ours = [LOCK, VECTORS].map(OsStr::new);
        let entries = self.dir.entries().into_iter().flatten().flatten();
        entries.into_iter().any(|entry| !ours.contains(&entry.file_name().as_os_str()))
    }

    /// Removes the folder of a model that was never written.
    pub(crate) fn remove_unstarted(&self, store: &TaughtDir) {
        if self.exists(STATE) {
            return;
        }
        for file in [VECTORS, LOCK] {
            let _ = self.dir.remove_file(file);
        }
        // Fails if another program put something into a folder, which then stays.
        if let Ok(folder) = store.open_folder() {
            let _ = folder.remove_dir(&self.name);
        }
        if let (Some(below), Ok(base)) = (store.below, Dir::open_ambient_dir(&store.base, ambient_authority())) {
            let _ = base.remove_dir(below);
        }
    }

    /// The error of a file that cannot be read, or makes no sense.
    pub(crate) fn unreadable(&self, file: &str, problem: &impl ToString) -> Error {
        Error::StateUnreadable { path: self.path.join(file), message: problem.to_string() }
    }

    fn not_written(&self, file: &str, error: &io::Error) -> Error {
        Error::NotWritten { path: self.path.join(file), message: error.to_string() }
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.follow(FollowSymlinks::No).nonblock(true);
    options
}

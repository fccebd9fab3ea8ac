//! Writes a model folder under another name first, so that it appears complete or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::Error;

const PREFIX: &str = ".new-model";
/// Locked while its folder is written. A process that was killed leaves it unlocked.
const LOCK: &str = "lock";

/// A folder that has not appeared yet. It is removed unless it is published.
pub(crate) struct NewFolder {
    /// Closed before its folder is removed, since Windows removes no open file.
    _lock: File,
    scratch: TempDir,
    out: PathBuf,
}

impl NewFolder {
    /// Creates an empty folder next to `out`. Removes those of processes that were killed.
    ///
    /// # Errors
    /// `NotWritten` if `out` has content, or nothing can be written next to it.
    pub(crate) fn create(out: &Path) -> Result<Self, Error> {
        if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(not_written(out, "it is not empty, expected a new folder"));
        }
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        remove_abandoned(parent);
        let create = || -> io::Result<Self> {
            let scratch = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            let lock = File::create(scratch.path().join(LOCK))?;
            // Without locks, as on some network drives, what a killed process leaves stays.
            let _ = lock.lock();
            fs::create_dir(scratch.path().join("model"))?;
            Ok(Self { _lock: lock, scratch, out: out.to_owned() })
        };
        create().map_err(|error| not_written(out, error))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.scratch.path().join("model")
    }

    /// Writes a file of the folder.
    ///
    /// # Errors
    /// `NotWritten`.
    pub(crate) fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<(), Error> {
        let path = self.path().join(name);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, content));
        written.map_err(|error| not_written(&self.out, error))
    }

    /// Copies a file into the folder.
    ///
    /// # Errors
    /// `NotWritten`.
    pub(crate) fn copy(&self, from: &Path, name: impl AsRef<Path>) -> Result<(), Error> {
        let path = self.path().join(name);
        let copied = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::copy(from, &path));
        copied.map(|_| ()).map_err(|error| not_written(&self.out, error))
    }

    /// Gives the folder its name.
    ///
    /// # Errors
    /// `NotWritten` if something of this name has appeared.
    pub(crate) fn publish(self) -> Result<(), Error> {
        let renamed = match fs::remove_dir(&self.out) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::rename(self.path(), &self.out),
        };
        renamed.map_err(|error| not_written(&self.out, error))
    }
}

/// Removes folders whose process no longer lives. A failure leaves them for the next time.
fn remove_abandoned(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            drop(lock);
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn not_written(out: &Path, message: impl ToString) -> Error {
    Error::NotWritten { path: out.into(), message: message.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_killed_processes_are_removed_and_others_stay() {
        let parent = tempfile::tempdir().unwrap();
        let abandoned = parent.path().join(".new-modelAbCdEf");
        fs::create_dir_all(abandoned.join("model")).unwrap();
        fs::write(abandoned.join(LOCK), "").unwrap();
        let foreign = parent.path().join(".new-model-notes");
        fs::create_dir(&foreign).unwrap();
        let first = NewFolder::create(&parent.path().join("first")).unwrap();
        assert!(!abandoned.exists() && foreign.exists());
        let second = NewFolder::create(&parent.path().join("second")).unwrap();
        for new in [first, second] {
            new.write("config.json", "{}").unwrap();
            new.publish().unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".new-model-notes", "first", "second"]);
    }
}

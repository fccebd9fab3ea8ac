//! Writes a model folder under another name first, so that it appears complete or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::Error;

/// A folder that has not appeared yet. It is removed unless it is published.
pub(crate) struct NewFolder {
    scratch: TempDir,
    out: PathBuf,
}

impl NewFolder {
    /// Creates an empty folder next to `out`.
    ///
    /// # Errors
    /// `NotWritten` if `out` has content, or nothing can be written next to it.
    pub(crate) fn create(out: &Path) -> Result<Self, Error> {
        if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(not_written(out, "it is not empty, expected a new folder"));
        }
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let create = || -> io::Result<TempDir> {
            let scratch = tempfile::Builder::new().prefix(".new-model").tempdir_in(parent)?;
            fs::create_dir(scratch.path().join("model"))?;
            Ok(scratch)
        };
        let scratch = create().map_err(|error| not_written(out, error))?;
        Ok(Self { scratch, out: out.to_owned() })
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

fn not_written(out: &Path, message: impl ToString) -> Error {
    Error::NotWritten { path: out.into(), message: message.to_string() }
}

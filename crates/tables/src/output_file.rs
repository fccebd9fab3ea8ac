//! An output file: claimed by one process at a time, written without a name, and named once it is
//! complete.
//!
//! Usage:
//! 1. [`output_location`] returns the location of the output; [`TableFile::check_output`] checks
//!    that its name fits the format.
//! 2. [`OutputFile::claim`] makes sure that the output may be written, and locks it.
//!    [`OutputFile::claim_existing`] is for changing an existing output. Open the output with
//!    [`TableFile::open_at`] only after the claim; before it, another process could replace the
//!    file.
//! 3. [`OutputFile::progress`] is the file `NAME.progress` next to the output. It is the lock, and
//!    the caller keeps finished rows in it so that an interrupted run can be resumed. Its first
//!    line belongs to this module.
//! 4. [`OutputFile::create`] returns the file to write to, and [`OutputFile::commit`] gives that
//!    file its name. [`OutputFile::discard`] removes everything. Dropping an `OutputFile` earlier
//!    keeps the progress file, except after [`OutputFile::claim_existing`].
//!
//! A file that this program did not create is never emptied, replaced or removed, except an output
//! that the caller wants to overwrite.

mod progress_file;

use std::fs::File;
use std::io;
use std::path::Path;

use cap_fs_ext::MetadataExt;
use cap_std::fs::{Dir, Metadata, OpenOptions};
use cap_tempfile::TempFile;

use crate::compression::Compression;
use crate::error::Error;
use crate::location::{Location, same_file};
use crate::path_policy::PathPolicy;
use crate::table_file::TableFile;
pub use progress_file::ProgressFile;

/// The treatment of an existing output or an interrupted run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfExists {
    /// Refuse if either exists.
    Refuse,
    /// Replace the output and start again.
    Overwrite,
    /// Continue the interrupted run. Replace an output only if that run was allowed to.
    Resume,
}

impl IfExists {
    /// Returns the treatment that a caller asked for. `overwrite` wins.
    pub fn new(overwrite: bool, resume: bool) -> Self {
        if overwrite {
            Self::Overwrite
        } else if resume {
            Self::Resume
        } else {
            Self::Refuse
        }
    }
}

/// Returns the location of an input's output: the given path, or `NAME.predicted.csv` next to the
/// input.
///
/// # Errors
/// A path that is not allowed, or a folder that does not exist.
pub fn output_location(input: &TableFile, given: Option<&Path>, policy: &PathPolicy) -> Result<Location, Error> {
    if let Some(given) = given {
        return policy.locate(given);
    }
    let name = input.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (_, name) = Compression::from_name(&name);
    let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = format!("{stem}.predicted{}", input.layout.extension());
    policy.locate(&input.path().with_file_name(name))
}

/// An output that only this process may write.
#[derive(Debug)]
pub struct OutputFile {
    location: Location,
    progress: ProgressFile,
    overwrite: bool,
    /// The output before a change. An incomplete change is discarded.
    before: Option<Metadata>,
}

impl OutputFile {
    /// Claims an output for a new run, or for one that is resumed.
    ///
    /// # Errors
    /// `OutputExists`, `OutputIsInput`, `Unfinished` or `AlreadyRunning`; `OutputAppeared` if an
    /// output exists that the interrupted run may not overwrite; `NotOurProgress` if a file with
    /// the name of the progress file exists that this program did not create.
    pub fn claim(location: Location, input: &TableFile, if_exists: IfExists) -> Result<Self, Error> {
        let path = || location.path().to_owned();
        if let Some(found) = location.metadata() {
            location.check_kind(found.file_type())?;
            if same_file(&found, input.file()) {
                return Err(Error::OutputIsInput { path: path() });
            }
            if if_exists == IfExists::Refuse {
                return Err(Error::OutputExists { path: path() });
            }
        }
        let (mut progress, created) = ProgressFile::lock(&location)?;
        let earlier = progress.read_header(&location)?;
        let problem = match (if_exists, earlier) {
            (IfExists::Refuse, Some(_)) => Some(progress.unfinished()),
            (IfExists::Refuse | IfExists::Resume, None) if location.exists() => {
                Some(Error::OutputExists { path: path() })
            }
            (IfExists::Resume, Some(false)) if location.exists() => Some(Error::OutputAppeared { path: path() }),
            _ => None,
        };
        if let Some(problem) = problem {
            if created {
                progress.remove();
            }
            return Err(problem);
        }
        let overwrite = if_exists == IfExists::Overwrite || earlier == Some(true);
        if if_exists != IfExists::Resume || earlier.is_none() {
            progress.start_new(overwrite).map_err(|error| not_written(location.path(), &error))?;
        }
        Ok(Self { location, progress, overwrite, before: None })
    }

    /// Claims an existing output, to change it.
    ///
    /// The progress file of an interrupted change is cleared, because such a change leaves the
    /// output as it was.
    ///
    /// # Errors
    /// `AlreadyRunning`; `Unfinished` if a run that overwrites this output was interrupted;
    /// `NotOurProgress`.
    pub fn claim_existing(location: Location) -> Result<Self, Error> {
        let (mut progress, created) = ProgressFile::lock(&location)?;
        let before = location.metadata();
        if let Err(error) = location.open() {
            if created {
                progress.remove();
            }
            return Err(error);
        }
        // A run that may not overwrite cannot be about an existing output.
        if progress.read_header(&location)? == Some(true) {
            return Err(progress.unfinished());
        }
        progress.start_new(false).map_err(|error| not_written(location.path(), &error))?;
        Ok(Self { location, progress, overwrite: true, before })
    }

    /// Returns the path of the output.
    pub fn path(&self) -> &Path {
        self.location.path()
    }

    /// Returns the location of the output, to open one that was claimed.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Returns the progress file.
    pub fn progress(&self) -> &ProgressFile {
        &self.progress
    }

    /// Returns another handle to the progress file, open for reading and writing.
    ///
    /// # Errors
    /// `NotWritten`.
    pub fn progress_file(&self) -> Result<File, Error> {
        self.progress.file.try_clone().map_err(|error| not_written(self.path(), &error))
    }

    /// Creates the file to write the output to. Dropping it deletes it.
    ///
    /// # Errors
    /// `NotWritten`.
    pub fn create(&self) -> Result<PartialFile<'_>, Error> {
        let create = || {
            let inner = TempFile::new(&self.location.folder)?;
            let file = inner.as_file().try_clone()?.into_std();
            #[cfg(unix)]
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
            Ok(PartialFile { inner, file })
        };
        create().map_err(|error: io::Error| not_written(self.path(), &error))
    }

    /// Gives a complete output its name and the permissions of `input`, and removes the progress
    /// file.
    ///
    /// When this returns, the output is on disk.
    ///
    /// # Errors
    /// `NotWritten`; `OutputAppeared` if another program created a file with this name meanwhile;
    /// `OutputChanged` if another program wrote the output that is being changed.
    pub fn commit(&self, partial: PartialFile<'_>, input: &TableFile) -> Result<(), Error> {
        let (folder, name) = (&self.location.folder, &self.location.name);
        let failed = |error: io::Error| not_written(self.path(), &error);
        input.permissions().and_then(|allowed| partial.file.set_permissions(allowed)).map_err(failed)?;
        partial.file.sync_all().map_err(failed)?;
        if let Some(before) = &self.before
            && !self.location.metadata().is_some_and(|found| is_unchanged(before, &found))
        {
            return Err(Error::OutputChanged { path: self.path().to_owned() });
        }
        if !self.overwrite {
            // Renaming would replace a file that another program created meanwhile; creating the
            // name first does not.
            self.location.open_with(OpenOptions::new().write(true).create_new(true)).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::AlreadyExists => Error::OutputAppeared { path: self.path().to_owned() },
                    _ => failed(error),
                }
            })?;
        }
        if let Err(error) = partial.inner.replace(name) {
            if !self.overwrite {
                let _ = folder.remove_file(name);
            }
            return Err(failed(error));
        }
        // After a power cut either the output or the progress file must exist.
        sync_folder(folder);
        self.discard();
        Ok(())
    }

    /// Removes the progress file, so that nothing remains of the run.
    pub fn discard(&self) {
        self.progress.remove();
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if self.before.is_some() {
            self.discard();
        }
    }
}

/// An output that is being written. It has no name yet.
#[derive(Debug)]
pub struct PartialFile<'output> {
    inner: TempFile<'output>,
    file: File,
}

impl PartialFile<'_> {
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Returns whether a file is the same and was not written in between.
fn is_unchanged(before: &Metadata, now: &Metadata) -> bool {
    let version = |file: &Metadata| (file.dev(), file.ino(), file.len(), file.modified().ok());
    version(before) == version(now)
}

/// Writes the names in a folder to the disk. Some file systems do not support this.
fn sync_folder(folder: &Dir) {
    #[cfg(test)]
    tests::note_sync(folder);
    if let Err(error) = folder.open(".").and_then(|folder| folder.sync_all()) {
        tracing::debug!(%error, "the folder could not be written to the disk");
    }
}

pub(crate) fn not_written(path: &Path, error: &io::Error) -> Error {
    Error::NotWritten { path: path.to_owned(), message: error.to_string() }
}

#[cfg(test)]
mod tests;

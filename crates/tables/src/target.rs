//! Where an output goes: under its own name only when it is whole. Until then it is `NAME.partial` beside it, and the
//! journal of a run that may have to go on later is `NAME.progress`.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::Error;
use crate::compression::Compression;
use crate::place::{Places, check_kind};
use crate::source::Source;

/// What to do where an output, or the journal of an unfinished run, is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Refuse,
    Overwrite,
    /// Go on with what an unfinished run left; otherwise as `Refuse`.
    Resume,
}

/// The path of an input's output: the one given, or beside the input as `NAME.predicted.csv`.
///
/// # Errors
/// A place that is not allowed; a directory that does not exist.
pub fn output_path(source: &Source, given: Option<&Path>, places: &Places) -> Result<PathBuf, Error> {
    let path = match given {
        Some(given) => places.resolve(given)?,
        None => {
            let name = source.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (_, name) = Compression::named(&name);
            let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
            places.resolve(&source.path().with_file_name(format!("{stem}.predicted{}", source.extension())))?
        }
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let message = match fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => return Ok(path),
        Ok(_) => "the folder named is a file".to_owned(),
        Err(error) => format!("its folder cannot be used ({error})"),
    };
    Err(Error::FileNotOpened { path, message })
}

/// An output that is to be, held by this process alone.
pub struct Target {
    path: PathBuf,
    places: Places,
    replace: bool,
    journal: File,
}

/// The file beside the output in which finished rows are kept.
pub struct Journal {
    pub file: File,
    /// Whether an unfinished run left something in it.
    pub begun: bool,
}

impl Target {
    /// Claims an output: checks what is there, and creates or takes over its journal.
    ///
    /// # Errors
    /// An output that is there already, the input itself, a run that is still at it.
    pub fn claim(
        path: PathBuf,
        source: &Source,
        places: &Places,
        existing: Existing,
    ) -> Result<(Self, Journal), Error> {
        if let Ok(found) = fs::symlink_metadata(&path) {
            check_kind(&path, &found)?;
            if source.is(&found) {
                return Err(Error::OutputIsInput { path });
            }
            let going_on = existing == Existing::Resume && beside(&path, ".progress").exists();
            if existing != Existing::Overwrite && !going_on {
                return Err(Error::OutputExists { path });
            }
        }
        Self::lock(path, places, existing)
    }

    /// Claims an output that is there, to write it again with changes.
    ///
    /// # Errors
    /// A run that is at it, or has not finished.
    pub fn claim_own(path: PathBuf, places: &Places) -> Result<(Self, Journal), Error> {
        Self::lock(path, places, Existing::Refuse)
    }

    fn lock(path: PathBuf, places: &Places, existing: Existing) -> Result<(Self, Journal), Error> {
        let journal_path = beside(&path, ".progress");
        let replace = path.exists();
        let failed = |error: io::Error| not_written(&path, &error);
        let mut options = places.options();
        options.read(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let (file, mut begun) = match options.clone().create_new(true).open(&journal_path) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                (options.open(&journal_path).map_err(failed)?, true)
            }
            Err(error) => return Err(failed(error)),
        };
        check_kind(&journal_path, &file.metadata().map_err(failed)?)?;
        places.check_opened(&file, &journal_path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::AlreadyRunning { path }),
            // Some network drives have no locks.
            Err(TryLockError::Error(error)) => tracing::debug!(%error, "the journal could not be locked"),
        }
        match existing {
            _ if !begun => {}
            Existing::Refuse => return Err(Error::Unfinished { path: journal_path }),
            Existing::Resume => {}
            Existing::Overwrite => {
                file.set_len(0).map_err(failed)?;
                begun = false;
            }
        }
        let journal = file.try_clone().map_err(failed)?;
        let target = Self { path, places: places.clone(), replace, journal };
        Ok((target, Journal { file, begun }))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts the output itself, in place of what a run that was killed may have left of it.
    ///
    /// # Errors
    /// `NotWritten`.
    pub fn begin(&self) -> Result<Partial, Error> {
        let path = beside(&self.path, ".partial");
        let failed = |error: io::Error| not_written(&self.path, &error);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut options = self.places.options();
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.read(true).write(true).create_new(true).open(&path).map_err(failed)?;
        let partial = Partial { path: TempPath::try_from_path(&path).map_err(failed)?, file };
        self.places.check_opened(&partial.file, &path)?;
        Ok(partial)
    }

    /// Gives a whole output its name, with the permissions of `source`, and drops the journal.
    ///
    /// # Errors
    /// `NotWritten`, or `OutputExists` where somebody else was faster.
    pub fn commit(self, partial: Partial, source: &Source) -> Result<(), Error> {
        let failed = |error: io::Error| not_written(&self.path, &error);
        source.permissions().and_then(|allowed| partial.file.set_permissions(allowed)).map_err(failed)?;
        // So that no crash of the system leaves the name with half of the content.
        partial.file.sync_all().map_err(failed)?;
        let persisted =
            if self.replace { partial.path.persist(&self.path) } else { partial.path.persist_noclobber(&self.path) };
        persisted.map_err(|failure| match failure.error.kind() {
            io::ErrorKind::AlreadyExists => Error::OutputExists { path: self.path.clone() },
            _ => failed(failure.error),
        })?;
        self.discard();
        Ok(())
    }

    /// Drops the journal: nothing is left of the run.
    pub fn discard(self) {
        // While it is still locked, so that nobody takes over what is about to go.
        let removed = fs::remove_file(beside(&self.path, ".progress"));
        if let Err(error) = removed {
            tracing::debug!(%error, "the journal could not be removed");
        }
        drop(self.journal);
    }
}

/// An output that is being written; gone when dropped.
pub struct Partial {
    path: TempPath,
    file: File,
}

impl Partial {
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

pub(crate) fn not_written(path: &Path, error: &io::Error) -> Error {
    Error::NotWritten { path: path.to_owned(), message: error.to_string() }
}

/// The path with something behind its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

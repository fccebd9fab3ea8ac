//! The file `NAME.progress` next to an output: its lock and its first line.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};

use cap_std::fs::OpenOptions;

use super::not_written;
use crate::error::Error;
use crate::location::Location;

/// First lines of progress files. The second is for runs that may replace the output.
pub(super) const HEADERS: [&[u8]; 2] = [
    b"{\"local_model_mcp_progress\":1,\"overwrite\":false}\n",
    b"{\"local_model_mcp_progress\":1,\"overwrite\":true}\n",
];

/// Attempts to lock. Losing the lock this often means that other processes do nothing but lock.
const MAX_LOCK_ATTEMPTS: usize = 1000;

/// The file next to an output in which finished rows are kept. It is locked while it is open.
#[derive(Debug)]
pub struct ProgressFile {
    location: Location,
    pub(super) file: File,
    /// Where the caller's part begins. The line before it must be left as it is.
    pub start: u64,
    /// Whether an interrupted run left records after `start`.
    pub begun: bool,
}

impl ProgressFile {
    /// Opens or creates the progress file and locks it. Also returns whether it was created.
    pub(super) fn lock(output: &Location) -> Result<(Self, bool), Error> {
        let mut name = output.name.clone();
        name.push(".progress");
        let location = output.sibling(name)?;
        let failed = |error: io::Error| not_written(output.path(), &error);
        for _ in 0..MAX_LOCK_ATTEMPTS {
            let mut options = private(OpenOptions::new());
            options.read(true).write(true);
            let (file, created) = match location.open_with(options.clone().create_new(true)) {
                Ok(file) => (file, true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match location.open_with(&mut options) {
                    Ok(file) => (file, false),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(failed(error)),
                },
                Err(error) => return Err(failed(error)),
            };
            #[cfg(test)]
            super::tests::before_lock();
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::AlreadyRunning { path: output.path().to_owned() });
                }
                // Some network drives do not support locks.
                Err(TryLockError::Error(error)) => tracing::debug!(%error, "the progress file could not be locked"),
            }
            // The previous run may have removed the file after it was opened here and before it was
            // locked.
            if location.is_name_of(&file) {
                return Ok((Self { location, file, start: 0, begun: false }, created));
            }
        }
        Err(Error::AlreadyRunning { path: output.path().to_owned() })
    }

    /// Returns whether an interrupted run was allowed to overwrite the output; `None` if there was
    /// no such run.
    pub(super) fn read_header(&mut self, output: &Location) -> Result<Option<bool>, Error> {
        let failed = |error: io::Error| not_written(output.path(), &error);
        let foreign = || Error::NotOurProgress { path: self.location.path().to_owned() };
        let metadata = self.file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(foreign());
        }
        let mut start = Vec::new();
        self.file.rewind().map_err(failed)?;
        (&self.file).take(64).read_to_end(&mut start).map_err(failed)?;
        match HEADERS.iter().position(|header| start.starts_with(header)) {
            Some(number) => {
                self.start = HEADERS[number].len() as u64;
                self.begun = metadata.len() > self.start;
                Ok(self.begun.then_some(number == 1))
            }
            None if HEADERS.iter().any(|header| header.starts_with(&start)) => Ok(None),
            None => Err(foreign()),
        }
    }

    pub(super) fn start_new(&mut self, overwrite: bool) -> io::Result<()> {
        let header = HEADERS[usize::from(overwrite)];
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(header)?;
        (self.start, self.begun) = (header.len() as u64, false);
        Ok(())
    }

    pub(super) fn unfinished(&self) -> Error {
        Error::Unfinished { path: self.location.path().to_owned() }
    }

    /// Removes the file while it is locked, so that no other run can take it over.
    pub(super) fn remove(&self) {
        if !self.location.is_name_of(&self.file) {
            return;
        }
        if let Err(error) = self.location.folder.remove_file(&self.location.name) {
            tracing::debug!(%error, "the progress file could not be removed");
        }
    }
}

/// Options to create a file that other users cannot read.
fn private(options: OpenOptions) -> OpenOptions {
    #[cfg(unix)]
    let options = cap_std::fs::OpenOptionsExt::mode(&mut options.clone(), 0o600).clone();
    options
}

//! A file name in an open folder, and how it is opened.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use cap_fs_ext::{FileTypeExt, FollowSymlinks, MetadataExt, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, FileType, Metadata, OpenOptions};

use crate::error::Error;

/// A file name in an open folder. The file need not exist.
#[derive(Debug)]
pub struct Location {
    pub(crate) folder: Dir,
    pub(crate) name: OsString,
    /// As shown to the caller. Files are opened by their name in the folder.
    pub(crate) path: PathBuf,
    /// The limit of a policy. `None` also means that links are followed.
    pub(crate) max_file_bytes: Option<u64>,
}

impl Location {
    pub(crate) fn anywhere(path: &Path) -> Result<Self, Error> {
        let absolute = std::path::absolute(path).map_err(|error| not_opened(path, &error))?;
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(not_a_file(path, A_DIRECTORY));
        };
        let folder = Dir::open_ambient_dir(parent, ambient_authority()).map_err(|error| no_folder(path, &error))?;
        Ok(Self { folder, name: name.to_owned(), path: absolute, max_file_bytes: None })
    }

    /// Returns the path as the caller knows it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether this name exists.
    pub fn exists(&self) -> bool {
        self.metadata().is_some()
    }

    pub(crate) fn metadata(&self) -> Option<Metadata> {
        self.folder.symlink_metadata(&self.name).ok()
    }

    /// Returns whether this name still refers to an open file.
    pub(crate) fn is_name_of(&self, file: &File) -> bool {
        self.metadata().is_some_and(|found| same_file(&found, file))
    }

    /// Another name in the same folder.
    pub(crate) fn sibling(&self, name: impl Into<OsString>) -> Result<Self, Error> {
        let name = name.into();
        let path = self.path.with_file_name(&name);
        let folder = self.folder.try_clone().map_err(|error| not_opened(&path, &error))?;
        Ok(Self { folder, name, path, max_file_bytes: self.max_file_bytes })
    }

    /// Opens the file for reading.
    pub(crate) fn open(&self) -> Result<File, Error> {
        let failed = |error: io::Error| not_opened(&self.path, &error);
        // The kind is checked before opening, because opening some devices has side effects, and
        // again afterwards.
        let file = if self.max_file_bytes.is_none() {
            let found = fs::metadata(&self.path).map_err(failed)?;
            self.check_kind(Metadata::from_just_metadata(found).file_type())?;
            // A link may lead out of the folder here, which a `Dir` refuses.
            File::open(&self.path).map_err(failed)?
        } else {
            self.check_kind(self.folder.symlink_metadata(&self.name).map_err(failed)?.file_type())?;
            self.open_with(OpenOptions::new().read(true)).map_err(failed)?
        };
        let metadata = Metadata::from_file(&file).map_err(failed)?;
        self.check_kind(metadata.file_type())?;
        match self.max_file_bytes {
            Some(limit) if metadata.len() > limit => {
                Err(Error::FileTooLarge { path: self.path.clone(), bytes: metadata.len(), limit })
            }
            _ => Ok(file),
        }
    }

    /// Opens the file without following links and without waiting for the other end of a pipe.
    pub(crate) fn open_with(&self, options: &mut OpenOptions) -> io::Result<File> {
        options.follow(FollowSymlinks::No).nonblock(true);
        self.folder.open_with(&self.name, options).map(cap_std::fs::File::into_std)
    }

    pub(crate) fn check_kind(&self, kind: FileType) -> Result<(), Error> {
        match kind {
            kind if kind.is_file() => Ok(()),
            kind if kind.is_dir() => Err(not_a_file(&self.path, A_DIRECTORY)),
            kind if kind.is_symlink() => Err(not_a_file(&self.path, "a link")),
            kind if kind.is_fifo() => Err(not_a_file(&self.path, "a pipe")),
            kind if kind.is_socket() => Err(not_a_file(&self.path, "a socket")),
            _ => Err(not_a_file(&self.path, "a device")),
        }
    }
}

pub(crate) fn same_file(found: &Metadata, file: &File) -> bool {
    Metadata::from_file(file).is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()))
}

pub(crate) const A_DIRECTORY: &str = "a directory";

pub(crate) fn not_a_file(path: &Path, found: &'static str) -> Error {
    Error::NotAFile { path: path.to_owned(), found }
}

fn not_opened(path: &Path, error: &io::Error) -> Error {
    Error::FileNotOpened { path: path.to_owned(), message: error.to_string() }
}

pub(crate) fn no_folder(path: &Path, error: &io::Error) -> Error {
    Error::FileNotOpened { path: path.to_owned(), message: format!("its folder cannot be used ({error})") }
}

//! Where files may be: below the directories that the operator allowed, and nowhere else. The rule is checked on the file
//! that was opened, not only on its name, so that nothing can be put in its place in between.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::Error;

/// What the rules are for one caller.
#[derive(Clone, Debug)]
pub enum Places {
    /// A person named the file at a terminal.
    Anywhere,
    /// A tool call names it.
    Below { roots: Vec<Root>, max_file_bytes: u64 },
}

/// A directory that files may be below.
#[derive(Clone, Debug)]
pub struct Root {
    given: PathBuf,
    real: PathBuf,
}

impl Places {
    /// Below these directories, the first of which relative paths start from. One that does not exist allows nothing.
    pub fn below(directories: impl IntoIterator<Item = PathBuf>, max_file_bytes: u64) -> Self {
        let root = |given: PathBuf| Some(Root { real: fs::canonicalize(&given).ok()?, given });
        Self::Below { roots: directories.into_iter().filter_map(root).collect(), max_file_bytes }
    }

    /// The path to use for a path that a caller gave, which need not exist.
    pub(crate) fn resolve(&self, path: &Path) -> Result<PathBuf, Error> {
        let Self::Below { roots, .. } = self else {
            return std::path::absolute(path).map_err(|error| not_opened(path, &error));
        };
        let refused = |found| self.refused(path, found);
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(refused("holds `..`"));
        }
        let outside = || refused("lies outside");
        let (root, rest) = if path.is_relative() {
            (roots.first().ok_or_else(outside)?, path)
        } else {
            let below = |root: &Root| [&root.given, &root.real].into_iter().find_map(|at| path.strip_prefix(at).ok());
            roots.iter().find_map(|root| Some(root).zip(below(root))).ok_or_else(outside)?
        };
        let mut place = root.real.clone();
        for part in rest.components() {
            place.push(part);
            if fs::symlink_metadata(&place).is_ok_and(|found| found.is_symlink()) {
                return Err(refused("goes through a link"));
            }
        }
        Ok(place)
    }

    /// Opens a file for reading and checks what was opened.
    pub(crate) fn open(&self, path: &Path) -> Result<(File, PathBuf), Error> {
        let place = self.resolve(path)?;
        let failed = |error: io::Error| not_opened(path, &error);
        // Before opening, because opening some devices does something.
        check_kind(path, &fs::metadata(&place).map_err(failed)?)?;
        let file = self.options().read(true).open(&place).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        check_kind(path, &metadata)?;
        if let Self::Below { max_file_bytes: limit, .. } = *self
            && metadata.len() > limit
        {
            return Err(Error::FileTooLarge { path: path.to_owned(), bytes: metadata.len(), limit });
        }
        self.check_opened(&file, &place)?;
        Ok((file, place))
    }

    /// Checks that an open file is the one at this path, and that the path leads to no other place than it says.
    pub(crate) fn check_opened(&self, file: &File, place: &Path) -> Result<(), Error> {
        let Self::Below { roots, .. } = self else { return Ok(()) };
        let failed = |error: io::Error| not_opened(place, &error);
        let real = fs::canonicalize(place).map_err(failed)?;
        let same = same_file(&file.metadata().map_err(failed)?, &fs::metadata(&real).map_err(failed)?);
        if !same || !roots.iter().any(|root| real.starts_with(&root.real)) {
            return Err(self.refused(place, "was exchanged while it was opened"));
        }
        Ok(())
    }

    /// How files are opened: through no link where links are refused, and without waiting for the other end of a pipe.
    pub(crate) fn options(&self) -> OpenOptions {
        #[cfg_attr(not(unix), expect(unused_mut, reason = "flags are for Unix"))]
        let mut options = OpenOptions::new();
        #[cfg(unix)]
        {
            use rustix::fs::OFlags;
            use std::os::unix::fs::OpenOptionsExt;
            let flags = match self {
                Self::Anywhere => OFlags::NONBLOCK,
                Self::Below { .. } => OFlags::NONBLOCK | OFlags::NOFOLLOW,
            };
            options.custom_flags(flags.bits().cast_signed());
        }
        options
    }

    fn refused(&self, path: &Path, found: &'static str) -> Error {
        let allowed = match self {
            Self::Anywhere => Vec::new(),
            Self::Below { roots, .. } => roots.iter().map(|root| root.given.clone()).collect(),
        };
        Error::PathNotAllowed { path: path.to_owned(), found, allowed }
    }
}

fn not_opened(path: &Path, error: &io::Error) -> Error {
    Error::FileNotOpened { path: path.to_owned(), message: error.to_string() }
}

pub(crate) fn check_kind(path: &Path, metadata: &Metadata) -> Result<(), Error> {
    let refused = |found, remedy| Err(Error::NotAFile { path: path.to_owned(), found, remedy });
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }
    if kind.is_dir() {
        return refused("a directory", "name one of the files in it");
    }
    refused(special(kind), "write what it gives into a file first, or pipe it into `local-model-mcp predict`")
}

#[cfg(unix)]
fn special(kind: FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        kind if kind.is_symlink() => "a link",
        _ => "a device",
    }
}

#[cfg(not(unix))]
fn special(_: FileType) -> &'static str {
    "a device"
}

#[cfg(unix)]
pub(crate) fn same_file(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Numbers of files are not to be had here; sizes and times are.
#[cfg(not(unix))]
pub(crate) fn same_file(a: &Metadata, b: &Metadata) -> bool {
    a.len() == b.len() && a.modified().ok() == b.modified().ok() && a.created().ok() == b.created().ok()
}

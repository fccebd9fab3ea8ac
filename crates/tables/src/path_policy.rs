//! Restricts paths, and opens files without following links.
//!
//! A tool call may name files below the allowed directories only. Each of these directories is
//! opened once. From there every folder of a path is opened by its name in the folder before it,
//! and no link is followed. So renaming folders in between cannot lead out: all later work is done
//! in the folder that was opened.

use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use cap_fs_ext::DirExt;
use cap_std::ambient_authority;
use cap_std::fs::Dir;

use crate::error::Error;
use crate::location::{A_DIRECTORY, Location, no_folder, not_a_file};

/// The paths that a caller may name.
#[derive(Clone, Debug)]
pub enum PathPolicy {
    /// Any path. Links are followed. For a person at a terminal.
    Unrestricted,
    /// Paths below these directories, without links. For tool calls.
    Within { roots: Vec<AllowedDir>, max_file_bytes: u64 },
}

/// A directory below which files may be read and written.
#[derive(Clone, Debug)]
pub struct AllowedDir {
    path: PathBuf,
    /// The same path with links resolved. A client may use either.
    canonical: PathBuf,
    folder: Arc<Dir>,
}

impl PathPolicy {
    /// Allows paths below these directories. Relative paths start from the first one.
    ///
    /// The directories are opened now, so one that is replaced later no longer leads anywhere. One
    /// that does not exist allows nothing.
    pub fn within(directories: impl IntoIterator<Item = PathBuf>, max_file_bytes: u64) -> Self {
        let open = |path: PathBuf| {
            let canonical = fs::canonicalize(&path).ok()?;
            let folder = Arc::new(Dir::open_ambient_dir(&canonical, ambient_authority()).ok()?);
            Some(AllowedDir { path, canonical, folder })
        };
        Self::Within { roots: directories.into_iter().filter_map(open).collect(), max_file_bytes }
    }

    /// Opens the folder of a file. The file itself need not exist.
    ///
    /// # Errors
    /// `PathNotAllowed`; `FileNotOpened` if there is no such folder.
    pub fn locate(&self, path: &Path) -> Result<Location, Error> {
        let Self::Within { roots, max_file_bytes } = self else { return Location::anywhere(path) };
        let refused = |found| {
            let allowed = roots.iter().map(|root| root.path.clone()).collect();
            Error::PathNotAllowed { path: path.to_owned(), found, allowed }
        };
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(refused("contains `..`"));
        }
        let below = |root: &AllowedDir| {
            [&root.path, &root.canonical].into_iter().find_map(|start| rest_below(path, start, NAMES_IGNORE_CASE))
        };
        let found = if path.is_absolute() {
            roots.iter().find_map(|root| Some((root, below(root)?)))
        } else {
            roots.first().map(|root| (root, path.to_owned()))
        };
        let (root, rest) = found.ok_or_else(|| refused("is outside"))?;
        let mut names: Vec<&OsStr> = Vec::new();
        for part in rest.components() {
            match part {
                Component::Normal(name) => names.push(name),
                Component::CurDir => {}
                // A Windows path such as `\name` or `C:name` is relative but still leaves the root.
                _ => return Err(refused("is outside")),
            }
        }
        let shown = root.path.join(&rest);
        let name = names.pop().ok_or_else(|| not_a_file(&shown, A_DIRECTORY))?.to_owned();
        let mut folder = root.folder.try_clone().map_err(|error| no_folder(path, &error))?;
        for part in names {
            folder = folder.open_dir_nofollow(part).map_err(|error| match is_link(&folder, part) {
                true => refused("goes through a link"),
                false => no_folder(path, &error),
            })?;
        }
        if is_link(&folder, &name) {
            return Err(refused("goes through a link"));
        }
        Ok(Location { folder, name, path: shown, max_file_bytes: Some(*max_file_bytes) })
    }
}

/// Whether `A.csv` and `a.csv` are usually the same file.
const NAMES_IGNORE_CASE: bool = cfg!(any(windows, target_os = "macos"));

/// Returns the part of a path below a directory.
///
/// A directory that differs only in case may be another one. That does no harm, because the rest is
/// opened below the allowed one.
fn rest_below(path: &Path, directory: &Path, ignore_case: bool) -> Option<PathBuf> {
    if !ignore_case {
        return path.strip_prefix(directory).ok().map(Path::to_owned);
    }
    let lower = |part: Component<'_>| part.as_os_str().to_string_lossy().to_lowercase();
    let mut parts = path.components();
    for part in directory.components() {
        parts.next().filter(|own| lower(*own) == lower(part))?;
    }
    Some(parts.as_path().to_owned())
}

fn is_link(folder: &Dir, name: &OsStr) -> bool {
    folder.symlink_metadata(name).is_ok_and(|found| found.is_symlink())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::io;

    use cap_std::fs::OpenOptions;

    use super::*;

    #[cfg(unix)]
    #[test]
    fn paths_lead_below_the_allowed_directories_only() {
        use std::os::unix::fs::symlink;
        let (outside, inside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("a.csv"), "secret").unwrap();
        fs::create_dir(inside.path().join("sub")).unwrap();
        fs::write(inside.path().join("sub/a.csv"), "mine").unwrap();
        symlink(outside.path(), inside.path().join("away")).unwrap();
        symlink(outside.path().join("a.csv"), inside.path().join("link.csv")).unwrap();
        let policy = PathPolicy::within([inside.path().to_owned()], 10);
        let open = |path: &str| {
            let file = policy.locate(path.as_ref()).and_then(|location| location.open())?;
            Ok::<_, Error>(io::read_to_string(file).unwrap())
        };
        let absolute = |folder: &Path, name: &str| folder.join(name).to_str().unwrap().to_owned();
        assert_eq!(open("sub/a.csv").unwrap(), "mine");
        assert_eq!(open("./sub/./a.csv").unwrap(), "mine");
        assert_eq!(open(&absolute(inside.path(), "sub/a.csv")).unwrap(), "mine");
        for (path, expected) in [
            ("away/a.csv", "goes through a link"),
            ("link.csv", "goes through a link"),
            ("sub/../sub/a.csv", "contains `..`"),
            ("/dev/null", "is outside"),
            (&absolute(outside.path(), "a.csv"), "is outside"),
            ("sub", "is a directory"),
            (".", "is a directory"),
            ("none/a.csv", "its folder cannot be used (No such file"),
            ("sub/a.csv/b", "its folder cannot be used (Not a directory"),
            ("none.csv", "cannot be opened: No such file"),
        ] {
            let error = open(path).unwrap_err().to_string();
            assert!(error.contains(expected), "{path}: {error}");
        }
        fs::write(inside.path().join("large.csv"), "12345678901").unwrap();
        assert!(matches!(open("large.csv").unwrap_err(), Error::FileTooLarge { bytes: 11, limit: 10, .. }));
    }

    #[test]
    fn a_directory_is_found_in_another_case_where_names_have_none() {
        let rest = |path: &str, ignore_case| rest_below(path.as_ref(), "/Users/Me".as_ref(), ignore_case);
        assert_eq!(rest("/Users/Me/A.csv", false), Some("A.csv".into()));
        assert_eq!(rest("/users/ME/b/A.csv", true), Some("b/A.csv".into()));
        assert_eq!(rest("/users/me/A.csv", false), None);
        for other in ["/users/mE2/A.csv", "/users", "/", "users/me/A.csv"] {
            assert_eq!(rest(other, true), None, "{other}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_person_may_name_a_link() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.csv"), "mine").unwrap();
        std::os::unix::fs::symlink(folder.path().join("a.csv"), folder.path().join("link.csv")).unwrap();
        let location = PathPolicy::Unrestricted.locate(&folder.path().join("link.csv")).unwrap();
        assert_eq!(io::read_to_string(location.open().unwrap()).unwrap(), "mine");
    }

    /// Another process repeatedly swaps a folder for a link to the outside.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_is_exchanged_with_a_link_never_leads_outside() {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use std::io::Write;
        use std::sync::atomic::{AtomicBool, Ordering};
        let (outside, inside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("a.csv"), "secret").unwrap();
        let (real, link) = (inside.path().join("sub"), inside.path().join("away"));
        fs::create_dir(&real).unwrap();
        fs::write(real.join("a.csv"), "mine").unwrap();
        std::os::unix::fs::symlink(outside.path(), &link).unwrap();
        let policy = PathPolicy::within([inside.path().to_owned()], 10);
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    renameat_with(CWD, &real, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                }
            });
            let mut opened = 0;
            for _ in 0..5000 {
                let Ok(location) = policy.locate("sub/a.csv".as_ref()) else { continue };
                if let Ok(file) = location.open() {
                    opened += 1;
                    assert_eq!(io::read_to_string(file).unwrap(), "mine");
                }
                let output = location.sibling("out.csv").unwrap();
                if let Ok(mut file) = output.open_with(OpenOptions::new().write(true).create(true)) {
                    file.write_all(b"mine").unwrap();
                }
            }
            ended.store(true, Ordering::Relaxed);
            assert!(opened > 0);
        });
        let names: Vec<OsString> =
            fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["a.csv"]);
    }
}

//! Directories that only this user can change.
//!
//! As in sshd's `StrictModes`, the directory alone is not enough: a user who can write to one of its
//! parents can put another directory in its place. Root counts as this user, since it can change
//! everything anyway.

use std::fs;
use std::io;
use std::path::Path;

/// Creates `folder` and its missing parents for this user alone.
///
/// # Errors
/// If it cannot be created, or other users could change it or replace it.
pub fn create(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    check(folder)
}

/// Checks that a directory belongs to this user, that others cannot write to it, and that they
/// cannot replace it or any of its parents.
///
/// # Errors
/// If it is missing, or other users could change it or replace it. The text names the directory
/// that they can change.
pub fn check(folder: &Path) -> io::Result<()> {
    let is_private = fs::symlink_metadata(folder)?;
    #[cfg(unix)]
    let is_private = is_private.is_dir() && unix::is_private(&is_private);
    #[cfg(not(unix))]
    let is_private = is_private.is_dir();
    if !is_private {
        return Err(changeable(folder));
    }
    #[cfg(unix)]
    unix::check_parents(folder)?;
    Ok(())
}

fn changeable(path: &Path) -> io::Error {
    io::Error::other(format!("`{}` can be changed by other users", path.display()))
}

#[cfg(unix)]
mod unix {
    use std::collections::VecDeque;
    use std::ffi::OsString;
    use std::fs::{self, Metadata};
    use std::io;
    use std::os::unix::fs::MetadataExt;
    use std::path::{Component, Path, PathBuf};

    use super::changeable;

    const OTHERS_WRITE: u32 = 0o002;
    const GROUP_WRITES: u32 = 0o020;
    /// Only the owner of a file may remove or rename it here, as in `/tmp`.
    const STICKY: u32 = 0o1000;
    /// The limit of Linux.
    const MAX_LINKS: usize = 40;

    fn user() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    pub(super) fn is_private(metadata: &Metadata) -> bool {
        metadata.uid() == user() && metadata.mode() & (OTHERS_WRITE | GROUP_WRITES) == 0
    }

    /// Checks every directory above `folder`, following links one at a time.
    pub(super) fn check_parents(folder: &Path) -> io::Result<()> {
        let mut left = components(&std::path::absolute(folder)?);
        let (mut path, mut links) = (PathBuf::new(), 0);
        while let Some(name) = left.pop_front() {
            if name == ".." {
                path.pop();
                continue;
            }
            // `/` replaces the whole path.
            let next = path.join(name);
            let metadata = fs::symlink_metadata(&next)?;
            if metadata.is_symlink() {
                links += 1;
                if links > MAX_LINKS || !is_trusted(metadata.uid()) {
                    return Err(changeable(&next));
                }
                let target = components(&fs::read_link(&next)?);
                left = target.into_iter().chain(left).collect();
                continue;
            }
            path = next;
            if !left.is_empty() && !keeps_entries(metadata.uid(), metadata.gid(), metadata.mode()) {
                return Err(changeable(&path));
            }
        }
        Ok(())
    }

    fn components(path: &Path) -> VecDeque<OsString> {
        path.components().filter(|part| *part != Component::CurDir).map(|part| part.as_os_str().to_owned()).collect()
    }

    fn is_trusted(owner: u32) -> bool {
        owner == user() || owner == 0
    }

    /// Returns whether only this user and root can replace the entries of a directory that
    /// belong to this user or root.
    pub(super) fn keeps_entries(owner: u32, group: u32, mode: u32) -> bool {
        let others_write = mode & OTHERS_WRITE != 0 || mode & GROUP_WRITES != 0 && !is_own_group(group);
        is_trusted(owner) && (!others_write || mode & STICKY != 0)
    }

    /// Returns whether a group consists of this user or of root alone. Many Linux systems give each
    /// user a group with the user's number, and let it write to all new directories.
    fn is_own_group(group: u32) -> bool {
        let has_others = || {
            let groups = fs::read_to_string("/etc/group").unwrap_or_default();
            groups.lines().any(|line| {
                let fields: Vec<&str> = line.split(':').collect();
                let [name, _, number, members] = fields.as_slice() else { return false };
                *number == group.to_string() && members.split(',').any(|member| !["", name].contains(&member))
            })
        };
        group == 0 || group == user() && !has_others()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set_mode(folder: &Path, mode: u32) -> io::Result<()> {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode))
    }

    #[test]
    fn a_directory_writable_by_others_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        create(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        set_mode(&folder, 0o777).unwrap();
        let error = create(&folder).unwrap_err().to_string();
        assert!(error.ends_with("/b` can be changed by other users"), "{error}");
    }

    #[test]
    fn a_directory_below_one_writable_by_others_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        create(&folder).unwrap();
        set_mode(parent.path(), 0o777).unwrap();
        let error = check(&folder).unwrap_err().to_string();
        assert_eq!(error, format!("`{}` can be changed by other users", parent.path().display()));
        // In a sticky directory, others cannot rename what belongs to this user.
        set_mode(parent.path(), 0o1777).unwrap();
        check(&folder).unwrap();
    }

    #[test]
    fn links_are_followed_only_where_nobody_else_can_replace_them() {
        let parent = tempfile::tempdir().unwrap();
        let (open, target) = (parent.path().join("open"), parent.path().join("target"));
        create(&open).unwrap();
        create(&target.join("cache")).unwrap();
        symlink("../target", open.join("link")).unwrap();
        check(&open.join("link/cache")).unwrap();
        set_mode(&open, 0o777).unwrap();
        assert!(check(&open.join("link/cache")).is_err());
        assert!(check(&target.join("cache")).is_ok());
    }

    #[test]
    fn owner_group_and_mode_decide_who_can_replace_entries() {
        let user = rustix::process::geteuid().as_raw();
        let (another, their_group) = (user + 4321, user + 4321);
        for (owner, group, mode, expected) in [
            (user, their_group, 0o755, true),
            (0, their_group, 0o755, true),
            (another, their_group, 0o755, false),
            (another, their_group, 0o1755, false),
            (user, their_group, 0o775, false),
            (user, their_group, 0o1775, true),
            (0, 0, 0o775, true),
            (user, 0, 0o775, true),
            (user, user, 0o775, true),
            (user, user, 0o777, false),
            (0, 0, 0o1777, true),
        ] {
            assert_eq!(unix::keeps_entries(owner, group, mode), expected, "{owner} {group} {mode:o}");
        }
    }
}

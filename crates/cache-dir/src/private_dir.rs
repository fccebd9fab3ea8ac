//! Directories that only this user can change.

use std::fs;
use std::io;
use std::path::Path;

/// Creates `folder` and its parents for this user alone.
///
/// # Errors
/// If it cannot be created, or exists and other users could change it.
pub fn create(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    check(folder)
}

/// Checks that a directory belongs to this user and that others cannot write to it.
///
/// # Errors
/// If it is missing, or other users could change it.
pub fn check(folder: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(folder)?;
    #[cfg(unix)]
    let ours = {
        use std::os::unix::fs::MetadataExt;
        metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o022 == 0
    };
    #[cfg(not(unix))]
    let ours = true;
    if metadata.is_dir() && ours {
        return Ok(());
    }
    Err(io::Error::other(format!("`{}` can be changed by other users", folder.display())))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_writable_by_others_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        create(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let error = create(&folder).unwrap_err().to_string();
        assert!(error.ends_with("can be changed by other users"), "{error}");
    }
}

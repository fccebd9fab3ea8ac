//! The built-in library: unpacked once into the cache directory, or opened from memory if nothing
//! can be written there, or other users could.

#[cfg(target_os = "linux")]
use std::fs::File;
use std::io;
#[cfg(target_os = "linux")]
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::Error;
use cache_dir::artifacts::Artifacts;
use ort::environment::EnvironmentBuilder;

pub(super) static LIBRARY: &[u8] = include_bytes!(env!("ONNXRUNTIME_LIBRARY"));
const SHA256: &str = env!("ONNXRUNTIME_SHA256");

#[cfg(target_os = "windows")]
pub(super) const NAME: &str = "onnxruntime.dll";
#[cfg(target_os = "macos")]
pub(super) const NAME: &str = "libonnxruntime.dylib";
#[cfg(not(any(target_os = "windows", target_os = "macos")))]
pub(super) const NAME: &str = "libonnxruntime.so";

/// Opens the built-in library from `cache_dir`, else from memory.
pub(super) fn open_built_in(cache_dir: Option<&Path>) -> Result<EnvironmentBuilder, Error> {
    let from_file = match cache_dir {
        Some(cache_dir) => unpacked(cache_dir)
            .map_err(|error| error.to_string())
            // On a file system mounted `noexec`, the file can be written but not opened.
            .and_then(|path| ort::init_from(&path).map_err(|error| error.to_string())),
        None => Err("there is no cache directory".into()),
    };
    from_file.or_else(|file| {
        tracing::info!(reason = file, "opening the built-in library from memory");
        in_memory().and_then(|path| ort::init_from(path).map_err(|error| error.to_string())).map_err(|memory| {
            Error::LibraryNowhere { cache_dir: cache_dir.unwrap_or(Path::new("")).into(), file, memory }
        })
    })
}

/// Returns the path of the unpacked library below `cache_dir`. Writes it if it is missing or
/// damaged.
fn unpacked(cache_dir: &Path) -> io::Result<PathBuf> {
    let artifacts = Artifacts::new(cache_dir);
    let key = format!("onnxruntime-{}", &SHA256[..16]);
    let folder = match artifacts.get(&key) {
        Some(folder) => folder,
        None => artifacts.make(&key, |folder| std::fs::write(folder.join(NAME), LIBRARY))?,
    };
    Ok(folder.join(NAME))
}

/// Returns a path from which the library can be opened without writing to a directory.
#[cfg(target_os = "linux")]
fn in_memory() -> Result<PathBuf, String> {
    use std::os::fd::{AsRawFd, IntoRawFd};
    use std::sync::{Mutex, PoisonError};

    // Written once, even if opening it is tried again.
    static PATH: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut slot = PATH.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = &*slot {
        return Ok(path.clone());
    }
    let file = rustix::fs::memfd_create("onnxruntime", rustix::fs::MemfdFlags::CLOEXEC)
        .map_err(|error| error.to_string())
        .map(File::from)?;
    (&file).write_all(LIBRARY).map_err(|error| error.to_string())?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    // Kept open for the life of the process, because the loader may use the path again.
    let _ = file.into_raw_fd();
    *slot = Some(path.clone());
    Ok(path)
}

#[cfg(not(target_os = "linux"))]
fn in_memory() -> Result<PathBuf, String> {
    Err("this system opens libraries only from files".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_library_is_replaced() {
        let cache = tempfile::tempdir().unwrap();
        let path = unpacked(cache.path()).unwrap();
        std::fs::write(&path, b"half a libr").unwrap();
        assert_eq!(unpacked(cache.path()).unwrap(), path);
        assert_eq!(std::fs::read(&path).unwrap().len(), LIBRARY.len());
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_unpacked_below_a_directory_that_others_can_change() {
        use std::os::unix::fs::PermissionsExt;

        let parent = tempfile::tempdir().unwrap();
        let path = unpacked(&parent.path().join("cache")).unwrap();
        std::fs::set_permissions(parent.path(), PermissionsExt::from_mode(0o777)).unwrap();
        assert!(path.is_file() && unpacked(&parent.path().join("cache")).is_err());
    }
}

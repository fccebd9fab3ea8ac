//! Folders of files that are made once and kept, such as an unpacked library or a prepared graph.
//!
//! An artifact appears complete or not at all. It is trusted while its files are unchanged since
//! they were written (see [`crate::stamp`]). When the total size exceeds a limit, the least
//! recently used artifacts are removed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::private_dir;
use crate::stamp::Stamp;

/// Limit for all artifacts together: about forty models of the built-in model's size.
const MAX_TOTAL_BYTES: u64 = 2 << 30;
/// Times of use are recorded once a day, so that most starts write nothing.
const USE_GRANULARITY: Duration = Duration::from_secs(24 * 3600);
/// Leftovers of a crash are removed after this time. No artifact takes that long to make.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);
const MANIFEST: &str = "manifest.json";
const UNFINISHED: &str = ".making-";

/// File names with their stamps.
type Manifest = BTreeMap<String, Stamp>;

/// The artifacts below one cache directory.
#[derive(Clone, Debug)]
pub struct Artifacts {
    root: PathBuf,
}

impl Artifacts {
    /// Returns the artifacts below `cache_dir`. Writes nothing.
    pub fn new(cache_dir: &Path) -> Self {
        Self { root: cache_dir.join("artifacts") }
    }

    /// Returns the folder of an artifact if it exists, belongs to this user alone, and is
    /// unchanged.
    pub fn get(&self, key: &str) -> Option<PathBuf> {
        let folder = self.root.join(key);
        private_dir::check(&self.root).and_then(|()| private_dir::check(&folder)).ok()?;
        let manifest = folder.join(MANIFEST);
        let files: Manifest = serde_json::from_slice(&fs::read(&manifest).ok()?).ok()?;
        let unchanged =
            |(name, stamp): (&String, &Stamp)| Stamp::from_path(&folder.join(name)).is_ok_and(|now| now == *stamp);
        if !files.iter().all(unchanged) {
            return None;
        }
        if age(&manifest) > USE_GRANULARITY {
            // A failure only changes the order in which artifacts are removed.
            let _ = File::open(&manifest).and_then(|file| file.set_modified(SystemTime::now()));
        }
        Some(folder)
    }

    /// Makes an artifact: `fill` writes its files into an empty folder, which then replaces an
    /// existing one. Returns the folder.
    ///
    /// Several processes may make the same artifact at once. Each writes its own, and one stays.
    ///
    /// # Errors
    /// The error of `fill`, or of writing to the cache directory.
    pub fn make(&self, key: &str, fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<PathBuf> {
        private_dir::create(&self.root)?;
        let making = self.temporary()?;
        fill(making.path())?;
        let mut files = Manifest::new();
        for entry in fs::read_dir(making.path())? {
            let path = entry?.path();
            // After a power cut, no name may exist without its content.
            File::open(&path)?.sync_all()?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.insert(name, Stamp::from_path(&path)?);
        }
        fs::write(making.path().join(MANIFEST), serde_json::to_vec(&files)?)?;
        let target = self.root.join(key);
        if fs::rename(making.path(), &target).is_err() {
            // A damaged artifact exists, or another process was faster.
            let aside = self.temporary()?;
            let _ = fs::rename(&target, aside.path().join("replaced"));
            fs::rename(making.path(), &target)?;
        }
        self.prune(key);
        Ok(target)
    }

    /// Returns a private folder that is removed when dropped, unless it was renamed.
    fn temporary(&self) -> io::Result<TempDir> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(UNFINISHED);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        builder.tempdir_in(&self.root)
    }

    /// Removes leftovers of crashes, then the least recently used artifacts until the rest is small
    /// enough.
    fn prune(&self, keep: &str) {
        let Ok(entries) = fs::read_dir(&self.root) else { return };
        let mut artifacts = Vec::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(UNFINISHED) {
                if age(&path) > ABANDONED_AFTER {
                    let _ = fs::remove_dir_all(&path);
                }
            } else if name != keep {
                artifacts.push((age(&path.join(MANIFEST)), size(&path), path));
            }
        }
        let mut total = size(&self.root.join(keep)) + artifacts.iter().map(|(_, bytes, _)| bytes).sum::<u64>();
        artifacts.sort();
        while total > MAX_TOTAL_BYTES {
            let Some((_, bytes, oldest)) = artifacts.pop() else { return };
            let _ = fs::remove_dir_all(oldest);
            total -= bytes;
        }
    }
}

fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// Returns the time since the last modification; the maximum if it is unknown.
fn age(path: &Path) -> Duration {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.map_or(Duration::MAX, |modified| modified.elapsed().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(artifacts: &Artifacts, key: &str, bytes: u64) -> PathBuf {
        let fill = |folder: &Path| File::create(folder.join("data"))?.set_len(bytes);
        artifacts.make(key, fill).unwrap()
    }

    #[test]
    fn an_artifact_is_found_until_it_changes() {
        let cache = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(cache.path());
        assert_eq!(artifacts.get("a"), None);
        let folder = made(&artifacts, "a", 3);
        assert_eq!(artifacts.get("a"), Some(folder.clone()));
        fs::write(folder.join("data"), "xyz").unwrap();
        assert_eq!(artifacts.get("a"), None, "changed, with the same length");
        assert_eq!(made(&artifacts, "a", 3), folder);
        assert_eq!(artifacts.get("a"), Some(folder.clone()));
        fs::remove_file(folder.join("data")).unwrap();
        assert_eq!(artifacts.get("a"), None);
        assert_eq!(fs::read_dir(cache.path().join("artifacts")).unwrap().count(), 1, "nothing else remains");
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(cache.path());
        let fill = |folder: &Path| {
            fs::write(folder.join("half"), "x")?;
            Err(io::Error::other("no space"))
        };
        assert_eq!(artifacts.make("a", fill).unwrap_err().to_string(), "no space");
        assert_eq!(artifacts.get("a"), None);
        assert_eq!(fs::read_dir(cache.path().join("artifacts")).unwrap().count(), 0);
    }

    #[test]
    fn the_least_recently_used_artifact_is_removed_first() {
        let cache = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(cache.path());
        for (key, days) in [("old", 3), ("older", 5), ("recent", 1)] {
            let manifest = made(&artifacts, key, MAX_TOTAL_BYTES / 4).join(MANIFEST);
            let used = SystemTime::now() - USE_GRANULARITY * days;
            File::open(manifest).unwrap().set_modified(used).unwrap();
        }
        assert!(artifacts.get("older").is_some(), "using it renews it");
        made(&artifacts, "new", MAX_TOTAL_BYTES / 3);
        let left: Vec<&str> =
            ["old", "older", "recent", "new"].into_iter().filter(|key| artifacts.get(key).is_some()).collect();
        assert_eq!(left, ["older", "recent", "new"]);
    }
}

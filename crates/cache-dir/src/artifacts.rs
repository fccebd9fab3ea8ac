//! Files that this program makes once and keeps below the user's cache directory: the unpacked runtime library and
//! prepared graphs.
//!
//! An artifact is a folder that appears whole or not at all, is trusted while its files are the ones that were written
//! (see `stamp`), and goes when all of them together grow too large. What is in it is the business of who makes it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use crate::private_dir;
use crate::stamp::Stamp;

/// All artifacts together; the one that was used longest ago goes first. About forty models of the built-in one's size.
const MAX_TOTAL_BYTES: u64 = 2 << 30;
/// Times of use are kept to the day, so that a start writes nothing.
const USE_GRANULARITY: Duration = Duration::from_secs(24 * 3600);
/// What a crash left behind is removed after this long; nothing takes that long to make.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 3600);
const MANIFEST: &str = "manifest.json";
const UNFINISHED: &str = ".making-";

/// File names and their stamps.
type Manifest = BTreeMap<String, Stamp>;

#[derive(Clone, Debug)]
pub struct Artifacts {
    root: PathBuf,
}

impl Artifacts {
    /// Below `cache_dir`; nothing is written yet.
    pub fn below(cache_dir: &Path) -> Self {
        Self { root: cache_dir.join("artifacts") }
    }

    /// The folder of a finished artifact, if it is there, this user's alone, and as it was written.
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
            // Only the order in which artifacts go depends on it.
            let _ = File::open(&manifest).and_then(|file| file.set_modified(SystemTime::now()));
        }
        Some(folder)
    }

    /// Has `fill` write the files into an empty folder and puts that in place of whatever is there.
    ///
    /// Several processes may make the same artifact at once: each writes its own, and one of them stays.
    pub fn make(&self, key: &str, fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<PathBuf> {
        private_dir::create(&self.root)?;
        let making = self.temporary()?;
        fill(making.path())?;
        let mut files = Manifest::new();
        for entry in fs::read_dir(making.path())? {
            let path = entry?.path();
            // The name must not survive a power cut that the content does not.
            File::open(&path)?.sync_all()?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.insert(name, Stamp::from_path(&path)?);
        }
        fs::write(making.path().join(MANIFEST), serde_json::to_vec(&files)?)?;
        let target = self.root.join(key);
        if fs::rename(making.path(), &target).is_err() {
            // A damaged one is in the way, or another process was quicker.
            let aside = self.temporary()?;
            let _ = fs::rename(&target, aside.path().join("replaced"));
            fs::rename(making.path(), &target)?;
        }
        self.prune(key);
        Ok(target)
    }

    /// A folder for this user alone, which goes with what is in it unless it is renamed.
    fn temporary(&self) -> io::Result<TempDir> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(UNFINISHED);
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        builder.tempdir_in(&self.root)
    }

    /// Removes what crashes left behind, and the artifacts used longest ago until the rest is small enough.
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

/// Time since the last modification; of what cannot be told, for ever.
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
    fn what_was_made_is_found_until_it_changes() {
        let cache = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::below(cache.path());
        assert_eq!(artifacts.get("a"), None);
        let folder = made(&artifacts, "a", 3);
        assert_eq!(artifacts.get("a"), Some(folder.clone()));
        fs::write(folder.join("data"), "xyz").unwrap();
        assert_eq!(artifacts.get("a"), None, "changed, though of the same length");
        assert_eq!(made(&artifacts, "a", 3), folder);
        assert_eq!(artifacts.get("a"), Some(folder.clone()));
        fs::remove_file(folder.join("data")).unwrap();
        assert_eq!(artifacts.get("a"), None);
        assert_eq!(fs::read_dir(cache.path().join("artifacts")).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_fails_halfway_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::below(cache.path());
        let fill = |folder: &Path| {
            fs::write(folder.join("half"), "x")?;
            Err(io::Error::other("no space"))
        };
        assert_eq!(artifacts.make("a", fill).unwrap_err().to_string(), "no space");
        assert_eq!(artifacts.get("a"), None);
        assert_eq!(fs::read_dir(cache.path().join("artifacts")).unwrap().count(), 0);
    }

    #[test]
    fn the_one_used_longest_ago_goes_first() {
        let cache = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::below(cache.path());
        for (key, days) in [("old", 3), ("older", 5), ("recent", 1)] {
            let manifest = made(&artifacts, key, MAX_TOTAL_BYTES / 4).join(MANIFEST);
            let used = SystemTime::now() - USE_GRANULARITY * days;
            File::open(manifest).unwrap().set_modified(used).unwrap();
        }
        assert!(artifacts.get("older").is_some(), "being used makes it young");
        made(&artifacts, "new", MAX_TOTAL_BYTES / 3);
        let left: Vec<&str> =
            ["old", "older", "recent", "new"].into_iter().filter(|key| artifacts.get(key).is_some()).collect();
        assert_eq!(left, ["older", "recent", "new"]);
    }
}

//! Detects by its metadata that a file changed, without reading it.
//!
//! The idea is that of git's index. Any write changes the inode change time, which no program can
//! set (on Windows: the last write time, which programs can set).

use std::fs::Metadata;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The coarsest clock of a file system in use (FAT). Two writes within it may get the same time.
const COARSEST_CLOCK: Duration = Duration::from_secs(2);

/// The metadata of a file that changes with its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    bytes: u64,
    modified_ns: u64,
    /// Time of the last change of content, name or permissions, if the system records it.
    changed_ns: u64,
    inode: u64,
}

impl Stamp {
    /// # Errors
    /// If the file does not exist or its metadata cannot be read.
    pub fn from_path(path: &Path) -> io::Result<Self> {
        Self::from_metadata(&std::fs::metadata(path)?)
    }

    fn from_metadata(metadata: &Metadata) -> io::Result<Self> {
        let modified_ns = since_epoch(metadata.modified()?);
        #[cfg(unix)]
        let (changed_ns, inode) = {
            use std::os::unix::fs::MetadataExt;
            let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
            (seconds * 1_000_000_000 + u64::try_from(metadata.ctime_nsec()).unwrap_or(0), metadata.ino())
        };
        #[cfg(not(unix))]
        let (changed_ns, inode) = (modified_ns, 0);
        Ok(Self { bytes: metadata.len(), modified_ns, changed_ns, inode })
    }

    /// Returns whether the file was at rest long enough for the next write to change its stamp (cf.
    /// git's racy-clean problem).
    pub fn is_settled(&self) -> bool {
        let age = since_epoch(SystemTime::now()).saturating_sub(self.changed_ns.max(self.modified_ns));
        age > COARSEST_CLOCK.as_nanos() as u64
    }
}

fn since_epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_the_same_length_changes_the_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let before = Stamp::from_path(&path).unwrap();
        assert_eq!(Stamp::from_path(&path).unwrap(), before);
        assert!(!before.is_settled(), "just written");
        std::thread::sleep(Duration::from_millis(20));
        std::fs::write(&path, "two").unwrap();
        assert_ne!(Stamp::from_path(&path).unwrap(), before);
    }
}

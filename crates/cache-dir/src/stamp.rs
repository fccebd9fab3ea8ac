//! Whether a file is still the one that was seen before, told without reading it: what the file system says of it.
//!
//! As in git's index: any write changes the time of the last change, which no program can set at will (on Windows: the
//! time of the last write, which one can). What is remembered of unchanged files is its callers' business.

use std::fs::Metadata;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The coarsest clock of a file system in use (FAT): two writes so close together may get the same time.
const COARSEST_CLOCK: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    bytes: u64,
    modified_ns: u64,
    /// Time of the last change of content, name or permissions, where the system keeps it.
    changed_ns: u64,
    inode: u64,
}

impl Stamp {
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

    /// Whether the file has been at rest long enough for its stamp to tell it from a later version.
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
    fn a_write_of_the_same_length_shows() {
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

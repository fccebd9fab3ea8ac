//! Facts about files, remembered until the files change, so that a later start need not read them.
//!
//! An entry holds a file's stamp and the facts, never a path. Which facts are computed is up to
//! the caller. Files that this program wrote itself are kept by [`crate::artifacts`].

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::private_dir;
use crate::stamp::Stamp;

/// Entries take a few hundred bytes each. Beyond this number all are dropped, which costs one
/// read of each file.
const MAX_ENTRIES: usize = 256;

/// A memo table on disk, keyed by file path and type of the facts.
pub struct FactsCache {
    folder: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Entry<T> {
    stamp: Stamp,
    facts: T,
}

impl FactsCache {
    /// Returns a cache below `cache_dir`. Without a directory, facts are computed every time.
    pub fn new(cache_dir: Option<&Path>) -> Self {
        Self { folder: cache_dir.map(|cache_dir| cache_dir.join("files")) }
    }

    /// Returns the facts about `file`, computing them only if the file changed since the last time.
    ///
    /// # Errors
    /// The error of `compute`. A cache that cannot be read or written is not an error.
    pub fn get_or_compute<T: Serialize + DeserializeOwned, E>(
        &self,
        file: &Path,
        compute: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let (Some(folder), Ok(stamp)) = (&self.folder, Stamp::from_path(file)) else {
            return compute();
        };
        let path = folder.join(entry_name::<T>(file));
        if private_dir::check(folder).is_ok()
            && let Ok(content) = fs::read(&path)
            && let Ok(entry) = serde_json::from_slice::<Entry<T>>(&content)
            && entry.stamp == stamp
        {
            return Ok(entry.facts);
        }
        let entry = Entry { stamp, facts: compute()? };
        // A file that changed just before or during the read may look the same after its next
        // change.
        let unchanged = Stamp::from_path(file).is_ok_and(|stamp| stamp == entry.stamp);
        if unchanged && entry.stamp.is_settled() {
            let stored = store(folder, &path, &entry);
            tracing::debug!(?stored, "facts about a file were stored");
        }
        Ok(entry.facts)
    }
}

/// The name depends on the path, on the type of the facts, and on the version of this program.
fn entry_name<T>(file: &Path) -> String {
    let mut hasher = Sha256::new_with_prefix(file.as_os_str().as_encoded_bytes());
    hasher.update([0]);
    hasher.update(std::any::type_name::<T>());
    hasher.update(env!("CARGO_PKG_VERSION"));
    hex(&hasher.finalize()[..16])
}

fn store<T: Serialize>(folder: &Path, path: &Path, entry: &Entry<T>) -> io::Result<()> {
    private_dir::create(folder)?;
    let others: Vec<_> = fs::read_dir(folder)?.flatten().collect();
    if others.len() >= MAX_ENTRIES {
        others.iter().try_for_each(|other| fs::remove_file(other.path()))?;
    }
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec(entry)?)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn facts_are_computed_again_only_after_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("graph");
        fs::write(&file, "1").unwrap();
        let cache = FactsCache::new(Some(folder.path()));
        let reads = Cell::new(0);
        let ask = || {
            let Ok(facts) = cache.get_or_compute(&file, || {
                reads.set(reads.get() + 1);
                Ok::<_, Infallible>(fs::read_to_string(&file).unwrap())
            });
            facts
        };
        assert_eq!((ask(), ask(), reads.get()), ("1".into(), "1".into(), 2), "not settled yet");
        std::thread::sleep(Duration::from_millis(2100));
        assert_eq!((ask(), ask(), reads.get()), ("1".into(), "1".into(), 3));
        fs::write(&file, "2").unwrap();
        // Resetting the modification time does not hide the change.
        let before = SystemTime::now() - Duration::from_secs(60);
        File::open(&file).unwrap().set_modified(before).unwrap();
        assert_eq!(ask(), "2");
    }
}

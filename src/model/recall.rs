//! What was learnt of a model's large files, kept until they change, so that a start need not read them.
//!
//! A note holds a file's digest and what its graph declares, never a path. Files that this program wrote itself are
//! `artifacts`' business.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::hex;
use crate::error::Error;
use crate::private_dir;
use crate::stamp::Stamp;

/// Notes kept at most, a few hundred bytes each; beyond them all are forgotten, which costs one reading of each file.
const CAPACITY: usize = 256;

pub(super) struct Recall {
    folder: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Note<T> {
    stamp: Stamp,
    learnt: T,
}

impl Recall {
    /// Notes below `cache_dir`; without one, every file is read each time.
    pub(super) fn below(cache_dir: Option<&Path>) -> Self {
        Self { folder: cache_dir.map(|cache_dir| cache_dir.join("files")) }
    }

    /// What `learn` says of the file, which is asked only if the file changed since it was asked last.
    pub(super) fn of<T: Serialize + DeserializeOwned>(
        &self,
        file: &Path,
        learn: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (Some(folder), Ok(stamp)) = (&self.folder, Stamp::of(file)) else { return learn() };
        let path = folder.join(name::<T>(file));
        if private_dir::check(folder).is_ok()
            && let Ok(content) = fs::read(&path)
            && let Ok(note) = serde_json::from_slice::<Note<T>>(&content)
            && note.stamp == stamp
        {
            return Ok(note.learnt);
        }
        let note = Note { stamp, learnt: learn()? };
        // A file that changed just before, or while it was read, may look the same after its next change.
        if note.stamp.settled() && Stamp::of(file).is_ok_and(|stamp| stamp == note.stamp) {
            let kept = keep(folder, &path, &note);
            tracing::debug!(?kept, "what was learnt of a model's file was noted");
        }
        Ok(note.learnt)
    }
}

/// By path, by what is learnt, and by the version of the program that learnt it.
fn name<T>(file: &Path) -> String {
    let mut hasher = Sha256::new_with_prefix(file.as_os_str().as_encoded_bytes());
    hasher.update([0]);
    hasher.update(std::any::type_name::<T>());
    hasher.update(env!("CARGO_PKG_VERSION"));
    hex(&hasher.finalize()[..16])
}

fn keep<T: Serialize>(folder: &Path, path: &Path, note: &Note<T>) -> io::Result<()> {
    private_dir::create(folder)?;
    let others: Vec<_> = fs::read_dir(folder)?.flatten().collect();
    if others.len() >= CAPACITY {
        others.iter().try_for_each(|other| fs::remove_file(other.path()))?;
    }
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec(note)?)?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn an_unchanged_file_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("graph");
        fs::write(&file, "1").unwrap();
        let recall = Recall::below(Some(folder.path()));
        let reads = Cell::new(0);
        let ask = || {
            recall.of(&file, || {
                reads.set(reads.get() + 1);
                Ok(fs::read_to_string(&file).unwrap())
            })
        };
        assert_eq!(
            (ask().unwrap(), ask().unwrap(), reads.get()),
            ("1".into(), "1".into(), 2),
            "too fresh to be trusted"
        );
        std::thread::sleep(Duration::from_millis(2100));
        assert_eq!((ask().unwrap(), ask().unwrap(), reads.get()), ("1".into(), "1".into(), 3));
        fs::write(&file, "2").unwrap();
        // A time that was set back does not hide the change.
        File::open(&file).unwrap().set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        assert_eq!(ask().unwrap(), "2");
    }
}

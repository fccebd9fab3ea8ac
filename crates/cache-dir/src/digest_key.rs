//! A random key for digests of texts, made once for each cache directory.
//!
//! A plain SHA-256 of a short text can be found by trying texts. A reader who has digests without
//! this key, from a log or from a copy of some files, cannot try any.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::private_dir;

/// Bytes of a key, as many as a digest has.
const KEY_BYTES: usize = 32;
/// SHA-256 reads blocks of this size. The key fills one, so its work is done once.
const BLOCK_BYTES: usize = 64;
const FILE: &str = "key";

/// A hash function of this user alone.
#[derive(Clone)]
pub struct DigestKey(Sha256);

impl DigestKey {
    /// Returns the key in `folder`, made by the first process that asks for it. Returns a key for
    /// this process alone if other users could read or replace it, or nothing can be written.
    pub fn kept_in(folder: &Path) -> Self {
        let key = read(folder).or_else(|_| make(folder));
        key.map_or_else(
            |error| {
                tracing::debug!(%error, "the key of digests is not kept");
                Self::random()
            },
            |key| Self::new(&key),
        )
    }

    /// Returns a new key.
    ///
    /// # Panics
    /// If the system has no random numbers.
    pub fn random() -> Self {
        Self::new(&random_bytes())
    }

    fn new(key: &[u8; KEY_BYTES]) -> Self {
        let mut block = [0; BLOCK_BYTES];
        block[..KEY_BYTES].copy_from_slice(key);
        Self(Sha256::new_with_prefix(block))
    }

    /// Returns a hasher of what is added to it, with this key.
    pub fn hasher(&self) -> Sha256 {
        self.0.clone()
    }
}

/// Keys do not belong into logs.
impl fmt::Debug for DigestKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DigestKey")
    }
}

fn random_bytes() -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).expect("the system has random numbers");
    key
}

fn read(folder: &Path) -> io::Result<[u8; KEY_BYTES]> {
    private_dir::check(folder)?;
    let mut key = Vec::new();
    File::open(folder.join(FILE))?.take(KEY_BYTES as u64 + 1).read_to_end(&mut key)?;
    key.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// Writes a new key, in place of a damaged one. Of processes that do so at once, one wins.
fn make(folder: &Path) -> io::Result<[u8; KEY_BYTES]> {
    private_dir::create(folder)?;
    // Readable by this user alone, as all files that tempfile makes.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&random_bytes())?;
    file.as_file().sync_all()?;
    let path = folder.join(FILE);
    if fs::metadata(&path).is_ok_and(|metadata| metadata.len() != KEY_BYTES as u64) {
        file.persist(&path)?;
    } else if let Err(error) = file.persist_noclobber(&path)
        && error.error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error.error);
    }
    read(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(key: &DigestKey, text: &str) -> Vec<u8> {
        key.hasher().chain_update(text).finalize().to_vec()
    }

    #[test]
    fn a_key_is_kept_and_no_other_directory_has_it() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = digest(&DigestKey::kept_in(folder.path()), "yes");
        assert_eq!(digest(&DigestKey::kept_in(folder.path()), "yes"), first);
        assert_ne!(digest(&DigestKey::kept_in(folder.path()), "no"), first);
        assert_ne!(digest(&DigestKey::kept_in(other.path()), "yes"), first);
        assert_ne!(digest(&DigestKey::random(), "yes"), first);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else remains");
    }

    #[test]
    fn processes_that_start_together_get_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let keys: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| digest(&DigestKey::kept_in(folder.path()), "yes"))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_damaged_key_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "half").unwrap();
        let first = digest(&DigestKey::kept_in(folder.path()), "yes");
        assert_eq!(digest(&DigestKey::kept_in(folder.path()), "yes"), first);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_is_readable_by_its_user_alone() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        DigestKey::kept_in(folder.path());
        assert_eq!(fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let kept = || digest(&DigestKey::kept_in(folder.path()), "yes");
        assert_ne!(kept(), kept(), "not kept where others can write");
    }
}

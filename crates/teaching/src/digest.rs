//! Digests of texts, which stand for the texts on the disk.

use std::fmt;

use cache_dir::digest::hex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// 96 bits of the SHA-256 of a text, as the journal of a file job uses them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Digest(pub [u8; 12]);

impl Digest {
    pub(crate) fn of(text: &str) -> Self {
        let mut short = [0; 12];
        short.copy_from_slice(&Sha256::digest(text)[..12]);
        Self(short)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let byte = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..12).map(byte).collect();
        let bytes = bytes.filter(|_| text.len() == 24).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| serde::de::Error::custom("expected a digest of 24 digits"))
    }
}

/// A number that depends on a seed and on `content` alone, as good as random.
pub(crate) fn draw(seed: u64, purpose: &str, content: &[u8]) -> u128 {
    let mut hasher = Sha256::new_with_prefix(seed.to_le_bytes());
    hasher.update(purpose);
    hasher.update(content);
    let mut number = [0; 16];
    number.copy_from_slice(&hasher.finalize()[..16]);
    u128::from_le_bytes(number)
}

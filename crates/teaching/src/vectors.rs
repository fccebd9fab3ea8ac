//! The vectors of texts, kept in a file so that later rounds and sessions need not encode the
//! same texts again.
//!
//! The file is a cache by digest of the text: a vector that is missing is computed, and a file of
//! other encoders counts as empty. Vectors are always rounded to half precision, so that a round
//! gives the same result whether they were computed or read.

use std::collections::HashMap;

use half::f16;
use learning::{Row, hashed_words};

use crate::digest::Digest;
use crate::encode::{Encode, Encoded};
use crate::error::Error;
use crate::store::ModelDir;
use crate::watch::{Progress, Stage, Watch};

const MAGIC: &[u8; 8] = b"lmrows01";
/// Magic, encoders, and the two dimensions.
const HEADER: usize = 8 + 32 + 4 + 4;

pub(crate) struct Vectors {
    file: &'static str,
    encoder: [u8; 32],
    /// Of the sentence, and of the state, which may be absent.
    dimensions: (usize, usize),
    /// Sentence and state of each text, one after the other.
    known: HashMap<Digest, Vec<f16>>,
    changed: bool,
}

impl Vectors {
    /// Reads the vectors of these encoders.
    ///
    /// # Errors
    /// `StateUnreadable` if the file exists but cannot be opened.
    pub(crate) fn read(dir: &ModelDir, file: &'static str, encoder: [u8; 32]) -> Result<Self, Error> {
        let content = dir.read(file)?.unwrap_or_default();
        Ok(Self::parse(&content, file, encoder).unwrap_or_else(|| Self::new(file, encoder)))
    }

    /// Returns no vectors, to be written to `file`.
    pub(crate) fn new(file: &'static str, encoder: [u8; 32]) -> Self {
        Self { file, encoder, dimensions: (0, 0), known: HashMap::new(), changed: false }
    }

    fn parse(content: &[u8], file: &'static str, encoder: [u8; 32]) -> Option<Self> {
        let (header, records) = content.split_at_checked(HEADER)?;
        let number = |at: usize| Some(u32::from_le_bytes(header[at..at + 4].try_into().ok()?) as usize);
        let dimensions = (number(40)?, number(44)?);
        let values = dimensions.0.checked_add(dimensions.1).filter(|values| (1..=1 << 16).contains(values))?;
        if &header[..8] != MAGIC || header[8..40] != encoder {
            return None;
        }
        // A file that was cut off still has whole records.
        let record = |record: &[u8]| {
            let digest = Digest(record[..12].try_into().ok()?);
            let values = record[12..].chunks_exact(2).map(|bytes| f16::from_le_bytes([bytes[0], bytes[1]]));
            Some((digest, values.collect()))
        };
        let known = records.chunks_exact(12 + 2 * values).filter_map(record).collect();
        Some(Self { file, encoder, dimensions, known, changed: false })
    }

    /// Encodes the texts whose vectors are missing.
    ///
    /// # Errors
    /// An encoder that cannot be used, or `Cancelled`.
    pub(crate) fn add<'a>(
        &mut self,
        texts: impl Iterator<Item = (Digest, &'a str)>,
        encode: &dyn Encode,
        watch: &Watch<'_>,
    ) -> Result<(), Error> {
        let mut missing: Vec<(Digest, &str)> = texts.filter(|(digest, _)| !self.known.contains_key(digest)).collect();
        missing.sort_by_key(|(digest, _)| *digest);
        missing.dedup_by_key(|(digest, _)| *digest);
        if missing.is_empty() {
            return Ok(());
        }
        let texts: Vec<&str> = missing.iter().map(|(_, text)| *text).collect();
        let total = Some(texts.len() as u64);
        let report = |done: usize| (watch.report)(Progress { stage: Stage::Encoding, done: done as u64, total });
        report(0);
        let encoded = encode.encode_all(&texts, watch.cancellation, &report)?;
        for ((digest, _), Encoded { sentence, state, .. }) in missing.iter().zip(encoded) {
            let state = state.unwrap_or_default();
            self.dimensions = (sentence.len(), state.len());
            self.known.insert(*digest, sentence.iter().chain(&state).copied().map(f16::from_f32).collect());
        }
        self.changed = true;
        Ok(())
    }

    /// Returns what is learned from a text whose vectors were added.
    pub(crate) fn row(&self, digest: &Digest, text: &str) -> Row {
        let values = self.known.get(digest).map(Vec::as_slice).unwrap_or_default();
        let (sentence, state) = values.split_at(self.dimensions.0.min(values.len()));
        let wide = |values: &[f16]| values.iter().map(|value| value.to_f32()).collect::<Vec<f32>>();
        let state = Some(wide(state)).filter(|state| !state.is_empty());
        Row { sentence: wide(sentence), state, words: hashed_words(text) }
    }

    /// Writes the vectors if some were added.
    ///
    /// # Errors
    /// `NotWritten`.
    pub(crate) fn write(&mut self, dir: &ModelDir) -> Result<(), Error> {
        if !self.changed {
            return Ok(());
        }
        let dimension = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
        let mut content = [MAGIC.as_slice(), &self.encoder].concat();
        content.extend(dimension(self.dimensions.0));
        content.extend(dimension(self.dimensions.1));
        let mut digests: Vec<&Digest> = self.known.keys().collect();
        digests.sort();
        for digest in digests {
            content.extend(digest.0);
            content.extend(self.known[digest].iter().flat_map(|value| value.to_le_bytes()));
        }
        dir.write(self.file, &content)?;
        self.changed = false;
        Ok(())
    }
}

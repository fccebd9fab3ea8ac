//! The vectors of texts by the built-in encoders, kept in a file between runs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use classifier::{Cancellation, EncoderLocation, EncoderPool, LibrarySettings};
use learning::{Row, hashed_words};

/// Texts that are encoded between two writes of the file, so that a stopped run loses little.
const PORTION: usize = 1_000;

/// The encoders, and what they have encoded.
pub(super) struct Encoders {
    pools: [EncoderPool; 2],
    kept: RefCell<[Kept; 2]>,
    threads: usize,
}

/// Vectors by text, and their file: records of two lengths, the text, and the vector.
struct Kept {
    file: PathBuf,
    vectors: HashMap<String, Vec<f32>>,
}

impl Encoders {
    pub(super) fn new(folder: &Path, library: &LibrarySettings, threads: usize) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let pools = [EncoderLocation::BuiltIn, EncoderLocation::SentimentState]
            .map(|location| EncoderPool::new(location, library.clone(), threads));
        let [sentence, state] = &pools;
        let kept = [Kept::read(folder, sentence)?, Kept::read(folder, state)?];
        Ok(Self { pools, kept: RefCell::new(kept), threads })
    }

    /// Returns the vectors of texts, in the same order.
    pub(super) fn rows(&self, texts: &[&str]) -> anyhow::Result<Vec<Row>> {
        let mut kept = self.kept.borrow_mut();
        for (pool, kept) in self.pools.iter().zip(kept.iter_mut()) {
            let mut missing: Vec<&str> =
                texts.iter().copied().filter(|text| !kept.vectors.contains_key(*text)).collect();
            missing.sort_unstable();
            missing.dedup();
            for portion in missing.chunks(PORTION) {
                let encodings = pool.encode_all(portion, self.threads, &Cancellation::default(), &|_| {})?;
                kept.add(portion, encodings.into_iter().map(|encoding| encoding.vector))?;
                crate::progress(&format!("{} vectors of the {}", kept.vectors.len(), pool.location()));
            }
        }
        let [sentence, state] = &*kept;
        let row = |text: &&str| Row {
            sentence: sentence.vectors[*text].clone(),
            state: Some(state.vectors[*text].clone()),
            words: hashed_words(text),
        };
        Ok(texts.iter().map(row).collect())
    }
}

impl Kept {
    fn read(folder: &Path, pool: &EncoderPool) -> anyhow::Result<Self> {
        let digest: String = pool.digest()?.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let file = folder.join(digest).with_extension("vectors");
        let content = if file.exists() { fs::read(&file)? } else { Vec::new() };
        let mut vectors = HashMap::new();
        let mut rest = content.as_slice();
        while let Some((lengths, after)) = rest.split_at_checked(8) {
            let length = |at: usize| u32::from_le_bytes(lengths[at..at + 4].try_into().unwrap_or_default()) as usize;
            let Some((text, after)) = after.split_at_checked(length(0)) else { break };
            let Some((values, after)) = after.split_at_checked(4 * length(4)) else { break };
            let values = values.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap_or_default()));
            vectors.insert(String::from_utf8_lossy(text).into_owned(), values.collect());
            rest = after;
        }
        Ok(Self { file, vectors })
    }

    fn add(&mut self, texts: &[&str], vectors: impl Iterator<Item = Vec<f32>>) -> anyhow::Result<()> {
        let mut added = Vec::new();
        for (text, vector) in texts.iter().zip(vectors) {
            added.extend((text.len() as u32).to_le_bytes());
            added.extend((vector.len() as u32).to_le_bytes());
            added.extend(text.as_bytes());
            added.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
            self.vectors.insert((*text).to_owned(), vector);
        }
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&self.file)?;
        std::io::Write::write_all(&mut file, &added).with_context(|| format!("cannot write {}", self.file.display()))
    }
}

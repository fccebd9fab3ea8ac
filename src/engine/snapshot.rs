//! Results of hot texts, kept between sessions as digests and scores, never as texts.
//!
//! One file a model digest, replaced whole, so that sessions which end together cannot mix theirs; the last one to
//! write keeps its own view joined with what it found. A file that cannot be read counts as none.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::hex;
use crate::prediction::{Entity, Outcome, Prediction};
use crate::private_dir;

/// Results kept for one model; about 200 bytes each on disk.
pub(super) const CAPACITY: usize = 1000;

/// A text of a tagger may have hundreds of entities.
const MAX_BYTES: u64 = 64 << 20;

const VERSION: u32 = 1;

/// One result and how often it answered a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Kept {
    pub key: [u8; 32],
    pub hits: u32,
    pub prediction: Prediction,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    results: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    key: String,
    hits: u32,
    #[serde(flatten)]
    outcome: Stored,
    tokens: u32,
    tokens_read: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stored {
    Scores(Vec<f32>),
    /// Label, start, end, score.
    Entities(Vec<(String, u32, u32, f32)>),
}

impl From<&Outcome> for Stored {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Scores(scores) => Self::Scores(scores.to_vec()),
            Outcome::Entities(entities) => Self::Entities(
                entities
                    .iter()
                    .map(|entity| (entity.label.to_string(), entity.start, entity.end, entity.score))
                    .collect(),
            ),
        }
    }
}

impl From<Stored> for Outcome {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Scores(scores) => Self::Scores(scores.into()),
            Stored::Entities(entities) => Self::Entities(
                entities
                    .into_iter()
                    .map(|(label, start, end, score)| Entity { label: label.into(), start, end, score })
                    .collect(),
            ),
        }
    }
}

/// Results of earlier sessions with this very model. Their counts are halved, so that what is no longer asked fades.
pub(super) fn load(folder: &Path, model: &[u8; 32]) -> Vec<Kept> {
    let mut results = read(&path(folder, model));
    for kept in &mut results {
        kept.hits /= 2;
    }
    results
}

/// Writes the hottest of `results` and of what another session left meanwhile.
pub(super) fn save(folder: &Path, model: &[u8; 32], mut results: Vec<Kept>) -> io::Result<()> {
    if results.is_empty() {
        return Ok(());
    }
    private_dir::create(folder)?;
    let path = path(folder, model);
    for other in read(&path) {
        match results.iter_mut().find(|kept| kept.key == other.key) {
            Some(kept) => kept.hits = kept.hits.max(other.hits),
            None => results.push(other),
        }
    }
    results.sort_by_key(|kept| std::cmp::Reverse(kept.hits));
    results.truncate(CAPACITY);
    let rows = results.into_iter().map(|kept| Row {
        key: hex(&kept.key),
        hits: kept.hits,
        outcome: (&kept.prediction.outcome).into(),
        tokens: kept.prediction.tokens,
        tokens_read: kept.prediction.tokens_read,
    });
    let document = Document { version: VERSION, results: rows.collect() };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec(&document)?)?;
    file.persist(path)?;
    Ok(())
}

fn path(folder: &Path, model: &[u8; 32]) -> PathBuf {
    folder.join(format!("{}.json", &hex(model)[..32]))
}

fn read(path: &Path) -> Vec<Kept> {
    // Ours are smaller; whatever is larger was not written by us.
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > MAX_BYTES) {
        return Vec::new();
    }
    let Ok(content) = fs::read(path) else { return Vec::new() };
    match serde_json::from_slice::<Document>(&content) {
        Ok(document) if document.version == VERSION => {
            document.results.into_iter().filter_map(kept).take(CAPACITY).collect()
        }
        _ => Vec::new(),
    }
}

fn kept(row: Row) -> Option<Kept> {
    let mut key = [0; 32];
    if row.key.len() != 64 || !row.key.is_ascii() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(row.key.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    let prediction = Prediction { outcome: row.outcome.into(), tokens: row.tokens, tokens_read: row.tokens_read };
    Some(Kept { key, hits: row.hits, prediction })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: [u8; 32] = [7; 32];

    fn one(key: u8, hits: u32) -> Kept {
        let scores = [0.1 + f32::from(key) / 3.0, 1.0 / 3.0, f32::MIN_POSITIVE].into();
        let outcome = Outcome::Scores(scores);
        Kept { key: [key; 32], hits, prediction: Prediction { outcome, tokens: 9, tokens_read: 8 } }
    }

    #[test]
    fn results_come_back_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &MODEL, vec![one(1, 6)]).unwrap();
        assert_eq!(load(folder.path(), &MODEL), [one(1, 3)]);
        assert_eq!(load(folder.path(), &[8; 32]), [], "another model's results");
    }

    #[test]
    fn entities_come_back_too() {
        let folder = tempfile::tempdir().unwrap();
        let entity = Entity { label: "PER".into(), start: 3, end: 7, score: 1.0 / 3.0 };
        let outcome = Outcome::Entities([entity].into());
        let kept = Kept { key: [1; 32], hits: 2, prediction: Prediction { outcome, tokens: 4, tokens_read: 4 } };
        save(folder.path(), &MODEL, vec![kept.clone()]).unwrap();
        assert_eq!(load(folder.path(), &MODEL), [Kept { hits: 1, ..kept }]);
    }

    #[test]
    fn what_another_session_wrote_meanwhile_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &MODEL, vec![one(1, 2)]).unwrap();
        save(folder.path(), &MODEL, vec![one(2, 8)]).unwrap();
        assert_eq!(load(folder.path(), &MODEL), [one(2, 4), one(1, 1)]);
    }

    #[test]
    fn a_damaged_file_counts_as_none_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(path(folder.path(), &MODEL), b"{\"version\":1,\"resu").unwrap();
        assert_eq!(load(folder.path(), &MODEL), []);
        save(folder.path(), &MODEL, vec![one(3, 2)]).unwrap();
        assert_eq!(load(folder.path(), &MODEL), [one(3, 1)]);
    }
}

//! Results kept between sessions: keyed digests and scores of frequent texts, never the texts.
//!
//! One file per model digest, replaced whole. Sessions that end together merge their results. A
//! damaged file counts as empty.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use cache_dir::{digest::hex, private_dir};
use classifier::Prediction;
use serde::{Deserialize, Serialize};

use crate::settings::EngineSettings;

/// Results kept per model; about 250 bytes each on disk.
pub(crate) const MAX_RESULTS: usize = 1000;
/// A tagger's text may have hundreds of entities.
const MAX_FILE_BYTES: u64 = 64 << 20;
const VERSION: u32 = 3;

/// One result, and how many calls it answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedResult {
    /// Digest of the input.
    pub input: [u8; 32],
    pub hits: u32,
    pub prediction: Prediction,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    results: Vec<SavedResult>,
}

/// Returns the folder of the results, if any are kept.
pub(crate) fn folder(settings: &EngineSettings) -> Option<PathBuf> {
    settings.cache_dir.as_ref().map(|cache_dir| cache_dir.join("results"))
}

/// Reads the results of earlier sessions with this model. Halves their hits, so that texts no
/// longer requested drop out over time.
pub(crate) fn load(folder: &Path, model: &[u8; 32]) -> Vec<SavedResult> {
    let results = read(folder, model).unwrap_or_default();
    results.into_iter().map(|result| SavedResult { hits: result.hits / 2, ..result }).collect()
}

/// Writes the most frequent of `results` and of those that another session saved meanwhile.
pub(crate) fn save(folder: &Path, model: &[u8; 32], mut results: Vec<SavedResult>) -> io::Result<()> {
    if results.is_empty() {
        return Ok(());
    }
    private_dir::create(folder)?;
    for other in read(folder, model).unwrap_or_default() {
        match results.iter_mut().find(|result| result.input == other.input) {
            Some(result) => result.hits = result.hits.max(other.hits),
            None => results.push(other),
        }
    }
    results.sort_by_key(|result| std::cmp::Reverse(result.hits));
    results.truncate(MAX_RESULTS);
    let document = Document { version: VERSION, results };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec(&document)?)?;
    file.persist(path(folder, model))?;
    Ok(())
}

/// Returns nothing from a folder that other users can write to, since they could forge answers.
fn read(folder: &Path, model: &[u8; 32]) -> io::Result<Vec<SavedResult>> {
    private_dir::check(folder)?;
    let mut content = Vec::new();
    File::open(path(folder, model))?.take(MAX_FILE_BYTES).read_to_end(&mut content)?;
    let document: Document = serde_json::from_slice(&content)?;
    let results = document.results.into_iter().filter(|_| document.version == VERSION);
    Ok(results.take(MAX_RESULTS).collect())
}

fn path(folder: &Path, model: &[u8; 32]) -> PathBuf {
    folder.join(format!("{}.json", &hex(model)[..32]))
}

#[cfg(test)]
mod tests {
    use classifier::{Entity, Outcome};

    use super::*;

    const MODEL: [u8; 32] = [7; 32];

    fn result(key: u8, hits: u32) -> SavedResult {
        let scores = [0.1 + f32::from(key) / 3.0, 1.0 / 3.0, f32::MIN_POSITIVE].into();
        let prediction = Prediction { outcome: Outcome::Scores(scores), tokens: 9, tokens_read: 8, doubt: None };
        SavedResult { input: [key; 32], hits, prediction }
    }

    #[test]
    fn scores_are_restored_to_the_last_bit() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &MODEL, vec![result(1, 6)]).unwrap();
        assert_eq!(load(folder.path(), &MODEL), [result(1, 3)]);
        assert_eq!(load(folder.path(), &[8; 32]), [], "the results of another model");
    }

    #[test]
    fn entities_are_restored() {
        let folder = tempfile::tempdir().unwrap();
        let entity = Entity { label: "PER".into(), start: 3, end: 7, score: 1.0 / 3.0 };
        let outcome = Outcome::Entities([entity].into());
        let prediction = Prediction { outcome, tokens: 4, tokens_read: 4, doubt: None };
        let saved = SavedResult { input: [1; 32], hits: 2, prediction };
        save(folder.path(), &MODEL, vec![saved.clone()]).unwrap();
        assert_eq!(load(folder.path(), &MODEL), [SavedResult { hits: 1, ..saved }]);
    }

    #[test]
    fn the_results_of_another_session_are_merged() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &MODEL, vec![result(1, 2)]).unwrap();
        save(folder.path(), &MODEL, vec![result(2, 8)]).unwrap();
        assert_eq!(load(folder.path(), &MODEL), [result(2, 4), result(1, 1)]);
    }

    #[test]
    fn a_damaged_file_counts_as_empty_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(path(folder.path(), &MODEL), b"{\"version\":3,\"resu").unwrap();
        assert_eq!(load(folder.path(), &MODEL), []);
        save(folder.path(), &MODEL, vec![result(3, 2)]).unwrap();
        assert_eq!(load(folder.path(), &MODEL), [result(3, 1)]);
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_read_from_a_folder_that_others_can_write_to() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &MODEL, vec![result(1, 6)]).unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        assert_eq!(load(folder.path(), &MODEL), []);
    }
}

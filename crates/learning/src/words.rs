//! Words and parts of words as a sparse vector, without a vocabulary.
//!
//! Each word, pair of words and run of three to five characters of a word is hashed to one of
//! 32,768 columns. Which columns matter is learned from the pool, by [`idf`].

use std::collections::BTreeMap;

use crate::row::{Row, SparseVector};

/// Number of columns. Hashes of twice as many columns were not more accurate.
pub(crate) const COLUMNS: usize = 1 << 15;
/// Bytes that are read of a long text: about as much as the encoders read.
const MAX_BYTES: usize = 2_000;
/// Lengths of the runs of characters.
const RUNS: std::ops::RangeInclusive<usize> = 3..=5;

/// Returns the words, pairs of words and parts of words in `text` as a vector of unit length.
///
/// Upper and lower case count as the same. A value is proportional to `1 + ln(count)`. Only the first 2,000 bytes
/// are read. The same text gives the same vector on every platform and in every version.
#[must_use]
pub fn hashed_words(text: &str) -> SparseVector {
    let lower = text[..text.floor_char_boundary(MAX_BYTES)].to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let mut counts: BTreeMap<u16, f32> = BTreeMap::new();
    let mut count = |kind: u8, parts: &[&str]| *counts.entry(column(kind, parts)).or_default() += 1.0;
    for word in &words {
        count(0, &[word]);
        // Spaces tell the start and the end of a word from its middle.
        let padded = format!(" {word} ");
        let starts: Vec<usize> = padded.char_indices().map(|(at, _)| at).chain([padded.len()]).collect();
        for length in RUNS {
            for run in starts.windows(length + 1) {
                count(1, &[&padded[run[0]..run[length]]]);
            }
        }
    }
    for pair in words.windows(2) {
        count(2, pair);
    }
    let (indices, counts): (Vec<u16>, Vec<f32>) = counts.into_iter().unzip();
    let mut vector = SparseVector { indices, values: counts.into_iter().map(|count| 1.0 + count.ln()).collect() };
    vector.normalize();
    vector
}

/// Hashes by FNV-1a, whose result is the same everywhere. The upper bits are mixed in, because the
/// lower ones alone are weak.
fn column(kind: u8, parts: &[&str]) -> u16 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    add(kind);
    for part in parts {
        part.bytes().for_each(&mut add);
        add(0xff);
    }
    ((hash >> 40 ^ hash >> 20 ^ hash) % COLUMNS as u64) as u16
}

/// Returns the weight of each column by how rare it is in the pool (inverse document frequency).
///
/// The weights are those of scikit-learn, `ln((1 + rows) / (1 + rows with the column)) + 1`, all
/// divided by one number that makes the mean squared length of a weighted row 1.
pub(crate) fn idf(rows: &[Row]) -> Vec<f64> {
    let mut frequencies = vec![0_u32; COLUMNS];
    for row in rows {
        row.words.iter().for_each(|(column, _)| frequencies[column] += 1);
    }
    let weight = |&frequency: &u32| ((1.0 + rows.len() as f64) / (1.0 + f64::from(frequency))).ln() + 1.0;
    let mut weights: Vec<f64> = frequencies.iter().map(weight).collect();
    let squares =
        |row: &Row| row.words.iter().map(|(column, value)| (weights[column] * f64::from(value)).powi(2)).sum::<f64>();
    let mean = rows.iter().map(squares).sum::<f64>() / rows.len() as f64;
    if mean > 0.0 {
        weights.iter_mut().for_each(|weight| *weight /= mean.sqrt());
    }
    weights
}

//! Groups of a file's rows, for people who do not know their labels yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::kmeans::Clustering;
use crate::row::Row;

/// Telling words of a cluster.
const WORDS: usize = 8;
/// Central rows of a cluster.
const CENTRAL: usize = 3;

/// A group of similar rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Number of rows.
    pub size: usize,
    /// Words that are more frequent here than elsewhere, the most telling first.
    pub words: Vec<String>,
    /// Rows nearest to the centre.
    pub central: Vec<usize>,
}

/// Divides rows into at most `count` clusters, the largest first. `texts` has one text a row.
#[must_use]
pub fn clusters(rows: &[Row], texts: &[&str], count: usize, seed: u64) -> Vec<Cluster> {
    if rows.is_empty() || count == 0 {
        return Vec::new();
    }
    let vectors: Vec<&[f32]> = rows.iter().map(|row| row.sentence.as_slice()).collect();
    let clustering = Clustering::new(&vectors, count, seed);
    let words = telling_words(texts, &clustering);
    let cluster = |(index, words): (usize, Vec<String>)| {
        let members = clustering.members(&vectors, index);
        Cluster { size: members.len(), words, central: members.into_iter().take(CENTRAL).collect() }
    };
    let mut clusters: Vec<Cluster> = words.into_iter().enumerate().map(cluster).collect();
    clusters.retain(|cluster| cluster.size > 0);
    clusters.sort_by_key(|cluster| (std::cmp::Reverse(cluster.size), cluster.central.clone()));
    clusters
}

/// Returns the words of each cluster by class-based TF-IDF (Grootendorst 2022): the share of the
/// cluster's rows with the word, times `ln(1 + mean rows with a word / rows with this word)`.
fn telling_words(texts: &[&str], clustering: &Clustering) -> Vec<Vec<String>> {
    let mut counts: Vec<BTreeMap<String, f64>> = vec![BTreeMap::new(); clustering.centers.len()];
    let mut totals: BTreeMap<String, f64> = BTreeMap::new();
    for (text, &cluster) in texts.iter().zip(&clustering.cluster) {
        let lower = text.to_lowercase();
        let words: BTreeSet<&str> =
            lower.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() > 1).collect();
        for word in words {
            *counts[cluster].entry(word.to_owned()).or_default() += 1.0;
            *totals.entry(word.to_owned()).or_default() += 1.0;
        }
    }
    let mean = totals.values().sum::<f64>() / clustering.centers.len() as f64;
    let rank = |counts: BTreeMap<String, f64>| {
        let score = |(word, count): (String, f64)| (count * (1.0 + mean / totals[&word]).ln(), word);
        let mut scored: Vec<(f64, String)> = counts.into_iter().map(score).collect();
        scored.sort_by(|left, right| right.0.total_cmp(&left.0).then_with(|| left.1.cmp(&right.1)));
        scored.into_iter().take(WORDS).map(|(_, word)| word).collect()
    };
    counts.into_iter().map(rank).collect()
}

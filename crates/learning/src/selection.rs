//! Which rows to label: spread-out rows at the start, then the ones that the classifier doubts.

use std::collections::HashSet;

use crate::kmeans::Clustering;
use crate::matrix::dot_f32;
use crate::row::Row;

/// Share of the first rows that are centres of clusters. The others are as far apart as possible,
/// which finds rare labels that have no cluster of their own.
const CENTERS_SHARE: f64 = 0.7;
/// Doubtful rows among which the next ones are spread, for each row to hand out.
const DOUBTFUL: usize = 10;

/// Returns `count` spread-out rows, or all rows if there are fewer.
#[must_use]
pub fn first_rows(rows: &[Row], count: usize, seed: u64) -> Vec<usize> {
    let vectors: Vec<&[f32]> = rows.iter().map(|row| row.sentence.as_slice()).collect();
    let count = count.min(rows.len());
    let centers = (count as f64 * CENTERS_SHARE).round() as usize;
    let mut picked = central(&vectors, centers, seed);
    let similarity = |index: usize, picked: &[usize]| {
        picked.iter().map(|&other| dot_f32(vectors[index], vectors[other])).fold(f64::NEG_INFINITY, f64::max)
    };
    let mut similarities: Vec<f64> = (0..rows.len()).map(|index| similarity(index, &picked)).collect();
    while picked.len() < count {
        let left = (0..rows.len()).filter(|index| !picked.contains(index));
        let Some(farthest) = left.min_by(|&left, &right| similarities[left].total_cmp(&similarities[right])) else {
            break;
        };
        picked.push(farthest);
        for (index, similarity) in similarities.iter_mut().enumerate() {
            *similarity = similarity.max(dot_f32(vectors[index], vectors[farthest]));
        }
    }
    picked
}

/// Returns up to `count` rows that are worth labelling next: those whose two most probable labels
/// are closest, spread over the pool. `probabilities` has one list a row; `taken` rows are left out.
#[must_use]
pub fn next_rows(rows: &[Row], probabilities: &[Vec<f32>], taken: &[usize], count: usize, seed: u64) -> Vec<usize> {
    let taken: HashSet<usize> = taken.iter().copied().collect();
    let mut order: Vec<usize> = (0..rows.len()).filter(|index| !taken.contains(index)).collect();
    order.sort_by(|&left, &right| {
        margin(&probabilities[left]).total_cmp(&margin(&probabilities[right])).then(left.cmp(&right))
    });
    order.truncate(count * DOUBTFUL);
    let vectors: Vec<&[f32]> = order.iter().map(|&index| rows[index].sentence.as_slice()).collect();
    let mut picked = central(&vectors, count, seed);
    picked.sort_unstable();
    picked.into_iter().map(|index| order[index]).collect()
}

/// Returns the vector nearest to each of `count` centres; more vectors in order if some are equal.
fn central(vectors: &[&[f32]], count: usize, seed: u64) -> Vec<usize> {
    if count == 0 || vectors.is_empty() {
        return Vec::new();
    }
    let clustering = Clustering::new(vectors, count, seed);
    let nearest = |cluster| clustering.members(vectors, cluster).first().copied();
    let mut picked: Vec<usize> = (0..clustering.centers.len()).filter_map(nearest).collect();
    let rest: Vec<usize> = (0..vectors.len()).filter(|index| !picked.contains(index)).collect();
    picked.extend(rest.into_iter().take(count.min(vectors.len()) - picked.len()));
    picked
}

/// Returns the difference between the two largest probabilities.
fn margin(probabilities: &[f32]) -> f32 {
    let (first, second) = probabilities.iter().fold((0.0_f32, 0.0_f32), |(first, second), &value| {
        if value > first { (value, first) } else { (first, second.max(value)) }
    });
    first - second
}

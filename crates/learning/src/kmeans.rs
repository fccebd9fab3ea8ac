//! k-means of unit vectors, with a start that depends on the seed only (k-means++).

use crate::matrix::dot_f32;
use crate::random::Random;

/// Rounds of Lloyd's algorithm; more hardly change which rows are nearest to a centre.
const ROUNDS: usize = 20;

/// Centres of clusters and the cluster of each vector.
pub(crate) struct Clustering {
    pub(crate) centers: Vec<Vec<f32>>,
    pub(crate) cluster: Vec<usize>,
}

impl Clustering {
    /// Divides `vectors` into at most `count` clusters by cosine.
    pub(crate) fn new(vectors: &[&[f32]], count: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut centers = start(vectors, count.min(vectors.len()), &mut random);
        let mut cluster = vec![0; vectors.len()];
        for _ in 0..ROUNDS {
            let next: Vec<usize> = vectors.iter().map(|vector| nearest(&centers, vector)).collect();
            let settled = next == cluster;
            cluster = next;
            centers = means(vectors, &cluster, &centers);
            if settled {
                break;
            }
        }
        Self { centers, cluster }
    }

    /// Returns the members of a cluster, the nearest to its centre first.
    pub(crate) fn members(&self, vectors: &[&[f32]], cluster: usize) -> Vec<usize> {
        let mut members: Vec<usize> = (0..vectors.len()).filter(|&index| self.cluster[index] == cluster).collect();
        let cosine = |index: &usize| dot_f32(vectors[*index], &self.centers[cluster]);
        members.sort_by(|left, right| cosine(right).total_cmp(&cosine(left)).then(left.cmp(right)));
        members
    }
}

fn start(vectors: &[&[f32]], count: usize, random: &mut Random) -> Vec<Vec<f32>> {
    let mut centers: Vec<Vec<f32>> = Vec::with_capacity(count);
    let mut distances = vec![1.0; vectors.len()];
    while centers.len() < count {
        let mut left = random.unit() * distances.iter().sum::<f64>();
        let hit = distances.iter().position(|distance| {
            left -= distance;
            left < 0.0
        });
        // Only equal vectors are left.
        let Some(hit) = hit else { break };
        for (distance, vector) in distances.iter_mut().zip(vectors) {
            *distance = distance.min((1.0 - dot_f32(vector, vectors[hit])).max(0.0));
        }
        distances[hit] = 0.0;
        centers.push(vectors[hit].to_vec());
    }
    centers
}

fn nearest(centers: &[Vec<f32>], vector: &[f32]) -> usize {
    let cosines: Vec<f64> = centers.iter().map(|center| dot_f32(center, vector)).collect();
    crate::matrix::largest(&cosines)
}

/// Returns the means of the clusters, of unit length. An empty cluster keeps its centre.
fn means(vectors: &[&[f32]], cluster: &[usize], centers: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut sums = vec![vec![0.0_f32; vectors[0].len()]; centers.len()];
    for (vector, &cluster) in vectors.iter().zip(cluster) {
        sums[cluster].iter_mut().zip(*vector).for_each(|(sum, value)| *sum += value);
    }
    for (sum, center) in sums.iter_mut().zip(centers) {
        let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
        if length > 0.0 {
            sum.iter_mut().for_each(|value| *value /= length);
        } else {
            sum.clone_from(center);
        }
    }
    sums
}

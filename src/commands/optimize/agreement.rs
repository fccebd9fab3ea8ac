//! How far the answers of two graphs agree. Pure functions.

use classifier::{Entity, MULTI_LABEL_THRESHOLD, Outcome, Task};

use super::subject::Reading;

/// Values of a regression agree within this share of their range.
const VALUE_TOLERANCE: f32 = 0.05;

/// The agreement of two graphs over a sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Agreement {
    /// What is counted.
    pub unit: &'static str,
    /// 0 to 1: the share of units with the same label; for vectors the mean cosine.
    pub share: f64,
    /// Differences of scores, values or vectors (1 - cosine).
    pub mean_difference: f64,
    pub largest_difference: f64,
    /// Positions of the texts that disagree, or whose vectors differ most, worst first.
    pub worst: Vec<usize>,
}

/// What two readings of one text have in common.
struct Pair {
    units: usize,
    agreeing: f64,
    difference: f64,
}

/// Compares the readings of each text. `threshold` is that of labels that apply independently.
pub(super) fn compare(task: Option<Task>, threshold: Option<f32>, readings: &[(Reading, Reading, &str)]) -> Agreement {
    let range = range(readings);
    let pairs: Vec<Pair> = readings
        .iter()
        .map(|(before, after, text)| match (before, after) {
            (Reading::Vector(before), Reading::Vector(after)) => vectors(before, after),
            (Reading::Answer(Outcome::Entities(before)), Reading::Answer(Outcome::Entities(after))) => {
                entities(before, after, text)
            }
            (Reading::Answer(Outcome::Scores(before)), Reading::Answer(Outcome::Scores(after))) => match task {
                Some(Task::Regression) => values(before, after, VALUE_TOLERANCE * range),
                Some(Task::MultiLabel) => each(before, after, threshold.unwrap_or(MULTI_LABEL_THRESHOLD)),
                _ => best(before, after),
            },
            _ => Pair { units: 1, agreeing: 0.0, difference: 1.0 },
        })
        .collect();
    let unit = match task {
        None => "cosine",
        Some(Task::SingleLabel) => "texts",
        Some(Task::MultiLabel) => "labels of texts",
        Some(Task::Regression) => "values",
        Some(Task::Tagging) => "words",
    };
    let units: usize = pairs.iter().map(|pair| pair.units).sum();
    let mut worst: Vec<usize> = (0..pairs.len()).collect();
    worst.retain(|&text| pairs[text].agreeing < pairs[text].units as f64 - if task.is_none() { 0.01 } else { 0.0 });
    let lacking = |text: &usize| pairs[*text].agreeing - pairs[*text].units as f64;
    worst.sort_by(|a, b| lacking(a).total_cmp(&lacking(b)).then(pairs[*b].difference.total_cmp(&pairs[*a].difference)));
    Agreement {
        unit,
        share: pairs.iter().map(|pair| pair.agreeing).sum::<f64>() / units.max(1) as f64,
        mean_difference: pairs.iter().map(|pair| pair.difference).sum::<f64>() / pairs.len().max(1) as f64,
        largest_difference: pairs.iter().map(|pair| pair.difference).fold(0.0, f64::max),
        worst,
    }
}

/// Returns the range of the first scores of the original.
fn range(readings: &[(Reading, Reading, &str)]) -> f32 {
    let values = readings.iter().filter_map(|(before, ..)| match before {
        Reading::Answer(Outcome::Scores(scores)) => scores.first().copied(),
        _ => None,
    });
    let (least, most) = values.fold((f32::MAX, f32::MIN), |(least, most), value| (least.min(value), most.max(value)));
    (most - least).max(0.0)
}

fn vectors(before: &[f32], after: &[f32]) -> Pair {
    let cosine: f64 = before.iter().zip(after).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    Pair { units: 1, agreeing: cosine, difference: 1.0 - cosine }
}

/// Compares the best labels.
fn best(before: &[f32], after: &[f32]) -> Pair {
    let top = |scores: &[f32]| (0..scores.len()).rev().max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    Pair { units: 1, agreeing: f64::from(top(before) == top(after)), difference: difference(before, after) }
}

/// Compares which labels apply.
fn each(before: &[f32], after: &[f32], threshold: f32) -> Pair {
    let same = before.iter().zip(after).filter(|(a, b)| (**a >= threshold) == (**b >= threshold)).count();
    Pair { units: before.len(), agreeing: same as f64, difference: difference(before, after) }
}

fn values(before: &[f32], after: &[f32], tolerance: f32) -> Pair {
    let difference = difference(before, after);
    Pair { units: 1, agreeing: f64::from(difference <= f64::from(tolerance)), difference }
}

fn difference(before: &[f32], after: &[f32]) -> f64 {
    before.iter().zip(after).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

/// Compares the labels of words.
fn entities(before: &[Entity], after: &[Entity], text: &str) -> Pair {
    let label = |entities: &[Entity], place: u32| -> Option<(String, f32)> {
        let entity = entities.iter().find(|entity| (entity.start..entity.end).contains(&place))?;
        Some((entity.label.to_string(), entity.score))
    };
    let (mut pair, mut is_inside) = (Pair { units: 0, agreeing: 0.0, difference: 0.0 }, false);
    for (place, letter) in (0..).zip(text.chars()) {
        let begins = !letter.is_whitespace() && !is_inside;
        is_inside = !letter.is_whitespace();
        if !begins {
            continue;
        }
        pair.units += 1;
        match (label(before, place), label(after, place)) {
            (None, None) => pair.agreeing += 1.0,
            (Some((a, before)), Some((b, after))) if a == b => {
                pair.agreeing += 1.0;
                pair.difference = pair.difference.max(f64::from((before - after).abs()));
            }
            (Some((_, score)), _) | (None, Some((_, score))) => pair.difference = pair.difference.max(score.into()),
        }
    }
    pair
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(scores: &[f32]) -> Reading {
        Reading::Answer(Outcome::Scores(scores.into()))
    }

    fn compared(task: Task, pairs: &[(&[f32], &[f32])]) -> Agreement {
        let readings: Vec<_> = pairs.iter().map(|(before, after)| (scores(before), scores(after), "")).collect();
        compare(Some(task), None, &readings)
    }

    #[test]
    fn texts_with_another_best_label_disagree() {
        let same: (&[f32], &[f32]) = (&[0.75, 0.25], &[0.5, 0.25]);
        let found =
            compared(Task::SingleLabel, &[same, (&[0.5, 0.75], &[0.75, 0.75]), (&[0.25, 0.75], &[1.0, 0.0]), same]);
        assert_eq!((found.share, found.largest_difference, found.mean_difference), (0.5, 0.75, 0.375));
        assert_eq!(found.worst, [2, 1]);
    }

    #[test]
    fn each_label_counts_if_several_apply() {
        let found = compared(Task::MultiLabel, &[(&[0.9, 0.6, 0.1, 0.2], &[0.8, 0.4, 0.1, 0.2])]);
        assert_eq!((found.share, found.worst.as_slice()), (0.75, &[0][..]));
    }

    #[test]
    fn values_agree_within_a_share_of_their_range() {
        let found = compared(Task::Regression, &[(&[0.0], &[0.25]), (&[10.0], &[10.5]), (&[5.0], &[5.75])]);
        assert_eq!((found.share, found.worst.as_slice()), (2.0 / 3.0, &[2][..]));
    }

    #[test]
    fn taggers_are_compared_word_by_word() {
        let entity = |label: &str, start, end, score| Entity { label: label.into(), start, end, score };
        let read = |entities: &[Entity]| Reading::Answer(Outcome::Entities(entities.into()));
        let before = read(&[entity("PER", 0, 8, 0.75), entity("LOC", 18, 22, 0.5)]);
        let after = read(&[entity("PER", 0, 8, 0.5)]);
        let found = compare(Some(Task::Tagging), None, &[(before, after, "Ann Bell lives in Rome")]);
        assert_eq!((found.unit, found.share, found.largest_difference), ("words", 0.8, 0.5));
    }

    #[test]
    fn vectors_are_compared_by_their_cosine() {
        let vector = |numbers: &[f32]| Reading::Vector(numbers.into());
        let readings = [(vector(&[1.0, 0.0]), vector(&[1.0, 0.0]), ""), (vector(&[1.0, 0.0]), vector(&[0.0, 1.0]), "")];
        let found = compare(None, None, &readings);
        assert_eq!((found.share, found.worst.as_slice()), (0.5, &[1][..]));
    }
}

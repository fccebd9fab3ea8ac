//! From one row of scores a token to entities, by the rules of transformers' token-classification pipeline (4.57).
//!
//! Pure: which tokens there are and how they were scored is decided by the callers in `model`.

use std::sync::Arc;

use serde::Deserialize;

use crate::prediction::Entity;

/// How tokens become entities; the names and meanings are transformers'.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Aggregation {
    /// Every token by itself, under its full tag.
    None,
    /// Neighbours of one tag become an entity.
    #[default]
    Simple,
    /// As `Simple`, after each word took the tag of its first token.
    First,
    /// As `Simple`, after each word took the tag of its highest score.
    Max,
    /// As `Simple`, after each word took the best of its tokens' mean scores.
    Average,
}

/// One token of the text, special ones left out.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// Code points.
    pub start: u32,
    pub end: u32,
    /// Whether it continues the word before it.
    pub continues: bool,
    /// One a label, summing to 1.
    pub scores: Vec<f32>,
}

/// A stretch of text under one tag.
struct Tagged {
    start: u32,
    end: u32,
    label: usize,
    score: f32,
}

/// The entities of a text, in its order; whatever is tagged `O` is left out.
pub(super) fn entities(tokens: &[Token], labels: &[Arc<str>], aggregation: Aggregation) -> Vec<Entity> {
    let tagged: Vec<Tagged> = match aggregation {
        Aggregation::None | Aggregation::Simple => {
            tokens.iter().map(|token| tagged(std::slice::from_ref(token), &token.scores)).collect()
        }
        Aggregation::First | Aggregation::Max | Aggregation::Average => tokens
            .chunk_by(|_, next| next.continues)
            .map(|word| match aggregation {
                Aggregation::Average => tagged(word, &mean(word)),
                Aggregation::Max => {
                    let highest = |token: &Token| token.scores.iter().copied().fold(f32::MIN, f32::max);
                    // The first of equals, as Python's `max` takes it.
                    let best = word.iter().fold(&word[0], |a, b| if highest(b) > highest(a) { b } else { a });
                    tagged(word, &best.scores)
                }
                _ => tagged(word, &word[0].scores),
            })
            .collect(),
    };
    let groups: Vec<Entity> = if aggregation == Aggregation::None {
        tagged.iter().map(|one| entity(std::slice::from_ref(one), &labels[one.label])).collect()
    } else {
        tagged
            .chunk_by(|last, next| {
                let ((_, last), (begins, next)) = (tag(&labels[last.label]), tag(&labels[next.label]));
                last == next && !begins
            })
            .map(|group| entity(group, name(&labels[group[0].label])))
            .collect()
    };
    groups.into_iter().filter(|entity| &*entity.label != "O").collect()
}

fn tagged(word: &[Token], scores: &[f32]) -> Tagged {
    let label = best(scores);
    Tagged { start: word[0].start, end: word[word.len() - 1].end, label, score: scores[label] }
}

/// Number of the highest score; the first of equals.
fn best(scores: &[f32]) -> usize {
    (0..scores.len()).fold(0, |best, number| if scores[number] > scores[best] { number } else { best })
}

fn mean(word: &[Token]) -> Vec<f32> {
    let sum = |label: usize| word.iter().map(|token| token.scores[label]).sum::<f32>();
    (0..word[0].scores.len()).map(|label| sum(label) / word.len() as f32).collect()
}

fn entity(group: &[Tagged], label: &str) -> Entity {
    Entity {
        label: label.into(),
        start: group[0].start,
        end: group[group.len() - 1].end,
        score: group.iter().map(|one| one.score).sum::<f32>() / group.len() as f32,
    }
}

/// Whether a tag begins an entity, and what it says without `B-` or `I-`; other tags continue what came before.
fn tag(label: &str) -> (bool, &str) {
    match label.strip_prefix("B-") {
        Some(rest) => (true, rest),
        None => (false, label.strip_prefix("I-").unwrap_or(label)),
    }
}

/// The name of a group: what follows the first hyphen, whatever comes before it.
fn name(label: &str) -> &str {
    label.split_once('-').map_or(label, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [&str; 5] = ["O", "B-PER", "I-PER", "E-LOC", "MISC-A-B"];

    /// Tokens of three code points each, a space between words; `+` marks those that continue a word.
    #[track_caller]
    fn check(tags: &[(&str, f32)], aggregation: Aggregation, expected: &[(&str, u32, u32, f32)]) {
        let mut tokens: Vec<Token> = Vec::new();
        for (tag, score) in tags {
            let (tag, continues) = tag.strip_prefix('+').map_or((*tag, false), |tag| (tag, true));
            let start = tokens.last().map_or(0, |last| last.end + u32::from(!continues));
            let rest = (1.0 - score) / (LABELS.len() - 1) as f32;
            let scores = LABELS.iter().map(|label| if *label == tag { *score } else { rest }).collect();
            tokens.push(Token { start, end: start + 3, continues, scores });
        }
        let found = entities(&tokens, &LABELS.map(Arc::from), aggregation);
        let found: Vec<_> = found.iter().map(|e| (&*e.label, e.start, e.end, (e.score * 1e4).round() / 1e4)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn neighbours_of_one_tag_are_one_entity_until_another_begins() {
        let tags = [("B-PER", 0.9), ("I-PER", 0.7), ("B-PER", 0.8), ("O", 0.9), ("I-PER", 0.6)];
        let expected = [("PER", 0, 7, 0.8), ("PER", 8, 11, 0.8), ("PER", 16, 19, 0.6)];
        check(&tags, Aggregation::Simple, &expected);
        check(&tags[..2], Aggregation::None, &[("B-PER", 0, 3, 0.9), ("I-PER", 4, 7, 0.7)]);
    }

    #[test]
    fn a_groups_name_drops_all_up_to_the_first_hyphen() {
        check(&[("E-LOC", 0.9), ("MISC-A-B", 0.9)], Aggregation::Simple, &[("LOC", 0, 3, 0.9), ("A-B", 4, 7, 0.9)]);
    }

    #[test]
    fn words_take_one_tag_by_the_strategy() {
        let word = [("B-PER", 0.6), ("+E-LOC", 0.9)];
        check(&word, Aggregation::Simple, &[("PER", 0, 3, 0.6), ("LOC", 3, 6, 0.9)]);
        check(&word, Aggregation::First, &[("PER", 0, 6, 0.6)]);
        check(&word, Aggregation::Max, &[("LOC", 0, 6, 0.9)]);
        check(&word, Aggregation::Average, &[("LOC", 0, 6, 0.5)]);
    }

    #[test]
    fn no_token_gives_no_entity() {
        check(&[], Aggregation::Average, &[]);
    }
}

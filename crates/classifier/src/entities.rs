//! Groups scored tokens into entities, as in transformers' token-classification pipeline (4.57).
//!
//! Pure functions. Tokenizing and scoring happen in `tokenizer` and `pipeline`.

use std::sync::Arc;

use serde::Deserialize;

use crate::prediction::Entity;

/// How tokens become entities. Names and meanings are those of transformers.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Aggregation {
    /// Each token is an entity with its full tag.
    None,
    /// Neighbouring tokens with the same tag become an entity.
    #[default]
    Simple,
    /// Like `Simple`, after each word takes the tag of its first token.
    First,
    /// Like `Simple`, after each word takes the tag with the highest score.
    Max,
    /// Like `Simple`, after each word takes the best tag by the mean of its tokens' scores.
    Average,
}

/// A token of the text, with its scores. Special tokens are left out.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// Code points.
    pub start: u32,
    pub end: u32,
    /// Whether it continues the previous token's word.
    pub continues: bool,
    /// One score per label; they sum to 1.
    pub scores: Vec<f32>,
}

/// A span of text with one tag.
struct Tagged {
    start: u32,
    end: u32,
    label: usize,
    score: f32,
}

/// Returns the entities in text order, without those tagged `O`.
pub(crate) fn entities(tokens: &[Token], labels: &[Arc<str>], aggregation: Aggregation) -> Vec<Entity> {
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
                    // The first of equal scores, like Python's `max`.
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

/// Returns the position of the highest score; the first one if several are equal.
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

/// Returns whether a tag begins an entity, and the tag without `B-` or `I-`. Tags without a prefix
/// continue the previous entity.
fn tag(label: &str) -> (bool, &str) {
    match label.strip_prefix("B-") {
        Some(rest) => (true, rest),
        None => (false, label.strip_prefix("I-").unwrap_or(label)),
    }
}

/// Returns the name of a group: the part after the first hyphen.
fn name(label: &str) -> &str {
    label.split_once('-').map_or(label, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [&str; 5] = ["O", "B-PER", "I-PER", "E-LOC", "MISC-A-B"];

    /// Tokens of three code points each, a space between words; `+` marks those that continue a
    /// word.
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
    fn neighbouring_tokens_with_one_tag_are_one_entity() {
        let tags = [("B-PER", 0.9), ("I-PER", 0.7), ("B-PER", 0.8), ("O", 0.9), ("I-PER", 0.6)];
        let expected = [("PER", 0, 7, 0.8), ("PER", 8, 11, 0.8), ("PER", 16, 19, 0.6)];
        check(&tags, Aggregation::Simple, &expected);
        check(&tags[..2], Aggregation::None, &[("B-PER", 0, 3, 0.9), ("I-PER", 4, 7, 0.7)]);
    }

    #[test]
    fn group_names_start_after_the_first_hyphen() {
        check(&[("E-LOC", 0.9), ("MISC-A-B", 0.9)], Aggregation::Simple, &[("LOC", 0, 3, 0.9), ("A-B", 4, 7, 0.9)]);
    }

    #[test]
    fn each_strategy_gives_words_one_tag() {
        let word = [("B-PER", 0.6), ("+E-LOC", 0.9)];
        check(&word, Aggregation::Simple, &[("PER", 0, 3, 0.6), ("LOC", 3, 6, 0.9)]);
        check(&word, Aggregation::First, &[("PER", 0, 6, 0.6)]);
        check(&word, Aggregation::Max, &[("LOC", 0, 6, 0.9)]);
        check(&word, Aggregation::Average, &[("LOC", 0, 6, 0.5)]);
    }

    #[test]
    fn no_tokens_give_no_entities() {
        check(&[], Aggregation::Average, &[]);
    }
}

//! Converts tags of training data (`B-PER I-PER O`, one per word) to entities of the text.

use std::sync::Arc;

use crate::labels::parse_list;

/// An entity: start, end (code points, end exclusive) and label.
pub type GoldEntity = (usize, usize, Arc<str>);

/// Parses a cell of tags: a JSON list, or separated by spaces.
pub(super) fn parse_tags(cell: &str) -> Vec<String> {
    parse_list(cell).unwrap_or_else(|| cell.split_whitespace().map(str::to_owned).collect())
}

/// Returns the start and end of each word, in code points, end exclusive.
pub(super) fn word_bounds(text: &str) -> Vec<(usize, usize)> {
    let mut words = Vec::new();
    let mut word_start = None;
    for (position, character) in text.chars().chain([' ']).enumerate() {
        match (word_start, character.is_whitespace()) {
            (None, false) => word_start = Some(position),
            (Some(start), true) => {
                words.push((start, position));
                word_start = None;
            }
            _ => {}
        }
    }
    words
}

/// Splits a tag into prefix and label. A tag without a prefix counts as `I`.
pub(super) fn split_tag(tag: &str) -> (char, &str) {
    match tag.as_bytes() {
        b"O" => ('O', ""),
        [prefix @ (b'B' | b'I' | b'E' | b'S'), b'-', ..] => (char::from(*prefix), &tag[2..]),
        _ => ('I', tag),
    }
}

/// Returns the entities of a row of tags by the rules of conlleval, which seqeval follows: a tag
/// that does not continue an entity begins one.
pub(super) fn entities_from_tags(tags: &[String], words: &[(usize, usize)]) -> Vec<GoldEntity> {
    let mut entities = Vec::new();
    let mut open: Option<(usize, &str)> = None;
    let mut previous = ('O', "");
    for (index, tag) in tags.iter().map(|tag| split_tag(tag)).chain([('O', "")]).enumerate() {
        let changes = previous.1 != tag.1 || tag.0 == 'O';
        let ends = matches!(previous.0, 'E' | 'S') || matches!(tag.0, 'B' | 'S' | 'O') || changes;
        if let Some((start, label)) = open.filter(|_| ends) {
            entities.push((words[start].0, words[index - 1].1, Arc::from(label)));
            open = None;
        }
        let begins = matches!(tag.0, 'B' | 'S') || matches!(previous.0, 'E' | 'S' | 'O') || changes;
        if tag.0 != 'O' && begins {
            open = Some((index, tag.1));
        }
        previous = tag;
    }
    entities
}

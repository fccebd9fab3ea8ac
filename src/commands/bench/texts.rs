//! Made-up texts of a wanted length, each different from all others.

use crate::commands::bench::dice::Dice;

/// Short English words, one token each in the vocabularies of BERT and most others.
const WORDS: [&str; 64] = [
    "the", "service", "was", "good", "but", "not", "very", "fast", "today", "and", "we", "had", "to", "wait", "for",
    "a", "long", "time", "before", "they", "could", "help", "us", "with", "our", "new", "order", "which", "is",
    "still", "open", "after", "two", "weeks", "of", "work", "i", "like", "this", "place", "because", "people", "there",
    "are", "always", "friendly", "when", "you", "ask", "them", "about", "price", "or", "quality", "it", "feels",
    "right", "now", "that", "no", "one", "knows", "how", "more",
];

/// Texts of about `tokens` tokens each, special ones included; `series` keeps those of different uses apart.
pub(super) fn distinct(count: usize, tokens: usize, series: u64) -> Vec<String> {
    let mut dice = Dice::new(series);
    let mut next = || WORDS[dice.roll(WORDS.len() as u64) as usize];
    (0..count).map(|_| (0..tokens.saturating_sub(2).max(1)).map(|_| next()).collect::<Vec<_>>().join(" ")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn texts_have_their_length_and_differ() {
        let texts: Vec<String> = (0..4).flat_map(|series| distinct(500, 8, series)).collect();
        assert!(texts.iter().all(|text| text.split(' ').count() == 6));
        assert!(texts.iter().collect::<HashSet<_>>().len() > 1990);
        assert_eq!(distinct(3, 8, 1), distinct(3, 8, 1));
    }
}

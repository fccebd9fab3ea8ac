//! Generated texts of a given length, each different from all others.

/// Short English words, one token each in the vocabularies of BERT and most other models.
const WORDS: [&str; 64] = [
    "the", "service", "was", "good", "but", "not", "very", "fast", "today", "and", "we", "had", "to", "wait", "for",
    "a", "long", "time", "before", "they", "could", "help", "us", "with", "our", "new", "order", "which", "is",
    "still", "open", "after", "two", "weeks", "of", "work", "i", "like", "this", "place", "because", "people", "there",
    "are", "always", "friendly", "when", "you", "ask", "them", "about", "price", "or", "quality", "it", "feels",
    "right", "now", "that", "no", "one", "knows", "how", "more",
];

/// Returns texts of about `tokens` tokens each, special tokens included. The same `series` gives
/// the same texts.
pub(crate) fn distinct_texts(count: usize, tokens: usize, series: u64) -> Vec<String> {
    let mut random = fastrand::Rng::with_seed(series);
    let words = tokens.saturating_sub(2).max(1);
    let mut text = || (0..words).map(|_| WORDS[random.usize(..WORDS.len())]).collect::<Vec<_>>().join(" ");
    (0..count).map(|_| text()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn texts_have_the_requested_length_and_differ() {
        let texts: Vec<String> = (0..4).flat_map(|series| distinct_texts(500, 8, series)).collect();
        assert!(texts.iter().all(|text| text.split(' ').count() == 6));
        assert!(texts.iter().collect::<HashSet<_>>().len() > 1990);
        assert_eq!(distinct_texts(3, 8, 1), distinct_texts(3, 8, 1));
    }
}

//! Finds the column that a caller means: by name, by number, or as the only likely one.

use crate::error::Error;

/// Usual names for a column of texts. If a file has several of them, the caller must choose.
const USUAL_NAMES: [&str; 12] = [
    "text",
    "texts",
    "sentence",
    "comment",
    "review",
    "message",
    "content",
    "body",
    "feedback",
    "utterance",
    "tweet",
    "document",
];

/// Usual names for a column of labels.
const USUAL_LABELS: [&str; 9] =
    ["label", "labels", "gold", "target", "class", "category", "ner_tags", "tags", "entities"];

/// Limits on the names that an error lists, and on the characters of each.
const MAX_LISTED: usize = 12;
const MAX_NAME_CHARACTERS: usize = 40;

/// Returns the position of a column by its name, or by its number (from 1) if no column has that
/// name.
pub(crate) fn position(columns: &[String], name: &str) -> Result<usize, Error> {
    let found: Vec<usize> = (0..columns.len()).filter(|&position| columns[position] == name).collect();
    match (found.as_slice(), name.parse::<usize>()) {
        ([position], _) => Ok(*position),
        ([], Ok(number)) if (1..=columns.len()).contains(&number) => Ok(number - 1),
        ([], _) => Err(Error::ColumnUnknown { name: elided(name), columns: listed(columns) }),
        (several, _) => {
            Err(Error::ColumnAmbiguous { name: elided(name), found: several.len(), columns: listed(columns) })
        }
    }
}

/// Returns the only one of these columns with a usual name for texts.
pub(crate) fn usual_text(columns: &[String], candidates: &[usize]) -> Option<usize> {
    only(candidates, |position| USUAL_NAMES.contains(&columns[position].to_lowercase().as_str()))
}

/// Returns the position of the only column with a usual name for labels.
pub(crate) fn usual_labels(columns: &[String]) -> Option<usize> {
    let all: Vec<usize> = (0..columns.len()).collect();
    only(&all, |position| USUAL_LABELS.contains(&columns[position].to_lowercase().as_str()))
}

/// Returns the only one of the candidates that fits.
pub(crate) fn only(candidates: &[usize], fits: impl Fn(usize) -> bool) -> Option<usize> {
    let mut fitting = candidates.iter().copied().filter(|&position| fits(position));
    fitting.next().filter(|_| fitting.next().is_none())
}

/// Returns whether most of these values have several words.
pub(crate) fn look_like_text<'a>(values: impl Iterator<Item = &'a str>) -> bool {
    let (mut all, mut words) = (0, 0);
    for value in values.filter(|value| !value.trim().is_empty()) {
        all += 1;
        let letters = value.chars().filter(|c| c.is_alphabetic()).count();
        words += usize::from(value.trim().contains(char::is_whitespace) && 2 * letters > value.chars().count());
    }
    2 * words > all
}

/// Lists the first column names for an error, elided.
pub(crate) fn listed(columns: &[String]) -> String {
    if columns.is_empty() {
        return "no columns".into();
    }
    let mut shown: Vec<String> = columns.iter().take(MAX_LISTED).map(|name| format!("`{}`", elided(name))).collect();
    if columns.len() > MAX_LISTED {
        shown.push(format!("and {} more", columns.len() - MAX_LISTED));
    }
    shown.join(", ")
}

/// Returns the beginning of a name, for an error.
pub(crate) fn elided(name: &str) -> String {
    match name.char_indices().nth(MAX_NAME_CHARACTERS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_column_is_found_by_name_and_else_by_number() {
        assert_eq!(position(&columns(&["2", "text"]), "2"), Ok(0));
        assert_eq!(position(&columns(&["id", "text"]), "2"), Ok(1));
        assert!(matches!(position(&columns(&["a", "a"]), "a"), Err(Error::ColumnAmbiguous { found: 2, .. })));
        assert!(matches!(position(&columns(&["a"]), "0"), Err(Error::ColumnUnknown { .. })));
    }

    #[test]
    fn a_usual_name_counts_if_it_is_the_only_one() {
        let names = columns(&["id", "Review", "", "", "label"]);
        assert_eq!(usual_text(&names, &[0, 1, 2, 3, 4]), Some(1));
        assert_eq!(usual_text(&names, &[0, 2]), None);
        assert_eq!(usual_text(&columns(&["text", "message"]), &[0, 1]), None);
        assert_eq!(usual_labels(&names), Some(4));
    }

    #[test]
    fn sentences_look_like_text_and_codes_do_not() {
        assert!(look_like_text(["I love it", "", "not so much"].into_iter()));
        assert!(!look_like_text(["A-17", "B-18"].into_iter()));
        assert!(!look_like_text(["2026-01-01 12:00", "2026-01-02 12:00"].into_iter()));
        assert!(!look_like_text(std::iter::empty()));
    }

    #[test]
    fn long_lists_and_names_are_elided() {
        let names: Vec<String> = (0..100).map(|number| format!("{number}{}", "x".repeat(100))).collect();
        assert!(listed(&names).len() < MAX_LISTED * (MAX_NAME_CHARACTERS + 10));
    }
}

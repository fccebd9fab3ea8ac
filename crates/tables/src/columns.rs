//! Which column is meant: by name, by number, or by being the only sensible one.

use crate::Error;

/// Names that a column of texts is given. More than one of them in a file is a choice for the caller.
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

/// Names that a column of right answers is given.
const USUAL_LABELS: [&str; 9] =
    ["label", "labels", "gold", "target", "class", "category", "ner_tags", "tags", "entities"];

/// How many names, and how much of each, an error shows.
const SHOWN: usize = 12;
const SHOWN_CHARACTERS: usize = 40;

/// A column's position by its name, or by its number from 1 on where no name is the same.
pub(crate) fn position(columns: &[String], name: &str) -> Result<usize, Error> {
    let found: Vec<usize> = (0..columns.len()).filter(|&position| columns[position] == name).collect();
    match (found.as_slice(), name.parse::<usize>()) {
        ([position], _) => Ok(*position),
        ([], Ok(number)) if (1..=columns.len()).contains(&number) => Ok(number - 1),
        ([], _) => Err(Error::ColumnUnknown { name: shortened(name), columns: listed(columns) }),
        (several, _) => {
            Err(Error::ColumnAmbiguous { name: shortened(name), found: several.len(), columns: listed(columns) })
        }
    }
}

/// The position of the only column that can hold the texts. `reads_as_text` tells of each whether its first rows do.
pub(crate) fn guess(columns: &[String], reads_as_text: &[bool]) -> Result<usize, Error> {
    let only = |fits: &dyn Fn(usize) -> bool| {
        let mut fitting = (0..columns.len()).filter(|&position| fits(position));
        fitting.next().filter(|_| fitting.next().is_none())
    };
    only(&|_| true)
        .or_else(|| only(&|position| USUAL_NAMES.contains(&columns[position].to_lowercase().as_str())))
        .or_else(|| only(&|position| reads_as_text[position]))
        .ok_or_else(|| Error::ColumnUnclear { columns: listed(columns) })
}

/// The position of the only column that is called like one of right answers.
pub(crate) fn guess_labels(columns: &[String]) -> Result<usize, Error> {
    let mut fitting =
        (0..columns.len()).filter(|&position| USUAL_LABELS.contains(&columns[position].to_lowercase().as_str()));
    let first = fitting.next().filter(|_| fitting.next().is_none());
    first.ok_or_else(|| Error::LabelColumnUnclear { columns: listed(columns) })
}

/// Whether most of these values are words with space between.
pub(crate) fn read_as_text<'a>(values: impl Iterator<Item = &'a str>) -> bool {
    let (mut all, mut words) = (0, 0);
    for value in values.filter(|value| !value.trim().is_empty()) {
        all += 1;
        let letters = value.chars().filter(|c| c.is_alphabetic()).count();
        words += usize::from(value.trim().contains(char::is_whitespace) && 2 * letters > value.chars().count());
    }
    2 * words > all
}

/// Names for an error: some of them, shortened.
pub(crate) fn listed(columns: &[String]) -> String {
    if columns.is_empty() {
        return "no columns".into();
    }
    let mut shown: Vec<String> = columns.iter().take(SHOWN).map(|name| format!("`{}`", shortened(name))).collect();
    if columns.len() > SHOWN {
        shown.push(format!("and {} more", columns.len() - SHOWN));
    }
    shown.join(", ")
}

fn shortened(name: &str) -> String {
    match name.char_indices().nth(SHOWN_CHARACTERS) {
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
    fn the_only_sensible_column_is_guessed_and_a_choice_is_not() {
        assert_eq!(guess(&columns(&["anything"]), &[false]), Ok(0));
        assert_eq!(guess(&columns(&["id", "Review"]), &[false, false]), Ok(1));
        assert_eq!(guess(&columns(&["id", "remarks"]), &[false, true]), Ok(1));
        let error = guess(&columns(&["title", "remarks"]), &[true, true]).unwrap_err().to_string();
        assert!(error.ends_with("the file has `title`, `remarks`"), "{error}");
    }

    #[test]
    fn sentences_read_as_text_and_codes_do_not() {
        assert!(read_as_text(["I love it", "", "not so much"].into_iter()));
        assert!(!read_as_text(["A-17", "B-18"].into_iter()));
        assert!(!read_as_text(["2026-01-01 12:00", "2026-01-02 12:00"].into_iter()));
        assert!(!read_as_text(std::iter::empty()));
    }

    #[test]
    fn long_lists_and_names_are_shortened() {
        let names: Vec<String> = (0..100).map(|number| format!("{number}{}", "x".repeat(100))).collect();
        assert!(listed(&names).len() < SHOWN * (SHOWN_CHARACTERS + 10));
    }
}

//! Errors in files of correct answers.

/// A file, or a cell of it, that has no usable correct answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// Some labels in the file are neither names nor numbers of the model's labels.
    #[error(
        "the file has {} that the model does not know: {}; expected {}; rename those in the file, \
         or the model's with `labels` in `local-model.toml`",
        count(unknown.len() as u64, "label"), list(unknown), list(known)
    )]
    LabelsUnknown {
        /// Labels in the file, sorted.
        unknown: Vec<String>,
        /// The model's labels.
        known: Vec<String>,
    },
    /// A cell that is not a correct answer of the file's kind.
    #[error("the label is {found}; expected {expected}")]
    BadGold {
        /// The cell's content, or what is wrong with it.
        found: String,
        /// What a correct answer looks like.
        expected: String,
    },
    /// A label column without a single value.
    #[error("no row has a label in column `{column}`; expected at least one")]
    NothingLabelled {
        /// The column's name.
        column: String,
    },
}

/// Returns number and noun, in the singular or the plural.
pub(crate) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Lists names in backticks. Longer lists end with a count.
fn list(names: &[String]) -> String {
    const MAX_LISTED: usize = 20;
    let listed: Vec<String> = names.iter().take(MAX_LISTED).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(MAX_LISTED) {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("l{number}")).collect()
    }

    #[test]
    fn unknown_labels_are_counted_and_long_lists_end_with_a_count() {
        let text = |unknown, known| Error::LabelsUnknown { unknown: names(unknown), known: names(known) }.to_string();
        let one = "the file has 1 label that the model does not know: `l0`; expected `l0`, `l1`; ";
        assert!(text(1, 2).starts_with(one), "{}", text(1, 2));
        assert!(text(21, 1).contains("has 21 labels that"), "{}", text(21, 1));
        assert!(text(21, 1).contains("`l19` and 1 more; expected `l0`;"), "{}", text(21, 1));
    }
}

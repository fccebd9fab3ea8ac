//! Makes characters visible that a reader cannot see, or that change how the others are shown.
//!
//! Rows, labels, names and file names are written by others. A bidirectional override in one of
//! them would reorder the text around it, an escape sequence would drive the terminal, and tag
//! characters would carry words that only an assistant reads. So whatever is shown to the assistant
//! or at a terminal passes through here. Files and JSON for other programs do not.

use std::borrow::Cow;
use std::ops::RangeInclusive;

/// Control characters, line and paragraph separators, bidirectional controls, annotation marks, and
/// everything with the property `Default_Ignorable_Code_Point` (Unicode 16, `PropList.txt` and
/// `DerivedCoreProperties.txt`): zero width, fillers, variation selectors, tags.
const HIDDEN: [RangeInclusive<char>; 19] = [
    '\u{0}'..='\u{1f}',
    '\u{7f}'..='\u{9f}',
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Returns the text on one line, with hidden characters as `\n`, `\t`, `\r` or `\u{…}`.
///
/// Joiners and variation selectors stay where emoji and scripts need them: one, between characters
/// that it can act on. The variation selectors for ideographs, of which 240 exist, would hide a
/// byte each and are always escaped.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut previous = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if is_hidden(c) && !is_needed(previous, c, characters.peek().copied()) {
            shown.extend(c.escape_default());
            // An escaped character gives nothing to act on.
            previous = None;
        } else {
            shown.push(c);
            previous = Some(c);
        }
    }
    Cow::Owned(shown)
}

/// Returns the beginning of a text as [`visible`] shows it, with `…` if something was cut off.
pub(crate) fn shorten(text: &str, max_characters: usize) -> String {
    // One more than is shown, to know whether something follows.
    let end = text.char_indices().nth(max_characters + 1).map_or(text.len(), |(end, _)| end);
    let shown = visible(&text[..end]);
    match shown.char_indices().nth(max_characters) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown.into_owned(),
    }
}

fn is_hidden(c: char) -> bool {
    !matches!(c, ' '..='~') && HIDDEN.iter().any(|range| range.contains(&c))
}

/// Returns whether emoji or a script need this character between these two.
fn is_needed(previous: Option<char>, c: char, next: Option<char>) -> bool {
    let (Some(previous), follows) = (previous, next.is_some_and(|next| !is_hidden(next))) else { return false };
    match c {
        // Joiners, in Arabic and Indic scripts and in emoji such as families.
        '\u{200c}' | '\u{200d}' => is_joined(previous) && follows && next.is_some_and(is_joined),
        // As emoji or as text; digits only in keycaps.
        '\u{fe0e}' | '\u{fe0f}' if previous.is_ascii() => next == Some('\u{20e3}'),
        '\u{fe0e}' | '\u{fe0f}' => is_symbol(previous),
        _ => false,
    }
}

fn is_symbol(c: char) -> bool {
    matches!(c, '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{2bff}')
        || matches!(c, '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}' | '\u{1f000}'..='\u{1faff}')
}

fn is_joined(c: char) -> bool {
    matches!(c, '\u{590}'..='\u{18af}' | '\u{2190}'..='\u{2bff}' | '\u{fe0f}' | '\u{1f000}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_escaped() {
        for (text, expected) in [
            ("a\u{0}\u{1b}[2J\u{7f}\u{9b}31m", "a\\u{0}\\u{1b}[2J\\u{7f}\\u{9b}31m"),
            ("one\ntwo\tthree\r", "one\\ntwo\\tthree\\r"),
            ("invoice\u{202e}fdp.exe\u{2066}", "invoice\\u{202e}fdp.exe\\u{2066}"),
            ("zero\u{200b}width\u{feff}\u{2060}\u{ad}", "zero\\u{200b}width\\u{feff}\\u{2060}\\u{ad}"),
            ("\u{2028}\u{3164}\u{115f}\u{fff9}", "\\u{2028}\\u{3164}\\u{115f}\\u{fff9}"),
            ("nice\u{e0068}\u{e0069}\u{e007f}", "nice\\u{e0068}\\u{e0069}\\u{e007f}"),
            // Bytes hidden in variation selectors.
            ("😀\u{e0100}\u{e01ef}", "😀\\u{e0100}\\u{e01ef}"),
            ("❤\u{fe0f}\u{fe0e}\u{fe0f}", "❤\u{fe0f}\\u{fe0e}\\u{fe0f}"),
            ("a\u{fe0f}1\u{fe0f}字\u{fe00}", "a\\u{fe0f}1\\u{fe0f}字\\u{fe00}"),
            ("a\u{200d}b\u{200c}字\u{200d}字", "a\\u{200d}b\\u{200c}字\\u{200d}字"),
        ] {
            assert_eq!(visible(text), expected);
        }
    }

    #[test]
    fn ordinary_text_in_any_script_is_not_changed() {
        for text in [
            "plain, with \"quotes\" and \\ backslashes",
            "naïve Zoë 你好，世界 こんにちは 한국어 שלום مرحبا हिन्दी ไทย",
            "👩🏽\u{200d}💻 ❤\u{fe0f}\u{200d}🔥 1\u{fe0f}\u{20e3} 🏴 ☎\u{fe0e} e\u{301}",
            "می\u{200c}خواهم क्\u{200d}ष",
        ] {
            assert_eq!(visible(text), text);
        }
    }

    #[test]
    fn the_limit_counts_what_is_shown() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("abcd", 3), "abc…");
        assert_eq!(shorten(&"\u{202e}".repeat(1000), 8), "\\u{202e}…");
        assert_eq!(shorten("字字字字", 2), "字字…");
    }
}

//! Whether a text is in one of the languages that a model was trained for.
//!
//! The script decides for short texts, and `whichlang` for longer ones in a script of the model. It
//! tells 16 languages apart in about 1 µs. Texts in others count as one of them, so an answer never
//! names the language that was found.

use std::fmt;

use whichlang::Lang;

/// Letters that are looked at. The beginning of a text tells its language.
const MAX_LETTERS: usize = 500;
/// Letters below which the script alone decides. Of 6,404 English development sentences, 1.6 % are
/// taken for another language without this limit, and 0.5 % with it.
const MIN_LETTERS: usize = 16;

/// The languages of a model. `whichlang` knows each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Languages(Vec<Lang>);

impl Languages {
    /// Returns the languages with these codes, as model cards have them: `en`, `eng`, `zh-CN`.
    /// `None` if there is none, or one whose texts could not be recognized.
    #[must_use]
    pub fn parse<'a>(codes: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let languages: Option<Vec<Lang>> = codes.into_iter().map(language).collect();
        languages.filter(|languages| !languages.is_empty()).map(Self)
    }

    /// Returns whether `text` seems to be in one of the languages. Texts without letters are.
    #[must_use]
    pub fn include(&self, text: &str) -> bool {
        let letters = || text.chars().filter(|character| character.is_alphabetic()).take(MAX_LETTERS);
        let count = letters().count();
        let readable = letters().filter(|&letter| self.0.iter().any(|&language| writes(language, letter))).count();
        if readable * 2 < count {
            return false;
        }
        let end = text.char_indices().nth(2 * MAX_LETTERS).map_or(text.len(), |(end, _)| end);
        count < MIN_LETTERS || self.0.contains(&whichlang::detect_language(&text[..end]))
    }
}

impl fmt::Display for Languages {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codes: Vec<&str> = self.0.iter().map(|language| language.three_letter_code()).collect();
        formatter.write_str(&codes.join(", "))
    }
}

/// Returns the languages that the head of a Hugging Face model card names: `language: en`,
/// `language: [en, de]`, or a list below `language:`.
pub(crate) fn card_languages(card: &str) -> Vec<&str> {
    let head = card.strip_prefix("---").and_then(|rest| rest.split_once("\n---")).map_or("", |(head, _)| head);
    let mut lines = head.lines().skip_while(|line| !line.starts_with("language:"));
    let Some((_, value)) = lines.next().and_then(|line| line.split_once(':')) else { return Vec::new() };
    let items = lines.map_while(|line| line.trim_start().strip_prefix("- "));
    let codes = value.split(',').chain(items);
    let codes = codes.map(|code| code.trim_matches(|character: char| " '\"[]\r".contains(character)));
    codes.filter(|code| !code.is_empty()).collect()
}

fn language(code: &str) -> Option<Lang> {
    let code = code.split(['-', '_']).next().unwrap_or(code).to_lowercase();
    Some(match &*code {
        "ar" | "ara" => Lang::Ara,
        "zh" | "zho" | "cmn" => Lang::Cmn,
        "de" | "deu" => Lang::Deu,
        "en" | "eng" => Lang::Eng,
        "fr" | "fra" => Lang::Fra,
        "hi" | "hin" => Lang::Hin,
        "it" | "ita" => Lang::Ita,
        "ja" | "jpn" => Lang::Jpn,
        "ko" | "kor" => Lang::Kor,
        "nl" | "nld" => Lang::Nld,
        "pt" | "por" => Lang::Por,
        "ru" | "rus" => Lang::Rus,
        "es" | "spa" => Lang::Spa,
        "sv" | "swe" => Lang::Swe,
        "tr" | "tur" => Lang::Tur,
        "vi" | "vie" => Lang::Vie,
        _ => return None,
    })
}

/// Returns whether `letter` belongs to the script of `language`, by Unicode's blocks.
fn writes(language: Lang, letter: char) -> bool {
    let is_han = matches!(letter, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}');
    match language {
        Lang::Ara => matches!(letter, '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}' | '\u{fb50}'..='\u{fefc}'),
        Lang::Cmn => is_han,
        Lang::Hin => matches!(letter, '\u{900}'..='\u{97f}'),
        Lang::Jpn => is_han || matches!(letter, '\u{3040}'..='\u{30ff}' | '\u{ff66}'..='\u{ff9d}'),
        Lang::Kor => matches!(letter, '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7a3}'),
        Lang::Rus => matches!(letter, '\u{400}'..='\u{52f}'),
        _ => matches!(letter, '\0'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' | '\u{ff21}'..='\u{ff5a}'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five sentences each in eight languages, which no rule or limit was chosen on, and English.
    const SENTENCES: &str = include_str!("testing/languages.tsv");

    #[test]
    fn sentences_in_other_languages_are_noticed() {
        let english = Languages::parse(["en"]).unwrap();
        for (code, sentence) in SENTENCES.lines().filter_map(|line| line.split_once('\t')) {
            assert_eq!(english.include(sentence), code == "en", "{sentence}");
            let own = Languages::parse([code]).unwrap();
            assert!(own.include(sentence), "{code}: {sentence}");
        }
    }

    #[test]
    fn hardly_an_english_text_is_taken_for_another_language() {
        // 400 Reddit comments of GoEmotions' development set (Apache-2.0), most of them short.
        let comments = include_str!("testing/english.txt");
        let english = Languages::parse(["en"]).unwrap();
        let marked: Vec<&str> = comments.lines().filter(|comment| !english.include(comment)).collect();
        assert!(marked.len() * 100 <= comments.lines().count(), "{marked:#?}");
    }

    #[test]
    fn texts_with_few_letters_or_names_of_another_script_are_included() {
        let english = Languages::parse(["en"]).unwrap();
        for text in ["", "12:30", "👍👍", "merci", "déjà vu", "the 北京 office is closed", "très bien"] {
            assert!(english.include(text), "{text}");
        }
        for text in ["坏了", "плохо", "とても良い", "좋아요"] {
            assert!(!english.include(text), "{text}");
        }
    }

    #[test]
    fn the_head_of_a_card_names_the_languages() {
        for (card, expected) in [
            ("---\nlicense: mit\nlanguage: en\n---\n# x", vec!["en"]),
            ("---\nlanguage:\n- en\n- \"zh\"\ntags:\n- a\n---\n", vec!["en", "zh"]),
            ("---\r\nlanguage: ['de', fr]\r\n---\r\n", vec!["de", "fr"]),
            ("---\nlicense: mit\n---\nlanguage: en", vec![]),
            ("# no head\nlanguage: en", vec![]),
        ] {
            assert_eq!(card_languages(card), expected, "{card}");
        }
    }

    #[test]
    fn a_language_that_cannot_be_recognized_switches_the_check_off() {
        assert_eq!(Languages::parse(["en", "pl"]), None);
        assert_eq!(Languages::parse(["multilingual"]), None);
        assert_eq!(Languages::parse([]), None);
        assert_eq!(Languages::parse(["zh-CN", "eng"]), Some(Languages(vec![Lang::Cmn, Lang::Eng])));
    }
}

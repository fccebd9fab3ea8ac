//! Decima (2.4.0): one graph encodes the text and each option by itself, another one scores the
//! encoded options for the encoded text.

use std::collections::HashSet;

use serde::Deserialize;
use tokenizers::NormalizedString;

use crate::cancellation::Cancellation;
use crate::decision::{limit, softmax};
use crate::error::Error;
use crate::question::{Asked, QuestionKind};
use crate::special_tokens::TokenIds;
use crate::tokenizer::Tokenizer;

/// The smallest share that a level of a scale gets before the shares are made to sum to 1.
const MIN_SHARE: f64 = 1e-7;
/// The smallest distance between two levels of a scale.
const MIN_GAP: f64 = 1e-3;

/// `decima.json`, as its exporter writes it.
#[derive(Debug)]
pub(crate) struct Rules {
    pub max_tokens: usize,
    max_option_tokens: usize,
    temperature: f64,
    question_in_state: bool,
    question_in_choices: bool,
    choice_fit: bool,
    state_prefix: String,
    choice_prefix: String,
    scale: Scale,
}

/// The weights of the head that turns numbers of levels into a scale.
#[derive(Debug, Deserialize)]
struct Scale {
    ord_g_w: Vec<f64>,
    ord_g_b: f64,
    ord_gap_w: Vec<f64>,
    ord_gap_b: f64,
}

#[derive(Deserialize)]
struct Raw {
    max_state_tokens: f64,
    max_choice_tokens: f64,
    temperature: f64,
    #[serde(default)]
    question_in_state: bool,
    question_in_choices: Option<bool>,
    #[serde(default)]
    choice_fit: bool,
    state_prefix: Option<String>,
    choice_prefix: Option<String>,
    ordinal: Scale,
}

impl Rules {
    /// # Errors
    /// Says what is wrong, as part of a sentence.
    pub(crate) fn parse(content: &str) -> Result<Self, String> {
        let raw: Raw = serde_json::from_str(content).map_err(|error| error.to_string())?;
        if !(raw.temperature > 0.0 && raw.temperature <= 100.0) {
            return Err(format!("`temperature` is {}, expected more than 0 and at most 100", raw.temperature));
        }
        if raw.ordinal.ord_g_w.len() != raw.ordinal.ord_gap_w.len() {
            return Err("`ord_g_w` and `ord_gap_w` differ in length".into());
        }
        Ok(Self {
            max_tokens: limit("max_state_tokens", raw.max_state_tokens)?,
            max_option_tokens: limit("max_choice_tokens", raw.max_choice_tokens)?,
            temperature: raw.temperature,
            question_in_state: raw.question_in_state,
            question_in_choices: raw.question_in_choices.unwrap_or(true),
            choice_fit: raw.choice_fit,
            state_prefix: raw.state_prefix.unwrap_or_else(|| "query: ".into()),
            choice_prefix: raw.choice_prefix.unwrap_or_else(|| "passage: ".into()),
            scale: raw.ordinal,
        })
    }

    /// Describes limits and temperatures, for people.
    pub(crate) fn describe(&self) -> (String, String) {
        let question = if self.question_in_state { "the text with its question" } else { "the text" };
        let limits = format!("{} tokens for {question}, {} for a label", self.max_tokens, self.max_option_tokens);
        (limits, self.temperature.to_string())
    }

    /// The numbers that the scale reads of each option.
    pub(crate) fn width(&self) -> usize {
        self.scale.ord_g_w.len()
    }

    /// Turns scores and numbers of the options into probabilities in the order of the labels. Each
    /// row has the score first.
    pub(crate) fn scores<'a>(&self, kind: QuestionKind, rows: impl Iterator<Item = &'a [f32]> + Clone) -> Vec<f32> {
        let scores = rows.clone().map(|row| f64::from(row[0]) / self.temperature);
        match kind {
            QuestionKind::Choice | QuestionKind::YesNo => softmax(scores),
            QuestionKind::Score => self.scale.shares(&softmax(scores), rows.map(|row| &row[1..])),
        }
    }
}

impl Scale {
    /// Returns the share of each level: the distance between what lies above it and above the next.
    fn shares<'a>(&self, scores: &[f32], numbers: impl Iterator<Item = &'a [f32]> + Clone) -> Vec<f32> {
        let dot = |row: &[f32], weights: &[f64]| -> f64 {
            row.iter().zip(weights).map(|(number, weight)| f64::from(*number) * weight).sum()
        };
        let levels = scores.len();
        let expected: f64 = scores.iter().zip(0..).map(|(score, level)| f64::from(*score) * f64::from(level)).sum();
        let expected = expected - (levels as f64 - 1.0) / 2.0;
        let mean = numbers.clone().map(|row| dot(row, &self.ord_g_w)).sum::<f64>() / levels as f64;
        let place = mean + self.ord_g_b + expected;
        let gaps: Vec<f64> =
            numbers.map(|row| softplus(dot(row, &self.ord_gap_w) + self.ord_gap_b) + MIN_GAP).collect();
        let half = gaps.iter().sum::<f64>() / 2.0;
        let mut threshold = 0.0;
        let above = gaps[..levels - 1].iter().map(|gap| {
            threshold += gap;
            1.0 / (1.0 + (threshold - half - place).exp())
        });
        let above: Vec<f64> = std::iter::once(1.0).chain(above).chain([0.0]).collect();
        let shares: Vec<f64> = above.windows(2).map(|pair| (pair[0] - pair[1]).max(MIN_SHARE)).collect();
        let sum: f64 = shares.iter().sum();
        shares.iter().map(|share| (share / sum) as f32).collect()
    }
}

/// `ln(1 + e^x)`, for any `x`.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// What the encoder reads for one question about a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub text: TokenIds,
    pub options: Vec<TokenIds>,
    /// Tokens of the whole text with its question.
    pub tokens: usize,
    /// Whether some options were cut to the same tokens.
    pub are_alike: bool,
}

/// Makes the rows of tokens. A text over the limit loses its end.
///
/// # Errors
/// `Tokenization`, `Cancelled`.
pub(crate) fn rows(
    rules: &Rules,
    tokenizer: &Tokenizer,
    asked: &Asked<'_>,
    text: &str,
    cancellation: &Cancellation,
) -> Result<Rows, Error> {
    let question = question(asked);
    let body = if rules.question_in_state { format!("{question}\n{text}") } else { text.to_owned() };
    let state = format!("{}{}", rules.state_prefix, normalized(&body));
    let (text, tokens) = tokenizer.cut_to(&state, rules.max_tokens)?;
    let question = if rules.question_in_choices { question.as_str() } else { "" };
    let texts = Options { rules, tokenizer, question, cancellation }.texts(&option_texts(asked))?;
    let cut = |text: &String| tokenizer.cut_to(text, rules.max_option_tokens).map(|(ids, _)| ids);
    let options: Vec<TokenIds> = texts.iter().map(cut).collect::<Result<_, _>>()?;
    let are_alike = options.iter().map(|option| &option.ids).collect::<HashSet<_>>().len() < options.len();
    Ok(Rows { text, options, tokens, are_alike })
}

/// Returns the question, with what a yes and a no mean if that is told.
fn question(asked: &Asked<'_>) -> String {
    let question = asked.text.to_owned();
    if asked.kind != QuestionKind::YesNo || asked.descriptions.iter().all(Option::is_none) {
        return question;
    }
    let yes = asked.positive().0;
    let meaning = |position: usize| asked.descriptions[position].map_or("—", trim);
    format!("{question}\nTrue if: {}\nFalse if: {}", meaning(yes), meaning(1 - yes))
}

/// Returns what the options say, in the order of the labels.
fn option_texts(asked: &Asked<'_>) -> Vec<String> {
    let described = asked.labels.iter().zip(&asked.descriptions);
    match asked.kind {
        QuestionKind::Choice => asked.described_labels(),
        QuestionKind::Score => described.map(|(label, description)| description.unwrap_or(label).to_owned()).collect(),
        QuestionKind::YesNo => match asked.positive() {
            (_, false) => asked.labels.iter().map(|label| (*label).to_owned()).collect(),
            (0, true) => vec!["yes".into(), "no".into()],
            (_, true) => vec!["no".into(), "yes".into()],
        },
    }
}

/// The options of a question on their way to the encoder.
struct Options<'a> {
    rules: &'a Rules,
    tokenizer: &'a Tokenizer,
    question: &'a str,
    cancellation: &'a Cancellation,
}

impl Options<'_> {
    /// Returns the text of each option, with as much of the question as fits.
    fn texts(&self, options: &[String]) -> Result<Vec<String>, Error> {
        if !self.rules.choice_fit {
            // Models before this setting were trained with options cut at their end. It is kept
            // unless two options become the same.
            let whole: Vec<String> = options.iter().map(|option| self.whole(option)).collect();
            let cut = |text: &String| self.tokenizer.cut_to(text, self.rules.max_option_tokens).map(|(ids, _)| ids.ids);
            let distinct: HashSet<Vec<i64>> = whole.iter().map(cut).collect::<Result<_, _>>()?;
            if distinct.len() == whole.len() {
                return Ok(whole);
            }
        }
        options.iter().map(|option| self.fitted(option)).collect()
    }

    fn whole(&self, option: &str) -> String {
        let text = format!("{} {option}", self.question);
        format!("{}{}", self.rules.choice_prefix, normalized(&text))
    }

    /// Shortens the question at a word, so that the option is read whole.
    fn fitted(&self, option: &str) -> Result<String, Error> {
        if self.cancellation.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let fits = |text: &str| self.tokenizer.count(text).map(|tokens| tokens <= self.rules.max_option_tokens);
        let whole = self.whole(option);
        if fits(&whole)? {
            return Ok(whole);
        }
        let (prefix, option, question) = (&self.rules.choice_prefix, normalized(option), normalized(self.question));
        let words: Vec<&str> = question.split(is_space).filter(|word| !word.is_empty()).collect();
        let with = |words: &[&str]| format!("{prefix}{} … {option}", words.join(" "));
        let (mut low, mut high) = (0, words.len());
        while low < high {
            let middle = (low + high).div_ceil(2);
            if fits(&with(&words[..middle]))? {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(if low > 0 { with(&words[..low]) } else { format!("{prefix}{option}") })
    }
}

/// Composes letters and accents, and trims.
fn normalized(text: &str) -> String {
    if text.is_ascii() {
        return trim(text).to_owned();
    }
    let mut composed = NormalizedString::from(text);
    composed.nfc();
    trim(composed.get()).to_owned()
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Returns whether Python takes a character for white space: Unicode's, and four separators.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_of_one_level_is_certain() {
        let scale = Scale { ord_g_w: vec![1.0], ord_g_b: 0.0, ord_gap_w: vec![1.0], ord_gap_b: 0.0 };
        assert_eq!(scale.shares(&[1.0], [&[0.5_f32][..]].into_iter()), [1.0]);
    }

    #[test]
    fn texts_are_trimmed_as_python_trims_them() {
        assert_eq!(normalized("\u{1c} a\u{3000}\u{85}"), "a");
        assert_eq!(normalized("e\u{301}\u{200b}"), "é\u{200b}");
    }
}

//! Laya (0.4.15): one row of tokens has the question, the options, each after a mask token, and the
//! text. The graph gives a number for each mask token.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::utils::truncation::TruncationDirection;

use crate::decision::limit;
use crate::error::Error;
use crate::question::{Asked, QuestionKind};
use crate::tokenizer::Tokenizer;

/// Tokens of an option; the rest of a long description is not read.
const MAX_OPTION_TOKENS: usize = 48;
/// Tokens of the head that the question keeps if all options fit.
const QUESTION_TOKENS: usize = 16;
/// Tokens that an option and the question keep in any case.
const MIN_OPTION_TOKENS: usize = 4;
const MIN_QUESTION_TOKENS: usize = 8;
/// Temperatures beyond these would make a guess look certain, or the reverse.
const TEMPERATURES: (f64, f64) = (0.5, 5.0);
/// What the options for no and for yes say without a description.
const NO_YES: [(&str, &str); 2] = [("false", "no, the statement does not hold"), ("true", "yes, the statement holds")];

/// The settings of a checkpoint: `rl_agent_config.json`, or the part of it in `laya_config.json`.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Tokens of a row.
    pub max_tokens: usize,
    /// Tokens of question and options together, unless their least takes more.
    head_tokens: usize,
    /// By kind: choice, score, yes or no.
    temperatures: [f64; 3],
    /// By kind and number of options, such as `choice:3-5`.
    by_options: BTreeMap<String, f64>,
    /// Temperatures that were replaced, for people.
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Raw {
    max_len: Option<f64>,
    head_max_len: Option<f64>,
    temperature: Option<Vec<Value>>,
    temperature_by_options: Option<Map<String, Value>>,
    option_layout: Option<String>,
}

impl Rules {
    /// # Errors
    /// Says what is wrong, as part of a sentence.
    pub(crate) fn parse(content: &str) -> Result<Self, String> {
        let raw: Raw = serde_json::from_str(content).map_err(|error| error.to_string())?;
        if let Some(layout) = raw.option_layout.filter(|layout| layout != "sequential") {
            return Err(format!("`option_layout` is `{layout}`, which Laya itself does not run in ONNX Runtime"));
        }
        let mut warnings = Vec::new();
        let mut read = |name: &str, value: &Value| {
            let number = number_of(value);
            let temperature = clamped(number);
            if number != Some(temperature) {
                warnings.push(format!("the temperature `{name}` is {value}, and counts as {temperature}, as in Laya"));
            }
            temperature
        };
        let written = raw.temperature.unwrap_or_else(|| vec![Value::from(1.0); 3]);
        let Ok(written) = <[Value; 3]>::try_from(written) else {
            return Err("`temperature` has another number of entries, expected three".into());
        };
        let [choice, score, yes_no] = written;
        let temperatures = [read("choice", &choice), read("score", &score), read("noul", &yes_no)];
        let known = |(name, _): &(&String, &Value)| {
            [QuestionKind::Choice, QuestionKind::Score, QuestionKind::YesNo]
                .iter()
                .any(|kind| [2, 3, 6, 11].iter().any(|options| bucket(*kind, *options) == **name))
        };
        let by_options = raw.temperature_by_options.unwrap_or_default();
        let by_options =
            by_options.iter().filter(known).map(|(name, value)| (name.clone(), read(name, value))).collect();
        Ok(Self {
            max_tokens: limit("max_len", raw.max_len.unwrap_or(512.0))?,
            head_tokens: limit("head_max_len", raw.head_max_len.unwrap_or(192.0))?,
            temperatures,
            by_options,
            warnings,
        })
    }

    /// Returns the temperature for a question of this kind with so many options.
    pub(crate) fn temperature(&self, kind: QuestionKind, options: usize) -> f64 {
        let general = self.temperatures[number(kind) as usize];
        self.by_options.get(&bucket(kind, options)).copied().unwrap_or(general)
    }

    /// Describes limits and temperatures, for people.
    pub(crate) fn describe(&self) -> (String, String) {
        let [choice, score, yes_no] = self.temperatures;
        let by_options: Vec<String> =
            self.by_options.iter().map(|(name, temperature)| format!("{name} {temperature}")).collect();
        let temperatures = [format!("choice {choice}, score {score}, yes_no {yes_no}")];
        let limits = format!("{} tokens, with up to {} for question and labels", self.max_tokens, self.head_tokens);
        (limits, temperatures.into_iter().chain(by_options).collect::<Vec<_>>().join(", "))
    }
}

/// A row for the graph.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub ids: Vec<i64>,
    /// The position of each option's mask token.
    pub markers: Vec<usize>,
    /// Tokens of the row if all of the text were in it.
    pub tokens: usize,
    /// Whether some options were cut to the same tokens.
    pub are_alike: bool,
}

/// The special tokens that a row needs.
#[derive(Debug)]
pub(crate) struct Marks {
    first: i64,
    end: i64,
    mask: (String, i64),
}

impl Marks {
    /// # Errors
    /// Says which one the tokenizer lacks, as part of a sentence.
    pub(crate) fn new(tokenizer: &Tokenizer) -> Result<Self, String> {
        let mark = |name: &str| {
            tokenizer
                .special(name)
                .ok_or_else(|| format!("`tokenizer_config.json` names no `{name}` of the vocabulary"))
        };
        Ok(Self { first: mark("cls_token")?.1, end: mark("sep_token")?.1, mask: mark("mask_token")? })
    }
}

/// Lays out a question and a text. The text takes what the question leaves; its end is cut.
///
/// # Errors
/// `Tokenization`; says in `Ok(Err(…))` that the options leave no place for themselves.
pub(crate) fn sequence(
    rules: &Rules,
    tokenizer: &Tokenizer,
    marks: &Marks,
    asked: &Asked<'_>,
    text: &str,
) -> Result<Result<Sequence, String>, Error> {
    let clean = |text: &str| text.replace(&marks.mask.0, " ");
    let question = format!("{} question: {}", name(asked.kind), clean(asked.text));
    let mut question = tokenizer.plain_ids(&question)?;
    let mut options = Vec::with_capacity(asked.labels.len());
    for option in option_texts(asked) {
        let mut ids = tokenizer.plain_ids(&format!(" {}", clean(&option)))?;
        match tokenizer.direction() {
            TruncationDirection::Left => drop(ids.drain(..ids.len().saturating_sub(MAX_OPTION_TOKENS))),
            TruncationDirection::Right => ids.truncate(MAX_OPTION_TOKENS),
        }
        ids.insert(0, marks.mask.1);
        options.push(ids);
    }
    let head = rules.head_tokens;
    let left = |options: &[Vec<i64>]| head.saturating_sub(options.iter().map(Vec::len).sum());
    if left(&options) < QUESTION_TOKENS {
        let share = (head.saturating_sub(QUESTION_TOKENS) / options.len()).max(MIN_OPTION_TOKENS);
        options.iter_mut().for_each(|ids| ids.truncate(share));
    }
    question.truncate(left(&options).max(MIN_QUESTION_TOKENS));
    let are_alike = (1..options.len()).any(|at| options[..at].contains(&options[at]));

    let mut ids = vec![marks.first];
    ids.append(&mut question);
    ids.push(marks.end);
    let mut markers = Vec::with_capacity(options.len());
    for mut option in options {
        markers.push(ids.len());
        ids.append(&mut option);
    }
    ids.push(marks.end);
    let text = tokenizer.plain_ids(&clean(text))?;
    let tokens = ids.len() + text.len() + 1;
    let room = rules.max_tokens.saturating_sub(ids.len() + 1);
    ids.extend(text.into_iter().take(room));
    ids.push(marks.end);
    ids.truncate(rules.max_tokens);
    if markers.last().is_some_and(|last| *last >= ids.len()) {
        let labels = asked.labels.len();
        return Ok(Err(format!("{labels} labels do not fit its {} tokens; send fewer", rules.max_tokens)));
    }
    Ok(Ok(Sequence { ids, markers, tokens, are_alike }))
}

/// Returns what the options say, in the order of the graph: no before yes.
fn option_texts(asked: &Asked<'_>) -> Vec<String> {
    let described = asked.labels.iter().zip(&asked.descriptions);
    match asked.kind {
        QuestionKind::Choice => asked.described_labels(),
        QuestionKind::Score => described
            .enumerate()
            .map(|(level, (label, description))| format!("level {level}: {}", description.unwrap_or(label)))
            .collect(),
        QuestionKind::YesNo => {
            let (yes, is_usual) = asked.positive();
            let option = |(position, (word, meaning)): (usize, (&str, &str))| {
                let word = if is_usual { word } else { asked.labels[position].trim() };
                format!("{word}: {}", asked.descriptions[position].unwrap_or(meaning))
            };
            [1 - yes, yes].into_iter().zip(NO_YES).map(option).collect()
        }
    }
}

/// Turns the numbers of the options into scores in the order of the labels.
pub(crate) fn scores(asked: &Asked<'_>, rules: &Rules, numbers: &[f32]) -> Vec<f32> {
    let temperature = rules.temperature(asked.kind, numbers.len());
    let mut scores = super::softmax(numbers.iter().map(|number| f64::from(*number) / temperature));
    if asked.kind == QuestionKind::YesNo && asked.positive().0 == 0 {
        scores.reverse();
    }
    scores
}

/// Returns the number of a kind in the graph.
pub(crate) fn number(kind: QuestionKind) -> i64 {
    match kind {
        QuestionKind::Choice => 0,
        QuestionKind::Score => 1,
        QuestionKind::YesNo => 2,
    }
}

fn name(kind: QuestionKind) -> &'static str {
    match kind {
        QuestionKind::Choice => "choice",
        QuestionKind::Score => "score",
        QuestionKind::YesNo => "noul",
    }
}

fn bucket(kind: QuestionKind, options: usize) -> String {
    let size = match options {
        ..=2 => "2",
        3..=5 => "3-5",
        6..=10 => "6-10",
        11.. => "11+",
    };
    format!("{}:{size}", name(kind))
}

/// Returns what Python's `float` makes of a value.
fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Returns a temperature within its limits, and 1 for anything that is no number.
fn clamped(number: Option<f64>) -> f64 {
    number.filter(|number| number.is_finite()).map_or(1.0, |number| number.clamp(TEMPERATURES.0, TEMPERATURES.1))
}

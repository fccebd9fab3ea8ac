//! Decision models: the caller asks a question about a text, and sends the labels to choose from.
//!
//! Two families are read as their own exporters write them: Laya (one graph) and Decima (an encoder
//! and a scorer). Here are their files and their pipeline; the rules of each are in `laya` and
//! `decima`.

mod decima;
pub(crate) mod feed;
mod laya;
pub(crate) mod load;
mod pipeline;

use std::path::PathBuf;

use cache_dir::facts::FactsCache;

use crate::error::Error;
use crate::folder::Folder;
use crate::foreign;
use crate::model_files::GraphFiles;
use crate::question::Defaults;
use crate::settings::{Overflow, Settings};
use crate::signature::Purpose;

/// The configurations by which the families are recognised. Laya's checkpoints have the first; its
/// exports for other runtimes have a part of it, under the second name.
const CONFIGS: [(&str, Kind); 3] =
    [("rl_agent_config.json", Kind::Laya), ("laya_config.json", Kind::Laya), ("decima.json", Kind::Decima)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Laya,
    Decima,
}

/// A family of decision models, with the configuration in the folder.
pub(crate) struct Family {
    kind: Kind,
    path: PathBuf,
    pub content: String,
}

impl Family {
    /// Returns the family that a folder's configuration belongs to, if there is one.
    pub(crate) fn of(folder: &Folder<'_>) -> Result<Option<Self>, Error> {
        for (name, kind) in CONFIGS {
            if let Some(content) = folder.text(name)? {
                return Ok(Some(Self { kind, path: folder.path().join(name), content: without_nan(&content) }));
            }
        }
        Ok(None)
    }

    /// Returns the first graph and the reason for choosing it. `named` is that of the settings.
    pub(crate) fn graph(&self, folder: &Folder<'_>, named: Option<&str>) -> Result<(PathBuf, &'static str), Error> {
        match self.kind {
            // Laya's exporter for JavaScript splits the graph, so that none has scores of a text.
            Kind::Laya if folder.file("head.onnx")?.is_some() && folder.file("laya.onnx")?.is_none() => {
                let remedy = "its graph is split in two, as for laya-ts; export one with `python \
                              scripts/export_onnx.py --output laya.onnx` of Laya's repository";
                Err(folder.missing("laya.onnx", remedy))
            }
            Kind::Laya => folder.graph(named, &["laya.onnx", "model.onnx"]),
            Kind::Decima => Ok((exported(folder, "encoder.onnx")?, "the name that its exporter gives")),
        }
    }
}

/// What makes a folder that of a decision model.
pub(crate) struct DecisionFiles {
    rules: Rules,
    defaults: Defaults,
    /// The second graph of Decima.
    pub scorer: Option<GraphFiles>,
}

enum Rules {
    Laya(laya::Rules),
    Decima(decima::Rules),
}

impl DecisionFiles {
    /// Reads the configuration, and the second graph if there is one.
    ///
    /// # Errors
    /// `FileInvalid` if the configuration or the settings do not fit, `FileMissing` without a scorer.
    pub(crate) fn read(
        folder: &Folder<'_>,
        family: Family,
        settings: &Settings,
        facts_cache: &FactsCache,
    ) -> Result<Self, Error> {
        let Family { kind, path, content } = family;
        let invalid = |message| Error::FileInvalid {
            path,
            message,
            remedy: "export the model again with its own package".into(),
        };
        let mut rules = match kind {
            Kind::Laya => laya::Rules::parse(&content).map(Rules::Laya).map_err(invalid)?,
            Kind::Decima => decima::Rules::parse(&content).map(Rules::Decima).map_err(invalid)?,
        };
        let wanted = settings.max_tokens.map_or(usize::MAX, |tokens| usize::try_from(tokens).unwrap_or(usize::MAX));
        let max_tokens = match &mut rules {
            Rules::Laya(rules) => &mut rules.max_tokens,
            Rules::Decima(rules) => &mut rules.max_tokens,
        };
        *max_tokens = wanted.min(*max_tokens);
        let defaults = Defaults {
            question: settings.question.clone(),
            kind: settings.kind,
            labels: settings.labels.clone().unwrap_or_default(),
        };
        let unfit = |message| Error::FileInvalid {
            path: folder.path().join("local-model.toml"),
            message,
            remedy: "models/README.md in the source describes the keys for decision models".into(),
        };
        if matches!(settings.overflow, Overflow::HeadTail | Overflow::Windows) {
            return Err(unfit("`overflow` is neither `head` nor `error`, and decision models know no other".into()));
        }
        let unused = [
            ("activation", settings.activation.is_some()),
            ("graph", kind == Kind::Decima && settings.graph.is_some()),
            ("inputs", !settings.inputs.is_empty()),
            ("pairs", settings.pairs == Some(true)),
            ("vocabulary", settings.vocabulary.is_some()),
        ];
        if let Some((key, _)) = unused.into_iter().find(|(_, is_set)| *is_set) {
            return Err(unfit(format!("`{key}` is set, which this decision model does not use")));
        }
        defaults.check().map_err(unfit)?;
        let scorer = match kind {
            Kind::Laya => None,
            Kind::Decima => Some(GraphFiles::read(folder, exported(folder, "scorer.onnx")?, facts_cache)?),
        };
        Ok(Self { rules, defaults, scorer })
    }

    /// Returns what the session over the first graph is for.
    pub(crate) fn purpose(&self) -> Purpose {
        match self.rules {
            Rules::Laya(_) => Purpose::Options,
            Rules::Decima(_) => Purpose::Sentence,
        }
    }
}

/// Returns a graph that Decima's exporter writes.
fn exported(folder: &Folder<'_>, name: &str) -> Result<PathBuf, Error> {
    folder.file(name)?.ok_or_else(|| folder.missing(name, &foreign::remedy(folder)))
}

/// Checks a number of tokens.
///
/// # Errors
/// Part of a sentence.
fn limit(name: &str, tokens: f64) -> Result<usize, String> {
    // A shorter row has no place for a question, and a longer one would take gigabytes.
    let fits = tokens.fract() == 0.0 && (16.0..=65_536.0).contains(&tokens);
    if fits {
        Ok(tokens as usize)
    } else {
        Err(format!("`{name}` is {tokens}, expected a whole number from 16 to 65536"))
    }
}

/// Replaces the numbers that only Python's JSON has by null, which counts as no number too.
fn without_nan(content: &str) -> String {
    let mut clean = String::with_capacity(content.len());
    let mut rest = content;
    let (mut is_text, mut is_escaped) = (false, false);
    while let Some(character) = rest.chars().next() {
        let name = ["NaN", "Infinity", "-Infinity"].into_iter().find(|name| !is_text && rest.starts_with(name));
        match name {
            Some(name) => {
                clean.push_str("null");
                rest = &rest[name.len()..];
                continue;
            }
            None => clean.push(character),
        }
        is_text ^= character == '"' && !is_escaped;
        is_escaped = is_text && character == '\\' && !is_escaped;
        rest = &rest[character.len_utf8()..];
    }
    clean
}

/// Turns numbers into probabilities that sum to 1.
fn softmax(numbers: impl Iterator<Item = f64>) -> Vec<f32> {
    let mut numbers: Vec<f64> = numbers.collect();
    let largest = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    numbers.iter_mut().for_each(|number| *number = (*number - largest).exp());
    let sum: f64 = numbers.iter().sum();
    numbers.iter().map(|number| (number / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, proptest};
    use serde_json::Value;

    use super::*;
    use crate::cancellation::Cancellation;
    use crate::model_files::ModelFiles;
    use crate::prediction::Input;
    use crate::question::{Asked, Labels, Question};
    use crate::tokenizer::Tokenizer;

    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        text: String,
        question: String,
        kind: crate::question::QuestionKind,
        labels: Option<Labels>,
        /// Decima: changes to its configuration.
        #[serde(default)]
        config: serde_json::Map<String, Value>,
        input_ids: Value,
        tokens: usize,
    }

    /// Reads a fixture and calls `rows` for each of its cases, which returns the tokens of each row,
    /// and those of the whole text.
    fn check_rows(name: &str, rows: impl Fn(&Folder<'_>, &Case, &Asked<'_>, &Tokenizer) -> (Value, usize)) {
        let path = crate::testing::fixture(name);
        let folder = Folder::open(&path).unwrap();
        let files = ModelFiles::read(&path, &FactsCache::new(None)).unwrap();
        let tokenizer = Tokenizer::new(&files).unwrap();
        let expected: Value = serde_json::from_str(&folder.text("expected.json").unwrap().unwrap()).unwrap();
        let cases: Vec<Case> = serde_json::from_value(expected["cases"].clone()).unwrap();
        assert!(cases.len() >= 18);
        for case in cases {
            let Labels { names, descriptions } = case.labels.clone().unwrap_or_default();
            let question = Question::new(Some(case.question.clone()), Some(case.kind), descriptions);
            let input = Input { labels: names, question, ..Input::single(case.text.as_str()) };
            let defaults = Defaults::default();
            let asked = defaults.complete(&input).unwrap();
            let (ids, tokens) = rows(&folder, &case, &asked, &tokenizer);
            assert_eq!((ids, tokens), (case.input_ids.clone(), case.tokens), "{}", case.name);
        }
    }

    #[test]
    fn rows_of_laya_have_the_tokens_of_the_package() {
        check_rows("laya", |folder, case, asked, tokenizer| {
            let rules = laya::Rules::parse(&Family::of(folder).unwrap().unwrap().content).unwrap();
            let marks = laya::Marks::new(tokenizer).unwrap();
            let row = laya::sequence(&rules, tokenizer, &marks, asked, &case.text).unwrap().unwrap();
            (row.ids.into(), row.tokens)
        });
    }

    #[test]
    fn a_long_description_is_read_up_to_48_tokens() {
        let files = ModelFiles::read(&crate::testing::fixture("laya"), &FactsCache::new(None)).unwrap();
        let tokenizer = Tokenizer::new(&files).unwrap();
        let descriptions = vec!["the light of a star ".repeat(40); 2];
        let question = Question::new(Some("?".into()), None, descriptions);
        let input = Input { labels: vec!["a".into(), "b".into()], question, ..Input::single("a film") };
        let (defaults, rules) = (Defaults::default(), laya::Rules::parse("{}").unwrap());
        let (asked, marks) = (defaults.complete(&input).unwrap(), laya::Marks::new(&tokenizer).unwrap());
        let row = laya::sequence(&rules, &tokenizer, &marks, &asked, &input.text).unwrap().unwrap();
        assert_eq!(row.markers[1] - row.markers[0], 1 + 48);
    }

    #[test]
    fn rows_of_decima_have_the_tokens_of_the_package() {
        check_rows("decima", |folder, case, asked, tokenizer| {
            let mut config: serde_json::Map<String, Value> =
                serde_json::from_str(&Family::of(folder).unwrap().unwrap().content).unwrap();
            config.extend(case.config.clone());
            let rules = decima::Rules::parse(&Value::from(config).to_string()).unwrap();
            let rows = decima::rows(&rules, tokenizer, asked, &case.text, &Cancellation::default()).unwrap();
            let ids = std::iter::once(rows.text).chain(rows.options).map(|row| row.ids.into());
            (Value::Array(ids.collect()), rows.tokens)
        });
    }

    #[test]
    fn numbers_that_only_python_writes_count_as_none() {
        assert_eq!(without_nan(r#"{"NaN": [NaN, -Infinity], "a\"NaN": 1}"#), r#"{"NaN": [null, null], "a\"NaN": 1}"#);
    }

    #[test]
    fn absurd_configurations_are_refused() {
        let laya = |content: &str| laya::Rules::parse(content).unwrap_err();
        assert!(laya(r#"{"max_len": 1e300}"#).contains("expected a whole number from 16 to 65536"));
        assert!(laya(r#"{"max_len": -1}"#).contains("`max_len` is -1"));
        assert!(laya(r#"{"head_max_len": 99.5}"#).contains("`head_max_len` is 99.5"));
        assert!(laya(r#"{"temperature": [1]}"#).contains("expected three"));
        assert!(laya(r#"{"option_layout": "parallel"}"#).contains("`option_layout` is `parallel`"));
        let decima = |changes: &str| {
            let scale = r#""ordinal": {"ord_g_w": [1], "ord_g_b": 0, "ord_gap_w": [1], "ord_gap_b": 0}"#;
            let content =
                format!(r#"{{"max_state_tokens": 256, "max_choice_tokens": 48, "temperature": 1, {scale}{changes}}}"#);
            decima::Rules::parse(&content).map(|_| ())
        };
        assert_eq!(decima(""), Ok(()));
        // serde takes the first of two equal keys for an error.
        assert!(decima(r#", "temperature": 0"#).is_err());
        let rules = |content: &str| decima::Rules::parse(content).unwrap_err();
        assert!(rules("{}").contains("max_state_tokens"));
        assert!(rules(r#"{"max_state_tokens": 256, "max_choice_tokens": 48, "temperature": 0, "ordinal": {"ord_g_w": [], "ord_g_b": 0, "ord_gap_w": [], "ord_gap_b": 0}}"#).contains("`temperature` is 0"));
    }

    #[test]
    fn temperatures_are_limited_as_in_laya() {
        use crate::question::QuestionKind::{Choice, Score, YesNo};
        let rules = laya::Rules::parse(
            r#"{"temperature": [9, "0.1", true], "temperature_by_options": {"choice:2": null, "score:6-10": 0.75, "other": 3}}"#,
        )
        .unwrap();
        let found = [(Choice, 3), (Score, 3), (YesNo, 2), (Choice, 2), (Score, 7), (Choice, 1)];
        let found = found.map(|(kind, options)| rules.temperature(kind, options));
        assert_eq!(found, [5.0, 0.5, 1.0, 1.0, 0.75, 1.0]);
        assert_eq!(rules.warnings.len(), 4, "{:?}", rules.warnings);
    }

    proptest! {
        #[test]
        fn any_configuration_is_read_or_refused(text in any::<String>(), length in any::<f64>(), values in prop::collection::vec("[a-z0-9\"\\[\\]{}:,.-]{0,6}", 0..8)) {
            let written = serde_json::json!({ "max_len": length, "temperature": values, "temperature_by_options": { "choice:2": text } });
            for content in [without_nan(&text), without_nan(&values.concat()), without_nan(&written.to_string())] {
                if let Ok(rules) = laya::Rules::parse(&content) {
                    prop_assert!((16..=65_536).contains(&rules.max_tokens));
                }
                let _ = decima::Rules::parse(&content);
            }
        }
    }
}

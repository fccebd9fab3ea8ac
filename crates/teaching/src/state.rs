//! What is kept of a taught model between calls and sessions: `taught.json` and `head.json`.
//!
//! Texts are not kept, only the numbers and digests of rows, unless the caller asked for texts or
//! gave examples without a file.

use std::collections::{BTreeMap, BTreeSet};

use cache_dir::digest::hex;
use learning::Head;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::error::Error;
use crate::statement::Statement;
use crate::store::{HEAD, ModelDir, STATE, TUNED_VECTORS, VECTORS};

const VERSION: u32 = 1;

/// The content of `taught.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    version: u32,
    /// Draws the audit and the sample.
    pub seed: u64,
    /// Identifies the encoders.
    pub encoder: String,
    /// In the order in which they were first named.
    pub labels: Vec<Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Labelled rows by their number.
    pub rows: BTreeMap<u64, TaughtRow>,
    pub examples: Vec<Example>,
    /// Whether the texts of labelled rows are kept.
    pub keep_texts: bool,
    pub audit: Audit,
    /// The rounds so far, oldest first.
    pub rounds: Vec<RoundFacts>,
    /// Name of the candidate that the head was fitted by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// The last fine-tuning of the encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<TuningFacts>,
}

/// What cross-validation said about a tuned encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TuningFacts {
    /// Digest of the examples.
    pub taught_sha256: String,
    pub examples: usize,
    /// Right labels among the examples, by heads that did not see them: with the encoder as it was.
    pub right_before: usize,
    /// With encoders that did not see them either.
    pub right_tuned: usize,
    /// Whether the tuned encoder serves.
    pub serves: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Label {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meaning: Option<String>,
}

/// The file whose rows are labelled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Source {
    /// Relative to the project if it lies in it.
    pub file: String,
    pub text_column: String,
    pub header: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<u8>,
    pub rows: u64,
    pub rows_with_text: u64,
    /// SHA-256 over the digests of all texts in their order.
    pub texts_sha256: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaughtRow {
    pub digest: Digest,
    pub label: String,
    /// Whether the label was given twice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirmed: bool,
    /// Only with `keep_texts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Example {
    pub text: String,
    pub label: String,
}

/// Rows drawn before anything was taught, in random order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Audit {
    pub rows: Vec<AuditRow>,
    /// Statements made with these rows.
    pub looks: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statement: Option<Statement>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct AuditRow {
    pub row: u64,
    pub digest: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// One fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoundFacts {
    /// Examples that it learned from.
    pub labels: usize,
    /// Share of the sample whose prediction differs from that of the fit before.
    pub moved: f64,
}

impl State {
    pub(crate) fn new(seed: u64, encoder: &[u8; 32]) -> Self {
        Self {
            version: VERSION,
            seed,
            encoder: hex(encoder),
            labels: Vec::new(),
            source: None,
            rows: BTreeMap::new(),
            examples: Vec::new(),
            keep_texts: false,
            audit: Audit::default(),
            rounds: Vec::new(),
            head: None,
            tuning: None,
        }
    }

    /// Reads the state of a model; `None` if it was not started.
    ///
    /// # Errors
    /// `StateUnreadable`.
    pub(crate) fn read(dir: &ModelDir) -> Result<Option<Self>, Error> {
        let Some(state): Option<Self> = parse(dir, STATE)?.map(|(state, _)| state) else { return Ok(None) };
        if state.version != VERSION {
            return Err(dir.unreadable(STATE, &"it is of another version of this program"));
        }
        Ok(Some(state))
    }

    /// # Errors
    /// `NotWritten`.
    pub(crate) fn write(&self, dir: &ModelDir) -> Result<(), Error> {
        dir.write(STATE, &to_json(self))
    }

    /// Returns the names of labels with their meanings, as they are encoded.
    pub(crate) fn names(&self, labels: &[String]) -> Vec<String> {
        let text = |name: &String| {
            let meaning = self.labels.iter().find(|label| label.name == *name).and_then(|label| label.meaning.clone());
            // Names are often written as identifiers.
            let words = name.replace(['_', '-'], " ");
            meaning.map_or(words.clone(), |meaning| format!("{words}: {meaning}"))
        };
        labels.iter().map(text).collect()
    }

    /// Texts that must not be taught.
    pub(crate) fn sealed(&self) -> BTreeSet<Digest> {
        self.audit.rows.iter().map(|row| row.digest).collect()
    }

    /// Returns the statement if it is about the model with this head.
    pub(crate) fn statement_about(&self, head: &str) -> Option<&Statement> {
        self.audit.statement.as_ref().filter(|statement| statement.head == head)
    }
}

/// The content of `head.json`: everything that determines an answer, besides the encoders.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TaughtHead {
    version: u32,
    pub encoder: String,
    pub labels: Vec<String>,
    /// A text that is less familiar is unlike everything taught.
    pub least_familiarity: f32,
    /// Digest of the examples that it was fitted on.
    pub taught_sha256: String,
    /// Digest of the tuned encoder that it reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned: Option<String>,
    pub head: Head,
}

impl TaughtHead {
    pub(crate) fn new(encoder: String, labels: Vec<String>, taught_sha256: String, head: Head) -> Self {
        Self {
            version: VERSION,
            encoder,
            labels,
            least_familiarity: f32::NEG_INFINITY,
            taught_sha256,
            tuned: None,
            head,
        }
    }

    /// Returns the file of the vectors that it reads.
    pub(crate) fn vectors(&self) -> &'static str {
        if self.tuned.is_some() { TUNED_VECTORS } else { VECTORS }
    }

    /// Reads the head of a model and its digest; `None` if nothing was learned yet.
    ///
    /// # Errors
    /// `StateUnreadable`.
    pub(crate) fn read(dir: &ModelDir) -> Result<Option<(Self, String)>, Error> {
        let Some((head, content)): Option<(Self, Vec<u8>)> = parse(dir, HEAD)? else { return Ok(None) };
        if head.version != VERSION || head.labels.len() < 2 {
            return Err(dir.unreadable(HEAD, &"it is of another version of this program"));
        }
        Ok(Some((head, hex(&Sha256::digest(content)))))
    }

    /// Returns the digest of the head of a model; `None` if nothing was learned yet.
    ///
    /// # Errors
    /// `StateUnreadable`.
    pub(crate) fn digest(dir: &ModelDir) -> Result<Option<String>, Error> {
        Ok(dir.read(HEAD)?.map(|content| hex(&Sha256::digest(content))))
    }

    /// Writes the head and returns its digest.
    ///
    /// # Errors
    /// `NotWritten`.
    pub(crate) fn write(&self, dir: &ModelDir) -> Result<String, Error> {
        let content = to_json(self);
        dir.write(HEAD, &content)?;
        Ok(hex(&Sha256::digest(content)))
    }
}

fn parse<T: DeserializeOwned>(dir: &ModelDir, file: &str) -> Result<Option<(T, Vec<u8>)>, Error> {
    let Some(content) = dir.read(file)? else { return Ok(None) };
    let parsed = serde_json::from_slice(&content).map_err(|error| dir.unreadable(file, &error))?;
    Ok(Some((parsed, content)))
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("maps have strings and numbers as keys")
}

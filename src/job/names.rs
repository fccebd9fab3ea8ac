//! The columns that an output has beside the input's own, and what they are called.

use crate::error::Error;
use crate::files::{Added, Kind, Source};

pub(super) const PREDICTION: &str = "prediction";
pub(super) const CONFIDENCE: &str = "confidence";
pub(super) const VALUE: &str = "value";
pub(super) const LABELS: &str = "labels";
pub(super) const ENTITIES: &str = "entities";
pub(super) const UNCERTAIN: &str = "uncertain";
pub(super) const TRUNCATED: &str = "truncated";
pub(super) const ERROR: &str = "error";
/// The model's own label, in rows where somebody else decided.
pub(super) const CORRECTED_FROM: &str = "corrected_from";

/// Before all our names, where the input has one of them already.
const PREFIX: &str = "local_model_";
const ALL: [&str; 9] = [PREDICTION, CONFIDENCE, VALUE, LABELS, ENTITIES, UNCERTAIN, TRUNCATED, ERROR, CORRECTED_FROM];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Names {
    prefix: &'static str,
}

impl Names {
    /// Names for these columns that the file does not have yet.
    pub(super) fn free(source: &Source, columns: &[&str]) -> Result<Self, Error> {
        let taken = |names: &Self| {
            let taken = |column: &&&str| source.columns().contains(&names.full(column));
            columns.iter().find(taken).map(|column| names.full(column))
        };
        let plain = Self { prefix: "" };
        let prefixed = Self { prefix: PREFIX };
        match (taken(&plain), taken(&prefixed)) {
            (None, _) => Ok(plain),
            (_, None) => Ok(prefixed),
            (_, Some(name)) => Err(Error::OutputColumns { name }),
        }
    }

    /// Names that an output has; none in what is no output.
    pub(super) fn of(output: &Source) -> Option<Self> {
        [PREFIX, ""]
            .map(|prefix| Self { prefix })
            .into_iter()
            .find(|names| output.columns().contains(&names.full(PREDICTION)))
    }

    pub(super) fn full(&self, column: &str) -> String {
        format!("{}{column}", self.prefix)
    }

    pub(super) fn all(&self) -> Vec<String> {
        ALL.iter().map(|column| self.full(column)).collect()
    }

    pub(super) fn added(&self, column: &str) -> Added {
        let kind = match column {
            CONFIDENCE | VALUE => Kind::Number,
            UNCERTAIN | TRUNCATED => Kind::Flag,
            LABELS | ENTITIES => Kind::Json,
            _ => Kind::Text,
        };
        Added { name: self.full(column), kind }
    }
}

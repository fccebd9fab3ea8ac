//! The kind of a question and the labels, as callers and settings write them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// How the labels of a question relate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionKind {
    /// One label applies.
    #[default]
    Choice,
    /// The labels are the levels of a scale, the lowest first.
    Score,
    /// The question is a statement, and the labels are yes and no.
    YesNo,
}

impl QuestionKind {
    /// Every kind, in the order in which they are listed.
    pub const ALL: [Self; 3] = [Self::Choice, Self::Score, Self::YesNo];

    /// Returns the name in arguments and settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Choice => "choice",
            Self::Score => "score",
            Self::YesNo => "yes_no",
        }
    }
}

impl FromStr for QuestionKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == name);
        known.ok_or_else(|| format!("expected {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// The short form of the schema, without a text for each value.
impl JsonSchema for QuestionKind {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "QuestionKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::ALL.map(Self::name) })
    }
}

/// Labels as a list of names, or as an object of descriptions by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    pub names: Vec<String>,
    /// One for each name, or empty.
    pub descriptions: Vec<String>,
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Labels;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of labels, or descriptions by label")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Labels, A::Error> {
                let mut labels = Labels::default();
                while let Some(name) = items.next_element()? {
                    labels.names.push(name);
                }
                Ok(labels)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Labels, A::Error> {
                let mut labels = Labels::default();
                while let Some((name, description)) = entries.next_entry()? {
                    labels.names.push(name);
                    labels.descriptions.push(description);
                }
                Ok(labels)
            }
        }

        deserializer.deserialize_any(Read)
    }
}

/// The schema of a list, because some clients read only schemas with one type. The argument's
/// description names the object form.
impl JsonSchema for Labels {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Labels".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "string" } })
    }
}

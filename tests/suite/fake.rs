//! The engine's scripted model, under the name that the tests use.

pub(crate) use ::engine::testing::{LABELS, Script, settings, start};

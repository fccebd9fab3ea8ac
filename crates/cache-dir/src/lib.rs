//! The files that a program keeps in its user's cache directory.
//!
//! - [`private_dir`]: directories that only this user can change
//! - [`stamp`]: detecting file changes by metadata
//! - [`artifacts`]: folders that appear complete or not at all, pruned by size
//! - [`facts`]: facts about files, remembered until the files change
//! - [`digest`]: SHA-256 of files, and hexadecimal text
//! - [`digest_key`]: the key that digests of texts are made with
//!
//! Callers decide what an artifact contains and which facts they compute. Nothing here knows about
//! models or the protocol.

pub mod artifacts;
pub mod digest;
pub mod digest_key;
pub mod facts;
pub mod private_dir;
pub mod stamp;

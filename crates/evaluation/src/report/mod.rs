//! Reports of an evaluation for people, as text and as HTML.

mod charts;
mod content;
mod html;
mod text;

pub use html::GENERATOR;

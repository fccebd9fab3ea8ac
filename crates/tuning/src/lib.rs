//! Fine-tunes a sentence encoder of BERT's kind on few labelled texts, on a machine's processors.
//!
//! An [`Encoder`] is read from an ONNX graph, also from one in dynamic int8. [`Encoder::tune`]
//! changes its last layers so that texts of one label get similar vectors.
//! [`Encoder::numbers`] is the result to keep, and [`graph`] puts it into the graph again. Texts
//! are numbers of tokens here: no files, no tokenizer, no ONNX Runtime.
//!
//! ```no_run
//! use tuning::{Encoder, Example, Settings};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = std::fs::read("all-MiniLM-L6-v2/model.onnx")?;
//! let mut encoder = Encoder::read(&model, 12)?;
//! let examples = [
//!     Example { tokens: vec![101, 2339, 2003, 2009, 4030, 102], label: 0 },
//!     Example { tokens: vec![101, 7592, 102], label: 1 },
//! ];
//! encoder.tune(&examples, Settings::for_examples(examples.len(), 1), &|_share_done| true)?;
//! std::fs::write("tuned.onnx", tuning::graph(&model, 12, &encoder.numbers())?)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Files
//! - `weights`, `kept`: an encoder from a graph and back
//! - `layers`, `forward`: the encoder's functions with their gradients
//! - `loss`, `adam`, `tune`: what is minimized, how, and the training loop

mod adam;
mod error;
mod forward;
mod kept;
mod layers;
mod loss;
#[cfg(test)]
mod tests;
mod tune;
mod weights;

pub use error::Error;
pub use kept::graph;
pub use tune::{Example, MAX_TOKENS, Settings};
pub use weights::Encoder;

//! Text in, scores out: Hugging Face model folders through ONNX Runtime, in Rust.
//!
//! A model folder is what `optimum-cli export onnx` writes: a graph, a tokenizer and `config.json`.
//! Predictions are those of transformers' pipelines for text classification, token classification
//! and zero-shot classification; the tests compare them with scores from torch.
//!
//! ```no_run
//! use classifier::{Cancellation, Input, LibrarySettings, Location};
//!
//! # fn main() -> Result<(), classifier::Error> {
//! let folder = Location::Folder("models/tone".into());
//! // Without a cache directory, every start prepares the graph again.
//! let library = LibrarySettings { path: None, cache_dir: None };
//! let threads = 2;
//! let mut model = classifier::load("tone", &folder, &library, threads)?;
//!
//! let input = Input::single("I love this");
//! let prediction = model.first.predict(&input, &Cancellation::default())?;
//! let answer = model.info.label(&input, &prediction);
//! println!("{} {:?}", answer.prediction, answer.confidence);
//! # Ok(())
//! # }
//! ```
//!
//! A [`Model`] runs one input at a time. For concurrent runs, make further replicas with
//! [`LoadedModel::replicas`]: they share the weights. Queues, caches and deadlines are left to the
//! caller.
//!
//! # Layout
//! - `folder`, `foreign`, `model_files`, `config`, `tokenizer_config`, `calibration`: finding and
//!   reading the files of a folder
//! - `vocabulary`, `tokenizer_limits`, `token_limit`, `tokenizer`, `special_tokens`, `overflow`:
//!   from text to ids
//! - `prepared`, `session`, `signature`, `tensors`, `locale`, `threads`: ONNX Runtime sessions
//! - `scoring`, `activation`: the meaning of a graph's numbers
//! - `pipeline`, with `entities`, `zero_shot`: from logits to predictions
//! - `text_pipeline`: the same over graphs that take the text itself
//! - `decision`, `question`: models that answer questions about a text, with labels of the caller
//! - `encoder`, `encoder_pool`, `pooling`: from texts to vectors of unit length
//! - `new_folder`, `rewritten`: folders that appear complete or not at all; a copy with another graph
//! - `export`: encoders and a head as one folder
//! - `load`, `model`: loading and running a model, behind three small traits
//! - `prediction`, `model_info`, `labeled`: plain values
//!
//! The feature `builtin-model` adds a sentiment model and a sentence encoder inside the executable:
//! `Location::BuiltIn` and `EncoderLocation::BuiltIn`.

mod activation;
mod calibration;
mod cancellation;
mod config;
mod decision;
#[cfg(feature = "builtin-model")]
mod embedded;
mod encoder;
mod encoder_pool;
mod entities;
mod error;
mod export;
mod folder;
mod foreign;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod labeled;
mod language;
mod load;
mod locale;
mod model;
mod model_files;
mod model_info;
mod new_folder;
mod overflow;
mod pipeline;
mod pooling;
mod prediction;
mod prepared;
mod question;
mod rewritten;
mod scoring;
mod session;
mod settings;
mod signature;
mod sources;
mod special_tokens;
mod tensors;
#[cfg(feature = "testing")]
pub mod testing;
mod text_pipeline;
mod threads;
mod token_limit;
mod tokenizer;
mod tokenizer_config;
mod tokenizer_limits;
mod version;
mod vocabulary;
mod words;
mod zero_shot;

pub use onnx_runtime::LibrarySettings;

pub use calibration::write as write_calibration;
pub use cancellation::Cancellation;
#[cfg(feature = "builtin-model")]
pub use embedded::large_files;
pub use encoder::{EncoderLocation, EncoderSource, Encoding};
pub use encoder_pool::EncoderPool;
pub use error::Error;
pub use export::{LinearHead, export_with_head};
pub use labeled::{
    Doubt, EntitySpan, LabelScore, LabeledPrediction, MULTI_LABEL_THRESHOLD, Truncation, WordWeight, rounded,
};
pub use language::Languages;
pub use load::{Location, load, loader};
pub use model::{LoadedModel, Model, ModelLoader, ReplicaFactory};
pub use model_info::{Calibration, DecisionInfo, GraphReport, LoadReport, ModelInfo};
pub use prediction::{Entity, Input, Outcome, Prediction, Task};
pub use question::{Defaults, Labels, Question, QuestionKind};
pub use rewritten::{RewrittenFolder, WeightFiles};
pub use sources::Source;
pub use version::{Version, unread_files};

//! Teaches text classifiers from labelled rows of a file, and audits them on rows kept apart.
//!
//! A [`Teacher`] works on one folder of models. [`Teacher::teach`] is one round: it draws the rows
//! of the audit before anything else, adds labels, fits again from all of them, and chooses the
//! rows to label next. [`Teacher::audit`] states what the labels of the audit rows prove.
//! [`Teacher::loader`] makes a model that the engine serves. Calls block; the caller runs them on
//! a thread of its own, follows them through a [`Watch`], and cancels them.
//!
//! # Files
//! - `teacher`, `round`, `audit`: the calls and their answers
//! - `survey`: one pass over the file; `labels`: adding labels and examples
//! - `pool`, `vectors`, `fit`: the texts of a fit, their vectors, and the head
//! - `tune`, `subject`: fine-tuning the encoder where that is clearly better
//! - `statement`, `card`: what is said about a model
//! - `state`, `store`, `digest`: what is kept on the disk, and how
//! - `model`: a taught model as the engine runs it; `export`: as weights for a graph;
//!   `encode`: the seam to the encoders

mod audit;
mod card;
mod digest;
mod encode;
mod error;
mod export;
mod fit;
mod labels;
mod model;
mod pool;
mod round;
mod state;
mod statement;
mod store;
mod subject;
mod survey;
mod teacher;
#[cfg(feature = "testing")]
pub mod testing;
mod tune;
mod vectors;
mod watch;

pub use audit::AuditAnswer;
pub use encode::{Encode, Encoded, TunedEncoder};
pub use error::Error;
pub use export::ExportedHead;
pub use labels::parse_rows;
pub use round::{FileFacts, Group, LabelFacts, Round, ShownDoubt, ShownRow, Standing};
pub use statement::Statement;
pub use store::TaughtDir;
pub use survey::FileRequest;
pub use teacher::{Lesson, Teacher};
pub use tune::Tuning;
pub use watch::{Progress, Stage, Watch};

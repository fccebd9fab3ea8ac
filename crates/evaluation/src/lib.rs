//! Evaluates a model's predictions on labelled rows: metrics by task, calibration, the worst
//! mistakes, and an HTML report.
//!
//! Everything here is pure: rows and scores go in, numbers and HTML come out. Reading the file and
//! running the model happen elsewhere.

mod calibration;
mod classification;
mod error;
mod evaluation;
mod gold;
mod labels;
mod measures;
mod mistakes;
mod multi_label;
mod probability;
mod ratio;
mod regression;
mod report;
mod scored;
mod tagging;
mod tags;

pub use calibration::{Fit, MIN_ROWS, Threshold};
pub use classification::{Class, Classification};
pub use error::Error;
pub use evaluation::Evaluation;
pub use gold::{Gold, GoldKind, GoldParser, GoldScan};
pub use measures::{Measures, measure};
pub use mistakes::Mistake;
pub use multi_label::MultiLabel;
pub use probability::{Bin, Coverage, Probability};
pub use regression::Regression;
pub use report::GENERATOR;
pub use scored::{ScoredFile, ScoredRow};
pub use tagging::Tagging;
pub use tags::GoldEntity;

//! Learns a text classifier from few labelled rows, and says how far it can be trusted.
//!
//! Everything here is a pure function of vectors: no files, no ONNX Runtime, no clock. The same
//! input and seed give the same result, bit for bit, on any number of threads. A [`Row`] holds the
//! vectors of one text; the caller computes them with its encoders and [`hashed_words`].
//!
//! ```
//! use learning::{Features, Row, Teaching, fit, hashed_words};
//!
//! let row = |text: &str, x: f32, y: f32| Row { sentence: vec![x, y], state: None, words: hashed_words(text) };
//! let rows = [row("refund please", 1.0, 0.0), row("money back", 0.8, 0.6), row("app crashes", 0.0, 1.0),
//!     row("it freezes", -0.6, 0.8), row("where is my refund", 0.98, 0.2)];
//! let labels = [(0, 0), (1, 0), (2, 1), (3, 1)]; // (row, label)
//! let teaching = Teaching { labels: &labels, label_count: 2, ..Teaching::new(&rows) };
//! let fitted = fit(&teaching, &|| false)?;
//! assert!(fitted.head.probabilities(&rows[4])[0] > 0.5);
//! # Ok::<(), learning::Error>(())
//! ```

mod agreement;
mod choice;
mod cholesky;
mod clusters;
mod cross_validation;
mod error;
mod fit;
mod head;
mod kmeans;
mod logistic;
mod matrix;
mod mix;
mod parallel;
mod pool;
mod random;
mod row;
mod selection;
mod span;
mod teaching;
mod temperature;
mod words;

pub use agreement::{agreement_interval, binomial_tail, smallest_threshold};
pub use clusters::{Cluster, clusters};
pub use error::Error;
pub use fit::{Fitted, Suspicion, fit, right_by_candidate};
pub use head::Head;
pub use row::{Row, SparseVector};
pub use selection::{first_rows, next_rows};
pub use teaching::{Features, Teaching};
pub use temperature::temperature_of;
pub use words::hashed_words;

//! The interface of a model: traits to run it, to make replicas and to load it.
//!
//! The engine uses models only through these traits, so that tests can substitute a scripted model.
//! The implementation over ONNX Runtime is in `pipeline` and `load`.

use std::sync::Arc;

use crate::cancellation::Cancellation;
use crate::error::Error;
use crate::model_info::ModelInfo;
use crate::prediction::{Input, Prediction};
use crate::version::Version;

/// A replica of a loaded model, used by one thread at a time.
///
/// # Why does `predict` take `&mut self`?
/// A session's helper threads are placed for one run at a time (see `threads`), so runs on one
/// session would slow each other down. Concurrent runs use replicas, which share the weights.
pub trait Model: Send {
    /// Predicts one input. Blocks for one forward pass, or for one per window or candidate label.
    ///
    /// # Errors
    /// `TextTooLong`, `PairNotTaken` and `LabelsNotTaken` if the model does not take the input,
    /// `Inference` if a run fails, `Cancelled` soon after `cancellation` is cancelled.
    fn predict(&mut self, input: &Input, cancellation: &Cancellation) -> Result<Prediction, Error>;

    /// Releases memory that long inputs took. The next run allocates it again.
    fn release_memory(&mut self) {}
}

/// A model in memory: its description, a replica that has run once, and the factory for others.
pub struct LoadedModel {
    pub info: ModelInfo,
    pub first: Box<dyn Model>,
    pub replicas: Box<dyn ReplicaFactory>,
}

/// Makes further replicas of a loaded model.
pub trait ReplicaFactory: Send + Sync {
    /// Makes a replica that computes on `threads` threads.
    ///
    /// # Errors
    /// `FileInvalid` or `Thread` if no session can be built.
    fn replica(&self, threads: usize) -> Result<Box<dyn Model>, Error>;
}

/// Loads one model.
pub trait ModelLoader: Send + Sync {
    /// Loads the model. Blocks; may be called again after a failure.
    ///
    /// # Errors
    /// Any error of the folder, the graph or the runtime library.
    fn load(&self) -> Result<LoadedModel, Error>;

    /// Returns the state of the model's files, from which a change is noticed, or `None` if they
    /// cannot change or be read. Reads directory entries.
    fn version(&self) -> Option<Version> {
        None
    }

    /// Returns the model's labels without loading it, or `None` if they are known only then. For a
    /// model that takes candidate labels the list is empty. Reads two small files.
    fn labels(&self) -> Option<Vec<Arc<str>>> {
        None
    }
}

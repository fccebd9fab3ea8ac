//! One text in, one score a label out, exactly as transformers' own pipeline would score it.
//!
//! Nothing outside this folder and `onnxruntime` may name `ort`, and nothing outside this folder `tokenizers`. Queues,
//! caches and deadlines are `engine`'s business: it drives models through the one trait below.

mod activation;
mod embedded;
mod folder;
mod session;
mod tokenizer;

use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::onnxruntime::{self, LibrarySettings};
use crate::prediction::{Input, ModelInfo, Prediction, Task};

/// A loaded model, owned by one thread.
///
/// # Why does `predict` take `&mut self`?
/// ONNX Runtime's own run is not safe to call twice at once on one session, and a session per worker is cheap.
pub trait Model: Send {
    /// Scores one input. Blocks for one forward pass.
    ///
    /// # Errors
    /// `TextTooLong` for texts that the model is set to refuse, `Inference` when the runtime fails.
    fn predict(&mut self, input: &Input) -> Result<Prediction, Error>;
}

/// A model in memory: its description, and one replica for each worker.
pub struct Loaded {
    pub info: ModelInfo,
    pub replicas: Vec<Box<dyn Model>>,
}

/// Loads a model with the given number of replicas. Blocks; may be called again after a failure.
pub type Load = Arc<dyn Fn(usize) -> Result<Loaded, Error> + Send + Sync>;

/// Where a model's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// The default model inside the executable.
    BuiltIn,
    /// A folder as Hugging Face's exporters write it.
    Folder(PathBuf),
}

/// What happens at load, ready to be handed to the engine.
pub fn loader(name: String, location: Location, library: LibrarySettings) -> Load {
    Arc::new(move |replicas| load(&name, &location, &library, replicas))
}

/// Reads the folder, opens the runtime, builds the sessions and runs each once.
///
/// # Errors
/// Any of the folder, graph and library errors, each with its remedy.
pub fn load(name: &str, location: &Location, library: &LibrarySettings, replicas: usize) -> Result<Loaded, Error> {
    let files = match location {
        Location::BuiltIn => embedded::files()?,
        Location::Folder(folder) => folder::read(folder)?,
    };
    let environment = onnxruntime::environment(library)?;
    let tokenizer = Arc::new(tokenizer::Tokenizer::new(&files)?);
    let task = activation::task(files.config.problem_type.as_deref(), files.config.labels.len());
    let mut models: Vec<Box<dyn Model>> = Vec::with_capacity(replicas);
    for _ in 0..replicas.max(1) {
        let session = session::Session::new(&environment, &files)?;
        let mut model = OnnxModel { name: name.to_owned(), task, tokenizer: Arc::clone(&tokenizer), session };
        // The first run allocates what every run needs, and shows whether the graph works at all.
        let scores = model.predict(&Input::single("a"))?.scores.len();
        if scores != files.config.labels.len() {
            return Err(Error::LabelCount { named: files.config.labels.len(), given: scores });
        }
        models.push(Box::new(model));
    }
    let mut hasher = Sha256::new();
    hasher.update(files.digest);
    hasher.update(onnxruntime::build_info());
    let info = ModelInfo {
        task,
        labels: files.config.labels,
        max_tokens: tokenizer.max_tokens(),
        precision: files.precision,
        threshold: files.settings.threshold,
        description: files.settings.description,
        graph: files.graph.name(),
        digest: hasher.finalize().into(),
        frequent_texts: files.frequent_texts,
    };
    Ok(Loaded { info, replicas: models })
}

struct OnnxModel {
    name: String,
    task: Task,
    tokenizer: Arc<tokenizer::Tokenizer>,
    session: session::Session,
}

impl Model for OnnxModel {
    fn predict(&mut self, input: &Input) -> Result<Prediction, Error> {
        let tokens = self.tokenizer.encode(input)?;
        let mut scores = self
            .session
            .logits(&tokens)
            .map_err(|error| Error::Inference { model: self.name.clone(), message: error.to_string() })?;
        activation::apply(self.task, &mut scores);
        Ok(Prediction {
            scores: scores.into(),
            tokens: tokens.whole_length as u32,
            tokens_read: tokens.ids.len() as u32,
        })
    }
}

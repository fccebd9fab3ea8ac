//! Equipment of the tests: a client, the executable as a child process, and a project with files.

/// A minimal client: raw lines of JSON over any pair of streams, and the executable as a child
/// process.
pub(crate) mod client;
/// A folder of files for one test, and jobs on them.
pub(crate) mod project;

use std::sync::Arc;

use engine::{Engine, EngineSettings};

/// Starts an engine with real models in this process, and never drops it.
///
/// A dropped engine closes its sessions on their own threads. A test process that exits meanwhile
/// crashes in the exit handlers of ONNX Runtime; the executable exits without them.
pub(crate) fn start_forever(
    models: Vec<(String, Arc<dyn classifier::ModelLoader>)>,
    settings: EngineSettings,
) -> Arc<Engine> {
    let engine = Engine::start(models, settings);
    std::mem::forget(Arc::clone(&engine));
    engine
}

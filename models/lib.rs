//! The bytes of the built-in model, `models/sentiment`, and the facts about its graph.
//!
//! The digest and the facts are computed by the build script. Reading the graph at run time would
//! load 10 MB of the executable into memory, needlessly if a prepared graph is used.

/// The ONNX graph, weights included.
pub static GRAPH: &[u8] = include_bytes!("sentiment/model.onnx");
/// SHA-256 of [`GRAPH`], in hexadecimal.
pub const GRAPH_SHA256: &str = env!("BUILT_IN_GRAPH_SHA256");
/// The facts about [`GRAPH`]: `onnx_facts::GraphFacts` as JSON.
pub const GRAPH_FACTS: &str = env!("BUILT_IN_GRAPH_FACTS");
/// `tokenizer.json`.
pub static TOKENIZER: &str = include_str!("sentiment/tokenizer.json");
/// `config.json`.
pub static CONFIG: &str = include_str!("sentiment/config.json");
/// `tokenizer_config.json`.
pub static TOKENIZER_CONFIG: &str = include_str!("sentiment/tokenizer_config.json");
/// `local-model.toml`.
pub static SETTINGS: &str = include_str!("sentiment/local-model.toml");
/// `warmup.txt`: frequent texts, one per line.
pub static WARMUP: &str = include_str!("sentiment/warmup.txt");

//! The bytes of the built-in models, `models/sentiment` and `models/encoder`, and the facts about
//! their graphs.
//!
//! The digests and the facts are computed by the build script. Reading a graph at run time would
//! load 10 MB of the executable into memory, needlessly if a prepared graph is used.

/// `tokenizer.json` of both models: they have the vocabulary and the rules of bert-base-uncased.
pub static TOKENIZER: &str = include_str!("sentiment/tokenizer.json");
/// `tokenizer_config.json` of both models.
pub static TOKENIZER_CONFIG: &str = include_str!("sentiment/tokenizer_config.json");

/// A built-in model.
pub struct BuiltIn {
    /// Its folder, for error texts.
    pub folder: &'static str,
    /// The ONNX graph, weights included.
    pub graph: &'static [u8],
    /// SHA-256 of `graph`, in hexadecimal.
    pub graph_sha256: &'static str,
    /// The facts about `graph`: `onnx_facts::GraphFacts` as JSON.
    pub graph_facts: &'static str,
    /// `config.json`.
    pub config: &'static str,
    /// `local-model.toml`; may be empty.
    pub settings: &'static str,
    /// `warmup.txt`: frequent texts, one per line; may be empty.
    pub warmup: &'static str,
}

/// The default classifier.
pub static SENTIMENT: BuiltIn = BuiltIn {
    folder: "models/sentiment",
    graph: include_bytes!("sentiment/model.onnx"),
    graph_sha256: env!("SENTIMENT_GRAPH_SHA256"),
    graph_facts: env!("SENTIMENT_GRAPH_FACTS"),
    config: include_str!("sentiment/config.json"),
    settings: include_str!("sentiment/local-model.toml"),
    warmup: include_str!("sentiment/warmup.txt"),
};

/// The sentence encoder.
pub static ENCODER: BuiltIn = BuiltIn {
    folder: "models/encoder",
    graph: include_bytes!("encoder/model.onnx"),
    graph_sha256: env!("ENCODER_GRAPH_SHA256"),
    graph_facts: env!("ENCODER_GRAPH_FACTS"),
    config: include_str!("encoder/config.json"),
    settings: "",
    warmup: "",
};

//! Computes the digest of the built-in graph and the facts that it declares, as constants.

use std::fs;

use sha2::{Digest, Sha256};

const GRAPH: &str = "sentiment/model.onnx";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={GRAPH}");
    let graph = fs::read(GRAPH).expect("the built-in graph is part of the sources");
    let facts = onnx_facts::GraphFacts::parse(&graph).expect("the built-in graph is an ONNX model");
    let facts = serde_json::to_string(&facts).expect("facts are names and numbers");
    let sha256: String = Sha256::digest(&graph).iter().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-env=BUILT_IN_GRAPH_SHA256={sha256}");
    println!("cargo::rustc-env=BUILT_IN_GRAPH_FACTS={facts}");
}

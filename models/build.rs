//! Computes the digest of each built-in graph and the facts that it declares, as constants.

use std::fs;

use sha2::{Digest, Sha256};

const MODELS: [&str; 2] = ["sentiment", "encoder"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for model in MODELS {
        let path = format!("{model}/model.onnx");
        println!("cargo::rerun-if-changed={path}");
        let graph = fs::read(path).expect("the built-in graphs are part of the sources");
        let facts = onnx_facts::GraphFacts::parse(&graph).expect("the built-in graphs are ONNX models");
        let facts = serde_json::to_string(&facts).expect("facts are names and numbers");
        let sha256: String = Sha256::digest(&graph).iter().map(|byte| format!("{byte:02x}")).collect();
        let model = model.to_uppercase();
        println!("cargo::rustc-env={model}_GRAPH_SHA256={sha256}");
        println!("cargo::rustc-env={model}_GRAPH_FACTS={facts}");
    }
}

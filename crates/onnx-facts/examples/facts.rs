//! Prints what the reader finds in ONNX files, one JSON object a line, for
//! `tests/differential/onnx_facts.py`.

use std::io::{self, Write};

use onnx_facts::GraphFacts;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for path in std::env::args_os().skip(1) {
        let line = match GraphFacts::parse(&std::fs::read(path)?) {
            Ok(facts) => serde_json::json!(facts),
            Err(error) => serde_json::json!({ "error": error }),
        };
        writeln!(out, "{line}")?;
    }
    Ok(())
}

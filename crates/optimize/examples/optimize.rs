//! Rewrites one ONNX file: `optimize FROM TO`. For `tests/differential/quantizer.py`.

use std::collections::BTreeMap;
use std::path::Path;

use onnx_facts::GraphFacts;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(from), Some(to)) = (arguments.next(), arguments.next()) else {
        return Err("expected two file names".into());
    };
    let model = std::fs::read(&from)?;
    let mut files = BTreeMap::new();
    for name in GraphFacts::parse(&model)?.external_files {
        files.insert(name.clone(), std::fs::read(Path::new(&from).with_file_name(name))?);
    }
    std::fs::write(to, optimize::optimize(&model, &files)?.model)?;
    Ok(())
}

//! Makes an fp32 graph of a transformer faster: weights and products in int8, with scales that are
//! computed at each run, and each layer's attention as one operator of ONNX Runtime.
//!
//! A pure function of bytes. The graph is read and written field by field with `onnx-facts`, so
//! that everything unknown stays as it is, weights are not copied, and a hostile file costs no more
//! memory than its size. Measuring what the change does to answers is left to the caller.

mod attention;
mod constants;
pub mod graph;
pub mod integers;
mod quantize;
mod shapes;
pub mod tensors;

use onnx_facts::GraphFacts;

use attention::MICROSOFT;
use graph::Model;
use quantize::Counts;
pub use tensors::WeightFiles;

/// The first version of the standard operators with `DynamicQuantizeLinear`.
const MIN_OPSET: u64 = 11;
/// Protobuf's limit for a file.
const MAX_BYTES: usize = (2 << 30) - 1;
/// Operators of graphs whose weights are integers already.
const INTEGER_OPERATORS: [&str; 9] = [
    "DequantizeLinear",
    "QuantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "ConvInteger",
    "QLinearMatMul",
    "DynamicQuantizeMatMul",
    "QAttention",
    "MatMulNBits",
];

/// Why a graph stays as it is. The texts are parts of a sentence about the graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Invalid(String),
    #[error("it takes text itself, as graphs of scikit-learn do, and has no layers that int8 makes faster")]
    TakesText,
    #[error("its weights are fp16, expected fp32; export the model again without `--dtype fp16`")]
    Half,
    #[error("it is quantized already (`{operator}`), expected fp32; start from the graph before quantization")]
    Quantized { operator: String },
    #[error("it uses opset {found}, expected {MIN_OPSET} or later; export the model again")]
    OldOpset { found: u64 },
    #[error("it has no constant fp32 matrix of at least 16 columns in a `MatMul` or `Gemm`, so int8 cannot help")]
    NothingToQuantize,
    #[error("the result has {bytes} bytes, expected less than 2 GB, which is what one ONNX file can hold")]
    TooLarge { bytes: usize },
}

/// A graph in int8.
#[derive(Debug)]
pub struct Optimized {
    /// The ONNX file, with all weights inside.
    pub model: Vec<u8>,
    /// Matrices in int8.
    pub matrices: usize,
    /// Embedding tables in uint8.
    pub tables: usize,
    /// Layers whose attention is one operator.
    pub attentions: usize,
}

/// Rewrites an ONNX file. `files` has the files of weights that it names.
///
/// # Errors
/// Says why nothing can be done.
pub fn optimize(model: &[u8], files: &WeightFiles) -> Result<Optimized, Refusal> {
    let facts = GraphFacts::parse(model).map_err(Refusal::Invalid)?;
    if facts.interface.takes_text {
        return Err(Refusal::TakesText);
    }
    if let Some(operator) = INTEGER_OPERATORS.iter().find(|name| facts.operators.contains(**name)) {
        return Err(Refusal::Quantized { operator: (*operator).into() });
    }
    if facts.half_weights {
        return Err(Refusal::Half);
    }
    if facts.opset < MIN_OPSET {
        return Err(Refusal::OldOpset { found: facts.opset });
    }
    rewrite(model, files).map_err(Refusal::Invalid)?.check()
}

fn rewrite(model: &[u8], files: &WeightFiles) -> Result<Optimized, String> {
    let mut model = Model::parse(model)?;
    let attentions = attention::fuse(&mut model.graph, files)?;
    if attentions > 0 {
        model.import(MICROSOFT);
    }
    let Counts { matrices, tables } = quantize::quantize(&mut model.graph, files)?;
    model.graph.include(files)?;
    Ok(Optimized { model: model.encode(), matrices, tables, attentions })
}

impl Optimized {
    fn check(self) -> Result<Self, Refusal> {
        if self.matrices == 0 {
            return Err(Refusal::NothingToQuantize);
        }
        if self.model.len() > MAX_BYTES {
            return Err(Refusal::TooLarge { bytes: self.model.len() });
        }
        let facts = GraphFacts::parse(&self.model).map_err(Refusal::Invalid)?;
        match facts.external_files.first() {
            Some(file) => Err(Refusal::Invalid(format!("a weight of a sub-graph lies in another file (`{file}`)"))),
            None => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_of_2_gb_is_refused() {
        // Zeroed memory that is never read takes no pages.
        let model = vec![0; MAX_BYTES + 1];
        let refusal = Optimized { model, matrices: 1, tables: 0, attentions: 0 }.check().unwrap_err();
        assert_eq!(refusal, Refusal::TooLarge { bytes: 2_147_483_648 });
    }
}

//! Writes ONNX files of a few dozen bytes: the fields of onnx.proto3 that the tests need.

use onnx_facts::writer::{FLOAT, INT64, STRING, tensor, value};

pub use onnx_facts::writer::{bytes, domain, floats, integer_attribute, integers, node, number};

const BOOL: i64 = 9;

pub fn truth(name: &str) -> Vec<u8> {
    tensor(name, BOOL, &[], Some(&[1]))
}

/// Encodes a tensor of floats in a file next to the graph.
pub fn external(name: &str, dims: &[i64], entries: &[(&str, &str)]) -> Vec<u8> {
    let entries = entries.iter().flat_map(|(key, value)| bytes(13, [bytes(1, key), bytes(2, value)].concat()));
    [tensor(name, FLOAT, dims, None), entries.collect(), number(14, 1)].concat()
}

/// Encodes an attribute with a graph.
pub fn graph_attribute(name: &str, graph: &[u8]) -> Vec<u8> {
    bytes(5, [bytes(1, name), bytes(6, graph), number(20, 5)].concat())
}

fn graph(nodes: &[Vec<u8>], tensors: &[Vec<u8>], inputs: &[Vec<u8>], outputs: &[Vec<u8>]) -> Vec<u8> {
    let part = |field: u8, parts: &[Vec<u8>]| parts.iter().flat_map(|part| bytes(field, part)).collect::<Vec<_>>();
    [part(1, nodes), bytes(2, "g"), part(5, tensors), part(11, inputs), part(12, outputs)].concat()
}

/// Encodes a model with these nodes and tensors, and with a tensor `l` of scores. A node must make
/// `logits` of it.
pub fn model(nodes: &[Vec<u8>], tensors: &[Vec<u8>], rest: &[u8]) -> Vec<u8> {
    model_of([-1, -1], nodes, tensors, rest)
}

/// Encodes such a model, with `input_ids` of these dimensions.
pub fn model_of(ids: [i64; 2], nodes: &[Vec<u8>], tensors: &[Vec<u8>], rest: &[u8]) -> Vec<u8> {
    model_with(&[("input_ids", ids)], nodes, tensors, rest)
}

/// Encodes such a model, with these inputs.
pub fn model_with(inputs: &[(&str, [i64; 2])], nodes: &[Vec<u8>], tensors: &[Vec<u8>], rest: &[u8]) -> Vec<u8> {
    let tensors = [&[floats("l", &[1, 3], &[0.1, 0.2, 0.3])], tensors].concat();
    let inputs: Vec<Vec<u8>> = inputs.iter().map(|(name, dims)| value(name, INT64, dims)).collect();
    let graph = graph(nodes, &tensors, &inputs, &[value("logits", FLOAT, &[-1, 3])]);
    [number(1, 8), bytes(7, graph), bytes(8, number(2, 17)), rest.to_vec()].concat()
}

/// Encodes such a model, with inputs of strings, and an output of these dimensions.
pub fn graph_of_text(inputs: &[(&str, &[i64])], nodes: &[Vec<u8>], output: &[i64]) -> Vec<u8> {
    let inputs: Vec<Vec<u8>> = inputs.iter().map(|(name, dims)| value(name, STRING, dims)).collect();
    let tensors = [floats("l", &[1, 3], &[0.1, 0.2, 0.3])];
    let graph = graph(nodes, &tensors, &inputs, &[value("logits", FLOAT, output)]);
    [number(1, 8), bytes(7, graph), bytes(8, number(2, 17))].concat()
}

/// Encodes the body of an endless loop that adds `l`. With `collect` it also keeps every sum.
pub fn endless(collect: bool) -> Vec<u8> {
    let mut nodes =
        vec![node("Identity", &["cond_in"], &["cond"], vec![]), node("Add", &["sum_in", "l"], &["sum"], vec![])];
    let mut outputs = vec![value("cond", BOOL, &[]), value("sum", FLOAT, &[1, 3])];
    if collect {
        nodes.push(node("Identity", &["sum_in"], &["kept"], vec![]));
        outputs.push(value("kept", FLOAT, &[1, 3]));
    }
    let inputs = [value("turn", INT64, &[]), value("cond_in", BOOL, &[]), value("sum_in", FLOAT, &[1, 3])];
    graph(&nodes, &[], &inputs, &outputs)
}

/// Encodes a scalar.
pub fn turns(name: &str, count: i64) -> Vec<u8> {
    tensor(name, INT64, &[], Some(&count.to_le_bytes()))
}

/// Encodes a function of the domain `f` with one input and one output, as a field of the model.
pub fn function(name: &str, nodes: &[Vec<u8>]) -> Vec<u8> {
    let nodes = nodes.iter().flat_map(|node| bytes(7, node)).collect();
    let imports = [bytes(9, number(2, 17)), import("f", 9)].concat();
    bytes(25, [bytes(1, name), bytes(4, "x"), bytes(5, "y"), nodes, imports, bytes(10, "f")].concat())
}

/// Encodes the import of another domain's operators.
pub fn import(domain: &str, field: u8) -> Vec<u8> {
    bytes(field, [bytes(1, domain), number(2, 1)].concat())
}

/// Encodes a model whose scores depend on a tensor `big`, which `nodes` make.
pub fn depending_on(nodes: &[Vec<u8>], tensors: &[Vec<u8>]) -> Vec<u8> {
    let scores = [
        node("ReduceMax", &["big"], &["most"], integer_attribute("keepdims", 0)),
        node("Add", &["l", "most"], &["logits"], vec![]),
    ];
    model(&[nodes, &scores].concat(), tensors, &[])
}

/// Encodes a model with an endless loop. With `collect` it also keeps every sum.
pub fn endless_model(collect: bool) -> Vec<u8> {
    let outputs: &[&str] = if collect { &["logits", "all"] } else { &["logits"] };
    let nodes = [node("Loop", &["turns", "go", "l"], outputs, graph_attribute("body", &endless(collect)))];
    model(&nodes, &[turns("turns", 1 << 62), truth("go")], &[])
}

//! Rewrites of tiny hand-written graphs, and what is refused.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::collections::BTreeMap;

use onnx_facts::GraphFacts;
use onnx_facts::protobuf::{Value, field, raw_fields, text};
use onnx_facts::writer::{
    FLOAT, INT64, STRING, bytes, floats, integer_attribute, integers, node, number, tensor, value,
};
use optimize::{Optimized, Refusal, optimize};
use proptest::prelude::{any, prop, proptest};

/// The operators of a product in integers.
const PRODUCT: [&str; 5] = ["DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul"];

/// Encodes a graph with the input `x` of floats and the output `y`.
fn model(nodes: &[Vec<u8>], tensors: &[Vec<u8>]) -> Vec<u8> {
    model_with(13, FLOAT, nodes, tensors)
}

fn model_with(opset: i64, input: i64, nodes: &[Vec<u8>], tensors: &[Vec<u8>]) -> Vec<u8> {
    let part = |number: u8, parts: &[Vec<u8>]| parts.iter().flat_map(|part| bytes(number, part)).collect::<Vec<_>>();
    let ports = [bytes(11, value("x", input, &[-1, 2])), bytes(12, value("y", FLOAT, &[-1, 16]))].concat();
    let graph = [part(1, nodes), bytes(2, "g"), part(5, tensors), ports].concat();
    [number(1, 8), bytes(7, graph), bytes(8, number(2, opset))].concat()
}

fn weight(name: &str, rows: i64, columns: i64) -> Vec<u8> {
    let values: Vec<f32> = (0..rows * columns).map(|number| number as f32 - 7.5).collect();
    floats(name, &[rows, columns], &values)
}

fn product(input: &str, weight: &str, output: &str) -> Vec<u8> {
    node("MatMul", &[input, weight], &[output], vec![])
}

fn rewritten(nodes: &[Vec<u8>], tensors: &[Vec<u8>]) -> Optimized {
    optimize(&model(nodes, tensors), &BTreeMap::new()).unwrap()
}

fn refused(model: &[u8]) -> Refusal {
    optimize(model, &BTreeMap::new()).unwrap_err()
}

/// Returns the operators of a graph in order, and the names of its tensors.
fn content(model: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut nodes, mut tensors) = (Vec::new(), Vec::new());
    let name = |message, number| text(field(message, number).unwrap().unwrap()).unwrap().to_owned();
    for part in raw_fields(field(model, 7).unwrap().unwrap()) {
        match part.unwrap() {
            (1, Value::Bytes(node), _) => nodes.push(name(node, 4)),
            (5, Value::Bytes(tensor), _) => tensors.push(name(tensor, 8)),
            _ => {}
        }
    }
    (nodes, tensors)
}

#[test]
fn a_product_with_a_constant_is_computed_in_integers() {
    let result = rewritten(&[product("x", "w", "y")], &[weight("w", 2, 16)]);
    let (nodes, tensors) = content(&result.model);
    assert_eq!(nodes, PRODUCT);
    assert_eq!(tensors, ["w_quantized", "w_scale", "w_zero_point"]);
    assert_eq!((result.matrices, result.tables), (1, 0));
}

#[test]
fn products_of_one_value_share_its_integers() {
    let nodes = [product("x", "w", "a"), product("x", "v", "b"), node("Add", &["a", "b"], &["y"], vec![])];
    let result = rewritten(&nodes, &[weight("w", 2, 16), weight("v", 2, 16)]);
    let (nodes, _) = content(&result.model);
    assert_eq!(nodes.iter().filter(|node| *node == "DynamicQuantizeLinear").count(), 1);
    assert_eq!((nodes.len(), result.matrices), (1 + 4 + 4 + 1, 2));
}

#[test]
fn a_gemm_becomes_a_product_and_a_sum() {
    let transposed = integer_attribute("transB", 1);
    let gemm = node("Gemm", &["x", "w", "b"], &["y"], transposed.clone());
    let bias = floats("b", &[16], &[0.5; 16]);
    let result = rewritten(&[gemm], &[weight("w", 16, 2), bias.clone()]);
    assert_eq!(content(&result.model).0, [&PRODUCT[..], &["Add"]].concat());

    // The factor 2: `alpha`, a float in field 2 of the attribute.
    let alpha = bytes(5, [bytes(1, "alpha"), vec![2 << 3 | 5, 0, 0, 0, 0x40], number(20, 1)].concat());
    let gemm = node("Gemm", &["x", "w", "b"], &["y"], [transposed, alpha].concat());
    assert_eq!(refused(&model(&[gemm], &[weight("w", 16, 2), bias])), Refusal::NothingToQuantize);
}

#[test]
fn a_table_is_looked_up_in_integers() {
    let nodes = [node("Gather", &["t", "x"], &["rows"], vec![]), product("rows", "w", "y")];
    let model = model_with(13, INT64, &nodes, &[weight("t", 5, 2), weight("w", 2, 16)]);
    let result = optimize(&model, &BTreeMap::new()).unwrap();
    assert_eq!(content(&result.model).0, [&["Gather", "DequantizeLinear"], &PRODUCT[..]].concat());
    assert_eq!((result.matrices, result.tables), (1, 1));
}

#[test]
fn weights_behind_other_nodes_are_constants() {
    let constant = bytes(5, [bytes(1, "value"), bytes(5, weight("", 16, 2)), number(20, 4)].concat());
    let nodes = [
        node("Constant", &[], &["c"], constant),
        node("Identity", &["c"], &["d"], vec![]),
        node("Transpose", &["d"], &["e"], vec![]),
        product("x", "e", "y"),
    ];
    assert_eq!(content(&rewritten(&nodes, &[]).model).0, PRODUCT);
}

#[test]
fn a_weight_that_another_node_reads_stays() {
    let sum = [product("x", "w", "a"), node("Add", &["a", "w"], &["y"], vec![])];
    let inner = bytes(1, node("Identity", &["w"], &["z"], vec![]));
    let branch = bytes(5, [bytes(1, "then_branch"), bytes(6, inner), number(20, 5)].concat());
    let sub_graph = [product("x", "w", "a"), node("If", &["a"], &["y"], branch)];
    for nodes in [sum, sub_graph] {
        let (_, tensors) = content(&rewritten(&nodes, &[weight("w", 2, 16)]).model);
        assert_eq!(tensors, ["w", "w_quantized", "w_scale", "w_zero_point"]);
    }
}

/// Encodes attention as exporters write it, with values of heads of this shape. Keys can be
/// transposed as the dynamo exporter does it.
fn attention(heads_of_values: &str, scale: &str, is_dynamo: bool) -> Vec<Vec<u8>> {
    let order = |order: &[i64]| {
        let places: Vec<u8> = order.iter().flat_map(|place| number(8, *place)).collect();
        bytes(5, [bytes(1, "perm"), places].concat())
    };
    let split = |part: &str, shape: &str, perm: &[i64]| {
        let [weight, linear, heads, turned] = ["w", "l", "h", "t"].map(|name| format!("{name}{part}"));
        let nodes = [
            product("x", &weight, &linear),
            node("Reshape", &[&linear, shape], &[&heads], vec![]),
            node("Transpose", &[&heads], &[&turned], order(perm)),
        ];
        nodes.to_vec()
    };
    let joined = [
        node("Concat", &["minus", "tokens", "size"], &["flat"], integer_attribute("axis", 0)),
        node("Reshape", &["tk", "flat"], &["matrices"], vec![]),
        node("Transpose", &["matrices"], &["turned"], order(&[0, 2, 1])),
        node("Reshape", &["turned", "s4"], &["keys"], vec![]),
    ];
    let (keys, perm, joined) =
        if is_dynamo { ("keys", [0, 2, 1, 3], &joined[..]) } else { ("tk", [0, 2, 3, 1], &[][..]) };
    let parts = [
        &split("q", "s4", &[0, 2, 1, 3])[..],
        &split("k", "s4", &perm),
        joined,
        &split("v", heads_of_values, &[0, 2, 1, 3]),
    ];
    let rest = [
        node("Identity", &["x"], &["mask"], vec![]),
        product("tq", keys, "scores"),
        node("Mul", &["scores", scale], &["scaled"], vec![]),
        node("Add", &["scaled", "mask"], &["sum"], vec![]),
        node("Softmax", &["sum"], &["shares"], integer_attribute("axis", -1)),
        product("shares", "tv", "weighted"),
        node("Transpose", &["weighted"], &["merged"], order(&[0, 2, 1, 3])),
        node("Reshape", &["merged", "s3"], &["y"], vec![]),
    ];
    [parts.concat(), rest.to_vec()].concat()
}

#[test]
fn attention_becomes_one_operator_that_skips_a_bias_of_zeros() {
    let weights = ["wq", "wk", "wv"].map(|name| weight(name, 2, 16));
    let shapes = [integers("s4", &[0, 0, 2, -1]), integers("s1", &[0, 0, 1, 16]), integers("s3", &[0, 0, 16])];
    let sizes = [integers("minus", &[-1]), integers("tokens", &[1]), integers("size", &[8])];
    let tensors = [&weights[..], &shapes, &sizes, &[floats("half", &[], &[0.5])]].concat();
    assert_eq!(rewritten(&attention("s4", "half", true), &tensors).attentions, 1);
    let result = rewritten(&attention("s4", "half", false), &tensors);
    let (nodes, _) = content(&result.model);
    assert_eq!((result.attentions, nodes.last().map(String::as_str)), (1, Some("If")));
    assert!(!nodes.contains(&"Softmax".to_owned()), "{nodes:?}");
    assert!(GraphFacts::parse(&result.model).unwrap().operators.contains("MultiHeadAttention"));

    let mut endless = attention("s4", "half", false);
    *endless.last_mut().unwrap() = node("Reshape", &["merged", "s3"], &[], vec![]);
    endless.push(product("x", "wq", "y"));
    assert_eq!(rewritten(&endless, &tensors).attentions, 0);

    for (heads_of_values, scale) in [("s1", "half"), ("s4", "x")] {
        let result = rewritten(&attention(heads_of_values, scale, false), &tensors);
        assert_eq!(result.attentions, 0);
        assert!(content(&result.model).0.contains(&"Softmax".to_owned()));
    }
}

#[test]
fn weights_of_another_file_are_included() {
    let entry = |key: &str, value: &str| bytes(13, [bytes(1, key), bytes(2, value)].concat());
    let external = |name: &str, dims: &[i64], start: &str, length: &str| {
        let place = [entry("location", "w.data"), entry("offset", start), entry("length", length), number(14, 1)];
        [tensor(name, FLOAT, dims, None), place.concat()].concat()
    };
    let nodes = [product("x", "w", "a"), node("Add", &["a", "b"], &["y"], vec![])];
    let numbers: Vec<f32> = (0..48u8).map(f32::from).collect();
    let file = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let files = BTreeMap::from([("w.data".to_owned(), file)]);
    let outside = model(&nodes, &[external("w", &[2, 16], "64", "128"), external("b", &[16], "0", "64")]);
    let inside = model(&nodes, &[floats("w", &[2, 16], &numbers[16..]), floats("b", &[16], &numbers[..16])]);
    let [outside_result, inside_result] = [&outside, &inside].map(|model| optimize(model, &files).unwrap().model);
    assert_eq!(outside_result, inside_result);

    for (start, length) in [("64", "256"), ("18446744073709551615", "128"), ("-1", "128")] {
        let error = optimize(&model(&nodes[..1], &[external("w", &[2, 16], start, length)]), &files).unwrap_err();
        assert!(matches!(&error, Refusal::Invalid(text) if text.contains("weight")), "{error}");
    }
    assert_eq!(refused(&outside).to_string(), "its weights file `w.data` is missing");
}

#[test]
fn graphs_that_int8_cannot_help_are_refused() {
    let product = [product("x", "w", "y")];
    assert_eq!(refused(&model(&product, &[weight("w", 2, 15)])), Refusal::NothingToQuantize);
    assert_eq!(refused(&model(&product, &[])), Refusal::NothingToQuantize);
    let half = tensor("w", 10, &[2, 16], Some(&[0; 64]));
    assert_eq!(refused(&model(&product, &[half])), Refusal::Half);
    assert_eq!(refused(&model_with(13, STRING, &product, &[weight("w", 2, 16)])), Refusal::TakesText);
    let old = model_with(10, FLOAT, &product, &[weight("w", 2, 16)]);
    assert_eq!(refused(&old), Refusal::OldOpset { found: 10 });
    let result = rewritten(&product, &[weight("w", 2, 16)]);
    assert_eq!(refused(&result.model), Refusal::Quantized { operator: "DynamicQuantizeLinear".into() });
}

#[test]
fn absurd_tensors_are_refused_without_memory_for_them() {
    for dims in [&[1 << 40, 1 << 40][..], &[-1, 16], &[3, 16], &[i64::MAX, 4]] {
        let absurd = tensor("w", FLOAT, dims, Some(&[0; 128]));
        let error = refused(&model(&[product("x", "w", "y")], &[absurd]));
        assert!(matches!(&error, Refusal::Invalid(_)), "{dims:?}: {error}");
    }
    let infinite = floats("w", &[1, 16], &[f32::INFINITY; 16]);
    let error = refused(&model(&[product("x", "w", "y")], &[infinite])).to_string();
    assert_eq!(error, "its weight `w` has numbers that are infinite or not a number");
    assert!(matches!(refused(b"<html>"), Refusal::Invalid(_)));
}

proptest! {
    #[test]
    fn any_bytes_are_rewritten_or_refused(
        at in any::<prop::sample::Index>(), with in prop::collection::vec(any::<u8>(), 0..4), cut in any::<bool>(),
    ) {
        let gemm = node("Gemm", &["a", "w", "b"], &["y"], integer_attribute("transB", 1));
        let nodes = [node("Gather", &["t", "x"], &["r"], vec![]), product("r", "v", "a"), gemm];
        let bias = floats("b", &[16], &[0.5; 16]);
        let tensors = [weight("t", 3, 2), weight("v", 2, 16), weight("w", 16, 16), bias];
        let mut file = model_with(13, INT64, &nodes, &tensors);
        let place = at.index(file.len());
        if cut {
            file.truncate(place);
        } else {
            let end = file.len().min(place + with.len());
            file.splice(place..end, with);
        }
        if let Ok(result) = optimize(&file, &BTreeMap::new()) {
            GraphFacts::parse(&result.model).unwrap();
        }
    }
}

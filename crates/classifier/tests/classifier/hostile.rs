//! Malicious folders, each refused with an error.
//!
//! Memory and time are measured in `tests/suite/hostile.rs`, with the executable.

use std::fs;
use std::path::Path;
#[cfg(unix)]
use std::process::Command;

use classifier::testing::onnx::{
    bytes, depending_on, domain, endless_model, external, floats, function, import, integers, model, model_of, node,
};
use classifier::testing::with_settings;
use serde_json::{Value, json};

use crate::assert_refused;

/// Asserts that a folder cannot be loaded after a change.
#[track_caller]
fn refused(change: impl FnOnce(&Path), expected: &str) {
    let folder = with_settings("wordpiece-pairs", "");
    change(folder.path());
    assert_refused(folder.path(), expected);
}

fn write(name: &'static str, content: impl AsRef<[u8]>) -> impl FnOnce(&Path) {
    move |folder| fs::write(folder.join(name), content).unwrap()
}

/// Makes a sparse file of this size.
fn grown(name: &'static str, bytes: u64) -> impl FnOnce(&Path) {
    move |folder| fs::File::create(folder.join(name)).unwrap().set_len(bytes).unwrap()
}

fn tokenizer(change: impl FnOnce(&mut Value)) -> impl FnOnce(&Path) {
    move |folder| {
        let path = folder.join("tokenizer.json");
        let mut content: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut content);
        fs::write(path, content.to_string()).unwrap();
    }
}

#[test]
fn tensors_smaller_than_declared_are_refused() {
    let uses = [node("Identity", &["w"], &["big"], vec![])];
    for (dims, expected) in [
        (&[1i64 << 33][..], "Initializer 'w' declares"),
        (&[1 << 31, 1 << 31], "Invalid TensorProto"),
        (&[-1], "dimensions"),
    ] {
        let mut tensor = floats("w", dims, &[]);
        tensor.truncate(tensor.len() - 2);
        refused(write("model.onnx", depending_on(&uses, &[tensor])), expected);
    }
}

#[test]
fn external_weights_out_of_range_are_refused() {
    for (dims, offset, length) in [
        (1 << 31, "0", "8589934592"),
        (4, "9223372036854775800", "16"),
        (4, "-16", "16"),
        (4, "0", "99999999999999999999"),
    ] {
        let entries = [("location", "w.bin"), ("offset", offset), ("length", length)];
        let graph = depending_on(&[node("Identity", &["w"], &["big"], vec![])], &[external("w", &[dims], &entries)]);
        let change = |folder: &Path| {
            write("w.bin", [0; 64])(folder);
            write("model.onnx", graph)(folder);
        };
        refused(change, "`DIR/model.onnx` is invalid: ");
    }
}

#[test]
fn files_of_terabytes_are_not_read() {
    let graph = depending_on(
        &[node("Identity", &["w"], &["big"], vec![])],
        &[external("w", &[1 << 34], &[("location", "w.bin"), ("length", "68719476736")])],
    );
    let weights = |folder: &Path| {
        grown("w.bin", 1 << 36)(folder);
        write("model.onnx", graph)(folder);
    };
    refused(weights, "w.bin` is invalid: it has 68719476736 bytes, expected at most 17179869184");
    for (name, limit) in [
        ("model.onnx", 2u64 << 30),
        ("tokenizer.json", 64 << 20),
        ("config.json", 16 << 20),
        ("tokenizer_config.json", 16 << 20),
        ("special_tokens_map.json", 16 << 20),
        ("local-model.toml", 1 << 20),
        ("warmup.txt", 1 << 20),
    ] {
        let expected = format!("it has 1099511627776 bytes, expected at most {limit}; replace it by the right file");
        refused(grown(name, 1 << 40), &expected);
    }
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_not_read() {
    for name in ["model.onnx", "config.json"] {
        let pipe = |folder: &Path| {
            fs::remove_file(folder.join(name)).unwrap();
            assert!(Command::new("mkfifo").arg(folder.join(name)).status().unwrap().success());
        };
        refused(pipe, &format!("model folder `DIR` has no `{name}`"));
    }
    let device = |folder: &Path| {
        fs::remove_file(folder.join("tokenizer.json")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.join("tokenizer.json")).unwrap();
    };
    refused(device, "which lies outside it; copy");
}

#[test]
fn functions_that_double_with_every_level_are_refused() {
    let mut functions = function("f0", &[node("Identity", &["x"], &["y"], vec![])]);
    for level in 1..31 {
        let inner = format!("f{}", level - 1);
        let twice = [node(&inner, &["x"], &["t"], domain("f")), node(&inner, &["t"], &["y"], domain("f"))];
        functions.extend(function(&format!("f{level}"), &twice));
    }
    functions.extend(import("f", 8));
    let graph = model(&[node("f30", &["l"], &["logits"], domain("f"))], &[], &functions);
    refused(write("model.onnx", graph), "it has more than 131072 nodes, with functions inlined");
}

#[test]
fn graphs_with_too_many_nodes_are_refused() {
    let nodes: Vec<_> = (0..140_000).map(|_| node("Identity", &["l"], &["logits"], vec![])).collect();
    refused(write("model.onnx", model(&nodes, &[], &[])), "it has more than 131072 nodes");
}

#[test]
fn an_endless_loop_is_ended() {
    refused(write("model.onnx", endless_model(false)), "Exiting due to terminate flag being set");
}

#[test]
fn absurd_fixed_lengths_are_refused() {
    for length in [1 << 30, 1 << 60] {
        let graph = model_of([1, length], &[node("Identity", &["l"], &["logits"], vec![])], &[], &[]);
        refused(write("model.onnx", graph), &format!("the graph has the input `input_ids Tensor<i64>(1, {length})`"));
    }
}

#[test]
fn scores_of_another_shape_than_declared_are_refused() {
    let empty = [node("ConstantOfShape", &["shape"], &["logits"], vec![])];
    let graph = model(&empty, &[integers("shape", &[0, 3])], &[]);
    refused(write("model.onnx", graph), "its output has the shape [0, 3], expected 1 row");
}

#[test]
fn paths_in_the_defaults_of_functions_are_checked() {
    let secret = external("w", &[4], &[("location", "../secret")]);
    let attribute = bytes(11, [bytes(1, "value"), bytes(5, secret)].concat());
    let body = [bytes(1, "f0"), attribute, bytes(7, node("Identity", &["x"], &["y"], vec![]))].concat();
    let graph = model(&[node("Identity", &["l"], &["logits"], vec![])], &[], &bytes(25, body));
    refused(write("model.onnx", graph), "names `../secret`, which lies outside it");
}

#[test]
fn endless_configurations_are_refused() {
    let deep = format!("{{\"id2label\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    refused(write("config.json", deep), "`DIR/config.json` is invalid: ");
    let labels: serde_json::Map<_, _> = (0..100_000).map(|number| (number.to_string(), json!("l"))).collect();
    let expected = "`id2label` names 100000 labels, expected at most 65536";
    refused(write("config.json", json!({ "id2label": labels }).to_string()), expected);
    refused(write("local-model.toml", format!("a = {}", "[".repeat(100_000))), "recur");
    refused(write("local-model.toml", format!("{} = 1", ["a"; 20_000].join("."))), "recur");
    refused(write("tokenizer_config.json", "{\"model_max_length\": 1e999}"), "number out of range");
}

#[test]
fn normalizers_that_expand_texts_are_refused() {
    let step = json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "a".repeat(100) });
    let growth = "the growth of a text in its `normalizer`: 10000, expected at most 128";
    let steps = json!({ "type": "Sequence", "normalizers": [step, step] });
    refused(tokenizer(|file| file["normalizer"] = steps), growth);
    let many = json!({ "type": "Sequence", "normalizers": vec![json!({ "type": "NFKD" }); 1000] });
    refused(tokenizer(|file| file["normalizer"] = many), "the steps of its `normalizer`: 1001");
    for table in ["", "AAAAAAAAAAAAAAAA", "/////wAAAAA=", "?"] {
        let table = json!({ "type": "Precompiled", "precompiled_charsmap": table });
        let expected = "its `precompiled_charsmap` is not a table of characters";
        refused(tokenizer(|file| file["normalizer"] = table), expected);
    }
}

#[test]
fn templates_that_repeat_a_text_are_refused() {
    let single = vec![json!({ "Sequence": { "id": "A", "type_id": 0 } }); 1000];
    let pair = json!([{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }]);
    let template = json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": {} });
    let expected = "the texts in `single` of its `post_processor`: 1000, expected at most 1";
    refused(tokenizer(|file| file["post_processor"] = template), expected);
}

#[test]
fn absurd_vocabularies_are_refused() {
    let piece = json!({ "type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a".repeat(1_000_000), -1.0]] });
    let expected = "the longest piece of its `vocab` in bytes: 1000000, expected at most 1024";
    refused(tokenizer(|file| file["model"] = piece), expected);
    let word = "its `max_input_chars_per_word`: 1000000, expected at most 256";
    refused(tokenizer(|file| file["model"]["max_input_chars_per_word"] = json!(1_000_000)), word);
    let added: Vec<Value> =
        (0..150_000).map(|number| json!({ "id": 420 + number, "content": format!("<added-{number}>") })).collect();
    refused(tokenizer(|file| file["added_tokens"] = added.into()), "the bytes of its `added_tokens`: ");
    let number = json!(u32::MAX);
    refused(tokenizer(|file| file["model"]["vocab"]["zzz"] = number), "has 4294967296 tokens but the model embeds 420");
}

#[test]
fn patterns_too_large_or_too_deep_are_refused() {
    let split = |pattern: String| json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
    for (pattern, expected) in [
        ("(((a{1000}){1000}){1000})".to_owned(), "Error compiling regex"),
        (format!("{}{}", "(".repeat(100_000), ")".repeat(100_000)), "Pattern too deeply nested"),
    ] {
        refused(tokenizer(|file| file["pre_tokenizer"] = split(pattern)), expected);
    }
}

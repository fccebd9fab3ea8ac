//! Folders made to hurt, against the executable: each is refused, or fails its call, with a sentence, within bounded time and
//! memory. Folders that are merely broken are in `broken` and `unsuitable`.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use classifier::{Input, Location, loader};
use engine::testing::settings;
use engine::{Engine, EngineSettings, Request};
use local_model_mcp::onnxruntime::LibrarySettings;
use serde_json::{Value, json};

use crate::client::{Server, call, command, predict, shared_cache};
use crate::goldens::with_settings;
use crate::onnx::{
    bytes, domain, endless, external, floats, function, graph_attribute, import, integer_attribute, integers, model,
    model_of, node, truth, turns,
};

/// For the slowest machine; all but the endless loops take a second.
const LONGEST: Duration = Duration::from_secs(120);
/// What a refusal may take before anything is run: the library, and files of the largest size that is read.
const REFUSED_MB: u64 = 400;
/// The limit that runs are given here, and what the process takes beside.
const LIMIT_BYTES: &str = "1073741824";
const LIMITED_MB: u64 = 1200;

struct Ended {
    status: Option<i32>,
    said: String,
    peak_mb: u64,
}

/// One text through `predict`, watched. A peak is a peak for good, so that looking now and then is enough.
#[track_caller]
fn watched(folder: &Path, text: &str, more: &[&str]) -> Ended {
    let model = format!("m={}", folder.display());
    let mut command = command(&["predict", "--model", &model, text]);
    // Into a file: a pipe that nobody reads holds up who writes it.
    let mut output = tempfile::tempfile().unwrap();
    let end = || output.try_clone().unwrap();
    command
        .env("LOCAL_MODEL_MCP_MAX_MEMORY_BYTES", LIMIT_BYTES)
        .args(more)
        .stdin(Stdio::null())
        .stdout(end())
        .stderr(end());
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak_kb = 0;
    let status = loop {
        let lines = fs::read_to_string(&status_file).unwrap_or_default();
        let peak = lines.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        peak_kb = peak_kb.max(peak.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > LONGEST {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("still running after {LONGEST:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(peak_kb > 0, "its memory was not seen");
    let mut said = String::new();
    output.rewind().unwrap();
    output.read_to_string(&mut said).unwrap();
    Ended { status: status.code(), said: said.replace(&folder.display().to_string(), "DIR"), peak_mb: peak_kb >> 10 }
}

/// The folder cannot be used, and one sentence says why.
#[track_caller]
fn refused(change: impl FnOnce(&Path), most_mb: u64, expected: &str) {
    let folder = with_settings("wordpiece-pairs", "");
    change(folder.path());
    let ended = watched(folder.path(), "hello", &[]);
    assert!(
        ended.said.starts_with("error: model `m` cannot be used: ") && ended.said.contains(expected),
        "{}",
        ended.said
    );
    assert_eq!((ended.said.trim_end().lines().count(), ended.status), (1, Some(2)), "{}", ended.said);
    assert!(ended.peak_mb <= most_mb, "{} MB", ended.peak_mb);
}

fn write(name: &'static str, content: impl AsRef<[u8]>) -> impl FnOnce(&Path) {
    move |folder| fs::write(folder.join(name), content).unwrap()
}

/// Makes a file as large as that without taking the room.
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

/// A graph whose scores depend on a tensor `big`, which `maker` makes.
fn depending_on(maker: &[Vec<u8>], tensors: &[Vec<u8>]) -> Vec<u8> {
    let scores = [
        node("ReduceMax", &["big"], &["most"], integer_attribute("keepdims", 0)),
        node("Add", &["l", "most"], &["logits"], vec![]),
    ];
    model(&[maker, &scores].concat(), tensors, &[])
}

#[test]
fn a_graph_that_makes_gigabytes_of_nothing() {
    for shape in [[1 << 15, 1 << 15], [1 << 18, 1 << 18], [1 << 31, 1 << 31], [1 << 40, 1 << 40]] {
        for (operator, tensors) in [
            ("ConstantOfShape", vec![integers("shape", &shape)]),
            ("Expand", vec![integers("shape", &shape), floats("one", &[], &[1.0])]),
            ("Tile", vec![integers("shape", &shape), floats("one", &[1, 1], &[1.0])]),
        ] {
            let inputs: &[&str] = if operator == "ConstantOfShape" { &["shape"] } else { &["one", "shape"] };
            let graph = depending_on(&[node(operator, inputs, &["big"], vec![])], &tensors);
            refused(write("model.onnx", graph), REFUSED_MB, operator);
        }
    }
}

#[test]
fn a_graph_that_makes_gigabytes_of_a_text_fails_the_call() {
    let maker = [
        node("Shape", &["input_ids"], &["own"], vec![]),
        node("Mul", &["own", "times"], &["shape"], vec![]),
        node("ConstantOfShape", &["shape"], &["big"], vec![]),
    ];
    // 32 kB a token, by eight tokens when it is loaded; far too much for the text.
    let folder = with_settings("wordpiece-pairs", "max_tokens = 60000\noverflow = \"error\"");
    write("model.onnx", depending_on(&maker, &[integers("times", &[1, 8192])]))(folder.path());
    let config = json!({ "max_position_embeddings": 60000, "vocab_size": 420, "num_labels": 3 });
    write("config.json", config.to_string())(folder.path());
    write("tokenizer_config.json", "{}")(folder.path());
    let ended = watched(folder.path(), &"a ".repeat(50_000), &[]);
    assert!(
        ended.said.contains("\"error\":\"model `m` could not run this text: "),
        "{}",
        &ended.said[ended.said.len() - 900..]
    );
    assert_eq!(ended.status, Some(1));
    assert!(ended.peak_mb <= LIMITED_MB, "{} MB", ended.peak_mb);
}

#[test]
fn tensors_that_are_declared_larger_than_they_are() {
    let uses = [node("Identity", &["w"], &["big"], vec![])];
    for (dims, expected) in [
        (&[1i64 << 33][..], "Initializer 'w' declares"),
        (&[1 << 31, 1 << 31], "Invalid TensorProto"),
        (&[-1], "dimensions"),
    ] {
        let mut tensor = floats("w", dims, &[]);
        tensor.truncate(tensor.len() - 2);
        refused(write("model.onnx", depending_on(&uses, &[tensor])), REFUSED_MB, expected);
    }
}

#[test]
fn weights_beside_the_graph_that_lie_out_of_range() {
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
        refused(change, REFUSED_MB, "`DIR/model.onnx` is invalid: ");
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
    refused(weights, REFUSED_MB, "w.bin` is invalid: it has 68719476736 bytes, expected at most 17179869184");
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
        refused(grown(name, 1 << 40), REFUSED_MB, &expected);
    }
}

#[test]
fn a_pipe_in_place_of_a_file_is_not_waited_for() {
    for name in ["model.onnx", "config.json"] {
        let pipe = |folder: &Path| {
            fs::remove_file(folder.join(name)).unwrap();
            rustix::fs::mkfifoat(rustix::fs::CWD, folder.join(name), rustix::fs::Mode::RUSR).unwrap();
        };
        refused(pipe, REFUSED_MB, &format!("model folder `DIR` has no `{name}`"));
    }
    let device = |folder: &Path| {
        fs::remove_file(folder.join("tokenizer.json")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.join("tokenizer.json")).unwrap();
    };
    refused(device, REFUSED_MB, "which lies outside it; copy");
}

#[test]
fn functions_that_double_with_every_level() {
    let mut functions = function("f0", &[node("Identity", &["x"], &["y"], vec![])]);
    for level in 1..31 {
        let inner = format!("f{}", level - 1);
        let twice = [node(&inner, &["x"], &["t"], domain("f")), node(&inner, &["t"], &["y"], domain("f"))];
        functions.extend(function(&format!("f{level}"), &twice));
    }
    functions.extend(import("f", 8));
    let graph = model(&[node("f30", &["l"], &["logits"], domain("f"))], &[], &functions);
    refused(write("model.onnx", graph), REFUSED_MB, "it has more than 131072 nodes, with functions inlined");
}

#[test]
fn more_nodes_than_any_model_has() {
    let nodes: Vec<_> = (0..140_000).map(|_| node("Identity", &["l"], &["logits"], vec![])).collect();
    refused(write("model.onnx", model(&nodes, &[], &[])), REFUSED_MB, "it has more than 131072 nodes");
}

#[test]
fn a_loop_that_does_not_end() {
    let body = graph_attribute("body", &endless(false));
    let nodes = [node("Loop", &["turns", "go", "l"], &["logits"], body)];
    let graph = model(&nodes, &[turns("turns", 1 << 62), truth("go")], &[]);
    refused(write("model.onnx", graph), REFUSED_MB, "Exiting due to terminate flag being set");
}

#[test]
fn a_loop_that_does_not_end_and_keeps_all_it_made() {
    let folder = with_settings("wordpiece-pairs", "");
    let body = graph_attribute("body", &endless(true));
    let nodes = [node("Loop", &["turns", "go", "l"], &["logits", "all"], body)];
    write("model.onnx", model(&nodes, &[turns("turns", 1 << 62), truth("go")], &[]))(folder.path());
    // Ended by its time, or by the limit of memory; at the very limit the runtime may end the process.
    let ended = watched(folder.path(), "hello", &["--max-memory-bytes", "8589934592"]);
    assert!(ended.status != Some(0) && ended.peak_mb <= 8300, "{} MB, {}", ended.peak_mb, ended.said);
}

#[test]
fn while_a_model_does_not_end_the_others_answer() {
    let folder = with_settings("wordpiece-pairs", "");
    let nodes = [node("Loop", &["turns", "go", "l"], &["logits"], graph_attribute("body", &endless(false)))];
    write("model.onnx", model(&nodes, &[turns("turns", 1 << 62), truth("go")], &[]))(folder.path());
    let bad = format!("bad={}", folder.path().display());
    let good = format!("good={}/models/sentiment", env!("CARGO_MANIFEST_DIR"));
    let mut server = Server::over_pipes(command(&["serve", "--model", &bad, "--model", &good]));
    server.send(&call(1, "local_model_predict", json!({ "text": "I love this" })));
    let answer = server.ask(&call(2, "local_model_predict", json!({ "text": "I love this", "model": "good" })));
    assert_eq!(answer["result"]["structuredContent"]["prediction"], "positive");
    let other = server.receive();
    assert_eq!((&other["id"], &other["result"]["isError"]), (&json!(1), &json!(true)), "{other}");
    assert_eq!(server.finish(), (Some(0), String::new()));
}

/// The graph turns 2^62 times if the text holds `!`, token 5, and not at all otherwise.
#[tokio::test]
async fn a_loop_that_only_some_texts_start_costs_their_deadline_and_no_other_call() {
    let folder = with_settings("wordpiece-pairs", "");
    let nodes = [
        node("Equal", &["input_ids", "mark"], &["marks"], vec![]),
        node("Cast", &["marks"], &["counted"], integer_attribute("to", 7)),
        node("ReduceMax", &["counted"], &["any"], integer_attribute("keepdims", 0)),
        node("Mul", &["any", "many"], &["turns"], vec![]),
        node("Loop", &["turns", "go", "l"], &["logits"], graph_attribute("body", &endless(false))),
    ];
    let tensors = [integers("mark", &[5]), turns("many", 1 << 62), truth("go")];
    write("model.onnx", model(&nodes, &tensors, &[]))(folder.path());
    let library = LibrarySettings { path: None, cache_dir: Some(shared_cache().to_owned()) };
    let load = |name: &str, location| (name.to_owned(), loader(name.to_owned(), location, library.clone(), 1));
    let models = vec![load("bad", Location::Folder(folder.path().into())), load("good", Location::BuiltIn)];
    let deadline = Duration::from_secs(2);
    let engine = Engine::start(models, EngineSettings { deadline, ..settings() });
    for name in engine.names() {
        engine.ready(Some(&name)).await.unwrap();
    }
    let ask = |model: &str, text: String| {
        engine.predict(Request { model: Some(model.into()), input: Input::single(text), ..Request::default() })
    };
    for number in 0..8 {
        ask("bad", format!("hello {number}")).await.unwrap();
    }
    let started = Instant::now();
    let (looping, other) = tokio::join!(ask("bad", "hello !".into()), ask("good", "I love this".into()));
    assert!(matches!(looping, Err(engine::Error::Deadline { .. })), "{looping:?}");
    assert_eq!(other.unwrap().label().prediction, "positive");
    ask("bad", "hello again".into()).await.unwrap();
    assert!(started.elapsed() < deadline + Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn lengths_that_no_machine_has() {
    for length in [1 << 30, 1 << 60] {
        let graph = model_of([1, length], &[node("Identity", &["l"], &["logits"], vec![])], &[], &[]);
        refused(
            write("model.onnx", graph),
            REFUSED_MB,
            &format!("the graph has the input `input_ids Tensor<i64>(1, {length})`"),
        );
    }
}

#[test]
fn scores_of_another_shape_than_declared() {
    let empty = [node("ConstantOfShape", &["shape"], &["logits"], vec![])];
    let graph = model(&empty, &[integers("shape", &[0, 3])], &[]);
    refused(write("model.onnx", graph), REFUSED_MB, "its scores have the shape [0, 3], expected 1 row");
}

#[test]
fn a_path_that_leads_out_from_the_default_of_a_function() {
    let secret = external("w", &[4], &[("location", "../secret")]);
    let attribute = bytes(11, [bytes(1, "value"), bytes(5, secret)].concat());
    let body = [bytes(1, "f0"), attribute, bytes(7, node("Identity", &["x"], &["y"], vec![]))].concat();
    let graph = model(&[node("Identity", &["l"], &["logits"], vec![])], &[], &bytes(25, body));
    refused(write("model.onnx", graph), REFUSED_MB, "names `../secret`, which lies outside it");
}

#[test]
fn configurations_without_bottom_or_end() {
    let deep = format!("{{\"id2label\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    refused(write("config.json", deep), REFUSED_MB, "`DIR/config.json` is invalid: ");
    let labels: serde_json::Map<_, _> = (0..100_000).map(|number| (number.to_string(), json!("l"))).collect();
    let expected = "`id2label` names 100000 labels, expected at most 65536";
    refused(write("config.json", json!({ "id2label": labels }).to_string()), REFUSED_MB, expected);
    refused(write("local-model.toml", format!("a = {}", "[".repeat(100_000))), REFUSED_MB, "recur");
    refused(write("local-model.toml", format!("{} = 1", ["a"; 20_000].join("."))), REFUSED_MB, "recur");
    refused(write("tokenizer_config.json", "{\"model_max_length\": 1e999}"), REFUSED_MB, "number out of range");
}

#[test]
fn normalizers_that_make_a_short_text_long() {
    let step = json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "a".repeat(100) });
    let growth = "the growth of a text in its `normalizer`: 10000, expected at most 128";
    let steps = json!({ "type": "Sequence", "normalizers": [step, step] });
    refused(tokenizer(|file| file["normalizer"] = steps), REFUSED_MB, growth);
    let many = json!({ "type": "Sequence", "normalizers": vec![json!({ "type": "NFKD" }); 1000] });
    refused(tokenizer(|file| file["normalizer"] = many), REFUSED_MB, "the steps of its `normalizer`: 1001");
    for table in ["", "AAAAAAAAAAAAAAAA", "/////wAAAAA=", "?"] {
        let table = json!({ "type": "Precompiled", "precompiled_charsmap": table });
        let expected = "its `precompiled_charsmap` is not a table of characters";
        refused(tokenizer(|file| file["normalizer"] = table), REFUSED_MB, expected);
    }
}

#[test]
fn tokenizers_that_repeat_a_text() {
    let single = vec![json!({ "Sequence": { "id": "A", "type_id": 0 } }); 1000];
    let pair = json!([{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }]);
    let template = json!({ "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": {} });
    let expected = "the texts in `single` of its `post_processor`: 1000, expected at most 1";
    refused(tokenizer(|file| file["post_processor"] = template), REFUSED_MB, expected);
}

#[test]
fn vocabularies_made_to_break_what_reads_them() {
    let piece = json!({ "type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a".repeat(1_000_000), -1.0]] });
    let expected = "the longest piece of its `vocab` in bytes: 1000000, expected at most 1024";
    refused(tokenizer(|file| file["model"] = piece), REFUSED_MB, expected);
    let word = "its `max_input_chars_per_word`: 1000000, expected at most 256";
    refused(tokenizer(|file| file["model"]["max_input_chars_per_word"] = json!(1_000_000)), REFUSED_MB, word);
    let added: Vec<Value> =
        (0..150_000).map(|number| json!({ "id": 420 + number, "content": format!("<added-{number}>") })).collect();
    refused(tokenizer(|file| file["added_tokens"] = added.into()), REFUSED_MB, "the bytes of its `added_tokens`: ");
    let number = json!(u32::MAX);
    refused(
        tokenizer(|file| file["model"]["vocab"]["zzz"] = number),
        REFUSED_MB,
        "has 4294967296 tokens but the model embeds 420",
    );
}

#[test]
fn patterns_that_are_too_large_or_too_deep() {
    let split = |pattern: String| json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
    for (pattern, expected) in [
        ("(((a{1000}){1000}){1000})".to_owned(), "Error compiling regex"),
        (format!("{}{}", "(".repeat(100_000), ")".repeat(100_000)), "Pattern too deeply nested"),
    ] {
        refused(tokenizer(|file| file["pre_tokenizer"] = split(pattern)), REFUSED_MB, expected);
    }
}

#[test]
fn a_pattern_without_end_costs_its_calls_the_deadline() {
    let folder = with_settings("wordpiece-pairs", "");
    let split =
        json!({ "type": "Split", "pattern": { "Regex": "(?=(a+)+b)" }, "behavior": "Isolated", "invert": false });
    tokenizer(|file| file["pre_tokenizer"] = split)(folder.path());
    let model = folder.path().to_str().unwrap();
    let mut server =
        Server::over_pipes(command(&["serve", "--workers", "1", "--deadline-ms", "500", "--model", model]));
    for id in 0..2 {
        let late = server.ask(&predict(id, &"a".repeat(100_000 + id)));
        let text = late["result"]["content"][0]["text"].as_str().unwrap_or_default();
        assert!(text.contains("did not answer within 500 ms"), "{late}");
    }
}

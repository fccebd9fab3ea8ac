//! Folders of well-formed files that are not a classifier, and the error that each gives.

use std::fs;
use std::path::Path;

use classifier::Error;
use classifier::testing::onnx::{model_with, node};
use classifier::testing::{fixture, with_settings};

use crate::{assert_refused, load};

/// Asserts that a fixture's copy cannot be loaded after a change.
#[track_caller]
fn refused(name: &str, change: impl FnOnce(&Path), expected: &str) {
    let folder = with_settings(name, "");
    change(folder.path());
    assert_refused(folder.path(), expected);
}

fn write(file: &'static str, content: &'static str) -> impl FnOnce(&Path) {
    move |dir| fs::write(dir.join(file), content).unwrap()
}

/// Replaces bytes in the graph by the same number of others, so that lengths in it stay valid.
fn patched(from: &'static [u8], to: &'static [u8]) -> impl FnOnce(&Path) {
    move |dir| {
        let path = dir.join("model.onnx");
        let mut graph = fs::read(&path).unwrap();
        let at = graph.windows(from.len()).position(|window| window == from).expect("the graph has these bytes");
        graph[at..at + to.len()].copy_from_slice(to);
        fs::write(path, graph).unwrap();
    }
}

fn configured(key: &'static str, value: serde_json::Value) -> impl FnOnce(&Path) {
    move |dir| {
        let path = dir.join("config.json");
        let mut config: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        config[key] = value;
        fs::write(path, config.to_string()).unwrap();
    }
}

#[test]
fn weights_must_be_in_the_folder() {
    let name = "dynamo-external-data";
    refused(
        name,
        |dir| fs::remove_file(dir.join("model.onnx.data")).unwrap(),
        "model folder `DIR` has no `model.onnx.data`; copy the graph's weights next to it",
    );
    refused(name, patched(b"model.onnx.data", b"../../etc/hosts"), "names `../../etc/hosts`, which lies outside it");
    refused(name, patched(b"model.onnx.data", b"/etc/hosts/data"), "names `/etc/hosts/data`, which lies outside it");
    #[cfg(unix)]
    refused(
        name,
        |dir| {
            fs::remove_file(dir.join("model.onnx.data")).unwrap();
            std::os::unix::fs::symlink("/etc/hosts", dir.join("model.onnx.data")).unwrap();
        },
        "names `DIR/model.onnx.data`, which lies outside it; copy the file into the folder",
    );
}

#[cfg(unix)]
#[test]
fn links_out_of_the_folder_are_refused() {
    refused(
        "wordpiece-pairs",
        |dir| {
            fs::remove_file(dir.join("tokenizer.json")).unwrap();
            std::os::unix::fs::symlink(fixture("wordpiece-pairs/tokenizer.json"), dir.join("tokenizer.json")).unwrap();
        },
        "copy the file into the folder (`cp -rL` follows links)",
    );
}

#[test]
fn graphs_beyond_this_runtime_are_refused() {
    let name = "wordpiece-pairs";
    refused(name, patched(b"\x08\x08", b"\x08\x7f"), "or use a newer ONNX Runtime");
    refused(name, patched(b"\x22\x07Softmax", b"\x22\x07Sofrmax"), "export it without custom operators");
    refused(name, patched(b"token_type_ids", b"token_kind_ids"), "export it again, for example with opset 17");
}

#[test]
fn models_for_other_tasks_are_refused() {
    for architecture in ["GPT2LMHeadModel", "BertForMaskedLM", "T5ForConditionalGeneration", "BertForQuestionAnswering"]
    {
        refused(
            "wordpiece-pairs",
            configured("architectures", serde_json::json!([architecture])),
            &format!("`config.json` declares a `{architecture}`; expected sequence or token classification"),
        );
    }
    refused(
        "ner-wordpiece",
        configured("architectures", serde_json::json!(["BertForSequenceClassification"])),
        "and a graph exported for the same task",
    );
}

#[test]
fn a_body_without_a_trained_head_is_refused() {
    for architecture in ["BertModel", "XLMRobertaModel", "MPNetModel"] {
        refused(
            "wordpiece-pairs",
            configured("architectures", serde_json::json!([architecture])),
            &format!(
                "`config.json` declares a `{architecture}`, which has no head, so the exporter added a random one; \
                 fine-tune it for classification first; if the graph has a head that you trained, remove `architectures`"
            ),
        );
    }
    let trained = with_settings("wordpiece-pairs", "");
    configured("architectures", serde_json::Value::Null)(trained.path());
    load(trained.path()).unwrap();
}

#[test]
fn inputs_of_other_names_and_sizes_are_named_with_the_remedy() {
    let scores = [node("Identity", &["l"], &["logits"], vec![])];
    let graph = |inputs: &[(&str, [i64; 2])]| model_with(inputs, &scores, &[], &[]);
    let refused = |graph: Vec<u8>, expected: &str| {
        refused("wordpiece-pairs", |dir| fs::write(dir.join("model.onnx"), graph).unwrap(), expected);
    };
    refused(
        graph(&[("input_ids", [2, 32])]),
        "the graph's input `input_ids` has a fixed batch of 2, expected any size or 1; export it with \
         `dynamic_axes={\"input_ids\": {0: \"batch\", 1: \"tokens\"}}` in `torch.onnx.export`",
    );
    let two = graph(&[("tokens", [-1, -1]), ("mask", [-1, -1])]);
    refused(two.clone(), "say what it is with `inputs = { NAME = \"input_ids\" }` in `local-model.toml`");
    let named = with_settings("wordpiece-pairs", "inputs = { tokens = \"input_ids\", mask = \"attention_mask\" }");
    fs::write(named.path().join("model.onnx"), two).unwrap();
    load(named.path()).unwrap();
    // The only input needs no name.
    let only = with_settings("wordpiece-pairs", "");
    fs::write(only.path().join("model.onnx"), graph(&[("tokens", [-1, -1])])).unwrap();
    load(only.path()).unwrap();
}

#[test]
fn labels_must_match_the_graph() {
    let name = "wordpiece-pairs";
    refused(
        name,
        configured("id2label", serde_json::json!({"0": "a"})),
        "the folder names 1 label, but the graph gives 3 scores",
    );
    refused(name, configured("id2label", serde_json::json!({})), "`id2label` is empty or skips a number");
    refused(name, configured("id2label", serde_json::json!({"a": "b"})), "has the key `a`, which is not a number");
    refused(
        name,
        write("local-model.toml", "labels = [\"a\", \"b\"]"),
        "the folder names 2 labels, but the graph gives 3",
    );
}

#[test]
fn tokenizers_must_be_readable_and_match_the_graph() {
    let name = "wordpiece-pairs";
    refused(
        name,
        configured("vocab_size", serde_json::json!(20)),
        "but the model embeds 20 (`vocab_size`); they belong to different models",
    );
    refused("vocab-only-uncased", write("vocab.txt", "a\nb\n"), "it has no token `[SEP]`");
    refused("bpe-only", write("vocab.json", "[]"), "`vocab.json` is invalid");
    refused(
        "bpe-only",
        configured("model_type", serde_json::json!("flaubert")),
        "it belongs to a model of type `flaubert`, expected one with byte-level BPE",
    );
    refused(
        "xlm-roberta-multilabel",
        |dir| fs::rename(dir.join("tokenizer.json"), dir.join("spiece.model")).unwrap(),
        "has no `tokenizer.json`; `spiece.model` alone is not enough; write it with `python -c",
    );
}

#[test]
fn invalid_settings_are_refused() {
    for (settings, expected) in [
        ("overflow = \"tail\"", "unknown variant `tail`, expected one of `head`, `head-tail`, `windows`, `error`"),
        ("aggregation = \"best\"", "unknown variant `best`"),
        ("hypothesis_template = \"about\"", "`about` has no placeholder for the label; write `{}` in its place"),
        ("threshold = 70", "`threshold` is 70, expected 0 to 1"),
        ("threshold = \"high\"", "invalid type: string \"high\", expected f32"),
        (
            "graph = \"config.json\"",
            "`DIR/config.json` is invalid: it is named as the graph, expected a name that ends in",
        ),
        ("graph = \"nothing.onnx\"", "has no `nothing.onnx`; correct `graph` in `local-model.toml`"),
        ("= 3", "`DIR/local-model.toml` is invalid"),
    ] {
        refused("wordpiece-pairs", write("local-model.toml", settings), expected);
    }
}

#[test]
fn a_file_is_not_a_folder() {
    let error = load(&fixture("wordpiece-pairs/model.onnx")).err().unwrap();
    assert!(matches!(error, Error::FolderIsFile { .. }), "{error}");
}

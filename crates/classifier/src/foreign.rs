//! Folders without a graph, recognised by their files: what they hold, and how to get a graph.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use crate::folder::Folder;

/// Entries of a folder that are looked at. A checkpoint has about a dozen.
const MAX_ENTRIES: usize = 1000;

/// Returns the remedy for a folder without a graph.
pub(crate) fn remedy(opened: &Folder<'_>) -> String {
    // Without a slash at the end, so that a suffix makes another name.
    let folder: &Path = &opened.path().components().collect::<PathBuf>();
    let names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .take(MAX_ENTRIES)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let has = |name: &str| names.iter().any(|known| known == name);
    let ending = |endings: &[&str]| {
        let mut found: Vec<&String> =
            names.iter().filter(|name| endings.iter().any(|ending| name.ends_with(ending))).collect();
        found.sort();
        found.first().map(|name| name.as_str())
    };
    let quoted = |suffix: &str| {
        let path = format!("{}{suffix}", folder.display());
        shlex::try_quote(&path).map_or_else(|_| path.clone(), Cow::into_owned)
    };
    let (dir, onnx) = (quoted(""), quoted("-onnx"));
    if has("rl_agent_config.json") {
        let graph = quoted("/laya.onnx");
        return format!(
            "it is a checkpoint of Laya; write one graph into it with `python scripts/export_onnx.py --model {dir} \
             --output {graph}` of its repository"
        );
    }
    if has("decima.json") {
        return format!("it is a checkpoint of Decima; export it with `python -m decima.export {dir} --out {onnx}`");
    }
    if has("config_setfit.json") || has("model_head.pkl") {
        return "it is a SetFit model, whose classifier is in `model_head.pkl`; export it with `export_onnx` as in \
                docs/own-model.md"
            .into();
    }
    if has("adapter_config.json") {
        return "it is an adapter of PEFT; merge it with `merge_and_unload()`, save that, and export the result".into();
    }
    if has("modules.json") {
        return format!(
            "it is a sentence encoder without a classifier; export it with `optimum-cli export onnx --model {dir} \
             --task feature-extraction {onnx}`, and use it as `teach --encoder {onnx}`"
        );
    }
    if has("meta.json") && has("config.cfg") {
        return "it is a spaCy pipeline, for which no exporter exists; train a pipeline of scikit-learn on the same \
                rows, as in docs/own-model.md, or use `teach`"
            .into();
    }
    if has("config.json") && ending(&[".safetensors", "pytorch_model.bin", "pytorch_model.bin.index.json"]).is_some() {
        let config = opened.text("config.json").ok().flatten().unwrap_or_default();
        let task = if config.contains("ForTokenClassification") { "token" } else { "text" };
        return format!(
            "it is a checkpoint of transformers; export it with `optimum-cli export onnx --model {dir} --task \
             {task}-classification {onnx}` (`pip install optimum-onnx`)"
        );
    }
    let number = |name: &String| name.strip_prefix("checkpoint-").and_then(|number| number.parse::<u64>().ok());
    if let Some(step) = names.iter().filter_map(number).max() {
        let checkpoint = quoted(&format!("/checkpoint-{step}"));
        return format!(
            "it is the output of a Trainer; export its last checkpoint with `optimum-cli export onnx --model \
             {checkpoint} --task text-classification {onnx}`"
        );
    }
    if has("saved_model.pb") {
        let graph = quoted("/model.onnx");
        return format!(
            "it is a SavedModel of TensorFlow; export it with `python -m tf2onnx.convert --saved-model {dir} --output \
             {graph} --opset 17`"
        );
    }
    if let Some(name) = ending(&[".joblib", ".pkl", ".pickle"]) {
        return format!("`{name}` is a pickle; if it is a pipeline of scikit-learn, export it as in docs/own-model.md");
    }
    if let Some(name) = ending(&[".keras", ".h5"]) {
        return format!(
            "`{name}` is a Keras model; write its graph with `keras.models.load_model(\"{name}\").export(\"model.onnx\", \
             format=\"onnx\")`"
        );
    }
    if let Some(name) = ending(&[".gguf"]) {
        return format!("`{name}` is a generative model for llama.cpp, not a classifier; give a classifier");
    }
    let is_model = |name: &&String| name.ends_with(".ftz") || name.ends_with(".bin");
    if let Some(name) = names.iter().filter(is_model).find(|name| is_fast_text(&folder.join(name))) {
        return format!(
            "`{name}` is a fastText model, for which no exporter exists; train a pipeline of scikit-learn on the same \
             rows, as in docs/own-model.md, or use `teach`"
        );
    }
    crate::error::EXPORT.into()
}

/// Returns whether a file starts as fastText's files do: with its magic number, 793712314.
fn is_fast_text(file: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 4];
    let is_file = fs::metadata(file).is_ok_and(|metadata| metadata.is_file());
    is_file
        && fs::File::open(file).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && u32::from_le_bytes(start) == 793_712_314
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[(&str, &[u8])], expected: &str) {
        check_in("model", files, expected);
    }

    #[track_caller]
    fn check_in(name: &str, files: &[(&str, &[u8])], expected: &str) {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join(name);
        for (name, content) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let remedy =
            remedy(&Folder::open(&folder).unwrap()).replace(&format!("{}/model", parent.path().display()), "DIR");
        assert!(remedy.contains(expected), "{remedy}");
    }

    #[test]
    fn folders_of_other_tools_are_recognised() {
        let weights: (&str, &[u8]) = ("model.safetensors", b"");
        check(&[weights, ("config.json", b"{}"), ("config_setfit.json", b"{}")], "it is a SetFit model");
        check(&[weights, ("adapter_config.json", b"{}")], "merge it with `merge_and_unload()`");
        check(
            &[weights, ("config.json", b"{}"), ("modules.json", b"[]")],
            "export it with `optimum-cli export onnx --model DIR --task feature-extraction DIR-onnx`",
        );
        check(&[("meta.json", b"{}"), ("config.cfg", b"")], "it is a spaCy pipeline");
        check(&[weights, ("config.json", b"{}")], "--model DIR --task text-classification DIR-onnx`");
        let tagger = br#"{"architectures": ["BertForTokenClassification"]}"#;
        check(&[weights, ("config.json", tagger)], "--task token-classification");
        check(
            &[("checkpoint-90/config.json", b"{}"), ("checkpoint-500/config.json", b"{}")],
            "--model DIR/checkpoint-500 --task",
        );
        check(&[("saved_model.pb", b"")], "`python -m tf2onnx.convert --saved-model DIR");
        check(&[("model.joblib", b"")], "`model.joblib` is a pickle");
        check(&[("m.keras", b"")], "`m.keras` is a Keras model");
        check(&[("m.gguf", b"")], "is a generative model for llama.cpp");
        check(&[("m.bin", &793_712_314u32.to_le_bytes())], "`m.bin` is a fastText model");
        check(&[("m.bin", b"else")], "export the model again with `optimum-cli");
        check(&[("a.bin", b"else"), ("m.bin", &793_712_314u32.to_le_bytes())], "`m.bin` is a fastText model");
    }

    #[test]
    fn names_with_spaces_are_quoted_for_a_shell() {
        let parts = ["--model '", "/my model' --task text-classification '", "/my model-onnx'`"];
        for part in parts {
            check_in("my model", &[("model.safetensors", b""), ("config.json", b"{}")], part);
        }
    }
}

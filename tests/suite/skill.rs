//! The skill in the server and in the plugin, the versions in all manifests, and the schemas of
//! tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::protocol::Session;
use crate::support::client::request;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Fields that every client of the format accepts.
const PORTABLE: [&str; 6] = ["name", "description", "license", "compatibility", "metadata", "allowed-tools"];

/// Returns the paths of all files below a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { found.push(path.strip_prefix(folder).unwrap().to_owned()) }
        }
    }
    found.sort();
    found
}

fn front_matter(skill: &str) -> Vec<(&str, &str)> {
    skill.lines().skip(1).take_while(|line| *line != "---").map(|line| line.split_once(": ").unwrap()).collect()
}

#[tokio::test]
async fn the_server_serves_every_file_of_the_skill() {
    let mut server = Session::new(&Arc::default());
    let discovered = server.ask(&request(1, "server/discover", json!({}))).await;
    let capabilities = &discovered["result"]["capabilities"];
    assert!(capabilities["extensions"]["io.modelcontextprotocol/skills"].is_object(), "{capabilities}");
    let skills = server.ask(&request(2, "skills/list", json!({}))).await;
    let skill = &skills["result"]["skills"][0];
    assert_eq!(skill["frontmatter"]["name"], "local-model-predict");
    let below = Path::new(ROOT).join("skill");
    let served = skill["resources"].as_array().unwrap();
    assert_eq!(served.len(), files(&below).len());
    for (number, resource) in served.iter().enumerate() {
        let uri = resource["uri"].as_str().unwrap();
        let read = server.ask(&request(3 + number, "resources/read", json!({ "uri": uri }))).await;
        let content = read["result"]["contents"][0]["text"].as_str().unwrap();
        let file = uri.strip_prefix("skill://local-model-predict/").unwrap();
        assert_eq!(content, fs::read_to_string(below.join(file)).unwrap(), "{file}");
        assert_eq!(resource["size"], content.len());
    }
    let unknown = server.ask(&request(90, "resources/read", json!({ "uri": "skill://other/SKILL.md" }))).await;
    assert!(unknown["error"]["message"].as_str().unwrap().contains("unknown resource"), "{unknown}");
}

#[test]
fn the_front_matter_is_portable_and_allows_the_tools_of_server_and_plugin() {
    let skill = fs::read_to_string(Path::new(ROOT).join("skill/SKILL.md")).unwrap();
    let fields = front_matter(&skill);
    assert!(fields.iter().all(|(name, _)| PORTABLE.contains(name)), "{fields:?}");
    let field = |name: &str| fields.iter().find(|(known, _)| *known == name).unwrap().1;
    assert!(field("description").len() <= 1024);
    for tool in ["local_model_predict", "local_model_predict_batch", "local_model_predict_file", "local_model_status"] {
        for route in ["mcp__local-model__", "mcp__plugin_local-model_local-model__"] {
            assert!(field("allowed-tools").split(' ').any(|name| name == format!("{route}{tool}")), "{route}{tool}");
        }
    }
}

/// Clients copy the plugin folder alone, so it needs its own files.
#[test]
fn the_plugins_copy_of_the_skill_is_identical() {
    let (own, copy) = (Path::new(ROOT).join("skill"), Path::new(ROOT).join("plugin/skills/local-model-predict"));
    assert_eq!(files(&own), files(&copy));
    for file in files(&own) {
        let same = fs::read(own.join(&file)).unwrap() == fs::read(copy.join(&file)).unwrap();
        assert!(same, "copy skill/{0} to plugin/skills/local-model-predict/{0}", file.display());
    }
}

/// The manifests that repeat the version of Cargo.toml. All others are written by `packaging`.
#[test]
fn all_manifests_have_the_version_of_the_package() {
    for name in ["plugin/.claude-plugin/plugin.json", "plugin/plugin.json"] {
        let content = fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let manifest: Value = serde_json::from_str(&content).unwrap();
        assert_eq!(manifest["version"], env!("CARGO_PKG_VERSION"), "{name}");
    }
}

/// Checks restrictions of some clients beyond the rules of JSON Schema.
#[tokio::test]
async fn every_schema_is_one_that_all_clients_read() {
    fn check(schema: &Value, path: &str) {
        for key in ["oneOf", "anyOf", "allOf", "not", "$ref", "$defs", "if", "patternProperties", "format"] {
            assert!(schema.get(key).is_none(), "{path} has `{key}`");
        }
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{path}.{name}");
            assert!(property["type"].is_string(), "{path}.{name} has no plain type");
            check(property, &format!("{path}.{name}"));
        }
        if let Some(items) = schema.get("items") {
            assert!(items["type"].is_string(), "{path}[] has no plain type");
            check(items, &format!("{path}[]"));
        }
    }
    let mut server = Session::new(&Arc::default());
    let listed = server.ask(&request(1, "tools/list", json!({}))).await;
    let tools = listed["result"]["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 6);
    for tool in tools {
        let name = tool["name"].as_str().unwrap();
        assert!(name.len() <= 64 && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert!(tool["description"].as_str().unwrap().len() < 2000 && tool["title"].is_string(), "{name}");
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{name}: {hint}");
        }
        // A server that is always loaded leaves out the tools that say so.
        let always = matches!(name, "local_model_predict" | "local_model_predict_file");
        assert_eq!(tool["_meta"]["anthropic/alwaysLoad"], always, "{name}");
        for which in ["inputSchema", "outputSchema"] {
            assert_eq!((&tool[which]["type"], &tool[which]["additionalProperties"]), (&json!("object"), &json!(false)));
            check(&tool[which], &format!("{name}.{which}"));
        }
        for (field, schema) in tool["inputSchema"]["properties"].as_object().unwrap() {
            assert!(schema["description"].is_string(), "{name}.{field} is not described");
        }
    }
}

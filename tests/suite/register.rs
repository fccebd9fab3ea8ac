//! What `register` prints for each client and what it runs; completions and the manual page.

use serde_json::Value;

use crate::client::{EXECUTABLE, command, run, text};
use crate::place::Place;

#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = run(&[&["register"], arguments].concat());
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    text(&output.stdout).to_owned()
}

/// The JSON that follows the first blank line.
#[track_caller]
fn entry(printed: &str) -> Value {
    serde_json::from_str(&printed[printed.find('{').unwrap()..]).unwrap()
}

#[test]
fn the_command_carries_every_flag_with_absolute_paths() {
    let place = Place::new();
    let mut register = command(&["register", "--scope", "user", "--model", "tone=my model", "--deadline-ms", "5000"]);
    let output = register.args(["--allow-dir", ".", "--log-inputs"]).current_dir(place.root()).output().unwrap();
    let root = place.root().to_str().unwrap();
    let first = text(&output.stdout).lines().next().unwrap().to_owned();
    let cache = crate::client::shared_cache().display();
    let expected = format!(
        "claude mcp add --scope user local-model -- {EXECUTABLE} --model 'tone={root}/my model' --deadline-ms 5000 --allow-dir {root} --cache-dir {cache} --log-inputs"
    );
    assert_eq!(first.replace("/. ", " "), expected);
}

#[test]
fn each_client_gets_the_form_that_it_reads() {
    for (client, key) in [
        ("claude-code", "mcpServers"),
        ("claude-desktop", "mcpServers"),
        ("cursor", "mcpServers"),
        ("zed", "context_servers"),
    ] {
        let printed = printed(&["--client", client, "--name", "mine"]);
        let printed = printed.split_once("\n\n").map_or(printed.as_str(), |(_, rest)| rest);
        assert_eq!(entry(printed)[key]["mine"]["command"], EXECUTABLE, "{client}");
    }
    let code = printed(&["--client", "vscode"]);
    assert!(code.starts_with("code --add-mcp '{\"name\":\"local-model\",") && code.contains("\"servers\""), "{code}");
    let codex = printed(&["--client", "codex", "--model", "a=/m"]);
    let toml = &codex[codex.find('[').unwrap()..];
    assert!(
        toml.starts_with("[mcp_servers.local-model]\ncommand = \"") && toml.contains("args = [\"--model\",\"a=/m\"")
    );
    let project = printed(&["--scope", "project"]);
    assert!(project.starts_with("claude mcp add --scope project local-model -- local-model-mcp "), "{project}");
    assert_eq!(printed(&["--remove"]), "claude mcp remove --scope local local-model\n");
    assert!(
        printed(&["--remove", "--client", "cursor"]).contains("remove the entry `local-model` from ~/.cursor/mcp.json")
    );
}

/// A stand-in for the client's command, which notes how it was called; the real one is tried in tests/clients.
#[cfg(unix)]
#[test]
fn applying_runs_the_clients_own_command_and_reports_its_failure() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let claude = place.write("claude", "#!/bin/sh\nprintf '%s\\n' \"$@\" > called\n[ \"$2\" != remove ]\n");
    std::fs::set_permissions(&claude, std::fs::Permissions::from_mode(0o755)).unwrap();
    let register = |arguments: &[&str]| {
        let mut command = command(&["register", "--apply"]);
        command.args(arguments).env("PATH", place.root()).current_dir(place.root()).output().unwrap()
    };
    assert_eq!(register(&["--model", "a=/m m"]).status.code(), Some(0));
    let called = place.read("called");
    assert!(called.starts_with("mcp\nadd\n--scope\nlocal\nlocal-model\n--\n"), "{called}");
    assert!(called.contains("\n--model\na=/m m\n"), "{called}");
    let failed = register(&["--remove"]);
    assert_eq!(failed.status.code(), Some(2));
    assert!(text(&failed.stderr).contains("`claude mcp remove --scope local local-model` ended with"));
    let missing = register(&["--client", "codex"]);
    assert!(text(&missing.stderr).contains("cannot start `codex`; install it"), "{}", text(&missing.stderr));
    assert!(text(&register(&["--client", "zed"]).stderr).contains("zed has no registration command"));
    assert!(text(&register(&["--name", "a b"]).stderr).contains("is not a valid server name"));
}

#[test]
fn completions_and_manual_come_from_the_same_definitions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        assert!(text(&output.stdout).contains("target-accuracy"), "{shell}");
    }
    let manual = run(&["man"]);
    assert!(text(&manual.stdout).contains(".TH local-model-mcp 1"));
}

/// Clients that fill in what a user left out set a variable to nothing.
#[test]
fn an_empty_variable_counts_as_none() {
    let help = run(&["--help"]);
    let mut command = command(&["check", "--json"]);
    let variables: Vec<&str> = text(&help.stdout)
        .split(|c: char| !c.is_ascii_uppercase() && c != '_')
        .filter(|word| word.starts_with("LOCAL_MODEL_MCP_") || *word == "ORT_DYLIB_PATH")
        .filter(|name| *name != "LOCAL_MODEL_MCP_CACHE_DIR")
        .collect();
    assert!(variables.len() > 10, "{variables:?}");
    let output = command.envs(variables.iter().map(|name| (name, ""))).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

/// Colours are for terminals: a pipe never gets an escape sequence.
#[test]
fn nothing_is_coloured_in_a_pipe() {
    for arguments in [&["--help"][..], &["predict", "--help"], &["predict", "--nonsense"], &["check"]] {
        let output = command(arguments).env("CLICOLOR", "1").output().unwrap();
        assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b), "{arguments:?}");
    }
}

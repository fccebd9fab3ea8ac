//! `register` with the executable: its output and the commands it runs. Also variables and colours.

use crate::support::client::{EXECUTABLE, command, run, shared_cache, text};
use crate::support::project::Project;

#[test]
fn register_prints_the_command_with_the_flags_of_the_call() {
    let place = Project::new();
    let mut register = command(&["register", "--scope", "user", "--model", "tone=my model"]);
    let output = register.args(["--log-inputs"]).current_dir(place.root()).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let (root, cache) = (place.root().display(), shared_cache().display());
    let expected = format!(
        "claude mcp add --scope user local-model -- {EXECUTABLE} --model 'tone={root}/my model' --cache-dir {cache} --log-inputs"
    );
    assert_eq!(text(&output.stdout).lines().next(), Some(expected.as_str()));
}

/// A script in place of the client's command notes how it was called. The real commands are tried
/// in tests/clients.
#[cfg(unix)]
#[test]
fn applying_runs_the_clients_command_and_reports_its_failure() {
    use std::os::unix::fs::PermissionsExt;
    let place = Project::new();
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

/// Clients that fill in optional settings leave variables empty.
#[test]
fn an_empty_variable_counts_as_unset() {
    let help = run(&["--help"]);
    let variables: Vec<&str> = text(&help.stdout)
        .split(|c: char| !c.is_ascii_uppercase() && c != '_')
        .filter(|word| word.starts_with("LOCAL_MODEL_MCP_") || *word == "ORT_DYLIB_PATH")
        .filter(|name| *name != "LOCAL_MODEL_MCP_CACHE_DIR")
        .collect();
    assert!(variables.len() > 10, "{variables:?}");
    let mut check = command(&["check", "--json"]);
    let output = check.envs(variables.iter().map(|name| (name, ""))).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn a_pipe_gets_no_colours() {
    for arguments in [&["--help"][..], &["predict", "--nonsense"]] {
        let output = command(arguments).env("CLICOLOR", "1").output().unwrap();
        assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b), "{arguments:?}");
    }
}

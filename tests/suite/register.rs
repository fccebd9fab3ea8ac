//! `register` with the executable: its output and the commands it runs. Also variables and colours.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::client::{EXECUTABLE, command, run, shared_cache, text};
use crate::support::project::Project;

/// A folder that can be served, at a path with a space.
fn model_in(place: &Project) -> PathBuf {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/distilbert");
    let folder = place.path("my model");
    fs::create_dir(&folder).unwrap();
    for file in fs::read_dir(fixture).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    folder
}

#[test]
fn register_prints_the_command_with_the_flags_of_the_call() {
    let place = Project::new();
    model_in(&place);
    let mut register = command(&["register", "--scope", "user", "--model", "tone=my model"]);
    let output = register.args(["--log-inputs"]).current_dir(place.root()).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
    let (model, cache) = (place.path("my model"), shared_cache().display());
    let expected = format!(
        "claude mcp add --scope user local-model -- {EXECUTABLE} --model 'tone={}' --cache-dir {cache} --log-inputs",
        model.display()
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
    let script = "#!/bin/sh\nprintf '%s\\n' \"$@\" >> called\n\
        case $2 in\n\
        remove) rm taken 2> /dev/null ;;\n\
        add) [ ! -e taken ] || { echo \"MCP server $5 already exists\" >&2; exit 1; } ;;\n\
        esac\n";
    let claude = place.write("claude", script);
    fs::set_permissions(&claude, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", place.root().display());
    let register = |arguments: &[&str]| {
        let mut command = command(&["register", "--apply"]);
        command.args(arguments).env("PATH", &path).current_dir(place.root()).output().unwrap()
    };
    let refused = register(&["--model", "a=no model"]);
    let problem = "error: nothing was registered: model `a` cannot be used: model folder `";
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).starts_with(problem), "{}", text(&refused.stderr));
    assert_eq!(place.names(), ["claude"]);

    let model = format!("a={}", model_in(&place).display());
    assert_eq!(register(&["--model", &model]).status.code(), Some(0));
    let called = place.read("called");
    assert!(called.starts_with("mcp\nadd\n--scope\nlocal\nlocal-model\n--\n"), "{called}");
    assert!(called.contains(&format!("--model\n{model}\n")), "{called}");

    place.write("taken", "");
    let taken = register(&[]);
    let problem =
        "nothing was registered: `local-model` is taken; add `--replace`, or choose another name with `--name`";
    assert!(taken.status.code() == Some(2) && text(&taken.stderr).contains(problem), "{}", text(&taken.stderr));
    let replaced = register(&["--replace"]);
    assert!(text(&replaced.stdout).contains("`local-model` was replaced"), "{}", text(&replaced.stderr));
    let failed = register(&["--remove"]);
    assert_eq!(failed.status.code(), Some(2));
    assert!(text(&failed.stderr).contains("`claude mcp remove --scope local local-model` ended with"));

    let missing = register(&["--client", "codex"]);
    assert!(text(&missing.stderr).contains("cannot start `codex`; install it"), "{}", text(&missing.stderr));
    assert!(text(&register(&["--client", "zed"]).stderr).contains("zed has no registration command"));
    assert!(text(&register(&["--name", "a b"]).stderr).contains("is not a valid server name"));
    let rule = register(&["--rule", "--scope", "project"]);
    assert!(text(&rule.stdout).contains("the rule added to"), "{}", text(&rule.stderr));
    assert!(place.read("CLAUDE.md").starts_with("- Classify, label, tag or score texts"));
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

//! Runs the client's own commands.

use std::io::{ErrorKind, Write};
use std::process::{Command, Output};

use anyhow::{Context, anyhow};
use clap::ValueEnum;

use super::RegisterArgs;
use super::clients::{Server, client_command, quoted, removal};
use crate::commands::{Outcome, print_lines};

pub(super) fn run(server: &Server, arguments: &RegisterArgs) -> anyhow::Result<Outcome> {
    let words = client_command(server, arguments).ok_or_else(|| {
        let client = arguments.client.to_possible_value().map_or_else(String::new, |value| value.get_name().into());
        anyhow!("{client} has no registration command; omit `--apply` and paste the printed configuration")
    })?;
    let mut was_removed = false;
    if arguments.replace {
        let words = removal(server, arguments)
            .ok_or_else(|| anyhow!("this client cannot remove a server; remove it there, and omit `--replace`"))?;
        // It fails if there is nothing to replace.
        was_removed = start(&words)?.status.success();
    }
    let output = start(&words)?;
    print_lines(&String::from_utf8_lossy(&output.stdout))?;
    // Nothing can be done if stderr is closed.
    let _ = std::io::stderr().write_all(&output.stderr);
    match (output.status.success(), was_removed) {
        (true, true) => {
            print_lines(&format!("`{}` was replaced; restart the sessions that use it", server.name))?;
            Ok(Outcome::Done)
        }
        (true, false) => Ok(Outcome::Done),
        (false, true) => {
            Err(anyhow!("`{}` was removed, but adding it again failed; run: {}", server.name, quoted(&words)))
        }
        (false, false) if is_taken(&output) => {
            let way_out = "add `--replace`, or choose another name with `--name`";
            Err(anyhow!("nothing was registered: `{}` is taken; {way_out}", server.name))
        }
        (false, false) => Err(anyhow!("`{}` ended with {}; see its output above", quoted(&words), output.status)),
    }
}

/// Returns whether the client said that the name is taken, as Claude Code does.
fn is_taken(output: &Output) -> bool {
    [&output.stdout, &output.stderr].into_iter().any(|text| String::from_utf8_lossy(text).contains("already exists"))
}

fn start(words: &[String]) -> anyhow::Result<Output> {
    let run = |program: &str| Command::new(program).args(&words[1..]).output();
    let mut output = run(&words[0]);
    // npm installs clients as `.cmd` files, which Windows starts only by their full name.
    if cfg!(windows) && output.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        output = run(&format!("{}.cmd", words[0]));
    }
    output.with_context(|| format!("cannot start `{}`; install it, or run elsewhere: {}", words[0], quoted(words)))
}

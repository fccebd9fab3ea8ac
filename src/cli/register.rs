//! `register`: how a client is told to start this server. Prints the command and the configuration to paste; with `--apply`
//! the client's own command is run, never a client's file edited.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::cli::{NAME, Outcome};
use crate::model::Location;
use crate::settings::{Client, Options, RegisterArgs, Scope};

/// What a client has to know.
struct Server {
    name: String,
    command: String,
    arguments: Vec<String>,
}

pub(super) fn run(options: &Options, arguments: &RegisterArgs) -> anyhow::Result<Outcome> {
    let command = own_command(arguments)?;
    let server = Server { name: arguments.name.clone(), command, arguments: flags(options)? };
    if !server.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) || server.name.is_empty() {
        return Err(anyhow!("`{}` is no name for a server; it has letters, digits, `-` and `_`", server.name));
    }
    let own = client_command(&server, arguments);
    if arguments.apply {
        let words = own.ok_or_else(|| {
            let client = arguments.client.to_possible_value().map_or_else(String::new, |value| value.get_name().into());
            anyhow!("{client} has no command for it; leave `--apply` out, and paste what is printed")
        })?;
        return apply(&words);
    }
    let mut text = String::new();
    if let Some(words) = own {
        text += &format!("{}\n", quoted(&words));
    }
    if !arguments.remove {
        let (place, content) = configuration(&server, arguments);
        let or = if text.is_empty() { "" } else { "\nor " };
        text += &format!("{or}in {place}:\n\n{content}\n");
    } else if text.is_empty() {
        text += &format!("remove the entry `{}` from {}\n", server.name, configuration(&server, arguments).0);
    }
    std::io::stdout().lock().write_all(text.as_bytes()).context("it could not be written to stdout")?;
    Ok(Outcome::Done)
}

/// A project's file is shared with people who have this program elsewhere; for yourself, the path is what surely works.
fn own_command(arguments: &RegisterArgs) -> anyhow::Result<String> {
    if arguments.client == Client::ClaudeCode && arguments.scope == Scope::Project {
        return Ok(NAME.into());
    }
    let path = std::env::current_exe().context("where this program lies could not be found out")?;
    Ok(text(path.as_os_str())?.to_owned())
}

/// The flags of this call that `serve` will need; paths are absolute, since a client starts it anywhere.
fn flags(options: &Options) -> anyhow::Result<Vec<String>> {
    let mut flags: Vec<String> = Vec::new();
    for (name, location) in options.models().map_err(|problem| anyhow!(problem))? {
        if let Location::Folder(folder) = location {
            flags.extend(["--model".into(), format!("{name}={}", text(folder.as_os_str())?)]);
        }
    }
    let absolute = |path: &PathBuf| -> anyhow::Result<String> {
        let path = std::path::absolute(path).with_context(|| format!("`{}`", path.display()))?;
        Ok(text(path.as_os_str())?.to_owned())
    };
    for folder in options.allow_dir.iter().filter(|folder| **folder != Path::new("")) {
        flags.extend(["--allow-dir".into(), absolute(folder)?]);
    }
    for (flag, path) in [("--cache-dir", &options.cache_dir), ("--onnxruntime", &options.onnxruntime)] {
        if let Some(path) = path {
            flags.extend([flag.into(), absolute(path)?]);
        }
    }
    flags.extend(options.changed_limits());
    Ok(flags)
}

/// The client's own command, as words.
fn client_command(server: &Server, arguments: &RegisterArgs) -> Option<Vec<String>> {
    let scope = arguments.scope.to_possible_value()?.get_name().to_owned();
    let name = server.name.clone();
    let started = || std::iter::once(server.command.clone()).chain(server.arguments.iter().cloned());
    let words = |start: &[&str]| -> Vec<String> { start.iter().map(ToString::to_string).collect() };
    match (arguments.client, arguments.remove) {
        (Client::ClaudeCode, false) => {
            let mut all = words(&["claude", "mcp", "add", "--scope", &scope, &name, "--"]);
            all.extend(started());
            Some(all)
        }
        (Client::ClaudeCode, true) => Some(words(&["claude", "mcp", "remove", "--scope", &scope, &name])),
        (Client::Codex, false) => {
            let mut all = words(&["codex", "mcp", "add", &name, "--"]);
            all.extend(started());
            Some(all)
        }
        (Client::Codex, true) => Some(words(&["codex", "mcp", "remove", &name])),
        (Client::Vscode, false) => {
            let entry = json!({ "name": name, "command": server.command, "args": server.arguments });
            Some(words(&["code", "--add-mcp", &entry.to_string()]))
        }
        (Client::Vscode | Client::ClaudeDesktop | Client::Cursor | Client::Zed, _) => None,
    }
}

/// Where a client keeps its servers, and the entry to put there.
fn configuration(server: &Server, arguments: &RegisterArgs) -> (&'static str, String) {
    let entry = json!({ "command": server.command, "args": server.arguments });
    let under = |key: &str| {
        let servers = Value::Object(Map::from_iter([(server.name.clone(), entry.clone())]));
        let file = Value::Object(Map::from_iter([(key.to_owned(), servers)]));
        serde_json::to_string_pretty(&file).unwrap_or_default()
    };
    let project = arguments.scope == Scope::Project;
    match arguments.client {
        Client::ClaudeCode if project => (".mcp.json, at the root of the project", under("mcpServers")),
        Client::ClaudeCode => (".mcp.json, at the root of a project", under("mcpServers")),
        Client::ClaudeDesktop => ("claude_desktop_config.json (Settings, Developer, Edit Config)", under("mcpServers")),
        Client::Cursor if project => (".cursor/mcp.json, at the root of the project", under("mcpServers")),
        Client::Cursor => ("~/.cursor/mcp.json", under("mcpServers")),
        Client::Vscode => (".vscode/mcp.json, at the root of the project", under("servers")),
        Client::Zed => ("Zed's settings.json", under("context_servers")),
        Client::Codex => {
            // Strings and lists of strings are written alike in JSON and TOML.
            let content =
                format!("[mcp_servers.{}]\ncommand = {}\nargs = {}", server.name, entry["command"], entry["args"]);
            ("~/.codex/config.toml", content)
        }
    }
}

fn apply(words: &[String]) -> anyhow::Result<Outcome> {
    let missing = || format!("`{}` could not be started; install it, or run elsewhere: {}", words[0], quoted(words));
    let status = Command::new(&words[0]).args(&words[1..]).status().with_context(missing)?;
    if status.success() {
        return Ok(Outcome::Done);
    }
    Err(anyhow!("`{}` ended with {status}; what it said stands above", quoted(words)))
}

/// As a shell takes it.
fn quoted(words: &[String]) -> String {
    // Only a NUL cannot be quoted, and no argument can hold one.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

fn text(path: &OsStr) -> anyhow::Result<&str> {
    path.to_str()
        .ok_or_else(|| anyhow!("`{}` is not UTF-8, which configurations have to be", OsString::from(path).display()))
}

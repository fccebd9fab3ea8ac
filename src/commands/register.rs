//! `register`: prints the command and the configuration that register this server with a client, or
//! runs the client's command. Never edits a client's file.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, anyhow};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, ValueEnum, ValueHint};
use classifier::Location;
use serde_json::{Map, Value, json};

use crate::args::Options;
use crate::commands::{Cli, NAME, Outcome, print};

#[derive(Args, Debug)]
pub struct RegisterArgs {
    /// Client to register with
    #[arg(long, value_name = "CLIENT", default_value = "claude-code")]
    pub client: Client,
    /// Who gets the server: `local` (you, in this project), `user` (you, in all projects) or
    /// `project` (everyone in this project)
    #[arg(long, value_name = "SCOPE", default_value = "local")]
    pub scope: Scope,
    /// Name of the server in the client
    #[arg(long, value_name = "NAME", default_value = "local-model")]
    pub name: String,
    /// Run the client's own registration command instead of printing it
    #[arg(long)]
    pub apply: bool,
    /// Remove the registration
    #[arg(long)]
    pub remove: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Client {
    ClaudeCode,
    ClaudeDesktop,
    Cursor,
    Vscode,
    Codex,
    Zed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scope {
    Local,
    User,
    Project,
}

/// The entry that a client needs to start this server.
struct Server {
    name: String,
    command: String,
    arguments: Vec<String>,
}

pub(super) fn run(options: &Options, arguments: &RegisterArgs, matches: &ArgMatches) -> anyhow::Result<Outcome> {
    let command = executable(arguments)?;
    let flags = flags(options, matches, &[])?;
    let server = Server { name: arguments.name.clone(), command, arguments: flags };
    if !server.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) || server.name.is_empty() {
        return Err(anyhow!("`{}` is not a valid server name; use letters, digits, `-` and `_`", server.name));
    }
    if arguments.apply {
        let words = client_command(&server, arguments).ok_or_else(|| {
            let client = arguments.client.to_possible_value().map_or_else(String::new, |value| value.get_name().into());
            anyhow!("{client} has no registration command; omit `--apply` and paste the printed configuration")
        })?;
        return apply(&words);
    }
    print(instructions(&server, arguments).as_bytes())?;
    Ok(Outcome::Done)
}

/// Returns the client's command, if it has one, and the configuration to paste.
fn instructions(server: &Server, arguments: &RegisterArgs) -> String {
    let command = client_command(server, arguments).map(|words| quoted(&words));
    let (place, content) = configuration(server, arguments);
    match (command, arguments.remove) {
        (Some(command), true) => format!("{command}\n"),
        (None, true) => format!("remove the entry `{}` from {place}\n", server.name),
        (Some(command), false) => format!("{command}\n\nor in {place}:\n\n{content}\n"),
        (None, false) => format!("in {place}:\n\n{content}\n"),
    }
}

/// Returns the command that starts this program. A project's file is shared with people who have
/// the program at other paths; for one person, the absolute path is the most reliable.
fn executable(arguments: &RegisterArgs) -> anyhow::Result<String> {
    if arguments.client == Client::ClaudeCode && arguments.scope == Scope::Project {
        return Ok(NAME.into());
    }
    let path = std::env::current_exe().context("cannot determine the path of this executable")?;
    Ok(utf8(path.as_os_str())?.to_owned())
}

/// Returns the global flags that were set for this call, by flag or by variable, without those of
/// `except`. Paths are made absolute, since a client starts the server in any directory.
pub(super) fn flags(options: &Options, matches: &ArgMatches, except: &[&str]) -> anyhow::Result<Vec<String>> {
    let mut flags = Vec::new();
    for argument in Cli::command().get_arguments().filter(|argument| argument.is_global_set()) {
        let (id, Some(name)) = (argument.get_id().as_str(), argument.get_long()) else { continue };
        let was_set = matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable));
        if !was_set || except.contains(&id) {
            continue;
        }
        let flag = format!("--{name}");
        if id == "model" {
            flags.extend(models(options)?.into_iter().flat_map(|model| [flag.clone(), model]));
        } else if !argument.get_action().takes_values() {
            flags.extend(matches.get_flag(id).then_some(flag));
        } else {
            let is_path = matches!(argument.get_value_hint(), ValueHint::DirPath | ValueHint::FilePath);
            let values = matches.get_raw(id).into_iter().flatten().filter(|value| !value.is_empty());
            for value in values {
                let value = if is_path { absolute(value)? } else { utf8(value)?.to_owned() };
                flags.extend([flag.clone(), value]);
            }
        }
    }
    Ok(flags)
}

/// Returns the values of `--model`, as `NAME=DIR`.
fn models(options: &Options) -> anyhow::Result<Vec<String>> {
    let models = options.models().map_err(|problem| anyhow!(problem))?.into_iter();
    let folders = models.filter_map(|(name, location)| match location {
        Location::Folder(folder) => Some((name, folder)),
        Location::BuiltIn => None,
    });
    folders.map(|(name, folder)| Ok(format!("{name}={}", utf8(folder.as_os_str())?))).collect()
}

fn absolute(path: &OsStr) -> anyhow::Result<String> {
    let absolute = std::path::absolute(path).with_context(|| format!("`{}`", Path::new(path).display()))?;
    Ok(utf8(absolute.as_os_str())?.to_owned())
}

/// Returns the client's own command, as words.
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

/// Returns where a client keeps its servers, and the entry to add there.
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
            // JSON strings and lists of strings are valid TOML.
            let content =
                format!("[mcp_servers.{}]\ncommand = {}\nargs = {}", server.name, entry["command"], entry["args"]);
            ("~/.codex/config.toml", content)
        }
    }
}

fn apply(words: &[String]) -> anyhow::Result<Outcome> {
    let missing = || format!("cannot start `{}`; install it, or run elsewhere: {}", words[0], quoted(words));
    let run = |program: &str| Command::new(program).args(&words[1..]).status();
    let mut status = run(&words[0]);
    // npm installs clients as `.cmd` files, which Windows starts only by their full name.
    if cfg!(windows) && status.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        status = run(&format!("{}.cmd", words[0]));
    }
    let status = status.with_context(missing)?;
    if status.success() {
        return Ok(Outcome::Done);
    }
    Err(anyhow!("`{}` ended with {status}; see its output above", quoted(words)))
}

/// Quotes words for a shell.
fn quoted(words: &[String]) -> String {
    // Only a NUL cannot be quoted, and no argument can contain one.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

fn utf8(value: &OsStr) -> anyhow::Result<&str> {
    value
        .to_str()
        .ok_or_else(|| anyhow!("`{}` is not UTF-8, which configurations must be", OsString::from(value).display()))
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;
    use clap::builder::Resettable;

    use super::*;

    /// Parses the arguments of a `register` call, without the environment.
    fn parsed(arguments: &[&str]) -> (Options, RegisterArgs, ArgMatches) {
        let command = Cli::command().mut_args(|argument| argument.env(Resettable::Reset));
        let matches = command.try_get_matches_from([&[NAME, "register"], arguments].concat()).unwrap();
        let Cli { options, command } = Cli::from_arg_matches(&matches).unwrap();
        let Some(crate::commands::Command::Register(register)) = command else { panic!("another command") };
        (options, register, matches)
    }

    fn flags_of(arguments: &[&str]) -> Vec<String> {
        let (options, _, matches) = parsed(arguments);
        flags(&options, &matches, &[]).unwrap()
    }

    fn printed(arguments: &[&str]) -> String {
        let (options, register, matches) = parsed(arguments);
        let arguments = flags(&options, &matches, &[]).unwrap();
        let server = Server { name: register.name.clone(), command: executable(&register).unwrap(), arguments };
        instructions(&server, &register)
    }

    /// The JSON in a text.
    #[track_caller]
    fn entry(printed: &str) -> Value {
        serde_json::from_str(&printed[printed.find('{').unwrap()..]).unwrap()
    }

    /// Returns the first of some sample values that the argument accepts.
    fn sample_value(argument: &clap::Arg) -> String {
        let choices = argument.get_possible_values();
        let choices = choices.iter().map(|value| value.get_name().to_owned());
        let mut samples = choices.chain(["/a/folder", "7", "300000000"].map(str::to_owned));
        let flag = format!("--{}", argument.get_long().unwrap());
        let accepted = |value: &String| Cli::command().try_get_matches_from([NAME, "register", &flag, value]).is_ok();
        samples.find(accepted).unwrap_or_else(|| panic!("{flag} accepts no sample value"))
    }

    #[cfg(unix)]
    #[test]
    fn every_global_flag_is_registered() {
        let command = Cli::command();
        let global: Vec<_> = command.get_arguments().filter(|argument| argument.is_global_set()).collect();
        assert!(global.len() >= 14, "{global:?}");
        for argument in global {
            let flag = format!("--{}", argument.get_long().unwrap());
            if argument.get_action().takes_values() {
                let value = sample_value(argument);
                let registered = if flag == "--model" { format!("folder={value}") } else { value.clone() };
                assert_eq!(flags_of(&[&flag, &value]), [flag, registered]);
            } else {
                assert_eq!(flags_of(&[&flag]), [flag]);
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn registered_paths_are_absolute() {
        let here = std::env::current_dir().unwrap();
        let expected = ["--model", &format!("a={}/m", here.display()), "--cache-dir", &format!("{}/c", here.display())];
        assert_eq!(flags_of(&["--cache-dir", "c", "--model", "a=m"]), expected);
    }

    #[test]
    fn each_client_gets_its_own_form() {
        let executable = std::env::current_exe().unwrap();
        for (client, key) in [
            ("claude-code", "mcpServers"),
            ("claude-desktop", "mcpServers"),
            ("cursor", "mcpServers"),
            ("zed", "context_servers"),
        ] {
            let printed = printed(&["--client", client, "--name", "mine"]);
            let configuration = printed.split_once(":\n\n").unwrap().1;
            assert_eq!(entry(configuration)[key]["mine"]["command"], executable.to_str().unwrap(), "{client}");
        }
        let code = printed(&["--client", "vscode"]);
        assert!(
            code.starts_with("code --add-mcp '{\"name\":\"local-model\",") && code.contains("\"servers\""),
            "{code}"
        );
        let codex = printed(&["--client", "codex", "--deadline-ms", "7"]);
        let toml = &codex[codex.find('[').unwrap()..];
        assert!(toml.starts_with("[mcp_servers.local-model]\ncommand = \""), "{toml}");
        assert!(toml.contains("args = [\"--deadline-ms\",\"7\"]"), "{toml}");
    }

    #[test]
    fn a_project_names_the_program_without_a_path() {
        let project = printed(&["--scope", "project", "--workers", "2"]);
        let command = "claude mcp add --scope project local-model -- local-model-mcp --workers 2\n";
        assert!(project.starts_with(command), "{project}");
    }

    #[test]
    fn removing_needs_a_command_or_an_edit() {
        assert_eq!(printed(&["--remove"]), "claude mcp remove --scope local local-model\n");
        let cursor = printed(&["--remove", "--client", "cursor"]);
        assert_eq!(cursor, "remove the entry `local-model` from ~/.cursor/mcp.json\n");
    }
}

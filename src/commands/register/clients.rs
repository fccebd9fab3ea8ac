//! The form in which each client takes a server: its own command, and the entry in its file.

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::{Client, RegisterArgs, Scope};

/// The entry that a client needs to start this server.
pub(super) struct Server {
    pub(super) name: String,
    pub(super) command: String,
    pub(super) arguments: Vec<String>,
}

/// Returns the client's command, if it has one, and the configuration to paste.
pub(super) fn instructions(server: &Server, arguments: &RegisterArgs) -> String {
    let command = client_command(server, arguments).map(|words| quoted(&words));
    let (place, content) = configuration(server, arguments);
    match (command, arguments.remove) {
        (Some(command), true) => format!("{command}\n"),
        (None, true) => format!("remove the entry `{}` from {place}\n", server.name),
        (Some(command), false) => {
            let first = if arguments.replace { removal(server, arguments) } else { None };
            let first = first.map_or_else(String::new, |words| format!("{}\n", quoted(&words)));
            format!("{first}{command}\n\nor in {place}:\n\n{content}\n")
        }
        (None, false) => format!("in {place}:\n\n{content}\n"),
    }
}

/// Returns the client's own command, as words.
pub(super) fn client_command(server: &Server, arguments: &RegisterArgs) -> Option<Vec<String>> {
    if arguments.remove {
        return removal(server, arguments);
    }
    match arguments.client {
        Client::ClaudeCode => {
            let mut all =
                words(&["claude", "mcp", "add", "--scope", &scope(arguments), &server.name, "--", &server.command]);
            all.extend(server.arguments.iter().cloned());
            Some(all)
        }
        Client::Codex => {
            let mut all = words(&["codex", "mcp", "add", &server.name, "--", &server.command]);
            all.extend(server.arguments.iter().cloned());
            Some(all)
        }
        Client::Vscode => {
            let entry = json!({ "name": server.name, "command": server.command, "args": server.arguments });
            Some(words(&["code", "--add-mcp", &entry.to_string()]))
        }
        Client::ClaudeDesktop | Client::Cursor | Client::Zed => None,
    }
}

/// Returns the client's own command that removes a server, as words.
pub(super) fn removal(server: &Server, arguments: &RegisterArgs) -> Option<Vec<String>> {
    match arguments.client {
        Client::ClaudeCode => Some(words(&["claude", "mcp", "remove", "--scope", &scope(arguments), &server.name])),
        Client::Codex => Some(words(&["codex", "mcp", "remove", &server.name])),
        Client::Vscode | Client::ClaudeDesktop | Client::Cursor | Client::Zed => None,
    }
}

fn scope(arguments: &RegisterArgs) -> String {
    arguments.scope.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// Quotes words for a shell.
pub(super) fn quoted(words: &[String]) -> String {
    // Only a NUL cannot be quoted, and no argument can contain one.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
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
        Client::ClaudeCode => {
            let place = match project {
                true => ".mcp.json, at the root of the project",
                false => ".mcp.json, at the root of a project",
            };
            (place, under("mcpServers"))
        }
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

#[cfg(test)]
pub(super) mod tests {
    use clap::builder::Resettable;
    use clap::{ArgMatches, CommandFactory, FromArgMatches};

    use super::super::executable;
    use super::super::flags::flags;
    use super::*;
    use crate::args::Options;
    use crate::commands::{Cli, Command, NAME};

    /// Parses the arguments of a `register` call, without the environment.
    pub(in super::super) fn parsed(arguments: &[&str]) -> (Options, RegisterArgs, ArgMatches) {
        let command = Cli::command().mut_args(|argument| argument.env(Resettable::Reset));
        let matches = command.try_get_matches_from([&[NAME, "register"], arguments].concat()).unwrap();
        let Cli { options, command } = Cli::from_arg_matches(&matches).unwrap();
        let Some(Command::Register(register)) = command else { panic!("another command") };
        (options, register, matches)
    }

    fn printed(arguments: &[&str]) -> String {
        let (options, register, matches) = parsed(arguments);
        let arguments = flags(&options, &matches, &[]).unwrap();
        let command = executable::path(&register).unwrap();
        instructions(&Server { name: register.name.clone(), command, arguments }, &register)
    }

    /// The JSON in a text.
    #[track_caller]
    fn entry(printed: &str) -> Value {
        serde_json::from_str(&printed[printed.find('{').unwrap()..]).unwrap()
    }

    #[test]
    fn each_client_gets_its_own_form() {
        let executable = std::fs::canonicalize(std::env::current_exe().unwrap()).unwrap();
        for (client, key) in [
            ("claude-code", "mcpServers"),
            ("claude-desktop", "mcpServers"),
            ("cursor", "mcpServers"),
            ("zed", "context_servers"),
        ] {
            let printed = printed(&["--client", client, "--name", "mine"]);
            let configuration = printed.split_once(":\n\n").unwrap().1;
            let entry = &entry(configuration)[key]["mine"];
            assert_eq!(entry["command"], executable.to_str().unwrap(), "{client}");
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
        let replaced = printed(&["--replace", "--scope", "user"]);
        assert!(replaced.starts_with("claude mcp remove --scope user local-model\nclaude mcp add "), "{replaced}");
    }
}

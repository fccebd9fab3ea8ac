//! Generates docs/reference.md from the definitions of the command line and the tools' schemas.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use clap::{Arg, CommandFactory};
use local_model_mcp::commands::Cli;
use serde_json::{Value, json};

use crate::protocol::Session;
use crate::support::client::request;
use engine::testing::Script;

const INTRODUCTION: &str = "# Reference

This page is generated from the program. After a change of a flag or a tool, update it with
`UPDATE_REFERENCE=1 cargo test --test suite reference`.
";

const FLAGS: &str = "
## Flags

Every command takes these flags. The environment variable of a flag applies if the flag is not
given; an empty variable counts as unset. Several values in a variable are separated by `;`.
";

const TOOLS: &str = "
## Tools

Arguments that are not required can be omitted. Fields of a result that do not apply are omitted.
";

#[tokio::test(start_paused = true)]
async fn the_reference_is_up_to_date() {
    let mut session = Session::new(&Arc::new(Script::default()));
    let tools = session.ask(&request(1, "tools/list", json!({}))).await["result"]["tools"].take();
    let expected = format!("{INTRODUCTION}{}{TOOLS}{}", command_line(), tool_sections(&tools));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference.md");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let difference = (fs::read_to_string(&path).unwrap().lines().zip(expected.lines()))
        .find(|(committed, generated)| committed != generated)
        .map(|(committed, generated)| format!("committed: {committed}\ngenerated: {generated}\n"));
    let hint = "run `UPDATE_REFERENCE=1 cargo test --test suite reference`";
    assert!(difference.is_none(), "docs/reference.md differs; {hint}\n{}", difference.unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), expected, "{hint}");
}

fn command_line() -> String {
    let mut page = String::from("\n## Commands\n\n| command | what it does |\n|---|---|\n");
    let command = Cli::command();
    for command in command.get_subcommands() {
        writeln!(page, "| `{}` | {} |", command.get_name(), command.get_about().unwrap()).unwrap();
    }
    page += FLAGS;
    page += "\n| flag | variable | default | meaning |\n|---|---|---|---|\n";
    for argument in command.get_arguments().filter(|argument| argument.is_global_set()) {
        let variable = argument.get_env().unwrap().to_str().unwrap();
        writeln!(page, "| {} | `{variable}` | {} |", usage(argument), meaning(argument)).unwrap();
    }
    for command in command.get_subcommands() {
        let arguments: Vec<&Arg> = command.get_arguments().collect();
        if !arguments.is_empty() {
            writeln!(page, "\n### `{}`\n\n| argument | default | meaning |\n|---|---|---|", command.get_name())
                .unwrap();
        }
        for argument in arguments {
            writeln!(page, "| {} | {} |", usage(argument), meaning(argument)).unwrap();
        }
    }
    page
}

/// Formats an argument as it is typed.
fn usage(argument: &Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string);
    let value = values.collect::<Vec<_>>().join(" ");
    match (argument.get_long(), argument.get_action().takes_values()) {
        (None, _) => format!("`{value}`"),
        (Some(long), false) => format!("`--{long}`"),
        (Some(long), true) => format!("`--{long} {value}`"),
    }
}

/// Returns the two last cells of an argument's row. Defaults that depend on the machine are in the
/// help's text.
fn meaning(argument: &Arg) -> String {
    let defaults = argument.get_default_values().iter().filter_map(|value| value.to_str());
    let default = defaults.map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" ");
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let (help, own_default) = match help.split_once(" (default: ") {
        Some((help, rest)) => {
            let (default, rest) = rest.split_once(')').unwrap();
            (format!("{help}{rest}"), default.to_owned())
        }
        None => (help, String::new()),
    };
    let choices: Vec<_> =
        argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    let choices = if argument.get_action().takes_values() && !choices.is_empty() && !help.contains("`local`") {
        format!(": {}", choices.join(", "))
    } else {
        String::new()
    };
    format!("{default}{own_default} | {}{choices}", help.replace('|', "\\|"))
}

fn tool_sections(tools: &Value) -> String {
    let mut page = String::new();
    for tool in tools.as_array().unwrap() {
        let [name, description] = ["name", "description"].map(|key| tool[key].as_str().unwrap());
        // The list of models differs from server to server.
        let description = description.split(" Models: ").next().unwrap_or(description);
        writeln!(page, "\n### `{name}`\n\n{}", wrapped(description)).unwrap();
        for (heading, schema) in [("argument", &tool["inputSchema"]), ("result", &tool["outputSchema"])] {
            let mut rows = Vec::new();
            property_rows(schema, "", &mut rows);
            if !rows.is_empty() {
                writeln!(page, "\n| {heading} | type | meaning |\n|---|---|---|\n{}", rows.join("\n")).unwrap();
            }
        }
    }
    page
}

/// Adds a row for each property of a schema. Nested properties are shown with their path.
fn property_rows(schema: &Value, path: &str, rows: &mut Vec<String>) {
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        // An item of a batch has the fields of a single result.
        if path == "results[]." && name != "error" {
            continue;
        }
        let is_required = path.is_empty() && required.iter().any(|required| required == name);
        // The names of the models differ from server to server.
        let kind = if name == "model" { "string".to_owned() } else { type_name(property) };
        let required = if is_required { ", required" } else { "" };
        let description = property["description"].as_str().unwrap_or_default().replace('|', "\\|");
        rows.push(format!("| `{path}{name}` | {kind}{required} | {description} |"));
        let is_list = property["items"].is_object();
        let nested = if is_list { &property["items"] } else { property };
        property_rows(nested, &format!("{path}{name}{}.", if is_list { "[]" } else { "" }), rows);
    }
}

fn type_name(property: &Value) -> String {
    match (property["type"].as_str(), property["enum"].as_array()) {
        (_, Some(values)) => values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", "),
        (Some("array"), _) => format!("list of {}", type_name(&property["items"])),
        (Some(kind), _) => kind.to_owned(),
        (None, _) => "any".to_owned(),
    }
}

/// Breaks a text into lines of at most 100 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().unwrap();
        if last.is_empty() {
            last.push_str(word);
        } else if last.len() + 1 + word.len() <= 100 {
            *last += &format!(" {word}");
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

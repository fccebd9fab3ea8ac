//! `register`: prints the command and the configuration that register this server with a client, or
//! runs the client's command. With `--rule`, the same for a line in CLAUDE.md. Never edits the
//! configuration of a client.

mod apply;
mod clients;
mod executable;
mod flags;
mod rule;

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{ArgMatches, Args, ValueEnum};
use classifier::Location;
use engine::EngineSettings;

use crate::args::Options;
use crate::commands::{Outcome, engine, print_lines, runtime};
use crate::error::Error;
use crate::visible::visible;
use clients::Server;
pub(super) use flags::flags;

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
    /// Replace the server that has the name
    #[arg(long)]
    pub replace: bool,
    /// Remove the registration
    #[arg(long, conflicts_with = "replace")]
    pub remove: bool,
    /// Print a line for CLAUDE.md that tells Claude when to use the tools; with `--apply`, add it
    #[arg(long, conflicts_with_all = ["replace", "name"])]
    pub rule: bool,
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

/// Loading a model for the first time prepares it. A slow one is waited for.
const LOAD_DEADLINE: Duration = Duration::from_secs(600);

pub(super) fn run(options: &Options, arguments: &RegisterArgs, matches: &ArgMatches) -> anyhow::Result<Outcome> {
    if arguments.rule {
        return rule::run(arguments);
    }
    let server = Server {
        name: arguments.name.clone(),
        command: executable::path(arguments)?,
        arguments: flags(options, matches, &[])?,
    };
    if !server.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) || server.name.is_empty() {
        return Err(anyhow!("`{}` is not a valid server name; use letters, digits, `-` and `_`", server.name));
    }
    if !arguments.remove {
        let checked = check_models(options);
        if arguments.apply {
            checked.context("nothing was registered")?;
        } else if let Err(problem) = checked {
            let _ = writeln!(std::io::stderr(), "warning: {}", visible(&format!("{problem:#}")));
        }
    }
    if arguments.apply {
        return apply::run(&server, arguments);
    }
    print_lines(&clients::instructions(&server, arguments))?;
    Ok(Outcome::Done)
}

/// Loads every model of the call as the server would, except the built-in one.
fn check_models(options: &Options) -> anyhow::Result<()> {
    let models = options.models().map_err(|problem| anyhow!(problem))?;
    let folders = models.into_iter().filter(|(_, location)| matches!(location, Location::Folder(_)));
    let runtime = runtime()?;
    let settings = || EngineSettings { deadline: LOAD_DEADLINE, ..options.batch_engine() };
    for (name, _) in folders {
        runtime.block_on(async {
            engine(options, settings(), Some(&name))?.ready(None).await.map_err(Error::from)?;
            anyhow::Ok(())
        })?;
    }
    runtime.shutdown_background();
    Ok(())
}

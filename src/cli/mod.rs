//! Commands for a person at a terminal or a script: one file each. The only room that prints.

mod answers;
mod bench;
mod check;
mod eval;
mod memory;
mod predict;
mod predict_file;
mod register;
mod serve;

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::CommandFactory;

use crate::engine::{Engine, EngineSettings};
use crate::error::Error;
use crate::model;
use crate::settings::{Cli, Command, Options};

/// How a command ended; its number is the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done = 0,
    /// Done, but some rows failed.
    SomeFailed = 1,
}

/// Exit status of a command that could not run at all.
const COULD_NOT_RUN: u8 = 2;

const NAME: &str = "local-model-mcp";

/// Runs the command, prints the error that stopped it, if one did, and returns the exit status.
pub fn run(arguments: Cli) -> u8 {
    let options = arguments.options;
    memory::limit(options.max_memory_bytes);
    let outcome = match arguments.command {
        Some(Command::Serve) => serve::run(&options),
        Some(Command::Predict(predict)) => predict::run(&options, &predict),
        Some(Command::Check(check)) => check::run(&options, &check),
        Some(Command::Eval(eval)) => eval::run(&options, &eval),
        Some(Command::Register(register)) => register::run(&options, &register),
        Some(Command::Completions { shell }) => {
            generated(|out| clap_complete::generate(shell, &mut Cli::command(), NAME, out))
        }
        Some(Command::Man) => generated(|out| {
            // Writing to memory cannot fail.
            let _ = clap_mangen::Man::new(Cli::command()).render(out);
        }),
        Some(Command::Bench(bench)) => bench::run(&options, &bench),
        // A client that starts us names no command; a person who does wants to know what there is.
        None if std::io::stdin().is_terminal() => {
            Cli::command().print_help().map(|()| Outcome::Done).context("the help could not be printed")
        }
        None => serve::run(&options),
    };
    // A closed stdout has been met, and dealt with, by whoever wrote to it.
    let _ = std::io::stdout().flush();
    match outcome {
        Ok(outcome) => outcome as u8,
        Err(error) => {
            print_error(&error);
            COULD_NOT_RUN
        }
    }
}

/// Something made from the definitions of the command line, to stdout in one piece.
fn generated(make: impl FnOnce(&mut Vec<u8>)) -> anyhow::Result<Outcome> {
    let mut content = Vec::new();
    make(&mut content);
    match std::io::stdout().lock().write_all(&content) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        written => written.context("it could not be written to stdout")?,
    }
    Ok(Outcome::Done)
}

/// The one place that tells a person why a command could not run, where there is somebody to be told.
fn print_error(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
}

/// One thread drives everything that is not a forward pass: calls are short, and a second one would only add hand-overs.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("the async runtime could not start")
}

/// The engine with every model that the options name, or `only` one of them. Must be called inside the runtime.
fn engine(options: &Options, settings: EngineSettings, only: Option<&str>) -> anyhow::Result<Arc<Engine>> {
    let models = options.models().map_err(|problem| anyhow!(problem))?;
    let known: Vec<String> = models.iter().map(|(name, _)| name.clone()).collect();
    if let Some(name) = only.filter(|name| known.iter().all(|known| known != name)) {
        return Err(Error::UnknownModel { name: name.to_owned(), known }.into());
    }
    let chosen = models.into_iter().filter(|(name, _)| only.is_none_or(|only| name == only));
    let models = chosen.map(|(name, location)| {
        let load = model::loader(name.clone(), location, options.library(), settings.workers);
        (name, load)
    });
    Ok(Engine::start(models.collect(), settings))
}

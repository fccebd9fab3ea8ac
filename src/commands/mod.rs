//! The command line: one file per command, each with its arguments next to its `run`. The only
//! module that prints.

mod asked;
mod audit;
mod bench;
mod check;
mod eval;
mod export;
mod labelling;
mod optimize;
mod predict;
mod predict_file;
mod register;
mod serve;
mod teach;

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::builder::Resettable;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use classifier::Cancellation;
use engine::{Engine, EngineSettings};

use crate::args::{Options, is_empty_variable};
use crate::error::Error;
use crate::process;
use crate::visible::visible;

const NAME: &str = "local-model-mcp";

/// Your own text classifier as a tool of Claude Code: one binary, MCP over stdio, ONNX Runtime in
/// process
#[derive(Debug, Parser)]
#[command(name = NAME, version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub options: Options,
}

impl Cli {
    /// Reads the command line and the environment. If they are invalid, prints why and ends the
    /// process.
    ///
    /// An empty variable counts as unset: clients that fill in optional settings leave it empty.
    pub fn read() -> (Self, ArgMatches) {
        let command = Self::command().mut_args(|argument| match argument.get_env() {
            Some(variable) if is_empty_variable(variable) => argument.env(Resettable::Reset),
            _ => argument,
        });
        let matches = command.get_matches();
        (Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()), matches)
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the MCP server on stdin and stdout (what Claude Code starts)
    Serve,
    /// Classify texts from arguments, stdin or a file
    Predict(Box<predict::PredictArgs>),
    /// Load the models as `serve` would and report what was found
    Check(check::CheckArgs),
    /// Evaluate accuracy and calibration on a labelled file
    Eval(Box<eval::EvalArgs>),
    /// Teach a model your own labels, with rows of a file
    Teach(Box<teach::TeachArgs>),
    /// State how good a taught model is, from rows kept apart
    Audit(audit::AuditArgs),
    /// Write a taught model as a folder that transformers, Spark and Ray can use
    Export(export::ExportArgs),
    /// Make an fp32 model faster: write a copy in int8, compared with the original first
    Optimize(optimize::OptimizeArgs),
    /// Register the server with Claude Code or another MCP client
    Register(register::RegisterArgs),
    /// Measure latency, errors and memory growth of `serve` with your model
    Bench(bench::BenchArgs),
    /// Print shell completions
    Completions {
        /// Shell that the completions are for
        shell: clap_complete::Shell,
    },
    /// Print a manual page
    Man {
        /// Command that the page is about (default: all of them)
        command: Option<String>,
    },
}

/// The outcome of a command; the number is the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done = 0,
    /// Done, but some rows failed or some targets were missed.
    SomeFailed = 1,
}

/// Exit status of a command that could not run.
const COULD_NOT_RUN: u8 = 2;

/// Runs the command, prints the error that stopped it, and returns the exit status. `arguments`
/// were parsed from `matches`.
pub fn run(arguments: Cli, matches: &ArgMatches) -> u8 {
    let options = &arguments.options;
    process::limit_memory(options.max_memory_bytes);
    let outcome = match arguments.command {
        Some(Command::Serve) => serve::run(options),
        Some(Command::Predict(predict)) => predict::run(options, &predict),
        Some(Command::Check(check)) => check::run(options, &check),
        Some(Command::Eval(eval)) => eval::run(options, &eval),
        Some(Command::Teach(teach)) => teach::run(options, &teach),
        Some(Command::Audit(audit)) => audit::run(options, &audit),
        Some(Command::Export(export)) => export::run(options, &export),
        Some(Command::Optimize(optimize)) => optimize::run(options, &optimize),
        Some(Command::Register(register)) => register::run(options, &register, matches),
        Some(Command::Bench(bench)) => bench::run(options, &bench, matches),
        Some(Command::Completions { shell }) => {
            print_generated(|out| clap_complete::generate(shell, &mut Cli::command(), NAME, out))
        }
        Some(Command::Man { command }) => manual(command.as_deref()),
        // A client starts the server without a command; a person who does so wants the list of
        // commands.
        None if std::io::stdin().is_terminal() => {
            Cli::command().print_help().map(|()| Outcome::Done).context("cannot write to stdout")
        }
        None => serve::run(options),
    };
    // Each command has already handled a closed stdout.
    let _ = std::io::stdout().flush();
    match outcome {
        Ok(outcome) => outcome as u8,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {}", visible(&with_flags(&format!("{error:#}"))));
            COULD_NOT_RUN
        }
    }
}

/// Prints the manual page of a command, or of the program.
fn manual(command: Option<&str>) -> anyhow::Result<Outcome> {
    let mut page = Cli::command();
    if let Some(name) = command {
        // Adds the options that all commands share.
        page.build();
        let known = page.find_subcommand(name).cloned();
        page = known.ok_or_else(|| anyhow!("there is no command `{name}`; `local-model-mcp help` lists them"))?;
    }
    print_generated(|out| {
        // Writing to memory cannot fail.
        let _ = clap_mangen::Man::new(page).render(out);
    })
}

/// Errors of file jobs name the arguments of the tool. On the command line they are flags.
fn with_flags(error: &str) -> String {
    error.replace("`overwrite`", "`--overwrite`").replace("`resume`", "`--resume`")
}

/// Prints generated text in one piece.
fn print_generated(generate: impl FnOnce(&mut Vec<u8>)) -> anyhow::Result<Outcome> {
    let mut content = Vec::new();
    generate(&mut content);
    print(&content)?;
    Ok(Outcome::Done)
}

/// Writes to stdout. A reader that has closed the pipe, such as `head`, is not an error.
fn print(content: &[u8]) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(content).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}

/// Prints lines for people. Labels, names and texts in them cannot drive the terminal.
fn print_lines(text: &str) -> anyhow::Result<()> {
    print(text.lines().flat_map(|line| [visible(line), "\n".into()]).collect::<String>().as_bytes())
}

/// Prints what the owner of a model should know to stderr.
fn warn(warnings: &[String]) {
    for warning in warnings {
        let _ = writeln!(std::io::stderr(), "warning: {}", visible(warning));
    }
}

/// Runs `work` on another thread, so that SIGINT and SIGTERM cancel it. The error is a crash.
fn cancellable<T: Send + 'static>(work: impl FnOnce(&Cancellation) -> T + Send + 'static) -> anyhow::Result<T> {
    let cancellation = Cancellation::default();
    let shared = cancellation.clone();
    runtime()?.block_on(async {
        let signal = process::shutdown_signal();
        let mut outcome = tokio::task::spawn_blocking(move || work(&shared));
        tokio::select! {
            outcome = &mut outcome => return Ok(outcome?),
            () = signal => cancellation.cancel(),
        }
        Ok(outcome.await?)
    })
}

/// Returns a runtime with one thread. Everything outside the model is short, so a second thread
/// would only add hand-overs.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the async runtime")
}

/// Starts the engine with every model of the options, or `only` one of them. Must be called inside
/// the runtime.
fn engine(options: &Options, settings: EngineSettings, only: Option<&str>) -> anyhow::Result<Arc<Engine>> {
    let models = options.models().map_err(|problem| anyhow!(problem))?;
    let mut known: Vec<String> = models.iter().map(|(name, _)| name.clone()).collect();
    if let Some(name) = only.filter(|name| known.iter().all(|known| known != name)) {
        if let Some(teacher) = options.teacher(options.encoders(settings.workers)) {
            let taught = teacher.names();
            if taught.iter().any(|taught| taught == name) {
                return Ok(Engine::start(vec![(name.to_owned(), teacher.loader(name))], settings));
            }
            known.extend(taught);
        }
        return Err(Error::from(engine::Error::UnknownModel { name: name.to_owned(), known }).into());
    }
    let chosen = models.into_iter().filter(|(name, _)| only.is_none_or(|only| name == only));
    let models = chosen.map(|(name, location)| {
        let load = classifier::loader(name.clone(), location, options.library(), settings.workers);
        (name, load)
    });
    Ok(Engine::start(models.collect(), settings))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn the_definitions_of_the_command_line_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn errors_name_flags_as_they_are_written() {
        let shown = with_flags("`a.csv` exists already; give another output path, or replace it with `overwrite`");
        assert!(shown.ends_with("or replace it with `--overwrite`"), "{shown}");
    }

    #[test]
    fn completions_and_manual_know_every_command() {
        for shell in clap_complete::Shell::value_variants() {
            let mut completions = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), NAME, &mut completions);
            assert!(String::from_utf8(completions).unwrap().contains("target-accuracy"), "{shell}");
        }
        let mut manual = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut manual).unwrap();
        assert!(String::from_utf8(manual).unwrap().contains(".TH local-model-mcp 1"));
        assert!(super::manual(Some("nothing")).is_err_and(|error| error.to_string().contains("`nothing`")));
    }
}

//! The commands and what each of them takes.

use std::ffi::OsStr;
use std::num::NonZero;
use std::path::PathBuf;

use clap::builder::Resettable;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::settings::Options;

/// Your own text classifier as a tool of Claude Code: one binary, MCP over stdio, ONNX Runtime in process
#[derive(Debug, Parser)]
#[command(name = "local-model-mcp", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub options: Options,
}

impl Cli {
    /// Reads the command line and the environment; ends the process with a sentence where they cannot be understood.
    ///
    /// An empty variable counts as none: clients that fill in what a user left out set it so.
    pub fn read() -> Self {
        let empty = |variable: &OsStr| std::env::var_os(variable).is_some_and(|value| value.is_empty());
        let command = Self::command().mut_args(|argument| match argument.get_env() {
            Some(variable) if empty(variable) => argument.env(Resettable::Reset),
            _ => argument,
        });
        let matches = command.get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the MCP server on stdin and stdout (what Claude Code starts)
    Serve,
    /// Classify texts: those given, or one a line from stdin
    Predict(Box<PredictArgs>),
    /// Load the models as `serve` would and report what was found
    Check(CheckArgs),
    /// Measure how right the model is, and how sure it may be, on a file with the right answers
    Eval(Box<EvalArgs>),
    /// Register the server in Claude Code or another client: prints what to run or to paste, or does it
    Register(RegisterArgs),
    /// Measure speed and memory of `serve` with the first model, beside the floor; takes minutes
    Bench(BenchArgs),
    /// Print completions for a shell
    Completions { shell: clap_complete::Shell },
    /// Print the manual page
    Man,
}

#[derive(Args, Debug)]
pub struct PredictArgs {
    /// Texts to classify; none: one a line from stdin
    pub texts: Vec<String>,
    /// Classify a whole file: CSV, TSV, JSON lines, text lines or Parquet, plain or as gzip or zstd
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    pub file: Option<PathBuf>,
    /// Which column holds the texts, by name or number; default: the only one that can. On stdin: lines are JSON objects,
    /// and this field is classified
    #[arg(long, value_name = "COLUMN")]
    pub text_column: Option<String>,
    /// Which column holds the right labels, to count how many predictions agree
    #[arg(long, value_name = "COLUMN", requires = "file")]
    pub label_column: Option<String>,
    /// Where the output goes; default: beside the input, as NAME.predicted.csv
    #[arg(short, long, value_name = "FILE", requires = "file")]
    pub output: Option<PathBuf>,
    /// Replace an output that is there, and begin again what was interrupted
    #[arg(long, requires = "file", conflicts_with = "resume")]
    pub overwrite: bool,
    /// Go on where an interrupted run of the same command ended
    #[arg(long, requires = "file")]
    pub resume: bool,
    /// What separates the fields of a CSV file; default: found out
    #[arg(long, value_name = "CHARACTER", requires = "file", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// The CSV file has no header; its columns are called 1, 2, 3 and so on
    #[arg(long, requires = "file")]
    pub no_header: bool,
    /// Lines of stdin are JSON objects, of which `text` is classified and all else passed on
    #[arg(long, conflicts_with_all = ["texts", "file"])]
    pub jsonl: bool,
    /// Which model, by name; default: the first
    #[arg(long = "use", value_name = "NAME")]
    pub use_model: Option<String>,
    /// Show this many labels, best first
    #[arg(long, value_name = "N")]
    pub top_k: Option<NonZero<usize>>,
    /// Also show which words moved each answer most, by leaving each out in turn
    #[arg(long, conflicts_with = "file")]
    pub explain: bool,
    /// A second text, put beside each text, for models trained on pairs
    #[arg(long, value_name = "TEXT")]
    pub text_pair: Option<String>,
    /// Labels to choose from, comma between, for NLI models
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// Always write one JSON object a line, which pipes get anyway
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Write one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct EvalArgs {
    /// A file with texts and right answers: CSV, TSV, JSON lines or Parquet, plain or as gzip or zstd
    #[arg(value_name = "LABELLED")]
    pub file: PathBuf,
    /// Which column holds the texts, by name or number; default: the only one that can
    #[arg(long, value_name = "COLUMN")]
    pub text_column: Option<String>,
    /// Which column holds second texts, for models trained on pairs
    #[arg(long, value_name = "COLUMN")]
    pub pair_column: Option<String>,
    /// Which column holds the right answers; default: the one called `label` or alike
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<String>,
    /// What separates the fields of a CSV file; default: found out
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// The CSV file has no header; its columns are called 1, 2, 3 and so on
    #[arg(long)]
    pub no_header: bool,
    /// Which model, by name; default: the first
    #[arg(long = "use", value_name = "NAME")]
    pub use_model: Option<String>,
    /// Labels to choose from, comma between, for NLI models
    #[arg(long, value_name = "LABELS", value_delimiter = ',')]
    pub labels: Vec<String>,
    /// Also write a page with charts and the worst mistakes
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Write the temperature and the threshold that were found into the model's `local-model.toml`
    #[arg(long)]
    pub calibrate: bool,
    /// How many of the answers that are not marked uncertain shall be right
    #[arg(long, value_name = "SHARE", default_value = "0.95", value_parser = probability)]
    pub target_accuracy: f64,
    /// Write one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct RegisterArgs {
    /// Which client
    #[arg(long, value_name = "CLIENT", default_value = "claude-code")]
    pub client: Client,
    /// For whom: `local` (you, in this project), `user` (you, everywhere) or `project` (everybody in this project)
    #[arg(long, value_name = "SCOPE", default_value = "local")]
    pub scope: Scope,
    /// What the server is called there
    #[arg(long, value_name = "NAME", default_value = "local-model")]
    pub name: String,
    /// Do it, through the client's own command
    #[arg(long)]
    pub apply: bool,
    /// Take the registration back
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

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Go on with mixed texts for so long, to see what becomes of the memory
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub soak_s: u64,
    /// Nothing but a soak with faults mixed in: withdrawn calls, garbage, ids used twice, clients that leave
    #[arg(long)]
    pub faults: bool,
    /// Calls of a soak with faults, at least
    #[arg(long, value_name = "N", default_value_t = 100_000, requires = "faults")]
    pub soak_calls: usize,
    /// The same seed gives the same faults
    #[arg(long, value_name = "N", default_value_t = 1, requires = "faults")]
    pub seed: u64,
    /// How long to look at the processor time of an idle server
    #[arg(long, value_name = "S", default_value_t = 10)]
    pub idle_s: u64,
    /// A tenth of the repetitions
    #[arg(long)]
    pub quick: bool,
    /// Write one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

fn probability(argument: &str) -> Result<f64, String> {
    let number = argument.parse().ok().filter(|number| *number > 0.0 && *number < 1.0);
    number.ok_or_else(|| "expected a number between 0 and 1, such as 0.95".into())
}

/// One ASCII character; `\t` and `tab` stand for the one that is hard to type.
fn delimiter(argument: &str) -> Result<u8, String> {
    match argument.as_bytes() {
        b"\\t" | b"tab" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => Err("expected one ASCII character, such as `;` or `\\t`".into()),
    }
}

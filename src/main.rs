//! The executable: arguments, logs, one command, one exit status.

use std::process::ExitCode;

use clap::Parser;
use local_model_mcp::{cli, settings::Cli, telemetry};

fn main() -> ExitCode {
    let arguments = Cli::parse();
    telemetry::start(arguments.options.log_level, arguments.options.log_format);
    cli::run(arguments)
}

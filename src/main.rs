//! The executable: arguments, logs, one command, one exit status.

use clap::Parser;
use local_model_mcp::{cli, settings::Cli, telemetry};

fn main() {
    let arguments = Cli::parse();
    telemetry::start(arguments.options.log_level, arguments.options.log_format);
    let status = cli::run(arguments);
    // Ends without the C++ library's exit handlers, which crash where a thread of ours is still inside it: a model
    // that loads, or a forward pass that nobody waits for any more.
    signal_hook::low_level::exit(status.into());
}

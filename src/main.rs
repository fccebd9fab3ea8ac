//! The executable: arguments, logs, one command, one exit status.

use clap::Parser;
use local_model_mcp::{cli, settings::Cli, telemetry};

fn main() {
    without_runtime_telemetry();
    let arguments = Cli::parse();
    telemetry::start(arguments.options.log_level, arguments.options.log_format);
    let status = cli::run(arguments);
    // Ends without the C++ library's exit handlers, which crash where a thread of ours is still inside it: a model
    // that loads, or a forward pass that nobody waits for any more.
    signal_hook::low_level::exit(status.into());
}

/// ONNX Runtime's official libraries report to their maker since 1.29: models opened, the machine, timings. They ask only
/// this variable, and before any call could tell them otherwise.
#[expect(unsafe_code, reason = "no other thread runs yet that could read the environment meanwhile")]
fn without_runtime_telemetry() {
    // SAFETY: called first thing in `main`, while this is the only thread.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}

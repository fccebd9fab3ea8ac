//! The executable: prepares the process, reads the arguments, runs one command, exits with its
//! status.

use local_model_mcp::commands::{self, Cli};
use local_model_mcp::{logging, process};

fn main() {
    process::prepare();
    let (arguments, matches) = Cli::read();
    logging::start(arguments.options.log_level, arguments.options.log_format);
    let status = commands::run(arguments, &matches);
    process::exit(status);
}

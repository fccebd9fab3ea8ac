//! The executable: arguments, logs, one command, one exit status.

use local_model_mcp::{cli, settings::Cli, telemetry};

fn main() {
    prepare_process();
    let arguments = Cli::read();
    telemetry::start(arguments.options.log_level, arguments.options.log_format);
    let status = cli::run(arguments);
    // Ends without the C++ library's exit handlers, which crash where a thread of ours is still inside it: a model
    // that loads, or a forward pass that nobody waits for any more.
    signal_hook::low_level::exit(status.into());
}

/// Settings that the libraries below us take from nowhere else.
#[expect(unsafe_code, reason = "all have to be made while no other thread runs, which only `main` knows")]
fn prepare_process() {
    // SAFETY: called first thing in `main`, while this is the only thread; `mallopt` takes any numbers.
    unsafe {
        // ONNX Runtime's official libraries report to their maker since 1.29: models opened, the machine, timings.
        std::env::set_var("ORT_DISABLE_TELEMETRY", "1");
        // Blocks of a megabyte and more go back to the system when they are freed. Left alone, glibc raises this limit
        // with the first large block, and what a long text took stays with the process.
        // The rest begins with eight megabytes for each thread that has a heap of its own: past what it begins with it grows page
        // by page, each time all threads of the process wait, and ONNX Runtime's environment alone takes six.
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
            libc::mallopt(libc::M_TOP_PAD, 8 << 20);
        }
    }
}

//! Table of contents of the tests. Unit tests of pure logic stand beside the code; everything that needs more than one
//! room is here, in one executable so that it links once.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

/// A minimal client: raw lines of JSON over any pair of streams, and the built executable as a child.
mod client;

/// A folder of files for one test, and jobs on them.
mod place;

/// Files as they come, and what each gets.
mod awkward_files;
/// A broken model, library or directory as the executable reports it.
mod broken;
/// Whole files and the filter with the executable and the real model.
mod bulk;
/// README and models/README.md against the program.
mod documentation;
/// `eval` with the executable: measures, page, calibration, and what the server makes of it.
mod evaluation;
/// The executable over real pipes and sockets with the real model.
mod executable;
/// Whatever a client, a model or a machine does.
mod faults;
/// The tools for files and batches through the protocol.
mod file_tool;
/// Whole files: what is written and when, and how a run goes on.
mod files;
/// Malicious folders against the executable.
mod hostile;
/// The wire with any lines on it.
mod properties;
/// Protocol eras, tools, argument errors, progress: the server over the fake, in memory.
mod protocol;
/// docs/reference.md, generated from the program.
mod reference;
/// `register` with the executable.
mod register;
/// rmcp's own client.
mod rmcp_client;
/// The skill, as the server hands it out and as it lies in the plugin.
mod skill;
/// The executable alone in an empty directory.
mod starts;
/// Rules about the sources themselves: imports, module docs, printing.
mod tidy;

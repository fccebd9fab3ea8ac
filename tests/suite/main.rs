//! Tests of the whole program, in one executable so that it links once. Unit tests are next to the
//! code, and tests of a single crate are in that crate.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports, reason = "some tests are for Linux"))]

/// Equipment of the tests.
mod support;

/// Unusual files and the result of each.
mod arguments;
mod awkward_files;
/// The executable with a broken model, library or directory.
mod broken;
/// Whole files and the filter with the executable and the real model.
mod bulk;
/// Corrections from several servers that are ended in between.
#[cfg(unix)]
mod corrections;
/// Decision models on every surface.
mod decisions;
/// The documents compared with the program.
mod documentation;
/// `eval`: metrics, report and calibration, and their effect on the server.
mod evaluation;
/// The executable over real pipes and sockets with the real model.
mod executable;
/// Faults of clients, models and machines.
mod faults;
/// The tools for files and batches through the protocol.
mod file_tool;
/// Jobs on whole files, and resuming them.
mod files;
/// Malicious folders against the executable.
mod hostile;
/// The server with arbitrary lines on its wire.
mod properties;
/// Protocol eras, tools, argument errors, progress: the server over the fake, in memory.
mod protocol;
/// docs/reference.md, generated from the program.
mod reference;
/// `register` with the executable.
mod register;
/// rmcp's own client.
mod rmcp_client;
/// The skill in the server and in the plugin.
mod skill;
/// The executable alone in an empty directory.
mod starts;
/// Teaching and auditing through the protocol.
mod teaching;
/// Rules about the sources that neither the compiler nor Clippy checks.
mod tidy;

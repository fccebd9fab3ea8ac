//! Equipment of the tests: a client, the executable as a child process, and a project with files.

/// A minimal client: raw lines of JSON over any pair of streams, and the executable as a child
/// process.
pub(crate) mod client;
/// A folder of files for one test, and jobs on them.
pub(crate) mod project;

//! A server executable as a child process, and a client with minimal overhead.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::Target;

/// An executable to measure, with its own cache directory.
pub(crate) struct Candidate {
    /// The path as given, which names the column in tables.
    pub name: String,
    executable: PathBuf,
    cache_dir: PathBuf,
    arguments: Vec<OsString>,
}

impl Candidate {
    pub(crate) fn new(executable: &Path, cache_dir: &Path, target: &Target) -> Self {
        let mut arguments = Vec::new();
        if let Some(model) = &target.model {
            arguments.extend(["--model".into(), model.clone()]);
        }
        if let Some(workers) = target.workers {
            arguments.extend(["--workers".into(), workers.to_string().into()]);
        }
        let name = executable.display().to_string();
        Self { name, executable: executable.to_owned(), cache_dir: cache_dir.to_owned(), arguments }
    }

    pub(crate) fn clear_cache(&self) {
        let _ = std::fs::remove_dir_all(&self.cache_dir);
    }

    pub(crate) fn start(&self, wire: Wire) -> anyhow::Result<Server> {
        self.start_command(Command::new(&self.executable), wire)
    }

    /// Starts a server whose tool calls may use the files of a folder.
    pub(crate) fn start_in(&self, project: &Path, wire: Wire) -> anyhow::Result<Server> {
        let mut command = Command::new(&self.executable);
        command.env("CLAUDE_PROJECT_DIR", project);
        self.start_command(command, wire)
    }

    fn start_command(&self, mut command: Command, wire: Wire) -> anyhow::Result<Server> {
        command.arg("serve").arg("--cache-dir").arg(&self.cache_dir).args(&self.arguments).stderr(Stdio::inherit());
        let started = Instant::now();
        let (child, writer, reader) =
            connect(&mut command, wire).with_context(|| format!("cannot start `{}`", self.name))?;
        let reader = BufReader::with_capacity(1 << 16, reader);
        Ok(Server { child, writer: Some(writer), reader, line: String::new(), started })
    }
}

/// How the child's standard streams are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Pipes,
    /// As Node, and so Claude Code, connects them.
    Sockets,
}

/// How a server is ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Kill,
    Terminate,
    CloseInput,
}

pub(crate) struct Server {
    child: Child,
    writer: Option<Box<dyn Write>>,
    reader: BufReader<Box<dyn Read>>,
    line: String,
    pub started: Instant,
}

/// The results of requests sent with several in flight.
pub(crate) struct Batch {
    pub times: Vec<Duration>,
    pub duration: Duration,
    pub errors: usize,
}

impl Server {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
        let writer = self.writer.as_mut().context("stdin is closed")?;
        writer.write_all(bytes.as_ref()).context("the server does not read")
    }

    /// Returns the next line, unparsed, so that the client's own work is not measured.
    pub(crate) fn receive(&mut self) -> anyhow::Result<&str> {
        self.line.clear();
        match self.reader.read_line(&mut self.line).context("cannot read the server's answer")? {
            0 => bail!("the server has ended"),
            _ => Ok(&self.line),
        }
    }

    pub(crate) fn ask(&mut self, request: &str) -> anyhow::Result<&str> {
        self.send(request)?;
        self.receive()
    }

    /// Sends requests one after the other and returns their round-trip times.
    pub(crate) fn one_by_one(&mut self, requests: &[String]) -> anyhow::Result<Vec<Duration>> {
        let timed = requests.iter().map(|request| {
            let started = Instant::now();
            expect_result(self.ask(request)?)?;
            Ok(started.elapsed())
        });
        timed.collect()
    }

    /// Sends all requests, numbered from 0, with at most `limit` in flight.
    pub(crate) fn in_flight(&mut self, requests: &[String], limit: usize) -> anyhow::Result<Batch> {
        let started = Instant::now();
        let mut sent = Vec::with_capacity(requests.len());
        let mut times = Vec::with_capacity(requests.len());
        let mut errors = 0;
        for request in requests.iter().take(limit) {
            sent.push(Instant::now());
            self.send(request)?;
        }
        while times.len() < requests.len() {
            let line = self.receive()?;
            errors += usize::from(expect_result(line).is_err());
            let id = id(line).context("an answer without an id")?;
            times.push(sent.get(id).context("an answer with an unknown id")?.elapsed());
            if let Some(request) = requests.get(sent.len()) {
                sent.push(Instant::now());
                self.send(request)?;
            }
        }
        Ok(Batch { times, duration: started.elapsed(), errors })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Closes stdin, reads to the end and returns the remaining lines.
    pub(crate) fn last_answers(&mut self) -> anyhow::Result<Vec<String>> {
        drop(self.writer.take());
        let mut answers = String::new();
        self.reader.read_to_string(&mut answers).context("cannot read the server's answers")?;
        self.wait()?;
        Ok(answers.lines().map(str::to_owned).collect())
    }

    /// Ends the server and returns the lines that it had written. The last one may be incomplete.
    pub(crate) fn end(&mut self, end: End) -> anyhow::Result<Vec<String>> {
        let mut answers = Vec::new();
        match end {
            End::CloseInput => return self.last_answers(),
            End::Kill => self.child.kill().context("cannot kill the server")?,
            End::Terminate => self.terminate()?,
        }
        self.reader.read_to_end(&mut answers).context("cannot read the server's answers")?;
        self.child.wait().context("cannot wait for the server")?;
        Ok(String::from_utf8_lossy(&answers).lines().map(str::to_owned).collect())
    }

    #[cfg(unix)]
    fn terminate(&self) -> anyhow::Result<()> {
        use rustix::process::{Pid, Signal, kill_process};
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("cannot signal the server")
    }

    #[cfg(not(unix))]
    fn terminate(&mut self) -> anyhow::Result<()> {
        self.child.kill().context("cannot kill the server")
    }

    /// Closes both ends, regardless of calls in flight, and waits for the process.
    pub(crate) fn disconnect(mut self) -> anyhow::Result<()> {
        drop(self.writer.take());
        self.reader = BufReader::new(Box::new(std::io::empty()));
        self.wait()
    }

    /// Closes stdin and returns the time until the process has ended.
    pub(crate) fn exit(mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        drop(self.writer.take());
        self.wait()?;
        Ok(started.elapsed())
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let status = self.child.wait().context("cannot wait for the server")?;
        if !status.success() {
            bail!("the server ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

type Connected = (Child, Box<dyn Write>, Box<dyn Read>);

fn connect(command: &mut Command, wire: Wire) -> std::io::Result<Connected> {
    #[cfg(unix)]
    if wire == Wire::Sockets {
        use std::os::fd::OwnedFd;
        use std::os::unix::net::UnixStream;
        let (ours, theirs) = UnixStream::pair()?;
        let child = command
            .stdin(Stdio::from(OwnedFd::from(theirs.try_clone()?)))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .spawn()?;
        // The command keeps copies of the child's ends, which would hide the end of the child.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let writer = WriteHalf(ours.try_clone()?);
        return Ok((child, Box::new(writer), Box::new(ours)));
    }
    let _ = wire;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let closed = || std::io::Error::other("a pipe is missing");
    let (writer, reader) = (child.stdin.take().ok_or_else(closed)?, child.stdout.take().ok_or_else(closed)?);
    Ok((child, Box::new(writer), Box::new(reader)))
}

/// Dropping it ends the server's input, although the reading half of the socket stays open.
#[cfg(unix)]
struct WriteHalf(std::os::unix::net::UnixStream);

#[cfg(unix)]
impl Write for WriteHalf {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[cfg(unix)]
impl Drop for WriteHalf {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Write);
    }
}

/// Returns one line of protocol revision 2026-07-28, which needs no handshake.
pub(crate) fn request(id: usize, method: &str, mut params: Value) -> String {
    params["_meta"] = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                              "io.modelcontextprotocol/clientCapabilities": {} });
    format!("{}\n", json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
}

pub(crate) fn tool_call(id: usize, tool: &str, arguments: &Value) -> String {
    request(id, "tools/call", json!({ "name": tool, "arguments": arguments }))
}

/// Returns one call for each text, numbered from 0.
pub(crate) fn predictions<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let numbered = texts.into_iter().enumerate();
    numbered.map(|(id, text)| tool_call(id, "local_model_predict", &json!({ "text": text }))).collect()
}

fn expect_result(line: &str) -> anyhow::Result<()> {
    if line.contains("\"structuredContent\"") {
        return Ok(());
    }
    bail!("the server answered {}", line.trim())
}

/// Returns the id of an answer. A full parse would cost the client more time than the server's own
/// work.
pub(crate) fn id(line: &str) -> Option<usize> {
    let rest = line.split_once("\"id\":")?.1;
    rest.split_once([',', '}'])?.0.trim().parse().ok()
}

//! The server under measurement: this very executable as a child, and a client as small as one can be.
//!
//! What is asked of it, and what the times mean, is in `figures`.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::args::Options;

/// What the child's standard streams are connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Pipes,
    /// What Node, and so Claude Code, uses.
    Sockets,
}

pub(super) struct Server {
    child: Child,
    writer: Option<Box<dyn Write>>,
    reader: BufReader<Box<dyn Read>>,
    line: String,
    pub started: Instant,
}

impl Server {
    /// Starts `serve` with the options of this process, on another cache directory.
    pub(super) fn start(options: &Options, cache_dir: &Path, wire: Wire) -> anyhow::Result<Self> {
        let executable = std::env::current_exe().context("this executable's path is not known")?;
        let mut command = Command::new(executable);
        command.arg("serve").arg("--cache-dir").arg(cache_dir).stderr(Stdio::inherit());
        command.args(
            options.model.iter().filter(|model| !model.is_empty()).flat_map(|model| ["--model".as_ref(), &**model]),
        );
        if let Some(workers) = options.workers {
            command.arg("--workers").arg(workers.to_string());
        }
        let started = Instant::now();
        let (child, writer, reader) = connect(&mut command, wire).context("the server could not be started")?;
        Ok(Self {
            child,
            writer: Some(writer),
            reader: BufReader::with_capacity(1 << 16, reader),
            line: String::new(),
            started,
        })
    }

    pub(super) fn send(&mut self, request: &str) -> anyhow::Result<()> {
        self.send_bytes(request.as_bytes())
    }

    pub(super) fn send_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let writer = self.writer.as_mut().context("stdin is closed")?;
        writer.write_all(bytes).context("the server does not read")
    }

    /// The next line, unparsed, so that the client's own work stays out of the times.
    pub(super) fn receive(&mut self) -> anyhow::Result<&str> {
        self.line.clear();
        match self.reader.read_line(&mut self.line).context("the server's answer cannot be read")? {
            0 => bail!("the server has ended"),
            _ => Ok(&self.line),
        }
    }

    pub(super) fn ask(&mut self, request: &str) -> anyhow::Result<&str> {
        self.send(request)?;
        self.receive()
    }

    /// Round-trip times, one request after the other.
    pub(super) fn one_by_one(&mut self, requests: &[String]) -> anyhow::Result<Vec<Duration>> {
        let timed = requests.iter().map(|request| {
            let started = Instant::now();
            failed(self.ask(request)?)?;
            Ok(started.elapsed())
        });
        timed.collect()
    }

    /// Keeps so many requests in flight; the times of each, the time for all, and how many failed.
    pub(super) fn in_flight(
        &mut self,
        requests: &[String],
        most: usize,
    ) -> anyhow::Result<(Vec<Duration>, Duration, usize)> {
        let started = Instant::now();
        let mut sent = Vec::with_capacity(requests.len());
        let mut times = Vec::with_capacity(requests.len());
        let mut errors = 0;
        for request in requests.iter().take(most) {
            sent.push(Instant::now());
            self.send(request)?;
        }
        while times.len() < requests.len() {
            let line = self.receive()?;
            errors += usize::from(failed(line).is_err());
            let id = id(line).context("an answer without its number")?;
            times.push(sent.get(id).context("an answer to nothing that was asked")?.elapsed());
            if let Some(request) = requests.get(sent.len()) {
                sent.push(Instant::now());
                self.send(request)?;
            }
        }
        Ok((times, started.elapsed(), errors))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn status(&mut self) -> anyhow::Result<Value> {
        let answer: Value = serde_json::from_str(self.ask(&call(0, "local_model_status", &json!({})))?)?;
        Ok(answer["result"]["structuredContent"].clone())
    }

    /// Closes its stdin, and reads on to the end.
    pub(super) fn last_answers(&mut self) -> anyhow::Result<Vec<String>> {
        drop(self.writer.take());
        let mut answers = String::new();
        self.reader.read_to_string(&mut answers).context("the server's answers cannot be read")?;
        self.ended()?;
        Ok(answers.lines().map(str::to_owned).collect())
    }

    /// Closes both ends, whatever is under way, and waits for the process.
    pub(super) fn vanish(mut self) -> anyhow::Result<()> {
        drop(self.writer.take());
        self.reader = BufReader::new(Box::new(std::io::empty()));
        self.ended()
    }

    fn ended(&mut self) -> anyhow::Result<()> {
        let status = self.child.wait().context("the server does not end")?;
        if !status.success() {
            bail!("the server ended with {status}");
        }
        Ok(())
    }

    /// Closes its stdin; the time until the process is gone.
    pub(super) fn leave(mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        drop(self.writer.take());
        self.child.wait().context("the server does not end")?;
        Ok(started.elapsed())
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
        let writer = Half(ours.try_clone()?);
        return Ok((child, Box::new(writer), Box::new(ours)));
    }
    let _ = wire;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let closed = || std::io::Error::other("a pipe is missing");
    let (writer, reader) = (child.stdin.take().ok_or_else(closed)?, child.stdout.take().ok_or_else(closed)?);
    Ok((child, Box::new(writer), Box::new(reader)))
}

/// The sending half of a socket: dropping it ends the other side's input, although the receiving half stays.
#[cfg(unix)]
struct Half(std::os::unix::net::UnixStream);

#[cfg(unix)]
impl Write for Half {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[cfg(unix)]
impl Drop for Half {
    fn drop(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Write);
    }
}

/// One line of protocol revision 2026-07-28, which needs no opening.
pub(super) fn request(id: usize, method: &str, mut params: Value) -> String {
    params["_meta"] = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                              "io.modelcontextprotocol/clientCapabilities": {} });
    format!("{}\n", json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
}

pub(super) fn call(id: usize, tool: &str, arguments: &Value) -> String {
    request(id, "tools/call", json!({ "name": tool, "arguments": arguments }))
}

/// One call a text, numbered from 0.
pub(super) fn predictions<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let numbered = texts.into_iter().enumerate();
    numbered.map(|(id, text)| call(id, "local_model_predict", &json!({ "text": text }))).collect()
}

fn failed(line: &str) -> anyhow::Result<()> {
    if line.contains("\"structuredContent\"") {
        return Ok(());
    }
    bail!("the server answered {}", line.trim())
}

/// The number of the request that a line answers; a full parse would cost the client more than the server's own work.
pub(super) fn id(line: &str) -> Option<usize> {
    let rest = line.split_once("\"id\":")?.1;
    rest.split_once([',', '}'])?.0.trim().parse().ok()
}

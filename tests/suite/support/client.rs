//! A minimal MCP client that speaks lines of JSON, and the executable in a clean environment.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

/// The metadata of a request of revision 2026-07-28.
pub(crate) fn modern_meta() -> Value {
    json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} })
}

pub(crate) fn request(id: impl Into<Value>, method: &str, mut params: Value) -> Value {
    params["_meta"] = modern_meta();
    json!({ "jsonrpc": "2.0", "id": id.into(), "method": method, "params": params })
}

pub(crate) fn call(id: impl Into<Value>, tool: &str, arguments: Value) -> Value {
    request(id, "tools/call", json!({ "name": tool, "arguments": arguments }))
}

pub(crate) fn predict(id: impl Into<Value>, text: &str) -> Value {
    call(id, "local_model_predict", json!({ "text": text }))
}

pub(crate) const EXECUTABLE: &str = env!("CARGO_BIN_EXE_local-model-mcp");

/// The cache directory that most tests share, so that the library is unpacked once. It also keeps
/// results between sessions, so a test that counts runs of the model uses its own directory.
pub(crate) fn shared_cache() -> &'static Path {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"))
}

/// Returns the executable with an empty environment and the shared cache.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(EXECUTABLE);
    command.env_clear().env("LOCAL_MODEL_MCP_CACHE_DIR", shared_cache()).args(arguments);
    command
}

/// Runs the executable to its end with an empty stdin.
pub(crate) fn run(arguments: &[&str]) -> Output {
    command(arguments).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is UTF-8")
}

/// A server process with its stdin and stdout.
pub(crate) struct Server {
    pub(crate) child: Child,
    writer: Option<Box<dyn Write>>,
    reader: Box<dyn BufRead>,
    waiting: VecDeque<Value>,
}

impl Server {
    /// Connects two pipes, as a shell or Python does.
    pub(crate) fn over_pipes(mut command: Command) -> Self {
        Self::over(command.stdin(Stdio::piped()).stdout(Stdio::piped()))
    }

    /// Uses the pipes that the command already has.
    pub(crate) fn over(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        // The command keeps copies of the child's ends, which would hide that they are closed.
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let (writer, reader) = (child.stdin.take(), child.stdout.take().unwrap());
        Self {
            child,
            writer: writer.map(|writer| Box::new(writer) as Box<dyn Write>),
            reader: Box::new(BufReader::new(reader)),
            waiting: VecDeque::new(),
        }
    }

    /// Connects two socket pairs, as Node and Claude Code do.
    #[cfg(unix)]
    pub(crate) fn over_sockets(mut command: Command) -> Self {
        use std::os::fd::OwnedFd;
        use std::os::unix::net::UnixStream;
        let (writer, stdin) = UnixStream::pair().unwrap();
        let (reader, stdout) = UnixStream::pair().unwrap();
        let child = command.stdin(OwnedFd::from(stdin)).stdout(OwnedFd::from(stdout)).spawn().unwrap();
        // `command` still holds the child's ends open, which would hide the end of its output.
        drop(command);
        Self {
            child,
            writer: Some(Box::new(writer)),
            reader: Box::new(BufReader::new(reader)),
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn send(&mut self, message: &Value) {
        self.send_line(&message.to_string());
    }

    pub(crate) fn send_line(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        let writer = self.writer.as_mut().expect("stdin is open");
        writer.write_all(bytes).unwrap();
        writer.flush().unwrap();
    }

    pub(crate) fn close_input(&mut self) {
        self.writer = None;
    }

    pub(crate) fn close_output(&mut self) {
        self.reader = Box::new(std::io::empty());
    }

    /// Returns the next message. Everything on stdout must be JSON.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Value {
        if let Some(message) = self.waiting.pop_front() {
            return message;
        }
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Sends a request and waits for its answer. Other messages are kept for `receive`.
    #[track_caller]
    pub(crate) fn ask(&mut self, message: &Value) -> Value {
        self.send(message);
        let mut others = VecDeque::new();
        loop {
            let answer = self.receive();
            if answer["id"] == message["id"] {
                self.waiting.append(&mut others);
                return answer;
            }
            others.push_back(answer);
        }
    }

    /// Closes stdin and waits. Returns the exit status and the rest of stdout.
    pub(crate) fn finish(mut self) -> (Option<i32>, String) {
        drop(self.writer.take());
        let mut rest = String::new();
        self.reader.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Measures the executable over real pipes against the floor: the same texts tokenized and run in this process.
//!
//!     cargo build --release && cargo run --release --example measure [MODEL_FOLDER]
//!
//! Every line is a ratio or a time within this one run; machines differ and are shared.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use local_model_mcp::model::{self, Location};
use local_model_mcp::onnxruntime::LibrarySettings;
use local_model_mcp::prediction::Input;
use serde_json::{Value, json};

const CALLS: usize = 300;

struct Server {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    line: String,
}

impl Server {
    fn start(cache: &Path, model: Option<&str>) -> Self {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/local-model-mcp"));
        command
            .arg("serve")
            .env("LOCAL_MODEL_MCP_CACHE_DIR", cache)
            .args(model.map(|model| format!("--model={model}")));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("built with cargo build");
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { child, stdin, stdout: BufReader::new(stdout), line: String::new() }
    }

    /// One round trip; the answer is read but not parsed, as a minimal client would time it.
    fn ask(&mut self, request: &str) -> &str {
        self.stdin.write_all(request.as_bytes()).expect("the server reads");
        self.line.clear();
        self.stdout.read_line(&mut self.line).expect("the server answers");
        &self.line
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn request(method: &str, mut params: Value) -> String {
    params["_meta"] = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                              "io.modelcontextprotocol/clientCapabilities": {} });
    format!("{}\n", json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }))
}

fn predict(text: &str) -> String {
    request("tools/call", json!({ "name": "local_model_predict", "arguments": { "text": text } }))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn show(what: &str, value: String) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{what:<58} {value}").expect("stdout is open");
}

fn main() {
    let model = std::env::args().nth(1);
    let cache = std::env::temp_dir().join("local-model-mcp-measure");
    let _ = std::fs::remove_dir_all(&cache);
    let discover = request("server/discover", json!({}));

    for cache_state in ["empty", "filled"] {
        let started = Instant::now();
        let mut server = Server::start(&cache, model.as_deref());
        server.ask(&discover);
        show(&format!("start to server/discover, cache directory {cache_state}"), format!("{:?}", started.elapsed()));
        assert!(server.ask(&predict("a first text")).contains("structuredContent"));
        show(&format!("start to first prediction, cache directory {cache_state}"), format!("{:?}", started.elapsed()));
    }

    let mut server = Server::start(&cache, model.as_deref());
    let cached = predict("the same text again and again");
    server.ask(&cached);
    let times = |server: &mut Server, requests: &[String]| {
        let timed = requests.iter().map(|request| {
            let started = Instant::now();
            server.ask(request);
            started.elapsed()
        });
        median(timed.collect())
    };
    show("cached round trip, median", format!("{:?}", times(&mut server, &vec![cached; 5000])));

    let location = model.map_or(Location::BuiltIn, |folder| Location::Folder(folder.into()));
    let library = LibrarySettings { path: None, cache_dir: Some(cache) };
    let mut floor = model::load("floor", &location, &library).expect("the model loads").first;
    for words in [6, 30, 126] {
        let texts: Vec<String> = (0..CALLS).map(|number| format!("{number}{}", " word".repeat(words - 1))).collect();
        let requests: Vec<String> = texts.iter().map(|text| predict(text)).collect();
        // In turns, so that whatever else the machine does meets both alike.
        let (mut over_pipes, mut in_process) = (Vec::new(), Vec::new());
        for (request, text) in requests.iter().zip(&texts) {
            let started = Instant::now();
            server.ask(request);
            over_pipes.push(started.elapsed());
            let input = Input::single(text.as_str());
            let started = Instant::now();
            floor.predict(&input).expect("the text runs");
            in_process.push(started.elapsed());
        }
        let (over_pipes, in_process) = (median(over_pipes), median(in_process));
        let ratio = over_pipes.as_secs_f64() / in_process.as_secs_f64();
        show(
            &format!("uncached round trip over the floor, {} tokens, median", words + 2),
            format!("{ratio:.3} ({over_pipes:?} / {in_process:?})"),
        );
    }
    let status =
        server.ask(&request("tools/call", json!({ "name": "local_model_status", "arguments": {} }))).to_owned();
    let status: Value = serde_json::from_str(&status).expect("the answer is JSON");
    show("resident memory, MB", status["result"]["structuredContent"]["memory_mb"].to_string());
}

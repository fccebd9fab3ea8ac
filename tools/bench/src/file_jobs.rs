//! Many file jobs with progress tokens through one server. No message about a call may follow its
//! answer.

use std::collections::HashSet;
use std::fs;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use crate::corpus::distinct_texts;
use crate::server::{Candidate, Server, Wire, request, tool_call};

#[derive(Args)]
pub(crate) struct FileJobArgs {
    /// File jobs
    #[arg(long, value_name = "N", default_value_t = 2000)]
    jobs: usize,
    /// Jobs in flight. Most of them wait for one of the four places, and report that they do
    #[arg(long, value_name = "N", default_value_t = 200)]
    in_flight: usize,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct FileJobReport {
    duration_s: f64,
    jobs: usize,
    errors: usize,
    first_error: Option<String>,
    progress_messages: usize,
    /// Those that say that the job waits for another one.
    waiting_messages: usize,
    /// Messages about a call that was answered before.
    late_messages: usize,
    /// Single predictions sent meanwhile, and the slowest of them.
    predictions: usize,
    failed_predictions: usize,
    slowest_prediction_ms: f64,
}

pub(crate) fn run(candidate: &Candidate, arguments: &FileJobArgs) -> anyhow::Result<FileJobReport> {
    let folder = tempfile::tempdir().context("cannot create a temporary directory")?;
    let texts = distinct_texts(20, 8, 1);
    fs::write(folder.path().join("in.csv"), format!("text\n{}\n", texts.join("\n")))?;
    let mut client = Client {
        server: candidate.start_in(folder.path(), Wire::Sockets)?,
        open: HashSet::new(),
        report: FileJobReport { jobs: arguments.jobs, ..FileJobReport::default() },
    };
    // The rows are then found in the cache, and the jobs take turns quickly.
    client.server.ask(&tool_call(0, "local_model_predict_batch", &json!({ "texts": texts })))?;
    let started = Instant::now();
    for job in 0..arguments.jobs {
        while client.open.len() >= arguments.in_flight {
            client.take_next()?;
        }
        let arguments = json!({ "path": "in.csv", "output_path": format!("out-{job}.csv") });
        client.send(job, "local_model_predict_file", &arguments, true)?;
        if job % 10 == 9 {
            client.predict(&new_text(job))?;
        }
    }
    while !client.open.is_empty() {
        client.take_next()?;
    }
    let Client { mut server, mut report, .. } = client;
    report.late_messages += server.last_answers()?.len();
    report.duration_s = started.elapsed().as_secs_f64();
    Ok(report)
}

/// A text that was not classified before.
fn new_text(job: usize) -> Value {
    json!({ "text": format!("{job} {}", distinct_texts(1, 16, 5000 + job as u64)[0]) })
}

struct Client {
    server: Server,
    open: HashSet<usize>,
    report: FileJobReport,
}

impl Client {
    fn send(&mut self, id: usize, tool: &str, arguments: &Value, with_token: bool) -> anyhow::Result<()> {
        let params = json!({ "name": tool, "arguments": arguments });
        let mut call: Value = serde_json::from_str(&request(id, "tools/call", params))?;
        if with_token {
            call["params"]["_meta"]["progressToken"] = json!(id);
        }
        self.open.insert(id);
        self.server.send(format!("{call}\n"))
    }

    /// Sends a single prediction and waits for its answer.
    fn predict(&mut self, arguments: &Value) -> anyhow::Result<()> {
        let id = 1_000_000 + self.report.predictions;
        let started = Instant::now();
        self.send(id, "local_model_predict", arguments, false)?;
        while self.open.contains(&id) {
            self.take_next()?;
        }
        self.report.predictions += 1;
        let milliseconds = started.elapsed().as_secs_f64() * 1e3;
        self.report.slowest_prediction_ms = self.report.slowest_prediction_ms.max(milliseconds);
        Ok(())
    }

    fn take_next(&mut self) -> anyhow::Result<()> {
        let message: Value = serde_json::from_str(self.server.receive()?)?;
        let report = &mut self.report;
        if message["method"] == "notifications/progress" {
            let token = message["params"]["progressToken"].as_u64().context("progress without a token")?;
            let text = message["params"]["message"].as_str().unwrap_or_default();
            report.progress_messages += 1;
            report.waiting_messages += usize::from(text.starts_with("waiting"));
            report.late_messages += usize::from(!self.open.contains(&(token as usize)));
            return Ok(());
        }
        let id = message["id"].as_u64().context("an answer without an id")? as usize;
        if !self.open.remove(&id) {
            report.late_messages += 1;
        } else if message["result"].get("structuredContent").is_none() {
            *if id < report.jobs { &mut report.errors } else { &mut report.failed_predictions } += 1;
            report.first_error.get_or_insert_with(|| message.to_string());
        }
        Ok(())
    }
}

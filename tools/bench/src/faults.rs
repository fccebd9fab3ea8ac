//! A soak with faults: calls mixed with cancellations, invalid lines, repeated ids and clients that
//! disconnect. Every answer is accounted for.
//!
//! One server runs throughout, and its memory is sampled; others are started and abandoned midway.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::bail;
use fastrand::Rng;
use serde::Serialize;
use serde_json::json;

use crate::corpus::distinct_texts;
use crate::percentiles::{MemorySample, memory_slope};
use crate::server::{Candidate, Server, Wire, id, tool_call};
use crate::system;

/// Number of unanswered requests at which the client waits.
const WINDOW: usize = 48;
/// Calls between two checks that no answer is missing.
const ROUND: usize = 500;
/// Rounds between two memory samples, and between two clients that disconnect.
const ROUNDS_PER_LOOK: usize = 40;
const REPEATED_TEXTS: usize = 50;

#[derive(Debug, Default, Serialize)]
pub(crate) struct FaultReport {
    seed: u64,
    duration_s: f64,
    calls: usize,
    results: usize,
    errors: usize,
    /// Calls without an answer because they were cancelled.
    cancelled: usize,
    invalid_lines: usize,
    disconnects: usize,
    lost: usize,
    /// Answers without a request, and second answers.
    unexpected: usize,
    slope_mb_per_min: Option<f64>,
}

/// Runs until both the number of calls and the duration are reached.
pub(crate) fn run(candidate: &Candidate, seed: u64, duration: Duration, calls: usize) -> anyhow::Result<FaultReport> {
    let started = Instant::now();
    let mut report = FaultReport { seed, ..FaultReport::default() };
    let mut random = Rng::with_seed(seed);
    let mut client = Client::new(candidate.start(Wire::Sockets)?, seed);
    let mut samples = Vec::new();
    for round in 0.. {
        if started.elapsed() >= duration && report.calls >= calls {
            break;
        }
        for _ in 0..ROUND {
            client.act(&mut random, &mut report)?;
        }
        client.settle(&mut report)?;
        if round % ROUNDS_PER_LOOK == 0 {
            if let Some(memory) = system::memory(client.server.pid()) {
                let minutes = started.elapsed().as_secs_f64() / 60.0;
                samples.push(MemorySample { calls: report.calls, minutes, megabytes: memory.resident });
            }
            let wire = if random.bool() { Wire::Pipes } else { Wire::Sockets };
            disconnect(Client::new(candidate.start(wire)?, seed), &mut random, &mut report)?;
        }
    }
    report.slope_mb_per_min = memory_slope(&samples);
    report.duration_s = started.elapsed().as_secs_f64();
    Ok(report)
}

/// A client in the middle of its calls closes its input and reads its answers, or closes both ends.
fn disconnect(mut client: Client, random: &mut Rng, report: &mut FaultReport) -> anyhow::Result<()> {
    for _ in 0..random.u32(..60) {
        client.act(random, report)?;
    }
    report.disconnects += 1;
    if random.bool() {
        for line in client.server.last_answers()? {
            client.take(&line, report);
        }
        report.lost += client.open.values().filter(|open| !open.cancelled).map(|open| open.due).sum::<usize>();
        Ok(())
    } else {
        client.server.disconnect()
    }
}

/// One side of a conversation, with all requests that are not answered yet.
struct Client {
    server: Server,
    open: HashMap<usize, Open>,
    /// Answers still due, excluding those of cancelled calls.
    due: usize,
    last_id: usize,
    repeated_texts: Vec<String>,
    new_texts: u64,
}

struct Open {
    due: usize,
    cancelled: bool,
}

impl Client {
    fn new(server: Server, seed: u64) -> Self {
        let repeated_texts = distinct_texts(REPEATED_TEXTS, 12, 9000 + seed);
        Self { server, open: HashMap::new(), due: 0, last_id: 0, repeated_texts, new_texts: 0 }
    }

    /// Sends a call or a fault; reads first where too many answers are due.
    fn act(&mut self, random: &mut Rng, report: &mut FaultReport) -> anyhow::Result<()> {
        while self.due >= WINDOW {
            self.take_next(report)?;
        }
        if random.u32(..20) == 0 {
            report.invalid_lines += 1;
            return self.send_invalid(random);
        }
        report.calls += 1;
        // Nearly all come from the cache, or a million calls would take hours.
        let (text, is_long) = match random.u32(..100) {
            0 | 1 => (self.new_text(random.usize(8..32)), false),
            2 if random.u32(..4) == 0 => (self.new_text(400), true),
            _ => (self.repeated_texts[random.usize(..REPEATED_TEXTS)].clone(), false),
        };
        let id = self.next_id();
        let line = tool_call(id, "local_model_predict", &json!({ "text": text }));
        self.server.send(&line)?;
        self.expect(id);
        if random.u32(..100) == 0 {
            // The first call is still open or was just answered; in both cases this one is answered
            // too.
            self.server.send(&line)?;
            report.calls += 1;
            self.expect(id);
        } else if is_long && random.bool() || random.u32(..50) == 0 {
            self.cancel(id)?;
        }
        Ok(())
    }

    fn cancel(&mut self, id: usize) -> anyhow::Result<()> {
        let params = json!({ "requestId": id });
        let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
        self.server.send(format!("{cancel}\n"))?;
        if let Some(open) = self.open.get_mut(&id) {
            open.cancelled = true;
            self.due -= open.due;
        }
        Ok(())
    }

    fn next_id(&mut self) -> usize {
        self.last_id += 1;
        self.last_id
    }

    fn expect(&mut self, id: usize) {
        self.open.entry(id).or_insert(Open { due: 0, cancelled: false }).due += 1;
        self.due += 1;
    }

    fn new_text(&mut self, tokens: usize) -> String {
        self.new_texts += 1;
        format!("{} {}", self.new_texts, distinct_texts(1, tokens, 10_000 + self.new_texts).swap_remove(0))
    }

    /// Lines without an id get no answer; invalid requests with one get an error.
    fn send_invalid(&mut self, random: &mut Rng) -> anyhow::Result<()> {
        let without_id: [&[u8]; 6] = [
            b"not JSON at all\n",
            b"\xff\xfe\x00\xd8\n",
            b"[]\n",
            b"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}\n",
            b"\n \r\n{\"jsonrpc\":\"2.0\",\"method\":\"$/nothing\"}\n",
            b"{\"jsonrpc\":\"2.0\",\"method\":\n",
        ];
        let kind = random.usize(..without_id.len() + 2);
        if let Some(line) = without_id.get(kind) {
            return self.server.send(line);
        }
        let id = self.next_id();
        let line = match kind - without_id.len() {
            0 if random.u32(..250) == 0 => format!("{{\"id\":{id},\"x\":\"{}\"}}\n", "x".repeat(17 << 20)),
            0 => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"x\",\"params\":\"\\ud83d\"}}\n"),
            _ => tool_call(id, "no_such_tool", &json!({ "text": [1, 2] })),
        };
        self.server.send(line)?;
        self.expect(id);
        Ok(())
    }

    /// Reads until every answer has arrived. Answers that are still missing after a timeout count
    /// as lost.
    fn settle(&mut self, report: &mut FaultReport) -> anyhow::Result<()> {
        for attempt in 0..100 {
            // Everything that precedes its answer was sent before it.
            let barrier = self.next_id();
            self.server.send(tool_call(barrier, "local_model_status", &json!({})))?;
            self.expect(barrier);
            while self.open.contains_key(&barrier) {
                self.take_next(report)?;
            }
            report.results -= 1;
            if self.due == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(if attempt < 10 { 5 } else { 100 }));
        }
        report.lost += self.due;
        report.cancelled += self.open.values().filter(|open| open.cancelled).count();
        if report.lost > 1000 {
            bail!("the server loses answers: {} so far", report.lost);
        }
        self.open.clear();
        self.due = 0;
        Ok(())
    }

    fn take_next(&mut self, report: &mut FaultReport) -> anyhow::Result<()> {
        let line = self.server.receive()?.to_owned();
        self.take(&line, report);
        Ok(())
    }

    fn take(&mut self, line: &str, report: &mut FaultReport) {
        let Some((id, open)) = id(line).and_then(|id| Some((id, self.open.get_mut(&id)?))) else {
            report.unexpected += 1;
            return;
        };
        *if line.contains("\"structuredContent\"") { &mut report.results } else { &mut report.errors } += 1;
        open.due -= 1;
        self.due -= usize::from(!open.cancelled);
        if open.due == 0 {
            self.open.remove(&id);
        }
    }
}

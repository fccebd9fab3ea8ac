//! A soak with faults: calls among withdrawn ones, garbage, ids used twice and clients that leave, each answer accounted for.
//!
//! One server stays for all of it, and is watched for its memory; others are started beside it and left in the middle.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde::Serialize;
use serde_json::json;

use crate::args::Options;
use crate::commands::bench::dice::Dice;
use crate::commands::bench::figures::megabytes;
use crate::commands::bench::process;
use crate::commands::bench::server::{Server, Wire, call, id};
use crate::commands::bench::soak::slope;
use crate::commands::bench::texts::distinct;

/// Answers that are waited for at a time.
const WINDOW: usize = 48;
/// Calls between two checks that nothing is lost.
const ROUND: usize = 500;
/// Rounds between two looks at the memory, and between two clients that leave.
const LOOK: usize = 40;

#[derive(Debug, Default, Serialize)]
pub(super) struct Faults {
    pub seed: u64,
    pub duration_s: f64,
    pub calls: usize,
    /// Of which with a result, an error, and none since they were withdrawn.
    pub results: usize,
    pub errors: usize,
    pub withdrawn: usize,
    /// Lines that were no request.
    pub garbage: usize,
    pub disconnects: usize,
    pub lost: usize,
    pub doubled: usize,
    pub early_mb: Option<f64>,
    pub late_mb: Option<f64>,
    /// Least squares over the second half.
    pub slope_mb_per_min: Option<f64>,
}

/// At least so many calls, for so long.
pub(super) fn soak(
    options: &Options,
    cache: &Path,
    seed: u64,
    duration: Duration,
    least: usize,
) -> anyhow::Result<Faults> {
    let started = Instant::now();
    let mut faults = Faults { seed, ..Faults::default() };
    let mut dice = Dice::new(seed);
    let mut client = Client::new(Server::start(options, cache, Wire::Sockets)?, seed);
    let mut samples = Vec::new();
    for round in 0.. {
        if started.elapsed() >= duration && faults.calls >= least {
            break;
        }
        for _ in 0..ROUND {
            client.act(&mut dice, &mut faults)?;
        }
        client.settle(&mut faults)?;
        if round % LOOK == 0 {
            if let Some(memory) = process::memory(client.server.pid()) {
                samples.push((faults.calls, started.elapsed().as_secs_f64() / 60.0, memory.resident));
            }
            let wire = if dice.once_in(2) { Wire::Pipes } else { Wire::Sockets };
            leave(Client::new(Server::start(options, cache, wire)?, seed), &mut dice, &mut faults)?;
        }
    }
    let early = samples.iter().find(|(calls, ..)| *calls >= faults.calls / 10);
    faults.early_mb = early.map(|sample| megabytes(sample.2));
    faults.late_mb = samples.last().map(|sample| megabytes(sample.2));
    faults.slope_mb_per_min = slope(&samples[samples.len() / 2..]);
    faults.duration_s = (started.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    Ok(faults)
}

/// A client in the middle of its calls leaves: it reads what it has asked for, or vanishes.
fn leave(mut client: Client, dice: &mut Dice, faults: &mut Faults) -> anyhow::Result<()> {
    for _ in 0..dice.roll(60) {
        client.act(dice, faults)?;
    }
    faults.disconnects += 1;
    if dice.once_in(2) {
        for line in client.server.last_answers()? {
            client.take(&line, faults);
        }
        faults.lost += client.open.values().filter(|one| !one.withdrawn).map(|one| one.due).sum::<usize>();
        faults.lost += client.nameless;
    } else {
        client.server.vanish()?;
    }
    Ok(())
}

/// One side of a conversation, with all that is not answered yet.
struct Client {
    server: Server,
    open: HashMap<usize, Open>,
    /// Answers that have no `id`, still to come.
    nameless: usize,
    /// Answers to come, those to withdrawn calls left out.
    due: usize,
    last: usize,
    favourites: Vec<String>,
    fresh: u64,
}

struct Open {
    due: usize,
    withdrawn: bool,
}

impl Client {
    fn new(server: Server, seed: u64) -> Self {
        let favourites = distinct(50, 12, 9000 + seed);
        Self { server, open: HashMap::new(), nameless: 0, due: 0, last: 0, favourites, fresh: 0 }
    }

    /// Sends a call or something worse, and reads where too many answers are open.
    fn act(&mut self, dice: &mut Dice, faults: &mut Faults) -> anyhow::Result<()> {
        while self.due >= WINDOW {
            let line = self.server.receive()?.to_owned();
            self.take(&line, faults);
        }
        if dice.once_in(20) {
            return self.send_garbage(dice, faults);
        }
        self.last += 1;
        faults.calls += 1;
        let number = self.last;
        // Nearly all from the cache, or a million would take hours.
        let (text, long) = match dice.roll(100) {
            0 | 1 => (self.fresh_text(8 + dice.roll(24) as usize), false),
            2 if dice.once_in(4) => (self.fresh_text(400), true),
            _ => (self.favourites[dice.roll(50) as usize].clone(), false),
        };
        let line = call(number, "local_model_predict", &json!({ "text": text }));
        self.server.send(&line)?;
        self.expect(number);
        if dice.once_in(100) {
            // Its first use is still open, or was just answered; either way it is answered once more.
            self.server.send(&line)?;
            faults.calls += 1;
            self.expect(number);
        } else if long && dice.once_in(2) || dice.once_in(50) {
            let params = json!({ "requestId": number });
            let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
            self.server.send(&format!("{cancel}\n"))?;
            if let Some(open) = self.open.get_mut(&number) {
                open.withdrawn = true;
                self.due -= open.due;
            }
        }
        Ok(())
    }

    fn expect(&mut self, number: usize) {
        self.open.entry(number).or_insert(Open { due: 0, withdrawn: false }).due += 1;
        self.due += 1;
    }

    fn fresh_text(&mut self, tokens: usize) -> String {
        self.fresh += 1;
        format!("{} {}", self.fresh, distinct(1, tokens, 10_000 + self.fresh).swap_remove(0))
    }

    fn send_garbage(&mut self, dice: &mut Dice, faults: &mut Faults) -> anyhow::Result<()> {
        faults.garbage += 1;
        self.last += 1;
        let number = self.last;
        let nameless: &[u8] = match dice.roll(8) {
            0 => b"not JSON at all\n",
            1 => b"\xff\xfe\x00\xd8\n",
            2 => b"[]\n",
            3 => b"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}\n",
            4 => {
                self.server.send_bytes(b"\n \r\n{\"jsonrpc\":\"2.0\",\"method\":\"$/nothing\"}\n")?;
                return Ok(());
            }
            5 => {
                let half = format!("{{\"jsonrpc\":\"2.0\",\"id\":{number},\"method\":\"x\",\"params\":\"\\ud83d\"}}\n");
                self.server.send(&half)?;
                self.expect(number);
                return Ok(());
            }
            6 => {
                self.server.send(&call(number, "no_such_tool", &json!({ "text": [1, 2] })))?;
                self.expect(number);
                return Ok(());
            }
            _ if dice.once_in(2000) => {
                let long = format!("{{\"id\":{number},\"x\":\"{}\"}}\n", "x".repeat(17 << 20));
                self.server.send(&long)?;
                self.expect(number);
                return Ok(());
            }
            _ => b"{\"jsonrpc\":\"2.0\",\"method\":\n",
        };
        self.server.send_bytes(nameless)?;
        self.nameless += 1;
        self.due += 1;
        Ok(())
    }

    /// Reads on until everything is answered; what still is not after seconds is lost.
    fn settle(&mut self, faults: &mut Faults) -> anyhow::Result<()> {
        for attempt in 0..100 {
            // Whatever comes was sent before the answer to this.
            self.last += 1;
            let barrier = self.last;
            self.server.send(&call(barrier, "local_model_status", &json!({})))?;
            self.expect(barrier);
            while self.open.contains_key(&barrier) {
                let line = self.server.receive()?.to_owned();
                self.take(&line, faults);
            }
            faults.results -= 1;
            if self.due == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(if attempt < 10 { 5 } else { 100 }));
        }
        faults.lost += self.due;
        faults.withdrawn += self.open.values().filter(|open| open.withdrawn).count();
        if faults.lost > 1000 {
            bail!("the server loses answers: {} by now", faults.lost);
        }
        self.open.clear();
        (self.nameless, self.due) = (0, 0);
        Ok(())
    }

    fn take(&mut self, line: &str, faults: &mut Faults) {
        let Some(number) = id(line) else {
            if self.nameless == 0 {
                faults.doubled += 1;
            } else {
                self.nameless -= 1;
                self.due -= 1;
            }
            return;
        };
        let Some(open) = self.open.get_mut(&number) else {
            faults.doubled += 1;
            return;
        };
        *if line.contains("\"structuredContent\"") { &mut faults.results } else { &mut faults.errors } += 1;
        open.due -= 1;
        self.due -= usize::from(!open.withdrawn);
        if open.due == 0 {
            self.open.remove(&number);
        }
    }
}

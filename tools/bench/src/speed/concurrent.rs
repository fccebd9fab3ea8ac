//! Throughput of new texts with many calls in flight, next to replicas in process.

use serde::Serialize;

use super::in_turns;
use crate::baseline::Baseline;
use crate::corpus::distinct_texts;
use crate::percentiles::{Percentiles, median};
use crate::server::{Candidate, Wire, predictions};

const IN_FLIGHT: usize = 64;
/// The machine's other work changes within seconds. An odd number, so that one turn is the median.
const TURNS: usize = 7;

#[derive(Serialize)]
pub(crate) struct ConcurrentLoad {
    pub baseline_per_s: f64,
    pub servers: Vec<Throughput>,
}

/// Figures of one turn, or the medians over all turns.
#[derive(Serialize)]
pub(crate) struct Throughput {
    pub per_s: f64,
    /// Ratio to the baseline of the same turn.
    pub ratio: f64,
    pub p95_ms: f64,
    /// The sum over all turns.
    pub errors: usize,
}

/// Sends `count` distinct texts of 8, 16 and 32 tokens in each turn.
pub(crate) fn measure(candidates: &[Candidate], baseline: &Baseline, count: usize) -> anyhow::Result<ConcurrentLoad> {
    let mut servers = candidates.iter().map(|one| one.start(Wire::Sockets)).collect::<anyhow::Result<Vec<_>>>()?;
    // Not counted: servers create their workers when they are first needed.
    for server in &mut servers {
        server.in_flight(&predictions(&mixed_texts(count, 0)), IN_FLIGHT)?;
    }
    let mut baseline_per_s = Vec::new();
    let mut turns: Vec<Vec<Throughput>> = servers.iter().map(|_| Vec::new()).collect();
    for turn in 0..TURNS {
        let series = 1000 * (turn as u64 + 1);
        let baseline_rate = baseline.throughput(&mixed_texts(count, series))?;
        baseline_per_s.push(baseline_rate);
        for place in in_turns(servers.len(), turn) {
            let texts = mixed_texts(count, series + 1 + place as u64);
            let batch = servers[place].in_flight(&predictions(&texts), IN_FLIGHT)?;
            let per_s = texts.len() as f64 / batch.duration.as_secs_f64();
            let p95_ms = Percentiles::new(&batch.times).p95;
            turns[place].push(Throughput { per_s, ratio: per_s / baseline_rate, p95_ms, errors: batch.errors });
        }
    }
    let servers = turns.iter().map(|turns| {
        let middle = |figure: fn(&Throughput) -> f64| median(turns.iter().map(figure).collect());
        Throughput {
            per_s: middle(|turn| turn.per_s),
            ratio: middle(|turn| turn.ratio),
            p95_ms: middle(|turn| turn.p95_ms),
            errors: turns.iter().map(|turn| turn.errors).sum(),
        }
    });
    Ok(ConcurrentLoad { baseline_per_s: median(baseline_per_s), servers: servers.collect() })
}

fn mixed_texts(count: usize, series: u64) -> Vec<String> {
    let kinds = [8, 16, 32].map(|tokens| distinct_texts(count / 3, tokens, 10 * series + tokens as u64));
    (0..count / 3).flat_map(|place| kinds.each_ref().map(|kind| kind[place].clone())).collect()
}

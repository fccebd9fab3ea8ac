//! Parts of a call in this process: the model's run alone, and a call that the result cache
//! answers.

use std::path::Path;
use std::time::{Duration, Instant};

use classifier::Input;
use engine::{Engine, Request};
use serde::Serialize;

use crate::baseline::{Baseline, options};
use crate::corpus::distinct_texts;
use crate::percentiles::Percentiles;
use crate::{Target, markdown_table};

const RUNS: usize = 300;
const HITS: usize = 20_000;

#[derive(Serialize)]
pub(crate) struct Piece {
    name: String,
    ms: Percentiles,
}

pub(crate) fn run(target: &Target, library_cache: &Path) -> anyhow::Result<Vec<Piece>> {
    let mut baseline = Baseline::load(target, library_cache)?;
    let mut pieces = Vec::new();
    for all_threads in [false, true] {
        let threads = if all_threads { baseline.workers() } else { 1 };
        for tokens in [8, 32, 128] {
            let texts = distinct_texts(RUNS, tokens, tokens as u64);
            let times = texts.iter().map(|text| baseline.time(text, all_threads)).collect::<Result<Vec<_>, _>>()?;
            pieces.push(piece(format!("run of {tokens} tokens on {threads} threads"), &times));
        }
    }
    pieces.push(piece("cache hit of 32 tokens".into(), &cache_hits(target, library_cache)?));
    Ok(pieces)
}

pub(crate) fn table(pieces: &[Piece]) -> comfy_table::Table {
    let mut table = markdown_table(["piece", "p50 µs", "p95 µs", "p99 µs"]);
    for Piece { name, ms } in pieces {
        let figures = [ms.p50, ms.p95, ms.p99].map(|ms| format!("{:.1}", ms * 1e3));
        table.add_row(std::iter::once(name.clone()).chain(figures));
    }
    table
}

fn piece(name: String, times: &[Duration]) -> Piece {
    Piece { name, ms: Percentiles::new(times) }
}

/// Times calls that the engine answers from its cache: checks, digest, lookup and counts.
fn cache_hits(target: &Target, library_cache: &Path) -> anyhow::Result<Vec<Duration>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let options = options(target, library_cache);
    let (name, location) = options.models().map_err(anyhow::Error::msg)?.swap_remove(0);
    let settings = options.batch_engine();
    let text = distinct_texts(1, 32, 0).swap_remove(0);
    let times = runtime.block_on(async {
        let load = classifier::loader(name.clone(), location, options.library(), settings.workers);
        let engine = Engine::start(vec![(name, load)], settings);
        let mut times = Vec::with_capacity(HITS);
        for _ in 0..=HITS {
            let request = Request { input: Input::single(text.as_str()), ..Request::default() };
            let started = Instant::now();
            engine.predict(request).await?;
            times.push(started.elapsed());
        }
        anyhow::Ok(times)
    });
    runtime.shutdown_background();
    // The first call runs the model.
    Ok(times?.split_off(1))
}

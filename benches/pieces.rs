//! The pieces of a call, each by itself: the model's run, and a hit in the cache.
//!
//!     cargo bench --bench pieces
//!
//! What users see, processes and sockets included, is measured by `local-model-mcp bench`.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use local_model_mcp::engine::{Engine, EngineSettings, Request};
use local_model_mcp::model::{self, Cancellation, Location};
use local_model_mcp::onnxruntime::LibrarySettings;
use local_model_mcp::prediction::Input;

fn library() -> LibrarySettings {
    LibrarySettings { path: None, cache_dir: Some(std::env::temp_dir().join("local-model-mcp-benches")) }
}

fn text(words: usize) -> String {
    vec!["word"; words].join(" ")
}

/// Tokenizing and one forward pass.
fn run(criterion: &mut Criterion) {
    for threads in [1, 2] {
        let loaded = model::load("bench", &Location::BuiltIn, &library(), threads);
        let mut replica = loaded.expect("the built-in model loads").first;
        for tokens in [8, 32, 128] {
            let input = Input::single(text(tokens - 2));
            criterion.bench_function(&format!("run of {tokens} tokens on {threads} threads"), |bencher| {
                bencher.iter(|| replica.predict(&input, &Cancellation::default()).expect("the text runs"));
            });
        }
    }
}

/// A call that the cache answers: checks, digest, lookup and counts.
fn hit(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let settings = EngineSettings {
        deadline: Duration::from_secs(10),
        workers: 1,
        inline_below: Duration::ZERO,
        queue_capacity: 64,
        cache_capacity_bytes: 1 << 20,
        max_text_bytes: 1 << 18,
        snapshot_dir: None,
        precompute: false,
        log_inputs: false,
    };
    let load = model::loader("bench".into(), Location::BuiltIn, library(), 1);
    let engine = runtime.block_on(async { Engine::start(vec![("bench".into(), load)], settings) });
    let ask = || async {
        let request = Request { input: Input::single(text(30)), ..Request::default() };
        engine.predict(request).await.expect("the text is answered")
    };
    runtime.block_on(ask());
    criterion.bench_function("hit of 32 tokens", |bencher| bencher.iter(|| runtime.block_on(ask())));
    runtime.shutdown_background();
}

criterion_group!(pieces, run, hit);
criterion_main!(pieces);

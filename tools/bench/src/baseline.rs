//! The same model in this process, without server, queue or cache. The only file that calls the
//! product's library for this.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use classifier::Input;
use classifier::{Cancellation, LoadedModel, Model};
use local_model_mcp::args::Options;
use local_model_mcp::commands::Cli;

use crate::Target;

pub(crate) struct Baseline {
    loaded: LoadedModel,
    single: Box<dyn Model>,
    workers: usize,
}

/// Returns the product's options for the same model and workers as the servers.
pub(crate) fn options(target: &Target, library_cache: &Path) -> Options {
    let mut options = Cli::parse_from(["local-model-mcp"]).options;
    options.cache_dir = Some(library_cache.to_owned());
    options.model = target.model.iter().cloned().collect();
    options.workers = target.workers;
    options
}

impl Baseline {
    pub(crate) fn load(target: &Target, library_cache: &Path) -> anyhow::Result<Self> {
        let options = options(target, library_cache);
        let workers = options.engine().workers;
        let (_, location) = options.models().map_err(anyhow::Error::msg)?.swap_remove(0);
        let loaded = classifier::load("baseline", &location, &options.library(), workers)?;
        let single = loaded.replicas.replica(1)?;
        Ok(Self { loaded, single, workers })
    }

    pub(crate) fn max_tokens(&self) -> usize {
        self.loaded.info.max_tokens.unwrap_or(usize::MAX)
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Runs one text on one thread, or on as many as there are workers.
    pub(crate) fn time(&mut self, text: &str, all_threads: bool) -> anyhow::Result<Duration> {
        let input = Input::single(text);
        let model = if all_threads { &mut self.loaded.first } else { &mut self.single };
        let started = Instant::now();
        model.predict(&input, &Cancellation::default())?;
        Ok(started.elapsed())
    }

    /// Returns texts per second with one replica per worker, each on its own thread.
    pub(crate) fn throughput(&self, texts: &[String]) -> anyhow::Result<f64> {
        let replicas = (0..self.workers).map(|_| self.loaded.replicas.replica(1)).collect::<Result<Vec<_>, _>>()?;
        let started = Instant::now();
        let share = texts.len().div_ceil(replicas.len());
        thread::scope(|scope| {
            for (mut replica, texts) in replicas.into_iter().zip(texts.chunks(share)) {
                scope.spawn(move || {
                    for text in texts {
                        // A text that fails here fails in the server too, which reports it.
                        let _ = replica.predict(&Input::single(text.as_str()), &Cancellation::default());
                    }
                });
            }
        });
        Ok(texts.len() as f64 / started.elapsed().as_secs_f64())
    }
}

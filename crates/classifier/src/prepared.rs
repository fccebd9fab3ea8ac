//! Sessions over a prepared graph: optimized and packed for this processor once, then mapped from
//! the cache directory.
//!
//! A session over a mapped file starts in a tenth of the time, and all sessions of all processes
//! share its weights through the page cache. If nothing can be written, or the graph is too large,
//! each session prepares the graph for itself.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use cache_dir::artifacts::Artifacts;
use cache_dir::digest::hex;
use ort::environment::Environment;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::model_files::{Graph, GraphFiles};
use crate::session::{GraphSource, Session};
use crate::signature::Purpose;

/// Increment this when options that determine the content of the files change.
const LAYOUT_VERSION: u32 = 2;
/// Limit for graph and weights together. A prepared fp32 graph is twice as large as its source, and
/// two of the largest must fit the cache.
const MAX_GRAPH_BYTES: u64 = 512 << 20;
const GRAPH: &str = "graph.onnx";
/// The scores of a fixed input before the graph was prepared, bit for bit.
const PROBE: &str = "probe.json";

/// Makes the sessions of one model.
pub(crate) struct Sessions {
    environment: Environment,
    purpose: Purpose,
    cache: Option<Artifacts>,
    key: String,
}

impl Sessions {
    pub(crate) fn new(
        environment: Environment,
        purpose: Purpose,
        files: &GraphFiles,
        cache_dir: Option<&Path>,
    ) -> Self {
        let mut hasher = Sha256::new_with_prefix(LAYOUT_VERSION.to_le_bytes());
        hasher.update(files.digest);
        hasher.update(onnx_runtime::build_info());
        hasher.update(processor());
        // A graph that takes text has few weights to share, and its strings cannot be mapped.
        let is_worth_it = graph_bytes(files) <= MAX_GRAPH_BYTES && !files.facts.interface.takes_text;
        let cache = cache_dir.filter(|_| is_worth_it).map(Artifacts::new);
        Self { environment, purpose, cache, key: format!("graph-{}", &hex(&hasher.finalize())[..32]) }
    }

    /// Opens a session that computes on `threads` threads. Returns whether it shares its weights.
    pub(crate) fn open(&self, files: &GraphFiles, threads: usize) -> Result<(Session, bool), Error> {
        if let Some(cache) = &self.cache {
            let prepared = match self.open_prepared(cache, files, threads) {
                Some(session) => Ok(session),
                None => self.prepare(cache, files, threads),
            };
            match prepared {
                Ok(session) => return Ok((session, true)),
                // If the graph itself is invalid, the session below reports it.
                Err(error) => tracing::debug!(%error, "the prepared graph was not stored"),
            }
        }
        Ok((Session::new(&self.environment, files, GraphSource::Model, threads, self.purpose)?, false))
    }

    /// Opens the files of an earlier start, if they still give the scores of the original graph.
    fn open_prepared(&self, cache: &Artifacts, files: &GraphFiles, threads: usize) -> Option<Session> {
        let folder = cache.get(&self.key)?;
        let expected: Vec<u32> = serde_json::from_slice(&fs::read(folder.join(PROBE)).ok()?).ok()?;
        let source = GraphSource::Prepared(&folder.join(GRAPH));
        let mut session = Session::new(&self.environment, files, source, threads, self.purpose).ok()?;
        (session.probe().ok()? == expected.as_slice()).then_some(session)
    }

    fn prepare(&self, cache: &Artifacts, files: &GraphFiles, threads: usize) -> io::Result<Session> {
        cache.make(&self.key, |folder| {
            let source = GraphSource::Preparing(&folder.join(GRAPH));
            let session = Session::new(&self.environment, files, source, 1, self.purpose);
            let mut session = session.map_err(io::Error::other)?;
            let probe = session.probe().map_err(io::Error::other)?;
            fs::write(folder.join(PROBE), serde_json::to_vec(probe)?)
        })?;
        self.open_prepared(cache, files, threads)
            .ok_or_else(|| io::Error::other("the prepared graph gives other scores than the original"))
    }
}

/// Returns the size of the graph and its files of weights.
fn graph_bytes(files: &GraphFiles) -> u64 {
    match &files.content {
        Graph::Memory(bytes) => bytes.len() as u64,
        Graph::Tuned(bytes) => bytes.len() as u64,
        Graph::File(graph) => {
            let weights = files.facts.external_files.iter().map(|name| graph.with_file_name(name));
            let bytes = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
            bytes(graph) + weights.map(|path| bytes(&path)).sum::<u64>()
        }
    }
}

/// Describes the processor that weights are packed for. Linux lists the features of the first one.
/// On other systems a cache directory stays on its machine, and the probe detects a difference.
fn processor() -> Vec<u8> {
    let mut description = std::env::consts::ARCH.as_bytes().to_vec();
    if let Ok(file) = fs::File::open("/proc/cpuinfo") {
        let mut start = String::new();
        let _ = file.take(8 << 10).read_to_string(&mut start);
        let names = ["model name", "flags", "Features", "CPU part"];
        let features = start.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
        description.extend(features.take(2).flat_map(str::bytes));
    }
    description
}

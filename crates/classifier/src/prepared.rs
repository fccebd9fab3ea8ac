//! Sessions over a prepared graph: optimized and packed for this processor once, then mapped from the cache directory.
//!
//! A session over a mapped file starts in a tenth of the time, and all sessions of all processes share its weights
//! through the page cache. Where nothing can be written, or a graph is too large, each session does its own preparing.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use ort::environment::Environment;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::folder::{Graph, ModelFiles};
use crate::session::{Session, Source};
use cache_dir::artifacts::Artifacts;
use cache_dir::digest::hex;

/// Raised when options change that decide what is in the files.
const LAYOUT_VERSION: u32 = 1;
/// Of graph and weights. A prepared fp32 graph is twice as large as its source, and two of the largest shall be kept.
const LARGEST_GRAPH_BYTES: u64 = 512 << 20;
const GRAPH: &str = "graph.onnx";
pub(super) const WEIGHTS: &str = "weights.bin";
/// Scores of a fixed input before the graph was prepared, bit for bit.
const PROBE: &str = "probe.json";

/// Where a model's sessions come from.
pub(super) struct Sessions {
    environment: Environment,
    store: Option<Artifacts>,
    key: String,
}

impl Sessions {
    pub(super) fn new(environment: Environment, files: &ModelFiles, cache_dir: Option<&Path>) -> Self {
        let mut hasher = Sha256::new_with_prefix(LAYOUT_VERSION.to_le_bytes());
        hasher.update(files.graph_digest);
        hasher.update(onnx_runtime::build_info());
        hasher.update(processor());
        let store = cache_dir.filter(|_| bytes(files) <= LARGEST_GRAPH_BYTES).map(Artifacts::below);
        Self { environment, store, key: format!("graph-{}", &hex(&hasher.finalize())[..32]) }
    }

    /// A session that computes with so many threads, and whether it shares its weights with others.
    pub(super) fn open(&self, files: &ModelFiles, threads: usize) -> Result<(Session, bool), Error> {
        if let Some(store) = &self.store {
            let prepared = match self.finished(store, files, threads) {
                Some(session) => Ok(session),
                None => self.prepare(store, files, threads),
            };
            match prepared {
                Ok(session) => return Ok((session, true)),
                // What is wrong with the graph itself is said by what follows.
                Err(error) => tracing::debug!(%error, "the graph is not kept prepared"),
            }
        }
        Ok((Session::new(&self.environment, files, Source::Model, threads)?, false))
    }

    /// A session over the files of an earlier start, if they still give the scores that they were made with.
    fn finished(&self, store: &Artifacts, files: &ModelFiles, threads: usize) -> Option<Session> {
        let folder = store.get(&self.key)?;
        let expected: Vec<u32> = serde_json::from_slice(&fs::read(folder.join(PROBE)).ok()?).ok()?;
        let source = Source::Prepared(&folder.join(GRAPH));
        let mut session = Session::new(&self.environment, files, source, threads).ok()?;
        (session.probe().ok()? == expected.as_slice()).then_some(session)
    }

    fn prepare(&self, store: &Artifacts, files: &ModelFiles, threads: usize) -> io::Result<Session> {
        store.make(&self.key, |folder| {
            let source = Source::Preparing(&folder.join(GRAPH));
            let mut session = Session::new(&self.environment, files, source, 1).map_err(io::Error::other)?;
            let probe = session.probe().map_err(io::Error::other)?;
            if cfg!(target_os = "linux") {
                write_in_small_pieces(&folder.join(WEIGHTS))?;
            }
            fs::write(folder.join(PROBE), serde_json::to_vec(probe)?)
        })?;
        self.finished(store, files, threads).ok_or_else(|| io::Error::other("it does not answer as the original does"))
    }
}

/// Writes a file anew, if there is one. Linux maps what it has just written in the pieces that it was written in: a touched row of a
/// table that the runtime wrote at once brings two megabytes of it into each process.
fn write_in_small_pieces(path: &Path) -> io::Result<()> {
    let mut from = match fs::File::open(path) {
        // A small graph holds its weights itself.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let again = path.with_extension("again");
    let mut to = fs::File::create(&again)?;
    let mut piece = vec![0; 64 << 10];
    loop {
        match from.read(&mut piece)? {
            0 => return fs::rename(again, path),
            read => to.write_all(&piece[..read])?,
        }
    }
}

/// Of the graph and the weights beside it.
fn bytes(files: &ModelFiles) -> u64 {
    match &files.graph {
        Graph::Memory(bytes) => bytes.len() as u64,
        Graph::File(graph) => {
            let beside = files.facts.external_files.iter().map(|name| graph.with_file_name(name));
            let of = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
            of(graph) + beside.map(|path| of(&path)).sum::<u64>()
        }
    }
}

/// What weights are packed for. Linux tells all features of the first processor; elsewhere a cache directory does not
/// move between machines, and the probe notices.
fn processor() -> Vec<u8> {
    let mut told = std::env::consts::ARCH.as_bytes().to_vec();
    if let Ok(file) = fs::File::open("/proc/cpuinfo") {
        let mut start = String::new();
        let _ = file.take(8 << 10).read_to_string(&mut start);
        let features = start
            .lines()
            .filter(|line| ["model name", "flags", "Features", "CPU part"].iter().any(|name| line.starts_with(name)));
        told.extend(features.take(2).flat_map(str::bytes));
    }
    told
}

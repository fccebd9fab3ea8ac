//! The memory that pages take, with its limit.

use std::sync::{Mutex, MutexGuard, PoisonError};

use parquet::errors::{ParquetError, Result};

use super::page_header::Header;
use crate::limits::OverLimit;

/// Memory for the pages that are in use at a time. Two pages of DuckDB, which has the largest
/// (100 MB), fit in.
const MAX_BYTES: u64 = 192 << 20;

/// The memory that the pages in use take.
#[derive(Debug, Default)]
pub(super) struct Budget(Mutex<Spent>);

#[derive(Debug, Default)]
struct Spent {
    /// In the dictionary and the latest page of each column.
    held: Vec<[u64; 2]>,
    /// In earlier pages of the batch.
    earlier: u64,
    problem: Option<OverLimit>,
}

impl Budget {
    fn state(&self) -> MutexGuard<'_, Spent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts another batch, which needs no pages of earlier ones but the latest.
    pub(super) fn start_batch(&self) {
        self.state().earlier = 0;
    }

    /// Takes the limit that was exceeded, if any.
    pub(super) fn problem(&self) -> Option<OverLimit> {
        self.state().problem.take()
    }

    pub(super) fn spend(&self, column: usize, header: &Header, bytes: u64) -> Result<()> {
        let mut state = self.state();
        if state.held.len() <= column {
            state.held.resize(column + 1, [0, 0]);
        }
        let place = usize::from(!header.is_dictionary);
        state.earlier += std::mem::replace(&mut state.held[column][place], bytes);
        let found = state.earlier + state.held.iter().flatten().sum::<u64>();
        if found <= MAX_BYTES {
            return Ok(());
        }
        let things = "bytes in pages that are read together";
        let problem = OverLimit { found, things, limit: MAX_BYTES, remedy: "write it again with smaller pages" };
        state.problem = Some(problem);
        Err(ParquetError::External(Box::new(problem)))
    }
}

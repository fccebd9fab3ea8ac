//! Memory and processor time of another process, from /proc. Linux only; `None` elsewhere.
//!
//! The crate `procfs` reads the same files, but needs a feature of rustix that the product does not
//! use. Building the workspace would then compile rustix and all that depends on it a second time.

use std::fs;

/// Memory of a process in MB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub resident: f64,
    /// Shared with no other process at the moment.
    pub private: f64,
    /// Written by this process, so that it can never be shared.
    pub private_dirty: f64,
}

pub(crate) fn memory(pid: u32) -> Option<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let sum = |name: &str| {
        let lines = rollup.lines().filter(|line| line.starts_with(name));
        let kilobytes: u64 = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum();
        kilobytes as f64 * 1024.0 / 1e6
    };
    Some(Memory { resident: sum("Rss:"), private: sum("Private_"), private_dirty: sum("Private_Dirty:") })
}

/// Returns the processor time used so far, in ticks of 10 ms.
pub(crate) fn processor_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything; `utime` and `stime` are the 12th and 13th
    // fields after it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

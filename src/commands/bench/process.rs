//! What the system says of a process: memory of its own and shared, processor time. Linux only; absent elsewhere.

use std::fs;

/// Bytes in RAM.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub resident: u64,
    /// Of which nobody else has a share: written by this process, or mapped by no other at the time.
    pub private: u64,
    /// Of which was written by this process, and so can never be shared.
    pub written: u64,
}

pub(super) fn memory(pid: u32) -> Option<Memory> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let of = |name: &str| {
        let lines = rollup.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>() << 10
    };
    Some(Memory { resident: of("Rss:"), private: of("Private_"), written: of("Private_Dirty:") })
}

/// Ticks of a hundredth of a second.
pub(super) fn processor_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; `utime` and `stime` are the 12th and 13th field behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

//! How much memory the whole process may take, and in what pieces.
//!
//! There is a limit, so that a graph which asks for a hundred gigabytes is refused them and answers with an error, while the
//! machine goes on. What files may ask for before that is `model`'s business.

/// Limits what this process can allocate; mapped weights and the executable itself do not count.
///
/// A limit that is there already, and lower, stays.
#[cfg(target_os = "linux")]
pub(super) fn limit(bytes: Option<u64>) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let bytes = bytes.unwrap_or_else(|| {
        let system = rustix::system::sysinfo();
        let unit = u64::from(system.mem_unit.max(1));
        // Half of a very small machine would be less than a usual model takes for a moment.
        (system.totalram.saturating_mul(unit) / 2).max(LEAST_BYTES)
    });
    let found = getrlimit(Resource::Data);
    if [found.current, found.maximum].into_iter().flatten().all(|limit| limit > bytes) {
        let wanted = Rlimit { current: Some(bytes), maximum: found.maximum };
        if let Err(error) = setrlimit(Resource::Data, wanted) {
            tracing::debug!(%error, "memory is not limited");
        }
    }
}

#[cfg(target_os = "linux")]
const LEAST_BYTES: u64 = 2 << 30;

#[cfg(not(target_os = "linux"))]
pub(super) fn limit(_: Option<u64>) {}

/// Has this process take small pages only. With pieces of 2 MB each thread's heap takes up to that much more than it uses, and so does
/// the table of embeddings, of which a text touches a few rows; and there is a process for each session.
pub(super) fn in_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay allowed");
    }
}

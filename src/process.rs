//! Everything this program asks of the operating system about its own process: malloc's settings,
//! the memory limit, pages of the executable, priority, huge pages, signals and the exit. The only
//! file of the program with `unsafe` code.

/// Blocks of this size and more are returned to the system when they are freed.
const LARGE_BLOCK: i32 = 1 << 20;

/// Sets the environment variable and the malloc options that libraries rely on. Must be the first
/// call in `main`.
#[expect(unsafe_code, reason = "environment and malloc can be set safely only while no other thread runs")]
pub fn prepare() {
    // SAFETY: the first call in `main`, while this is the only thread; `mallopt` accepts any
    // numbers.
    unsafe {
        // ONNX Runtime's official libraries since 1.29 report models, machine and timings to their
        // maker.
        std::env::set_var("ORT_DISABLE_TELEMETRY", "1");
        // By default glibc raises this threshold with the first large block, and the memory of one
        // long text stays with the process.
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BLOCK);
    }
}

/// Returns free memory inside malloc's heaps to the system: 2 to 4 MB after loading a model.
#[cfg_attr(all(target_os = "linux", target_env = "gnu"), expect(unsafe_code, reason = "no crate offers this safely"))]
fn trim_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: documented as thread-safe.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets malloc keep what is freed, until the result is dropped. Fine-tuning frees and takes hundreds
/// of megabytes in each step; with fresh pages each time, it took 1.3 to 1.8 times as long.
pub fn keep_freed_memory() -> KeptMemory {
    // The largest block for which glibc accepts this.
    set_kept_memory(32 << 20, i32::MAX);
    KeptMemory(())
}

pub struct KeptMemory(());

impl Drop for KeptMemory {
    fn drop(&mut self) {
        set_kept_memory(LARGE_BLOCK, 128 << 10);
        trim_heap();
    }
}

/// Sets the sizes from which blocks, and free memory at the end of a heap, are returned.
#[cfg_attr(all(target_os = "linux", target_env = "gnu"), expect(unsafe_code, reason = "no crate offers this safely"))]
#[cfg_attr(not(all(target_os = "linux", target_env = "gnu")), expect(unused_variables, reason = "a matter of glibc"))]
fn set_kept_memory(block: i32, end: i32) {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the manual calls `mallopt` unsafe while other threads run. This rests on glibc's
    // implementation: under the lock of the main heap it merges free blocks of that heap, then
    // stores the value and a flag that `prepare` has already set. Other heaps read the values
    // without a lock. They see the old or the new ones, and all are valid.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, block);
        libc::mallopt(libc::M_TRIM_THRESHOLD, end);
    }
}

/// Gives back the memory that large files in the executable take after they were read: 29 MB for the
/// library and 21 to 23 MB for each graph, in the first session on a machine.
#[cfg_attr(all(target_os = "linux", target_env = "gnu"), expect(unsafe_code, reason = "no crate offers this safely"))]
pub fn release_embedded_files() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for file in classifier::large_files() {
        // SAFETY: the call only asks for a constant.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(1 << 16);
        let start = file.as_ptr().align_offset(page).min(file.len());
        let bytes = (file.len() - start) / page * page;
        // SAFETY: the pages lie within one constant of the executable, which no one writes. The
        // kernel drops its mapping of them, and reads them from the executable again when they are
        // touched, even while another thread reads them.
        unsafe {
            libc::madvise(file[start..].as_ptr().cast_mut().cast(), bytes, libc::MADV_DONTNEED);
        }
    }
}

/// Ends the process without the C++ library's exit handlers, which crash while a thread is still
/// inside ONNX Runtime: a model that is loading, or a run that was abandoned.
pub fn exit(status: u8) -> ! {
    #[cfg(windows)]
    terminate(status);
    signal_hook::low_level::exit(status.into())
}

/// Ends the process without telling its libraries. On Windows any other exit ends all threads and
/// then calls the libraries, which may wait for a lock that one of those threads held.
#[cfg(windows)]
#[expect(unsafe_code, reason = "no crate offers this safely")]
fn terminate(status: u8) {
    use windows_sys::Win32::System::Threading::{GetCurrentProcess, TerminateProcess};
    // SAFETY: the handle of the own process is always valid.
    unsafe {
        TerminateProcess(GetCurrentProcess(), status.into());
    }
}

/// Limits the memory this process can allocate, so that a graph which asks for 100 GB gets an error
/// and the machine stays usable. Mapped weights and the executable do not count. A lower existing
/// limit stays.
///
/// `bytes` defaults to half of the machine's memory, but at least 2 GiB, since loading takes more
/// for a moment than half of a very small machine.
#[cfg(target_os = "linux")]
pub fn limit_memory(bytes: Option<u64>) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const MIN_DEFAULT_BYTES: u64 = 2 << 30;
    let bytes = bytes.unwrap_or_else(|| {
        let system = rustix::system::sysinfo();
        let unit = u64::from(system.mem_unit.max(1));
        (system.totalram.saturating_mul(unit) / 2).max(MIN_DEFAULT_BYTES)
    });
    let current = getrlimit(Resource::Data);
    if [current.current, current.maximum].into_iter().flatten().all(|limit| limit > bytes) {
        let limit = Rlimit { current: Some(bytes), maximum: current.maximum };
        if let Err(error) = setrlimit(Resource::Data, limit) {
            tracing::debug!(%error, "memory is not limited");
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub fn limit_memory(_: Option<u64>) {}

/// Turns transparent huge pages off for this process. With pages of 2 MB, each thread's heap takes
/// up to 2 MB more than it uses. So does the embedding table, where one text touches a few rows.
/// Every session of a client has its own process.
pub fn disable_huge_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay enabled");
    }
}

/// Lowers the priority of the whole process, so that a long file job does not slow down the
/// machine's other work.
pub fn lower_priority() {
    #[cfg(unix)]
    if let Err(error) = rustix::process::nice(10) {
        tracing::debug!(%error, "the priority is unchanged");
    }
}

/// Lowers the priority of the calling thread. Not to the minimum: a process ends with its last
/// thread, and on a busy machine a thread at nice 19 waits half a second for a processor before it
/// can end.
fn lower_thread_priority() {
    // On other systems the call lowers the priority of the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 10) {
        tracing::debug!(%error, "the priority of a thread is unchanged");
    }
}

/// Returns the hooks that the engine calls at certain points, since a library must not change
/// process settings by itself.
pub fn engine_hooks() -> engine::ProcessHooks {
    engine::ProcessHooks {
        after_load: release_embedded_files,
        on_background_thread: lower_thread_priority,
        release_memory: trim_heap,
    }
}

/// Installs handlers for SIGINT and SIGTERM at once; the future completes when either arrives.
/// Needs a tokio runtime.
pub fn shutdown_signal() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let signals = {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::interrupt()).and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)))
    };
    async move {
        #[cfg(unix)]
        if let Ok((mut interrupt, mut terminate)) = signals {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
        // Without handlers, the system's default action ends the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

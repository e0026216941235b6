//! Worker threads: one monoio runtime each, on io_uring where the kernel allows it and on epoll elsewhere.

use std::{
    future::Future,
    io::{self, Read},
    os::unix::net::UnixStream,
    time::Duration,
};

use monoio::{FusionDriver, RuntimeBuilder, io::AsyncReadRent};

/// Submission entries of each ring.
const RING_ENTRIES: u32 = 4096;

/// Runs `main` on a runtime of this thread until it ends.
///
/// # Errors
///
/// Neither io_uring nor epoll could be set up.
pub(crate) fn run_on_ring<F, Fut>(main: F) -> io::Result<Fut::Output>
where
    F: FnOnce() -> Fut,
    Fut: Future,
{
    let mut ring = monoio_io_uring::IoUring::builder();
    // Completions are handled on this thread's own terms, without interrupts from the kernel (Linux 6.0 and later).
    ring.setup_single_issuer().setup_coop_taskrun().setup_taskrun_flag();
    let tuned = RuntimeBuilder::<FusionDriver>::new()
        .with_entries(RING_ENTRIES)
        .uring_builder(ring)
        .enable_timer()
        .build();
    let mut runtime = match tuned {
        Ok(runtime) => runtime,
        // An older kernel knows io_uring but not these flags.
        Err(_) => RuntimeBuilder::<FusionDriver>::new().with_entries(RING_ENTRIES).enable_timer().build()?,
    };
    Ok(runtime.block_on(async move { main().await }))
}

/// As many threads as this process may use cores.
#[must_use]
pub fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Two ends of a stop signal: the second end's thread stops when the first is dropped.
///
/// # Errors
///
/// The process has no descriptors left.
pub(crate) fn stop_pair() -> io::Result<(UnixStream, UnixStream)> {
    UnixStream::pair()
}

/// Waits until the other end of a [`stop_pair`] is dropped.
pub(crate) async fn wait_for_stop(end: UnixStream) {
    let legacy = monoio::utils::is_legacy();
    if end.set_nonblocking(legacy).is_err() {
        return;
    }
    if let Ok(mut end) = monoio::net::UnixStream::from_std(end) {
        // The other end writes nothing: this returns when it is gone.
        let _closed = end.read(vec![0_u8; 1]).await;
    }
}

/// What the scheduler has given to a thread, and made it wait for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuUse {
    /// Time on a CPU, user and system together.
    pub(crate) running: Duration,
    /// Time in which it could have run, but others had the CPU.
    pub(crate) waiting: Duration,
}

/// What the calling thread has used so far.
///
/// # Errors
///
/// `/proc` isn't mounted, or the kernel has no scheduler statistics.
pub(crate) fn cpu_use() -> io::Result<CpuUse> {
    let mut text = String::new();
    std::fs::File::open("/proc/thread-self/schedstat")?.read_to_string(&mut text)?;
    let mut fields = text.split_ascii_whitespace().map(|field| field.parse().map(Duration::from_nanos));
    match (fields.next(), fields.next()) {
        (Some(Ok(running)), Some(Ok(waiting))) => Ok(CpuUse { running, waiting }),
        _ => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "/proc/thread-self/schedstat has an unknown form"))
        }
    }
}

//! The submission and completion queues of one worker, and the one system call that serves both.
#![allow(unsafe_code)] // Ring entries hold raw addresses, and io_uring_enter(2) is a raw system call.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::{EnterFlags, IoUring, cqueue, squeue};

/// Opcode of io_uring_register(2) that gives the ring's descriptor an index of its own (Linux 5.18).
const REGISTER_RING_FDS: libc::c_uint = 20;
/// The reverse of [`REGISTER_RING_FDS`].
const UNREGISTER_RING_FDS: libc::c_uint = 21;

/// Argument of both registrations, as the kernel lays it out (`struct io_uring_rsrc_update`).
#[repr(C)]
struct RingUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// Seconds and nanoseconds as the kernel lays them out (`struct __kernel_timespec`).
#[repr(C)]
struct KernelTime {
    seconds: i64,
    nanoseconds: i64,
}

/// Extended argument of io_uring_enter(2) (`struct io_uring_getevents_arg`).
#[repr(C)]
struct EnterArgument {
    signal_mask: u64,
    signal_mask_bytes: u32,
    min_wait_micros: u32,
    time: u64,
}

/// What the queues counted so far.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct RingCounters {
    /// Calls of io_uring_enter(2).
    pub enters: u64,
    /// Times that the submission queue was full and had to be handed over before the turn's end; a sign
    /// that it is too short for the load.
    pub early_submits: u64,
    /// Waits that found the completion queue overflown. Nothing is lost then, yet it costs time; a sign
    /// that the completion queue is too short.
    pub completion_overflows: u64,
}

/// Queues with a way to enter the kernel that costs no descriptor look-up.
pub(super) struct Ring {
    uring: IoUring,
    /// Index of the ring's descriptor among those registered by this thread.
    registered: Option<u32>,
    /// Entries that found the submission queue full even after a submit. Empty in practice; it exists so
    /// that no entry is ever lost and their order is kept.
    backlog: VecDeque<squeue::Entry>,
    /// Operations whose last completion is still to come.
    pub(super) in_flight: u32,
    pub(super) counters: RingCounters,
}

impl Ring {
    pub(super) fn new(uring: IoUring) -> Self {
        Self {
            uring,
            registered: None,
            backlog: VecDeque::new(),
            in_flight: 0,
            counters: RingCounters::default(),
        }
    }

    pub(super) fn uring(&self) -> &IoUring {
        &self.uring
    }

    /// Registers the ring's descriptor with this thread, which spares a look-up in every enter.
    ///
    /// # Errors
    /// As io_uring_register(2); the ring works without it as well.
    pub(super) fn register_descriptor(&mut self) -> std::io::Result<()> {
        let mut update = RingUpdate { offset: u32::MAX, reserved: 0, data: self.uring.as_raw_fd() as u64 };
        register(self.uring.as_raw_fd(), REGISTER_RING_FDS, &mut update)?;
        self.registered = Some(update.offset);
        Ok(())
    }

    /// Queues an entry. If the queue is full, it is submitted first.
    ///
    /// # Safety
    /// All addresses in `entry` must be valid for what the kernel does with them until its last completion.
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: the caller vouches for the addresses.
        if self.backlog.is_empty() && unsafe { self.uring.submission().push(&entry) }.is_ok() {
            return;
        }
        self.backlog.push_back(entry);
        self.counters.early_submits += 1;
        // An error shows again in the wait, which reports it; the entries stay queued.
        let _ = self.submit(EnterFlags::empty(), 0, None);
        self.flush_backlog();
    }

    fn flush_backlog(&mut self) {
        let mut queue = self.uring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: whoever called `push` vouched for the addresses.
            if unsafe { queue.push(entry) }.is_err() {
                break;
            }
            self.backlog.pop_front();
        }
    }

    /// Submits what is queued and waits for a completion until `timeout` has passed; `None` waits without
    /// end. One system call at most, and none if there is nothing to submit and completions are there.
    ///
    /// # Errors
    /// Only what means that the ring can't be used any more.
    pub(super) fn enter(&mut self, timeout: Option<Duration>) -> std::io::Result<()> {
        if !self.backlog.is_empty() {
            self.flush_backlog();
        }
        let ready = !self.uring.completion().is_empty();
        let queue = self.uring.submission();
        let overflown = queue.cq_overflow();
        if ready && queue.is_empty() && !overflown {
            return Ok(());
        }
        drop(queue);
        if overflown {
            self.counters.completion_overflows += 1;
        }
        let at_once = ready || overflown || timeout.is_some_and(|timeout| timeout.is_zero());
        let want = u32::from(!at_once);
        match self.submit(EnterFlags::GETEVENTS, want, timeout.filter(|_| !at_once)) {
            Err(error) if !is_passing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn submit(&mut self, mut flags: EnterFlags, want: u32, timeout: Option<Duration>) -> std::io::Result<()> {
        let queued = u32::try_from(self.uring.submission().len()).unwrap_or(u32::MAX);
        let ring = match self.registered {
            Some(index) => {
                flags |= EnterFlags::REGISTERED_RING;
                libc::c_long::from(index)
            }
            None => libc::c_long::from(self.uring.as_raw_fd()),
        };
        let time = timeout.map(|timeout| KernelTime {
            seconds: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: i64::from(timeout.subsec_nanos()),
        });
        let argument = time.as_ref().map(|time| EnterArgument {
            signal_mask: 0,
            signal_mask_bytes: 0,
            min_wait_micros: 0,
            time: std::ptr::from_ref(time) as u64,
        });
        let (pointer, bytes) = match &argument {
            Some(argument) => {
                flags |= EnterFlags::EXT_ARG;
                (std::ptr::from_ref(argument), size_of::<EnterArgument>())
            }
            None => (std::ptr::null(), 0),
        };
        self.counters.enters += 1;
        // SAFETY: `argument` and the `time` it points to live until the call returns, the size is that of
        // the struct, and the addresses in the queued entries are valid by the contract of `push`.
        let submitted = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, ring, queued, want, flags.bits(), pointer, bytes)
        };
        if submitted < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Moves completions into `space`, oldest first, and returns those that it filled.
    pub(super) fn completions<'a>(
        &mut self,
        space: &'a mut [MaybeUninit<cqueue::Entry>],
    ) -> &'a [cqueue::Entry] {
        self.uring.completion().fill(space)
    }

    /// Whether everything queued has been handed to the kernel.
    pub(super) fn is_submitted(&mut self) -> bool {
        self.backlog.is_empty() && self.uring.submission().is_empty()
    }
}

impl Drop for Ring {
    /// Undoes [`Self::register_descriptor`]; else the kernel would keep the ring until the thread ends.
    fn drop(&mut self) {
        if let Some(offset) = self.registered.take() {
            let mut update = RingUpdate { offset, reserved: 0, data: 0 };
            if let Err(error) = register(self.uring.as_raw_fd(), UNREGISTER_RING_FDS, &mut update) {
                tracing::warn!(%error, "the ring's descriptor could not be unregistered");
            }
        }
    }
}

/// Errors of an enter that the next turn gets over: a signal, the time-out, or a shortage that handling the
/// completions relieves.
fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN))
}

fn register(ring: RawFd, opcode: libc::c_uint, update: &mut RingUpdate) -> std::io::Result<()> {
    // SAFETY: `update` is one valid struct of the layout that both opcodes read and write.
    let registered =
        unsafe { libc::syscall(libc::SYS_io_uring_register, ring, opcode, std::ptr::from_mut(update), 1) };
    if registered < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

//! Waking a worker from another thread, through an eventfd that the ring reads.
#![allow(unsafe_code)] // eventfd(2) and write(2) have no safe form in the standard library.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::io::Wake;

/// An eventfd with a flag in front of it, so that many wakes in a row cost one system call.
#[derive(Debug)]
pub(super) struct EventFd {
    descriptor: OwnedFd,
    /// Set from the first wake until the worker has taken notice.
    pending: AtomicBool,
}

impl EventFd {
    /// # Errors
    /// As eventfd(2), for example for lack of descriptors.
    pub(super) fn new() -> std::io::Result<Self> {
        // SAFETY: no memory is passed. Without EFD_NONBLOCK, because a ring operation on a non-blocking
        // descriptor fails with EAGAIN instead of waiting.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and ours alone.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self { descriptor, pending: AtomicBool::new(false) })
    }

    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// Called by the worker after the ring read the eventfd, before it looks at its mailboxes: a wake from
    /// here on writes again, one from before has its message in the mailbox already.
    pub(super) fn take_notice(&self) {
        self.pending.swap(false, Ordering::AcqRel);
    }
}

impl Wake for EventFd {
    fn wake(&self) {
        if self.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        let one = 1_u64;
        loop {
            // SAFETY: the pointer is to eight bytes that live until the call returns. The counter can't
            // come near its limit, since `pending` allows one write per read, so this never blocks.
            let written = unsafe {
                libc::write(self.descriptor.as_raw_fd(), std::ptr::from_ref(&one).cast(), size_of::<u64>())
            };
            if written >= 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
                return;
            }
        }
    }
}

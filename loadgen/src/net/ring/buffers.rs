//! Receive buffers that the kernel picks from a ring shared with it.
#![allow(unsafe_code)] // The memory is shared with the kernel and handed out by number.

use std::{
    alloc::{self, Layout},
    io,
    ptr::NonNull,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::{Submitter, types::BufRingEntry};

/// Group under which the buffers are registered; a ring has just one.
pub(super) const GROUP: u16 = 0;
/// Buffers of one ring, a power of two. Each goes back before the next wait, so they are as many as receives that one wait
/// can bring; what comes beyond that waits for the next.
const COUNT: u16 = 256;
/// Room of a buffer. A bit more than a page, so that the starts of buffers don't all fall on the same lines of the CPU's cache.
const BUFFER_BYTES: usize = 4096 + 64;
const PAGE_BYTES: usize = 4096;

/// The buffers of one ring.
pub(super) struct Buffers {
    /// [`COUNT`] entries, which the kernel reads.
    entries: NonNull<BufRingEntry>,
    /// [`COUNT`] buffers of [`BUFFER_BYTES`], which the kernel writes; a buffer's number is its place.
    memory: NonNull<u8>,
    /// Entries ever put in, wrapping. The kernel reads its published copy.
    tail: u16,
}

const fn layout(bytes: usize) -> Layout {
    match Layout::from_size_align(bytes, PAGE_BYTES) {
        Ok(layout) => layout,
        Err(_) => panic!("buffers have a size that fits in memory"),
    }
}

const ENTRIES_LAYOUT: Layout = layout(COUNT as usize * size_of::<BufRingEntry>());
const MEMORY_LAYOUT: Layout = layout(COUNT as usize * BUFFER_BYTES);

fn zeroed(layout: Layout) -> NonNull<u8> {
    // SAFETY: both layouts have a size other than 0.
    NonNull::new(unsafe { alloc::alloc_zeroed(layout) }).unwrap_or_else(|| alloc::handle_alloc_error(layout))
}

impl Buffers {
    pub(super) fn new() -> Self {
        let mut buffers =
            Self { entries: zeroed(ENTRIES_LAYOUT).cast(), memory: zeroed(MEMORY_LAYOUT), tail: 0 };
        for number in 0..COUNT {
            buffers.give_back(number);
        }
        buffers.publish();
        buffers
    }

    /// # Errors
    ///
    /// The kernel is older than Linux 5.19.
    ///
    /// # Safety
    ///
    /// The buffers live until the ring is gone and nothing is in flight on it.
    pub(super) unsafe fn register(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        // SAFETY: the entries are page-aligned and as many as is said; the caller keeps them.
        unsafe { submitter.register_buf_ring_with_flags(self.entries.as_ptr() as u64, COUNT, GROUP, 0) }
    }

    /// The first `length` bytes of a buffer; none if the numbers can't be true.
    ///
    /// # Safety
    ///
    /// A completion has named the buffer with this length, and it was not given back since.
    pub(super) unsafe fn bytes(&self, number: u16, length: usize) -> &[u8] {
        if number >= COUNT || length > BUFFER_BYTES {
            return &[];
        }
        // SAFETY: the bytes lie within the buffer, were zeroed at the start, and the kernel doesn't write to a buffer that it
        // has handed out.
        unsafe {
            std::slice::from_raw_parts(self.memory.as_ptr().add(usize::from(number) * BUFFER_BYTES), length)
        }
    }

    /// Puts a buffer into the ring again; the kernel sees it with [`Self::publish`].
    pub(super) fn give_back(&mut self, number: u16) {
        if number >= COUNT {
            return;
        }
        let place = usize::from(self.tail & (COUNT - 1));
        // SAFETY: both places lie within their memory, and the kernel doesn't read entries at or behind the published tail.
        // The setters leave that tail alone, which overlays a part of the first entry.
        unsafe {
            let entry = self.entries.add(place).as_mut();
            entry.set_addr(self.memory.as_ptr().add(usize::from(number) * BUFFER_BYTES) as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(number);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    pub(super) fn publish(&self) {
        // SAFETY: it is the address of the ring's tail: two aligned bytes that both sides only access atomically.
        let published = unsafe { &*BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>() };
        published.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: both were allocated with these layouts, and the kernel uses them no more by the contract of `register`.
        unsafe {
            alloc::dealloc(self.entries.as_ptr().cast(), ENTRIES_LAYOUT);
            alloc::dealloc(self.memory.as_ptr(), MEMORY_LAYOUT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        let mut buffers = Buffers::new();
        // SAFETY: no kernel uses these buffers.
        unsafe {
            assert_eq!(buffers.bytes(0, BUFFER_BYTES).len(), BUFFER_BYTES);
            assert!(buffers.bytes(COUNT, 1).is_empty());
            assert!(buffers.bytes(0, BUFFER_BYTES + 1).is_empty());
        }
        buffers.give_back(COUNT);
        assert_eq!(buffers.tail, COUNT);
        buffers.give_back(COUNT - 1);
        assert_eq!(buffers.tail, COUNT + 1);
    }
}

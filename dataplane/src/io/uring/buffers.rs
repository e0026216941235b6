//! Receive buffers that the kernel picks from a ring shared with it.
//!
//! A buffer that is given back costs one store and no system call. The pool is shared by the backend and
//! all buffers that are out, so its memory lives as long as the last of them.
#![allow(unsafe_code)] // The memory is shared with the kernel and handed out by number.

use std::cell::Cell;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::io::ReceiveBuffer;

/// Most buffers that one ring can hold.
pub(super) const BUFFER_COUNT_LIMIT: u16 = 1 << 15;

/// Anonymous memory straight from the kernel: page-aligned, and not backed by pages before its first use.
struct Mapping {
    address: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    fn new(bytes: usize) -> std::io::Result<Self> {
        // SAFETY: a new anonymous mapping touches no memory of ours.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        let address = NonNull::new(address.cast()).ok_or_else(|| std::io::Error::other("mmap gave null"))?;
        Ok(Self { address, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone, and nobody holds an address in it any more.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.bytes) };
    }
}

/// The buffers of one worker.
pub(super) struct BufferPool {
    /// Array of `count` ring entries, shared with the kernel.
    entries: Mapping,
    /// `count` buffers of `buffer_bytes` each; the number of a buffer is its place here.
    memory: Mapping,
    count: u16,
    buffer_bytes: u32,
    /// Entries ever put into the ring, wrapping; the kernel reads its published copy.
    tail: Cell<u16>,
    /// Buffers that are in the ring as far as the completions seen so far tell.
    available: Cell<u16>,
}

impl BufferPool {
    /// Makes `count` buffers (a power of two up to [`BUFFER_COUNT_LIMIT`]) and puts them all into the ring.
    pub(super) fn new(count: u16, buffer_bytes: u32) -> std::io::Result<Rc<Self>> {
        let memory_bytes = usize::from(count) * buffer_bytes as usize;
        let pool = Self {
            entries: Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?,
            memory: Mapping::new(memory_bytes)?,
            count,
            buffer_bytes,
            tail: Cell::new(0),
            available: Cell::new(0),
        };
        for id in 0..count {
            pool.give_back(id);
        }
        Ok(Rc::new(pool))
    }

    /// Address of the entries, for the registration.
    pub(super) fn entries_address(&self) -> u64 {
        self.entries.address.as_ptr() as u64
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Buffers that the kernel may still fill.
    pub(super) fn available(&self) -> u16 {
        self.available.get()
    }

    /// Takes over buffer `id`, of which the kernel filled the first `length` bytes. `None` if the numbers
    /// can't be true.
    ///
    /// # Safety
    /// A completion must just have named `id`, so that the kernel doesn't touch it and nobody else holds it.
    pub(super) unsafe fn take(self: &Rc<Self>, id: u16, length: u32) -> Option<UringBuffer> {
        if id >= self.count || length > self.buffer_bytes {
            return None;
        }
        self.available.set(self.available.get().saturating_sub(1));
        Some(UringBuffer { pool: Rc::clone(self), id, length })
    }

    fn address_of(&self, id: u16) -> NonNull<u8> {
        // SAFETY: `id` is below `count`, so the offset lies within the mapping.
        unsafe { self.memory.address.add(usize::from(id) * self.buffer_bytes as usize) }
    }

    /// Puts a buffer into the ring: the entry first, then the tail that publishes it.
    fn give_back(&self, id: u16) {
        let base = self.entries.address.cast::<BufRingEntry>();
        let place = usize::from(self.tail.get() & (self.count - 1));
        // SAFETY: `place` is below `count` since `count` is a power of two, and the kernel doesn't read
        // entries at or after the tail. The setters leave the tail alone, which overlays entry 0.
        let entry = unsafe { base.add(place).as_mut() };
        entry.set_addr(self.address_of(id).as_ptr() as u64);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(id);
        let tail = self.tail.get().wrapping_add(1);
        self.tail.set(tail);
        self.available.set(self.available.get() + 1);
        // SAFETY: the base is that of the entries, so the address is that of the ring's tail: two aligned
        // bytes that both sides only access atomically.
        let published = unsafe { &*BufRingEntry::tail(base.as_ptr()).cast::<AtomicU16>() };
        published.store(tail, Ordering::Release);
    }
}

/// Bytes that the kernel received; dropping it gives its memory back to the ring.
///
/// It holds a whole buffer of the pool however few bytes came in, so copy what must be kept for longer than
/// it takes to pass the bytes on.
pub struct UringBuffer {
    pool: Rc<BufferPool>,
    id: u16,
    length: u32,
}

impl ReceiveBuffer for UringBuffer {
    fn bytes(&self) -> &[u8] {
        // SAFETY: this buffer is the only holder of `id`, the memory is mapped as long as the pool lives,
        // and `length` bytes lie within one buffer. Mapped memory is zeroed, so all of it is initialised.
        unsafe { std::slice::from_raw_parts(self.pool.address_of(self.id).as_ptr(), self.length as usize) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `&mut self` excludes other borrows.
        unsafe {
            std::slice::from_raw_parts_mut(self.pool.address_of(self.id).as_ptr(), self.length as usize)
        }
    }
}

impl std::fmt::Debug for UringBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UringBuffer").field("id", &self.id).field("length", &self.length).finish()
    }
}

impl Drop for UringBuffer {
    fn drop(&mut self) {
        self.pool.give_back(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_told_apart_and_come_back() {
        let pool = BufferPool::new(4, 4096).unwrap();
        // SAFETY: no kernel uses this pool, and each number is taken once.
        let mut held: Vec<_> = (0..4).map(|id| unsafe { pool.take(id, 8) }.unwrap()).collect();
        assert_eq!(pool.available(), 0);
        for (fill, buffer) in held.iter_mut().enumerate() {
            buffer.bytes_mut().fill(fill as u8);
        }
        for (fill, buffer) in held.iter().enumerate() {
            assert_eq!(buffer.bytes(), [fill as u8; 8]);
        }
        held.pop();
        assert_eq!(pool.available(), 1);
        drop(held);
        assert_eq!(pool.available(), 4);
    }

    #[test]
    fn the_tail_wraps_without_losing_a_buffer() {
        let pool = BufferPool::new(2, 4096).unwrap();
        for turn in 0..70_000_u32 {
            // SAFETY: no kernel uses this pool, and the buffer goes back at the end of the turn.
            let buffer = unsafe { pool.take((turn % 2) as u16, 1) }.unwrap();
            drop(buffer);
        }
        assert_eq!(pool.available(), 2);
        assert_eq!(pool.tail.get(), (70_002_u32 & 0xffff) as u16);
    }

    #[test]
    fn impossible_numbers_are_refused() {
        let pool = BufferPool::new(2, 4096).unwrap();
        // SAFETY: no kernel uses this pool.
        unsafe {
            assert!(pool.take(2, 1).is_none());
            assert!(pool.take(0, 4097).is_none());
        }
        assert_eq!(pool.available(), 2);
    }

    #[test]
    fn a_buffer_outlives_the_pool_handle() {
        let pool = BufferPool::new(2, 4096).unwrap();
        // SAFETY: no kernel uses this pool.
        let buffer = unsafe { pool.take(1, 3) }.unwrap();
        drop(pool);
        assert_eq!(buffer.bytes(), [0; 3]);
    }
}

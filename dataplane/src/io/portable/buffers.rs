//! Receive buffers, used again and again, and never more of them than the pool's limit.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::io::ReceiveBuffer;

/// The buffers of one worker. Each is made when it is first needed.
#[derive(Debug)]
pub(super) struct BufferPool {
    /// Buffers that are not in use.
    spare: RefCell<Vec<Box<[u8]>>>,
    /// How many more may be in use.
    available: Cell<u32>,
    buffer_bytes: usize,
}

impl BufferPool {
    pub(super) fn new(count: u32, buffer_bytes: usize) -> Rc<Self> {
        Rc::new(Self { spare: RefCell::default(), available: Cell::new(count), buffer_bytes })
    }

    /// How many buffers can be taken.
    pub(super) fn available(&self) -> u32 {
        self.available.get()
    }

    /// Takes a buffer, unless all are in use.
    pub(super) fn take(self: &Rc<Self>) -> Option<PortableBuffer> {
        let left = self.available.get().checked_sub(1)?;
        self.available.set(left);
        let spare = self.spare.borrow_mut().pop();
        let space = spare.unwrap_or_else(|| vec![0; self.buffer_bytes].into_boxed_slice());
        Some(PortableBuffer { space, length: 0, pool: Rc::clone(self) })
    }
}

/// A received buffer. Its memory goes back to the pool when it is dropped.
pub struct PortableBuffer {
    space: Box<[u8]>,
    length: usize,
    pool: Rc<BufferPool>,
}

impl PortableBuffer {
    /// All of its memory, to receive into.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.space
    }

    /// Notes that its first `length` bytes were received.
    pub(super) fn filled(mut self, length: usize) -> Self {
        self.length = length.min(self.space.len());
        self
    }
}

impl ReceiveBuffer for PortableBuffer {
    fn bytes(&self) -> &[u8] {
        &self.space[..self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.space[..self.length]
    }
}

impl Drop for PortableBuffer {
    fn drop(&mut self) {
        self.pool.spare.borrow_mut().push(std::mem::take(&mut self.space));
        self.pool.available.set(self.pool.available.get() + 1);
    }
}

impl std::fmt::Debug for PortableBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PortableBuffer").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_and_never_exceed_their_number() {
        let pool = BufferPool::new(2, 512);
        let mut first = pool.take().unwrap();
        first.space()[..3].copy_from_slice(b"abc");
        let first = first.filled(3);
        let second = pool.take().unwrap();
        assert!(pool.take().is_none());
        assert_eq!((first.bytes(), second.bytes().len()), (&b"abc"[..], 0));
        drop(first);
        assert_eq!(pool.available(), 1);
        assert_eq!(pool.take().unwrap().space().len(), 512);
    }
}

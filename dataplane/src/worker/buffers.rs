//! A worker's free list of byte vectors, so that the steady state allocates none.

/// Vectors kept for reuse.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    free: Vec<Vec<u8>>,
    /// The capacity of them all.
    free_bytes: usize,
}

/// At most this many vectors are kept.
const KEPT_MAX: usize = 256;
/// At most so many bytes are kept in all.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A vector that grew beyond this is given back to the allocator rather than kept. One that a full receive buffer (68 KiB) was
/// written to in pieces may have grown to twice that.
const VECTOR_BYTES_MAX: usize = 160 * 1024;

impl BufferPool {
    /// An empty vector, with capacity if one is free.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let buffer = self.free.pop().unwrap_or_default();
        self.free_bytes -= buffer.capacity();
        buffer
    }

    /// Gives a vector back.
    pub(crate) fn put(&mut self, mut buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        let is_kept = (1..=VECTOR_BYTES_MAX).contains(&bytes)
            && self.free.len() < KEPT_MAX
            && self.free_bytes + bytes <= KEPT_BYTES_MAX;
        if is_kept {
            buffer.clear();
            self.free_bytes += bytes;
            self.free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reuses_and_bounds() {
        let mut pool = BufferPool::default();
        pool.put(vec![1; 100]);
        let again = pool.take();
        assert!(again.is_empty() && again.capacity() >= 100);
        pool.put(Vec::with_capacity(VECTOR_BYTES_MAX + 1));
        assert_eq!(pool.take().capacity(), 0);
        for _ in 0..2 * KEPT_MAX {
            pool.put(Vec::with_capacity(10));
        }
        assert_eq!(pool.free.len(), KEPT_MAX);
        let mut pool = BufferPool::default();
        for _ in 0..KEPT_MAX {
            pool.put(Vec::with_capacity(VECTOR_BYTES_MAX));
        }
        assert_eq!(pool.free.len(), KEPT_BYTES_MAX / VECTOR_BYTES_MAX);
        while pool.take().capacity() > 0 {}
        assert_eq!(pool.free_bytes, 0);
    }
}

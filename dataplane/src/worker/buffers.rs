//! A worker's free list of byte vectors, so that the steady state allocates none.

/// Vectors kept for reuse.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    free: Vec<Vec<u8>>,
}

/// At most this many vectors are kept.
const KEPT_MAX: usize = 256;
/// A vector that grew beyond this is given back to the allocator rather than kept.
const KEPT_BYTES_MAX: usize = 64 * 1024;

impl BufferPool {
    /// An empty vector, with capacity if one is free.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_default()
    }

    /// Gives a vector back.
    pub(crate) fn put(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() == 0 || buffer.capacity() > KEPT_BYTES_MAX || self.free.len() >= KEPT_MAX {
            return;
        }
        buffer.clear();
        self.free.push(buffer);
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
        pool.put(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        assert_eq!(pool.take().capacity(), 0);
        for _ in 0..2 * KEPT_MAX {
            pool.put(Vec::with_capacity(10));
        }
        assert_eq!(pool.free.len(), KEPT_MAX);
    }
}

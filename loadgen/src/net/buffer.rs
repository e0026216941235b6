//! A receive buffer: bytes are added behind and taken from the front.

/// How much room a receive gets at least.
const RECEIVE_BYTES: usize = 16 * 1024;

/// Bytes that were received and not yet used.
#[derive(Debug, Default)]
pub(crate) struct ReceiveBuffer {
    data: Vec<u8>,
    start: usize,
}

impl ReceiveBuffer {
    pub(crate) fn unread(&self) -> &[u8] {
        &self.data[self.start..]
    }

    /// Drops `count` bytes from the front.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.data.len());
        if self.start == self.data.len() {
            self.data.clear();
            self.start = 0;
        }
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.compact();
        self.data.extend_from_slice(bytes);
    }

    /// Lends the vector to a receive, with room behind its length. [`Self::give_back`] returns it.
    pub(crate) fn lend(&mut self) -> Vec<u8> {
        self.compact();
        self.data.reserve(RECEIVE_BYTES);
        std::mem::take(&mut self.data)
    }

    pub(crate) fn give_back(&mut self, data: Vec<u8>) {
        self.data = data;
    }

    fn compact(&mut self) {
        if self.start > 0 {
            self.data.drain(..self.start);
            self.start = 0;
        }
    }
}

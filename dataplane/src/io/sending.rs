//! What a backend has taken over for sending, and how much of it the kernel has.

use std::ops::Range;

use super::{Outgoing, ReceiveBuffer};

/// Bytes on their way out.
#[derive(Debug)]
pub(super) struct Sending<B> {
    head: Vec<u8>,
    body: Option<(B, Range<usize>)>,
    /// Bytes that the kernel took already, over both parts.
    taken: usize,
}

impl<B: ReceiveBuffer> Sending<B> {
    pub(super) fn new(data: Outgoing<B>) -> Self {
        Self { head: data.head, body: data.body, taken: 0 }
    }

    /// What is left of the head and of the body.
    pub(super) fn remaining(&self) -> (&[u8], &[u8]) {
        let body = match &self.body {
            Some((buffer, range)) => &buffer.bytes()[range.clone()],
            None => &[],
        };
        let head_taken = self.taken.min(self.head.len());
        let body_taken = self.taken - head_taken;
        (&self.head[head_taken..], &body[body_taken.min(body.len())..])
    }

    /// Notes that the kernel took `bytes` more.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.taken += bytes;
    }

    pub(super) fn is_finished(&self) -> bool {
        let (head, body) = self.remaining();
        head.is_empty() && body.is_empty()
    }

    /// The head for reuse; the body goes back to the pool.
    pub(super) fn into_head(self) -> Vec<u8> {
        self.head
    }
}

#[cfg(test)]
mod tests {
    use super::super::sim::SimBuffer;
    use super::*;

    #[test]
    fn a_send_of_head_only_advances_to_its_end() {
        let mut sending = Sending::<SimBuffer>::new(Outgoing { head: b"abcdef".to_vec(), body: None });
        assert_eq!(sending.remaining(), (&b"abcdef"[..], &b""[..]));
        sending.advance(4);
        assert_eq!(sending.remaining(), (&b"ef"[..], &b""[..]));
        assert!(!sending.is_finished());
        sending.advance(2);
        assert!(sending.is_finished());
        assert_eq!(sending.into_head(), b"abcdef");
    }
}

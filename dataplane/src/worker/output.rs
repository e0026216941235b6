//! What waits to be sent on one socket: at most one send is in flight, the rest queues in order.

use std::collections::VecDeque;
use std::ops::Range;

use super::buffers::BufferPool;
use crate::io::{Io, Outgoing, SocketId};

/// Queued vectors are joined up to this size, so that many small writes leave as one.
const JOINED_BYTES_MAX: usize = 64 * 1024;

/// The sending side of a socket.
#[derive(Debug)]
pub(crate) struct Output<B> {
    /// Bytes of the send in flight; zero if none is.
    in_flight_bytes: usize,
    in_flight_has_body: bool,
    /// What follows it.
    queue: VecDeque<Outgoing<B>>,
    queued_bytes: usize,
    /// Received buffers that this output holds on to, in flight or queued.
    handed_over: usize,
}

impl<B> Default for Output<B> {
    fn default() -> Self {
        Self {
            in_flight_bytes: 0,
            in_flight_has_body: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            handed_over: 0,
        }
    }
}

impl<B> Output<B> {
    /// Bytes that the kernel hasn't taken yet: the measure of back-pressure.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.in_flight_bytes + self.queued_bytes
    }

    /// Received buffers that wait here for a slow peer.
    pub(crate) fn handed_over(&self) -> usize {
        self.handed_over
    }

    /// Whether all was sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending_bytes() == 0
    }

    /// Sends `head` and the given part of a received buffer after all that was pushed before.
    pub(crate) fn push<I: Io<Buffer = B>>(
        &mut self,
        io: &mut I,
        buffers: &mut BufferPool,
        socket: SocketId,
        head: Vec<u8>,
        body: Option<(B, Range<usize>)>,
    ) {
        let bytes = head.len() + body.as_ref().map_or(0, |(_, range)| range.len());
        if bytes == 0 {
            buffers.put(head);
            return;
        }
        self.handed_over += usize::from(body.is_some());
        if self.in_flight_bytes == 0 {
            self.start(io, socket, Outgoing { head, body });
            return;
        }
        self.queued_bytes += bytes;
        match self.queue.back_mut() {
            Some(last) if last.body.is_none() && last.head.len() + head.len() <= JOINED_BYTES_MAX => {
                last.head.extend_from_slice(&head);
                last.body = body;
                buffers.put(head);
            }
            _ => self.queue.push_back(Outgoing { head, body }),
        }
    }

    /// The send in flight is done: starts the next one. Says how many received buffers it gave back.
    pub(crate) fn sent<I: Io<Buffer = B>>(&mut self, io: &mut I, socket: SocketId) -> usize {
        let given_back = usize::from(self.in_flight_has_body);
        self.handed_over -= given_back;
        self.in_flight_bytes = 0;
        self.in_flight_has_body = false;
        if let Some(next) = self.queue.pop_front() {
            self.queued_bytes -= size_of_outgoing(&next);
            self.start(io, socket, next);
        }
        given_back
    }

    fn start<I: Io<Buffer = B>>(&mut self, io: &mut I, socket: SocketId, data: Outgoing<B>) {
        self.in_flight_bytes = size_of_outgoing(&data);
        self.in_flight_has_body = data.body.is_some();
        io.send(socket, data);
    }
}

fn size_of_outgoing<B>(data: &Outgoing<B>) -> usize {
    data.head.len() + data.body.as_ref().map_or(0, |(_, range)| range.len())
}

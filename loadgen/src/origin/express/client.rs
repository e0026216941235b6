//! One connection on the ring: what it is owed, what is under way, and how it ends.

use std::os::fd::OwnedFd;

use super::requests::{Departure, Requests};

/// A connection. The kernel works on at most one receive and one send of it.
pub(super) struct Client {
    pub(super) socket: OwnedFd,
    pub(super) requests: Requests,
    /// The receive goes on.
    pub(super) receiving: bool,
    /// A receive was told to end.
    pub(super) cancelled: bool,
    /// Bytes of the send under way; 0 for none.
    pub(super) sending: usize,
    /// Bytes of answers that were not sent yet, those under way included.
    owed_bytes: u64,
    /// Where in an answer the next byte to send is.
    offset: usize,
    pub(super) end: End,
    waiting: Waiting,
    /// The tick at which the present wait is given up.
    pub(super) expires_at: u64,
    /// It is in the list of those that this turn has touched.
    pub(super) is_touched: bool,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The next request.
    Request,
    /// The rest of a head.
    Head,
    /// The next piece of a body.
    Body,
    /// The client takes its answers.
    Send,
}

/// Whether and how a connection ends.
pub(super) enum End {
    /// It goes on.
    No,
    /// It is closed when its answers are sent.
    Close,
    /// It is served in another way when its answers are sent.
    Departure(Departure),
}

impl Client {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            requests: Requests::default(),
            receiving: false,
            cancelled: false,
            sending: 0,
            owed_bytes: 0,
            offset: 0,
            end: End::No,
            waiting: Waiting::Send,
            expires_at: u64::MAX,
            is_touched: false,
        }
    }

    /// Owes so many more answers of this size.
    pub(super) fn owe(&mut self, answers: u64, answer_bytes: usize) {
        self.owed_bytes = self.owed_bytes.saturating_add(answers.saturating_mul(answer_bytes as u64));
    }

    /// What is to be sent next, if nothing is under way: from where in an answer on, and how much of all.
    pub(super) fn next_send(&self) -> Option<(usize, u64)> {
        (self.sending == 0 && self.owed_bytes > 0).then_some((self.offset, self.owed_bytes))
    }

    /// A send has ended with so many bytes sent. Gives how many answers are whole by that.
    pub(super) fn sent(&mut self, bytes: usize, answer_bytes: usize) -> u64 {
        self.sending = 0;
        // The next send, if there is one, has a time of its own.
        self.waiting = Waiting::Request;
        self.owed_bytes = self.owed_bytes.saturating_sub(bytes as u64);
        let end = self.offset + bytes;
        self.offset = end % answer_bytes;
        (end / answer_bytes) as u64
    }

    /// What the next limit of time is about, if a new wait begins here. A head has one limit in all, and so has a send; of a
    /// body, each piece has its own.
    pub(super) fn begins_to_wait(&mut self) -> Option<Waiting> {
        let now = if self.sending > 0 {
            Waiting::Send
        } else if self.requests.is_within_body() {
            Waiting::Body
        } else if self.requests.is_between_requests() {
            Waiting::Request
        } else {
            Waiting::Head
        };
        let is_old = now == self.waiting && matches!(now, Waiting::Head | Waiting::Send);
        self.waiting = now;
        (!is_old).then_some(now)
    }

    /// Gives up: what is owed is never sent.
    pub(super) fn abandon(&mut self) {
        self.owed_bytes = 0;
        self.end = End::Close;
    }

    /// It was given up while a send was under way.
    pub(super) const fn is_stuck(&self) -> bool {
        self.sending > 0 && self.owed_bytes == 0
    }

    /// All answers are with the kernel, and it works on nothing else of this connection but a receive.
    pub(super) const fn is_even(&self) -> bool {
        self.sending == 0 && self.owed_bytes == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::{Options, answer::Answers};

    #[test]
    fn sends_go_on_where_the_last_one_ended() {
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut client = Client::new(socket.into());
        assert!(client.next_send().is_none() && client.is_even());
        client.owe(3, 10);
        assert_eq!(client.next_send(), Some((0, 30)));
        client.sending = 20;
        assert!(client.next_send().is_none() && !client.is_even());
        assert_eq!(client.sent(14, 10), 1);
        assert_eq!(client.next_send(), Some((4, 16)));
        client.owe(1, 10);
        client.sending = 6;
        assert_eq!(client.sent(6, 10), 1);
        assert_eq!(client.next_send(), Some((0, 20)));
        client.sending = 5;
        client.abandon();
        assert!(client.is_stuck());
        assert_eq!(client.sent(2, 10), 0);
        assert!(client.is_even() && matches!(client.end, End::Close));
    }

    #[test]
    fn heads_and_sends_have_one_limit_and_pieces_of_bodies_each_their_own() {
        let answers = Answers::new(&Options::default()).unwrap();
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut client = Client::new(socket.into());
        assert_eq!(client.begins_to_wait(), Some(Waiting::Request));
        let receive = |client: &mut Client, bytes: &[u8]| {
            let (count, _departure) = client.requests.take(bytes, &answers);
            client.owe(count, 10);
            client.begins_to_wait()
        };
        assert_eq!(receive(&mut client, b"POST / HTTP/1.1\r\n"), Some(Waiting::Head));
        assert_eq!(receive(&mut client, b"Host: a\r\n"), None);
        assert_eq!(receive(&mut client, b"Content-Length: 3\r\n\r\na"), Some(Waiting::Body));
        assert_eq!(receive(&mut client, b"b"), Some(Waiting::Body));
        client.sending = 10;
        assert_eq!(receive(&mut client, b"c"), Some(Waiting::Send));
        assert_eq!(receive(&mut client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), None);
        client.sent(10, 10);
        client.sending = 10;
        assert_eq!(client.begins_to_wait(), Some(Waiting::Send));
        client.sent(10, 10);
        assert_eq!(client.begins_to_wait(), Some(Waiting::Request));
    }
}

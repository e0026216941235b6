//! Reading requests of which only the ends matter, because all answers are the same.

use std::mem::MaybeUninit;

use crate::{
    http::{BodyDecoder, Framing, MAX_HEADERS},
    origin::{
        answer::Answers,
        connection::{CLOSED_WITHIN_BODY, Refusal, read_head},
    },
};

/// What one connection has sent, up to where it was understood.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// What has come of a head that isn't complete; behind a departure, everything from there on.
    unread: Vec<u8>,
    /// How much of it was searched for the end of the head in vain.
    searched: usize,
    /// The body that is being read.
    body: Option<BodyDecoder>,
}

/// A connection has to be served in another way from here on.
#[derive(Debug)]
pub(super) enum Departure {
    /// Its next request isn't an ordinary one.
    Request,
    /// Its request is to be refused.
    Refusal(Refusal),
}

impl Requests {
    /// Takes what was received, and returns how many more requests are to be answered with that. Behind a departure only
    /// [`Self::keep`] goes on.
    pub(super) fn take(&mut self, received: &[u8], answers: &Answers) -> (u64, Option<Departure>) {
        if self.unread.is_empty() {
            let (used, count, departure) = self.read(received, answers);
            self.unread.extend_from_slice(&received[used..]);
            return (count, departure);
        }
        self.unread.extend_from_slice(received);
        let mut unread = std::mem::take(&mut self.unread);
        let (used, count, departure) = self.read(&unread, answers);
        unread.drain(..used);
        self.unread = unread;
        (count, departure)
    }

    /// Keeps what was received for who serves the connection next.
    pub(super) fn keep(&mut self, received: &[u8]) {
        self.unread.extend_from_slice(received);
    }

    /// What comes of it that the client sends nothing more: a departure if that cuts a body.
    pub(super) fn end(&self) -> Option<Departure> {
        self.body.is_some().then(|| Departure::Refusal(Refusal::of_body(CLOSED_WITHIN_BODY)))
    }

    pub(super) fn into_unread(self) -> Vec<u8> {
        self.unread
    }

    /// Nothing of a next request has come.
    pub(super) const fn is_between_requests(&self) -> bool {
        self.unread.is_empty() && self.body.is_none()
    }

    /// The client is within a body.
    pub(super) const fn is_within_body(&self) -> bool {
        self.body.is_some()
    }

    /// How much of `bytes` was read, and how many requests have ended in that.
    fn read(&mut self, bytes: &[u8], answers: &Answers) -> (usize, u64, Option<Departure>) {
        let (mut used, mut count) = (0, 0);
        loop {
            if let Some(body) = &mut self.body {
                match body.decode(&bytes[used..], |_| {}) {
                    Err(error) => return (used, count, Some(Departure::Refusal(Refusal::of_body(error.0)))),
                    Ok(more) => used += more,
                }
                if !body.is_done() {
                    return (used, count, None);
                }
                self.body = None;
                count += 1;
            }
            // Empty lines before a request are skipped (RFC 9112 section 2.2).
            while self.searched == 0 && bytes[used..].starts_with(b"\r\n") {
                used += 2;
            }
            if used == bytes.len() {
                return (used, count, None);
            }
            let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
            match read_head(&bytes[used..], self.searched, &mut headers) {
                Ok(None) => {
                    self.searched = bytes.len() - used;
                    return (used, count, None);
                }
                Ok(Some(head)) if answers.is_ordinary(&head) => {
                    used += head.length;
                    self.searched = 0;
                    match head.framing {
                        Framing::Length(0) => count += 1,
                        framing => self.body = Some(BodyDecoder::new(framing)),
                    }
                }
                // Who serves it next reads the head again, and refuses it for the same reason.
                Ok(Some(_)) | Err(_) => return (used, count, Some(Departure::Request)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Options;

    /// What becomes of `bytes` that come in pieces of `step`: requests, whether it departed, what is unread then.
    fn read(bytes: &[u8], step: usize) -> (u64, Option<Departure>, Vec<u8>) {
        let answers = Answers::new(&Options::default()).unwrap();
        let mut requests = Requests::default();
        let mut all = 0;
        let mut departed = None;
        for piece in bytes.chunks(step) {
            if departed.is_some() {
                requests.keep(piece);
                continue;
            }
            let (count, departure) = requests.take(piece, &answers);
            all += count;
            departed = departure;
        }
        (all, departed, requests.into_unread())
    }

    #[test]
    fn any_split_of_the_bytes_gives_the_same_requests() {
        let ordinary = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\
            POST /?q=1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
            \r\nPUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let special = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let both = [&ordinary[..], special].concat();
        for step in 1..=both.len() {
            let (count, departure, unread) = read(ordinary, step);
            assert_eq!((count, unread), (4, Vec::new()), "in steps of {step}");
            assert!(departure.is_none());
            let (count, departure, unread) = read(&both, step);
            assert_eq!((count, unread), (4, special.to_vec()), "in steps of {step}");
            assert!(matches!(departure, Some(Departure::Request)));
        }
    }

    #[test]
    fn what_is_not_ordinary_departs_with_all_of_its_bytes() {
        let heads = [
            "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
            "GET /?size=5 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX-Origin-Delay: 1ms\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX-Origin-Size: wrong\r\n\r\n",
            "nonsense\r\n\r\n",
        ];
        for head in heads {
            let (count, departure, unread) = read(head.as_bytes(), usize::MAX);
            assert_eq!((count, unread), (0, head.as_bytes().to_vec()), "{head}");
            assert!(matches!(departure, Some(Departure::Request)), "{head}");
        }
        // What asks for the answer that all get anyway is an ordinary request.
        let same = "GET /?size=1024&status=200 HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(read(same.as_bytes(), usize::MAX).0, 1);
    }

    #[test]
    fn malformed_and_cut_bodies_are_refused() {
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
        let (count, departure, _) = read(chunked.as_bytes(), 7);
        assert_eq!(count, 0);
        assert!(matches!(departure, Some(Departure::Refusal(_))));
        let mut cut = Requests::default();
        let answers = Answers::new(&Options::default()).unwrap();
        cut.take(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", &answers);
        assert!(cut.is_within_body() && matches!(cut.end(), Some(Departure::Refusal(_))));
    }

    #[test]
    fn an_endless_head_departs() {
        let head = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(70_000));
        let (count, departure, unread) = read(head.as_bytes(), 4096);
        assert_eq!((count, unread.len()), (0, head.len()));
        assert!(matches!(departure, Some(Departure::Request)));
    }
}

//! A scripted client: sends what its steps say, and reads the answers strictly.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::message::{Framing, Head, Reader, Step as Read};
use super::script::Request;
use super::world::Asked;
use crate::io::ReceiveEnd;
use crate::io::sim::{SimNetwork, SimPeer};

/// One thing that a client does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Sends bytes of a request, numbered within the client.
    Send(usize, Vec<u8>),
    /// Waits until so many answers came in whole.
    Await(usize),
    /// Waits for an interim answer, or for any other.
    AwaitContinue,
    /// Waits until the head of the first answer is here.
    AwaitHead,
    Sleep(Duration),
    Reading(bool),
    /// Sends no more, and gives up on what it asked.
    Finish,
    /// Sends no more, and still waits for its answers.
    FinishAndListen,
    Close {
        reset: bool,
    },
    /// Does nothing more, and doesn't close.
    Hang,
}

/// An answer that is being read.
struct Answer {
    head: Head,
    ours: bool,
    status: u16,
    framing: Option<Framing>,
}

/// A client with its script.
pub(super) struct Client {
    from: SocketAddr,
    starts: Duration,
    /// Places of its requests in the world's list, in the order in which they are sent.
    pub(super) requests: Vec<usize>,
    steps: VecDeque<Step>,
    peer: Option<SimPeer>,
    reader: Reader,
    current: Option<Answer>,
    /// Whole answers.
    answers: usize,
    interim: usize,
    wakes: u64,
    announced_close: bool,
    /// It ended the connection by itself, or stopped to listen.
    gone: bool,
    pub(super) over: bool,
}

impl Client {
    pub(super) fn new(
        from: SocketAddr,
        starts: Duration,
        requests: Vec<usize>,
        steps: impl IntoIterator<Item = Step>,
    ) -> Self {
        Self {
            from,
            starts,
            requests,
            steps: steps.into_iter().collect(),
            peer: None,
            reader: Reader::default(),
            current: None,
            answers: 0,
            interim: 0,
            wakes: 0,
            announced_close: false,
            gone: false,
            over: false,
        }
    }

    /// Takes what came in and does what is due. Says when it wants to act again.
    pub(super) fn act(&mut self, network: &SimNetwork, asked: &mut [Asked], breaks: bool) -> Option<u64> {
        if self.over {
            return None;
        }
        let now = network.now().0;
        let starts = nanos(self.starts);
        if now < starts {
            return Some(starts);
        }
        let peer = *self.peer.get_or_insert_with(|| network.connect_client(super::setup::front(), self.from));
        self.reader.feed(&network.received(peer));
        self.read(asked, breaks);
        let state = network.state(peer);
        if state.refused || state.end.is_some() {
            self.ended(state.end, asked, breaks);
            network.close(peer, false);
            return None;
        }
        self.go_on(peer, network, asked, now)
    }

    fn go_on(&mut self, peer: SimPeer, network: &SimNetwork, asked: &mut [Asked], now: u64) -> Option<u64> {
        loop {
            if now < self.wakes {
                return Some(self.wakes);
            }
            match self.steps.front() {
                Some(Step::Await(answers)) if self.answers < *answers => return None,
                Some(Step::AwaitContinue) if self.interim == 0 && self.answers == 0 => return None,
                Some(Step::AwaitHead) if self.current.is_none() && self.answers == 0 => return None,
                Some(Step::Hang) => {
                    self.gone = true;
                    return None;
                }
                None if self.answers < self.requests.len() => return None,
                None => {
                    self.over = true;
                    network.close(peer, false);
                    return None;
                }
                Some(_) => {}
            }
            match self.steps.pop_front() {
                Some(Step::Send(request, bytes)) => {
                    asked[self.requests[request]].sent += bytes.len();
                    network.send(peer, &bytes);
                }
                Some(Step::Sleep(span)) => self.wakes = now + nanos(span),
                Some(Step::Reading(reading)) => {
                    network.set_reading(peer, reading);
                    // To look at what came in meanwhile.
                    return Some(now);
                }
                Some(Step::Finish) => {
                    self.gone = true;
                    network.finish(peer);
                }
                Some(Step::FinishAndListen) => network.finish(peer),
                Some(Step::Close { reset }) => {
                    self.gone = true;
                    self.over = true;
                    network.close(peer, reset);
                    return None;
                }
                _ => {}
            }
        }
    }

    /// Whether it counts on an answer.
    pub(super) fn is_waiting(&self) -> bool {
        !self.gone && self.answers < self.requests.len()
    }

    /// Reads answers as far as they are here.
    fn read(&mut self, asked: &mut [Asked], breaks: bool) {
        loop {
            match self.reader.step() {
                Err(reason) => panic!("client {}: {reason}", self.from),
                Ok(None) => return,
                Ok(Some(Read::Head(head))) => self.head(head, asked, breaks),
                Ok(Some(Read::End(body))) => self.answered(&body, asked),
            }
        }
    }

    fn head(&mut self, head: Head, asked: &[Asked], breaks: bool) {
        let Some(place) = self.requests.get(self.answers) else {
            if breaks && self.requests.iter().any(|place| asked[*place].request.tunnels()) {
                // What was meant for a WebSocket that never came about was taken for a request.
                self.gone = true;
                return self.reader.expect_body(Some(Framing::UntilClose));
            }
            panic!("client {}: an answer that nobody asked for: {head:?}", self.from)
        };
        let request = &asked[*place].request;
        let context = format!("{} {}: {head:?}", request.method, request.tag);
        assert!(!self.announced_close, "an answer after `Connection: close`: {context}");
        let status = status(&head);
        if status < 200 && status != 101 {
            let asked_for = status == 100 && request.expects_continue;
            assert!(asked_for || request.reply.interim.contains(&status), "unasked {context}");
            assert!(request.version == "1.1", "interim to an old client: {context}");
            self.interim += 1;
            self.reader.expect_body(None);
            self.current = None;
            return;
        }
        let ours = head.one("x-answer-to").is_none();
        if ours {
            let failure = breaks && [502, 503, 504].contains(&status);
            assert!(request.outcome.ours.contains(&status) || failure, "unexpected answer: {context}");
        } else {
            assert_eq!(head.one("x-answer-to"), Some(request.tag.as_str()), "mixed up: {context}");
            // Where connections break, places become free, and a request finds one after all.
            let possible = request.outcome.origin || (breaks && request.outcome.reaches);
            assert!(possible, "the origin must not answer: {context}");
            assert_eq!(status, request.reply.status, "{context}");
        }
        let request_id = head.one("x-request-id").unwrap_or_default();
        assert!(request_id.len() == 32, "no request id: {context}");
        let closes = head.has("connection", "close");
        let bodiless = request.method == "HEAD" || [204, 304].contains(&status);
        let framing = head.framing().unwrap_or_else(|reason| panic!("{reason}: {context}"));
        assert!(request.version == "1.1" || closes, "an old client is told that it ends: {context}");
        assert!(request.version == "1.1" || framing != Some(Framing::Chunked), "chunks: {context}");
        assert!(status != 204 || framing.is_none(), "framing of 204: {context}");
        let framing = if status == 101 {
            assert!(request.tunnels() && head.has("upgrade", "websocket"), "unasked {context}");
            assert!(head.has("connection", "upgrade") && framing.is_none(), "no switch: {context}");
            Some(Framing::UntilClose)
        } else if bodiless {
            None
        } else {
            assert!(framing.is_some() || closes, "a body without an end: {context}");
            Some(framing.unwrap_or(Framing::UntilClose))
        };
        self.announced_close = closes;
        self.reader.expect_body(framing);
        self.current = Some(Answer { head, ours, status, framing });
    }

    /// An answer came to its end.
    fn answered(&mut self, body: &[u8], asked: &mut [Asked]) {
        let Some(answer) = self.current.take() else { return };
        let request = &mut asked[self.requests[self.answers]];
        let context = format!("{} {}: {:?}", request.request.method, request.request.tag, answer.head);
        if answer.ours {
            let bodiless = request.request.method == "HEAD";
            assert!(bodiless || !body.is_empty(), "an empty answer of ours: {context}");
        } else {
            let content = request.request.reply.content(&request.request);
            assert_eq!(body.len(), content.len(), "{context}");
            assert!(body == content, "wrong body: {context}");
        }
        request.status = Some(answer.status);
        self.answers += 1;
    }

    /// The connection ended, from the other side.
    fn ended(&mut self, end: Option<ReceiveEnd>, asked: &mut [Asked], breaks: bool) {
        self.over = true;
        if end == Some(ReceiveEnd::Finished)
            && let Some(body) = self.reader.ended()
        {
            self.answered(&body, asked);
        }
        if let Some(answer) = &self.current {
            let request = &asked[self.requests[self.answers]].request;
            let part = self.reader.partial().unwrap_or_default();
            let whole = request.reply.content(request);
            assert!(answer.ours || whole.starts_with(part), "wrong part of a body: {}", request.tag);
            assert!(answer.framing.is_some(), "a bodiless answer has no part: {}", request.tag);
        }
        for place in &self.requests[self.answers..] {
            let Request { outcome, tag, .. } = &asked[*place].request;
            assert!(
                outcome.cut || breaks || self.gone,
                "client {}: {tag} was not answered in whole; the connection ended with {end:?}",
                self.from
            );
        }
    }
}

fn status(head: &Head) -> u16 {
    let mut words = head.start.split(' ');
    assert_eq!(words.next(), Some("HTTP/1.1"), "{head:?}");
    words.next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no status in {head:?}"))
}

pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap()
}

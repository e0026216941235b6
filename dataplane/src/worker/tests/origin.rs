//! An origin: takes requests strictly, compares them with what clients sent, and answers by script.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::client::nanos;
use super::message::{Framing, Head, Reader, Step};
use super::script::{After, Body};
use super::setup::{BODY_LIMIT, front};
use super::world::Asked;
use crate::io::ReceiveEnd;
use crate::io::sim::{SimNetwork, SimPeer};
use crate::proxy_protocol::{self, Parsed};

enum Due {
    Send(Vec<u8>),
    /// Reads again.
    Listen,
    Close,
    Reset,
}

/// A connection that the worker made to an origin.
pub(super) struct Origin {
    peer: SimPeer,
    /// What came of a PROXY header so far, where one is due.
    header: Option<Vec<u8>>,
    /// Whose connection it is, as the header said.
    carries: Option<SocketAddr>,
    reader: Reader,
    /// Place of the request whose body is being read.
    current: Option<usize>,
    /// What it is going to do, in time's order.
    due: VecDeque<(u64, Due)>,
    sent_bytes: usize,
    /// It is going to close once all is sent.
    closing: bool,
    over: bool,
}

impl Origin {
    pub(super) fn new(peer: SimPeer, told: bool) -> Self {
        Self {
            peer,
            header: told.then(Vec::new),
            carries: None,
            reader: Reader::default(),
            current: None,
            due: VecDeque::new(),
            sent_bytes: 0,
            closing: false,
            over: false,
        }
    }

    pub(super) fn sent_bytes(&self) -> usize {
        self.sent_bytes
    }

    /// Takes what came in and does what is due. Says when it wants to act again.
    pub(super) fn act(&mut self, network: &SimNetwork, asked: &mut [Asked]) -> Option<u64> {
        if self.over {
            return None;
        }
        let now = network.now().0;
        let received = self.behind_header(network.received(self.peer));
        self.reader.feed(&received);
        loop {
            match self.reader.step() {
                Err(reason) => panic!("an origin got {reason}"),
                Ok(None) => break,
                Ok(Some(Step::Head(head))) => self.head(&head, network, asked, now),
                Ok(Some(Step::End(body))) => self.whole(&body, asked, now),
            }
        }
        while let Some((at, _)) = self.due.front() {
            if *at > now {
                return Some(*at);
            }
            match self.due.pop_front() {
                Some((_, Due::Send(bytes))) => {
                    self.sent_bytes += bytes.len();
                    network.send(self.peer, &bytes);
                }
                Some((_, Due::Listen)) => network.set_reading(self.peer, true),
                Some((_, Due::Close)) => self.closing = true,
                Some((_, Due::Reset)) => return self.close(network, true),
                None => {}
            }
        }
        let state = network.state(self.peer);
        if self.closing && state.unsent_bytes == 0 {
            return self.close(network, false);
        }
        if state.end.is_some() {
            if state.end == Some(ReceiveEnd::Finished)
                && let Some(body) = self.reader.ended()
            {
                self.whole(&body, asked, now);
            }
            if state.end == Some(ReceiveEnd::Finished) && (!self.due.is_empty() || state.unsent_bytes > 0) {
                return self.due.front().map(|(at, _)| *at);
            }
            self.left_over(asked);
            return self.close(network, false);
        }
        None
    }

    /// Takes the PROXY header off the first bytes.
    fn behind_header(&mut self, received: Vec<u8>) -> Vec<u8> {
        let Some(header) = &mut self.header else { return received };
        header.extend_from_slice(&received);
        if header.is_empty() {
            return Vec::new();
        }
        match proxy_protocol::parse(header).unwrap_or_else(|error| panic!("an origin got {error:?}")) {
            Parsed::Incomplete => Vec::new(),
            Parsed::Complete { consumed, endpoints } => {
                let endpoints = endpoints.expect("a header that names a client");
                assert_eq!(endpoints.destination.ip().to_canonical(), front().ip());
                self.carries = Some(endpoints.source);
                let rest = header.split_off(consumed);
                self.header = None;
                rest
            }
        }
    }

    fn close(&mut self, network: &SimNetwork, reset: bool) -> Option<u64> {
        self.over = true;
        network.close(self.peer, reset);
        None
    }

    /// A request's head came in.
    fn head(&mut self, head: &Head, network: &SimNetwork, asked: &mut [Asked], now: u64) {
        let sending = self.due.iter().any(|(_, due)| matches!(due, Due::Send(_)));
        assert!(!sending, "a request before the last one was answered: {head:?}");
        let tag = head.one("x-tag").unwrap_or_else(|| panic!("no tag in {head:?}"));
        let place = asked.iter().position(|asked| asked.request.tag == tag);
        let place = place.unwrap_or_else(|| panic!("nobody asked {head:?}"));
        let asked = &mut asked[place];
        let request = &asked.request;
        assert!(
            self.carries.is_none_or(|client| client == asked.from),
            "{:?} carries {head:?}",
            self.carries
        );
        assert_eq!(head.start, format!("{} {} HTTP/1.1", request.method, request.target()));
        assert_eq!(head.one("host"), Some(request.host));
        let switches = request.tunnels();
        assert_eq!(head.one("connection"), switches.then_some("upgrade"), "{head:?}");
        assert_eq!(head.one("upgrade"), switches.then_some("websocket"), "{head:?}");
        for name in ["expect", "te", "trailer", "keep-alive"] {
            assert!(head.all(name).is_empty(), "{name} in {head:?}");
        }
        assert_eq!(head.one("x-forwarded-for"), Some(asked.client_ip.to_string().as_str()));
        assert_eq!(head.one("x-request-id").map(str::len), Some(32), "{head:?}");
        assert!(request.outcome.reaches, "it must not reach the origin: {head:?}");
        let length = request.content().map_or(0, <[u8]>::len);
        if request.held && length <= BODY_LIMIT {
            assert_eq!(asked.sent, asked.total, "forwarded before it was whole: {head:?}");
        }
        let framing = head.framing().unwrap_or_else(|reason| panic!("{reason}"));
        match (&request.body, framing) {
            (Body::None | Body::Tunnel(_), None) | (Body::Raw(_), Some(_)) => {}
            (Body::Length(data), Some(Framing::Length(length))) => assert_eq!(data.len(), length),
            (Body::Chunked(data, _), Some(Framing::Length(length))) if request.held => {
                assert_eq!(data.len(), length);
            }
            (Body::Chunked(..), Some(Framing::Chunked)) => {}
            other => panic!("framed as {:?}: {head:?}", other.1),
        }
        asked.heads += 1;
        let most = if request.is_idempotent() { 2 } else { 1 };
        assert!(asked.heads <= most, "forwarded {} times: {head:?}", asked.heads);
        self.current = Some(place);
        let accepts = switches && request.reply.status == 101;
        self.reader.expect_body(if accepts { Some(Framing::UntilClose) } else { framing });
        if request.reply.deaf > Duration::ZERO {
            network.set_reading(self.peer, false);
            self.due.push_back((now + nanos(request.reply.deaf), Due::Listen));
        }
        if request.reply.early {
            self.answer(asked, now);
        }
    }

    /// A request came in whole.
    fn whole(&mut self, body: &[u8], asked: &mut [Asked], now: u64) {
        let Some(place) = self.current.take() else { return };
        let asked = &mut asked[place];
        let request = &asked.request;
        assert_eq!(asked.sent, asked.total, "whole at the origin, not sent by the client: {}", request.tag);
        assert_eq!(Some(body), request.content(), "another body than the client's: {}", request.tag);
        asked.wholes += 1;
        if !request.reply.early {
            self.answer(asked, now);
        }
    }

    fn answer(&mut self, asked: &Asked, now: u64) {
        let reply = &asked.request.reply;
        if reply.silent {
            return;
        }
        let mut at = now + nanos(reply.delay);
        let wire = reply.wire(&asked.request);
        let piece = if reply.piece == 0 { wire.len().max(1) } else { reply.piece };
        for bytes in wire.chunks(piece) {
            self.due.push_back((at, Due::Send(bytes.to_vec())));
            at += nanos(reply.pace);
        }
        match reply.after {
            After::Keep => {}
            After::Close(span) => self.due.push_back((at + nanos(span), Due::Close)),
            After::Reset(span) => self.due.push_back((at + nanos(span), Due::Reset)),
        }
        self.due.make_contiguous().sort_by_key(|(at, _)| *at);
    }

    /// What a connection left behind must be a part of something that may be here.
    fn left_over(&self, asked: &[Asked]) {
        if self.current.is_some() {
            return; // its head was looked at
        }
        let Some(part) = self.reader.partial() else { return };
        let text = String::from_utf8_lossy(part);
        let tag = text.split_once("/t/").and_then(|(_, rest)| rest.split_once([' ', '?']));
        let Some((tag, _)) = tag else { return };
        let request = asked.iter().map(|asked| &asked.request).find(|request| request.tag == tag);
        assert!(request.is_some_and(|request| request.outcome.reaches), "a part of {tag} got through");
    }
}

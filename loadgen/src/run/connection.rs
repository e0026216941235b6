//! One connection of the load generator: take a request from the schedule, send it, read the answer, again.

use std::{
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use monoio::net::TcpStream;
use rustls::HandshakeKind;

use super::{schedule::Start, statistics::record, worker::Worker};
use crate::{
    http::{self, BodyDecoder, HEAD_LIMIT_BYTES},
    net::{ReceiveBuffer, Transport},
};

/// Wait after a connection that could not be set up, so that a dead target isn't asked in a tight loop.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// Why a request has no answer: a kind to count by, and the details.
struct Failure {
    kind: &'static str,
    details: String,
}

/// A complete answer.
struct Answer {
    status: u16,
    keep_alive: bool,
    received_bytes: u64,
}

/// A connection and what it needs from one request to the next; connects again when it must.
pub(super) struct Client {
    worker: Rc<Worker>,
    transport: Option<Transport>,
    input: ReceiveBuffer,
    out: Vec<u8>,
}

impl Client {
    pub(super) fn new(worker: Rc<Worker>) -> Self {
        Self { worker, transport: None, input: ReceiveBuffer::default(), out: Vec::new() }
    }

    /// Takes its requests from another schedule from now on, over the same connection.
    pub(super) fn attach(&mut self, worker: Rc<Worker>) {
        self.worker = worker;
    }

    /// Sends requests until the schedule ends.
    pub(super) async fn run(&mut self) {
        let worker = Rc::clone(&self.worker);
        // The set-up belongs before the first request, not into its time.
        let mut connected = if self.transport.is_none() { self.connect().await } else { Ok(()) };
        while !worker.schedule.until_start().is_zero() {
            monoio::time::sleep(worker.schedule.until_start()).await;
        }
        while let Some(start) = worker.schedule.next().await {
            if self.transport.is_none() && connected.is_ok() {
                connected = self.connect().await;
            }
            let failed_to_connect = connected.is_err();
            match std::mem::replace(&mut connected, Ok(())) {
                Ok(()) => self.request(start).await,
                Err(failure) => self.count_failure(start, &failure),
            }
            if failed_to_connect {
                monoio::time::sleep(CONNECT_PAUSE).await;
            }
        }
    }

    /// Says goodbye to the target, if there is a connection.
    pub(super) async fn finish(&mut self) {
        if let Some(mut transport) = self.transport.take() {
            transport.watch().set_limit(Some(self.worker.timeout));
            transport.finish().await;
        }
    }

    /// One request outside of any schedule: its status, its body, and whether the connection stays open.
    ///
    /// # Errors
    ///
    /// A sentence about why there is no answer.
    pub(super) async fn ask(&mut self) -> Result<(u16, Vec<u8>, bool), String> {
        let explain = |failure: Failure| format!("{} ({})", failure.kind, failure.details);
        if self.transport.is_none() {
            self.connect().await.map_err(explain)?;
        }
        let mut body = Vec::new();
        let answer = self.exchange(|data| body.extend_from_slice(data)).await;
        if !answer.as_ref().is_ok_and(|answer| answer.keep_alive) {
            self.transport = None;
        }
        answer.map(|answer| (answer.status, body, answer.keep_alive)).map_err(explain)
    }

    async fn request(&mut self, start: Start) {
        let sent = Instant::now();
        let result = self.exchange(|_body| {}).await;
        let now = Instant::now();
        let answer = match result {
            Ok(answer) => answer,
            Err(failure) => {
                self.transport = None;
                self.input = ReceiveBuffer::default();
                self.count_failure(start, &failure);
                return;
            }
        };
        if !answer.keep_alive {
            self.transport = None;
        }
        self.worker.progress.add_answer();
        if !start.measured {
            return;
        }
        self.worker.last_answer.set(now);
        let mut statistics = self.worker.statistics.borrow_mut();
        record(&mut statistics.service, now - sent);
        if self.worker.schedule.is_open_loop() {
            record(&mut statistics.response, now.saturating_duration_since(start.due));
            record(&mut statistics.send_lag, sent.saturating_duration_since(start.due));
            statistics.waited_for_connection += u64::from(start.waited_for_connection);
        }
        *statistics.statuses.entry(answer.status).or_default() += 1;
        statistics.received_bytes += answer.received_bytes;
        statistics.sent_bytes += self.worker.target.request.len() as u64;
    }

    fn count_failure(&self, start: Start, failure: &Failure) {
        if start.measured {
            self.worker.last_answer.set(Instant::now());
            self.worker.statistics.borrow_mut().error(failure.kind, || failure.details.clone());
        }
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        let worker = Rc::clone(&self.worker);
        let target = &worker.target;
        let connecting = monoio::time::timeout(worker.timeout, TcpStream::connect_addr(target.address));
        let stream = match connecting.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Failure { kind: "connect", details: error.to_string() }),
            Err(_) => {
                return Err(Failure {
                    kind: "connect_timeout",
                    details: format!("over {:?}", worker.timeout),
                });
            }
        };
        // Where this fails the peer is gone, as the next receive will say.
        let _gone = stream.set_nodelay(true);
        let side =
            target.tls_connection().map_err(|error| Failure { kind: "tls", details: error.to_string() })?;
        let mut transport = Transport::new(stream, side.map(Into::into), worker.watcher.add());
        transport.watch().set_limit(Some(worker.timeout));
        self.input = ReceiveBuffer::default();
        transport
            .handshake(&mut self.input)
            .await
            .map_err(|error| Failure::from_io(&error, "tls_handshake"))?;
        let mut statistics = worker.statistics.borrow_mut();
        record(&mut statistics.connect, began.elapsed());
        match transport.tls().and_then(|tls| tls.handshake_kind()) {
            Some(HandshakeKind::Resumed) => statistics.resumed_handshakes += 1,
            Some(_) => statistics.full_handshakes += 1,
            None => {}
        }
        self.transport = Some(transport);
        Ok(())
    }

    async fn exchange(&mut self, mut sink: impl FnMut(&[u8])) -> Result<Answer, Failure> {
        let Self { worker, transport, input, out } = self;
        let Some(transport) = transport else {
            return Err(Failure { kind: "closed", details: "there is no connection".to_owned() });
        };
        transport.watch().set_limit(Some(worker.timeout));
        out.clear();
        out.extend_from_slice(&worker.target.request);
        // A target may answer and close before it has read everything (a body over its limit, say). Its answer is
        // worth more than the failed sending.
        let sending = transport.send(out).await;
        let (head, mut received_bytes) = match (read_head(worker, transport, input).await, sending) {
            (Ok(head), _) => head,
            (Err(_), Err(error)) => return Err(Failure::from_io(&error, "send")),
            (Err(failure), Ok(())) => return Err(failure),
        };
        let mut decoder = BodyDecoder::new(head.framing);
        loop {
            let decoded = decoder.decode(input.unread(), &mut sink);
            let used =
                decoded.map_err(|error| Failure { kind: "malformed_answer", details: error.0.to_owned() })?;
            input.consume(used);
            received_bytes += used as u64;
            if decoder.is_done() {
                break;
            }
            if transport.fill(input).await.map_err(|error| Failure::from_io(&error, "receive"))? == 0 {
                if decoder.ends_at_close() {
                    break;
                }
                return Err(Failure {
                    kind: "cut_off",
                    details: "closed within an answer's body".to_owned(),
                });
            }
        }
        if !input.unread().is_empty() {
            let details = "bytes behind the answer that nobody asked for".to_owned();
            return Err(Failure { kind: "malformed_answer", details });
        }
        Ok(Answer { status: head.status, keep_alive: head.keep_alive, received_bytes })
    }
}

/// Reads heads up to the final answer's; returns it and the bytes of all of them.
async fn read_head(
    worker: &Worker,
    transport: &mut Transport,
    input: &mut ReceiveBuffer,
) -> Result<(http::ResponseHead, u64), Failure> {
    let malformed = |reason: &str| Failure { kind: "malformed_answer", details: reason.to_owned() };
    let mut received_bytes = 0;
    loop {
        let parsed = http::parse_response(input.unread(), worker.target.is_head);
        if let Some(head) = parsed.map_err(|error| malformed(error.reason))? {
            input.consume(head.length);
            received_bytes += head.length as u64;
            match head.status {
                101 => return Err(malformed("101 Switching Protocols, which was not asked for")),
                100..200 => continue,
                _ => return Ok((head, received_bytes)),
            }
        }
        let pending = input.unread().len();
        if pending >= HEAD_LIMIT_BYTES {
            return Err(malformed("the head is larger than 64 KiB"));
        }
        if transport.fill(input).await.map_err(|error| Failure::from_io(&error, "receive"))? == 0 {
            return Err(if pending == 0 {
                Failure { kind: "closed", details: "closed before an answer".to_owned() }
            } else {
                Failure { kind: "cut_off", details: "closed within an answer's head".to_owned() }
            });
        }
    }
}

impl Failure {
    /// Kinds that mean the same at every step; `step` for the rest.
    fn from_io(error: &io::Error, step: &'static str) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::TimedOut => "timeout",
            io::ErrorKind::Interrupted => "unfinished",
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "reset",
            io::ErrorKind::InvalidData => "tls",
            _ => step,
        };
        Self { kind, details: error.to_string() }
    }
}

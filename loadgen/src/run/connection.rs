//! One connection of the load generator: take a request from the schedule, send it, read the answer, again.

use std::{
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use rustls::{HandshakeKind, ProtocolVersion};

use super::{
    Work,
    schedule::Start,
    statistics::{Noted, record},
    traffic::Kind,
    worker::Worker,
};
use crate::{
    Verdict,
    http::{self, BodyDecoder, HEAD_LIMIT_BYTES},
    net::{self, ReceiveBuffer, Transport},
    scenario::template::Random,
};

/// Wait after a connection that could not be set up, so that a dead target isn't asked in a tight loop.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// How long a target gets to send its tickets where nothing else is asked for.
const TICKET_PATIENCE: Duration = Duration::from_millis(500);

/// How much of a body is kept where it is looked at.
const KEPT_BODY_BYTES: usize = 64 << 20;

/// How a TLS server's complaint about what is no TLS begins: record type 21, version 3 (RFC 8446 section 5.1).
const TLS_ALERT: &[u8] = &[21, 3];

/// Why a request has no answer: a kind to count by, and the details.
pub(crate) struct Failure {
    pub(crate) kind: &'static str,
    pub(crate) details: String,
}

/// Status, body (its start, if it is large), and whether the connection stays open.
pub(crate) type Answered = (u16, Vec<u8>, bool);

/// A complete answer.
struct Answer {
    status: u16,
    keep_alive: bool,
    received_bytes: u64,
    sent_bytes: u64,
    first_byte_at: Instant,
    last_byte_at: Instant,
}

/// A connection and what it needs from one request to the next; connects again when it must.
pub(super) struct Client {
    worker: Rc<Worker>,
    /// The group that it belongs to.
    group: usize,
    transport: Option<Transport>,
    input: ReceiveBuffer,
    out: Vec<u8>,
    scratch: Vec<u8>,
}

impl Client {
    /// The run's connection `number`.
    pub(super) fn new(worker: Rc<Worker>, number: usize) -> Self {
        let group = worker.target.traffic.group_of(number);
        let (out, scratch) = (Vec::new(), Vec::new());
        let input = ReceiveBuffer::default();
        Self { worker, group, transport: None, input, out, scratch }
    }

    /// Takes its requests from another schedule from now on, over the same connection.
    pub(super) fn attach(&mut self, worker: Rc<Worker>) {
        self.worker = worker;
    }

    /// Sends requests until the schedule ends.
    pub(super) async fn run(&mut self) {
        let worker = Rc::clone(&self.worker);
        // The set-up belongs before the first request, not into its time.
        let set_up = self.transport.is_none() && worker.target.work == Work::Requests;
        let mut connected = if set_up { self.connect().await } else { Ok(()) };
        worker.schedule.join();
        while !worker.schedule.until_start().is_zero() {
            monoio::time::sleep(worker.schedule.until_start()).await;
        }
        while let Some(start) = worker.schedule.next().await {
            let traffic = &worker.target.traffic;
            let taken = Instant::now();
            if worker.target.work == Work::Handshakes {
                self.handshake(start, taken).await;
                continue;
            }
            let (kind, is_head) =
                traffic.write_request(self.group, start.number, &mut self.out, &mut self.scratch);
            if self.transport.is_none() && connected.is_ok() {
                connected = self.connect().await;
            }
            let failed_to_connect = connected.is_err();
            match std::mem::replace(&mut connected, Ok(())) {
                Ok(()) => self.request(start, taken, kind, is_head).await,
                Err(failure) => self.count_failure(start, kind, &failure),
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

    /// Request `number` outside of any schedule, of the kinds in turn. A request that should be closed in place of an
    /// answer, and is, has status 0.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub(super) async fn ask(&mut self, number: usize) -> Result<Answered, Failure> {
        let worker = Rc::clone(&self.worker);
        let kinds = &worker.target.traffic.kinds;
        let kind = &kinds[number % kinds.len()];
        let mut random = Random::new(0, number as u64);
        let is_head = kind.write(&mut self.out, &mut self.scratch, &mut random, number as u64);
        match self.ask_written(is_head, kind.close).await {
            Err(failure) if kind.expects_end(&failure) => Ok((0, Vec::new(), false)),
            answered => answered,
        }
    }

    /// These bytes outside of any schedule. With `fresh` on a connection of their own; without, on the last one if that
    /// is open, and once more on a new one if the target closed it before it saw them.
    ///
    /// # Errors
    ///
    /// Why there is no answer.
    pub(super) async fn ask_raw(&mut self, request: &[u8], fresh: bool) -> Result<Answered, Failure> {
        let is_head = request.starts_with(b"HEAD ");
        loop {
            let is_reused = self.transport.is_some();
            self.out.clear();
            self.out.extend_from_slice(request);
            match self.ask_written(is_head, fresh).await {
                Err(failure) if is_reused && Verdict::of_error(failure.kind) == Verdict::Closed => {}
                answered => return answered,
            }
        }
    }

    async fn ask_written(&mut self, is_head: bool, close: bool) -> Result<Answered, Failure> {
        if self.transport.is_none() {
            self.connect().await?;
        }
        let mut body = Vec::new();
        let keep = |data: &[u8]| {
            let room = KEPT_BODY_BYTES - body.len();
            body.extend_from_slice(&data[..data.len().min(room)]);
        };
        let answer = self.exchange(is_head, keep).await;
        if close || !answer.as_ref().is_ok_and(|answer| answer.keep_alive) {
            self.transport = None;
        }
        answer.map(|answer| (answer.status, body, answer.keep_alive))
    }

    async fn request(&mut self, start: Start, taken: Instant, kind: &Kind, is_head: bool) {
        let sent = Instant::now();
        let result = self.exchange(is_head, |_body| {}).await;
        let answer = match result {
            Ok(answer) => answer,
            Err(failure) => {
                self.transport = None;
                self.input = ReceiveBuffer::default();
                self.count_failure(start, kind, &failure);
                return;
            }
        };
        let worker = &self.worker;
        if !answer.keep_alive || kind.close || !worker.target.traffic.groups[self.group].keep_alive {
            self.transport = None;
        }
        worker.progress.add_answer();
        if !start.measured {
            return;
        }
        worker.last_answer.set(answer.last_byte_at);
        let mut statistics = worker.statistics.borrow_mut();
        statistics.note(&Noted {
            label: kind.label.unwrap_or(0),
            status: answer.status,
            service: answer.last_byte_at - sent,
            first_byte: answer.first_byte_at - sent,
            from_due: self.since_due(start, taken, answer.last_byte_at),
        });
        statistics.note_wait(start.wait);
        statistics.received_bytes += answer.received_bytes;
        statistics.sent_bytes += answer.sent_bytes;
        let verdict = Verdict::of_status(answer.status, &worker.target.traffic.block_statuses);
        let failed = match &kind.expect {
            Some(expect) => !expect.is_met(verdict, Some(answer.status)),
            None => answer.status >= 500,
        };
        statistics.failed += u64::from(failed);
        if let Some(label) = kind.label {
            statistics.label(label).add_verdict(kind.expect.as_ref(), verdict, Some(answer.status), || {
                format!("status {}", answer.status)
            });
        }
    }

    /// Response time and send lag, in an open loop.
    fn since_due(&self, start: Start, taken: Instant, end: Instant) -> Option<(Duration, Duration)> {
        let late = |time: Instant| time.saturating_duration_since(start.due);
        self.worker.schedule.is_open_loop().then(|| (late(end), late(taken)))
    }

    /// A connection and its handshake, without a request.
    async fn handshake(&mut self, start: Start, taken: Instant) {
        let result = match self.connect().await {
            Ok(()) => self.take_tickets().await,
            Err(failure) => Err(failure),
        };
        let end = Instant::now();
        let worker = Rc::clone(&self.worker);
        match result {
            Ok(()) => {
                worker.progress.add_answer();
                if start.measured {
                    worker.last_answer.set(end);
                    let mut statistics = worker.statistics.borrow_mut();
                    statistics.note(&Noted {
                        label: 0,
                        status: 0,
                        service: end - taken,
                        first_byte: end - taken,
                        from_due: self.since_due(start, taken, end),
                    });
                    statistics.note_wait(start.wait);
                }
            }
            Err(failure) => {
                self.count_failure(start, &worker.target.traffic.kinds[0], &failure);
                monoio::time::sleep(CONNECT_PAUSE).await;
            }
        }
        self.finish().await;
    }

    /// In TLS 1.3 tickets come behind the handshake, and the refusal of a client certificate too.
    async fn take_tickets(&mut self) -> Result<(), Failure> {
        let resumes = self.worker.target.resumes(self.group);
        let Some(transport) = &mut self.transport else { return Ok(()) };
        if !resumes
            || transport.tls().and_then(|tls| tls.protocol_version()) != Some(ProtocolVersion::TLSv1_3)
        {
            return Ok(());
        }
        transport.watch().set_limit(Some(TICKET_PATIENCE));
        match transport.receive_once(&mut self.input).await {
            // A target without tickets shows in the count of resumed handshakes.
            Err(error) if error.kind() != io::ErrorKind::TimedOut => {
                Err(Failure::from_io(&error, "tls_handshake"))
            }
            _ => Ok(()),
        }
    }

    fn count_failure(&self, start: Start, kind: &Kind, failure: &Failure) {
        if !start.measured {
            return;
        }
        self.worker.last_answer.set(Instant::now());
        let mut statistics = self.worker.statistics.borrow_mut();
        statistics.note_wait(start.wait);
        if let Some(label) = kind.label {
            let verdict = Verdict::of_error(failure.kind);
            let example = || format!("{} ({})", failure.kind, failure.details);
            statistics.label(label).add_verdict(kind.expect.as_ref(), verdict, None, example);
        }
        if kind.expects_end(failure) {
            statistics.closed_as_expected += 1;
        } else {
            statistics.failed += 1;
            statistics.error(failure.kind, || failure.details.clone());
        }
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        let worker = Rc::clone(&self.worker);
        let target = &worker.target;
        let source = target.traffic.groups[self.group].next_source();
        let connecting = monoio::time::timeout(worker.timeout, net::connect(target.address, source, None));
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
        let connected = Instant::now();
        // Where this fails the peer is gone, as the next receive will say.
        let _gone = stream.set_nodelay(true);
        let side = target
            .tls_connection(self.group)
            .map_err(|error| Failure { kind: "tls", details: error.to_string() })?;
        let mut transport = Transport::new(stream, side.map(Into::into), worker.watcher.add());
        transport.watch().set_limit(Some(worker.timeout));
        self.input = ReceiveBuffer::default();
        transport
            .handshake(&mut self.input)
            .await
            .map_err(|error| Failure::from_io(&error, "tls_handshake"))?;
        let mut statistics = worker.statistics.borrow_mut();
        record(&mut statistics.connect, connected - began);
        match transport.tls().and_then(|tls| tls.handshake_kind()) {
            Some(HandshakeKind::Resumed) => record(&mut statistics.resumed_handshake, connected.elapsed()),
            Some(_) => record(&mut statistics.full_handshake, connected.elapsed()),
            None => {}
        }
        self.transport = Some(transport);
        Ok(())
    }

    /// Sends what is in `out` and reads the answer.
    async fn exchange(&mut self, is_head: bool, mut sink: impl FnMut(&[u8])) -> Result<Answer, Failure> {
        let Self { worker, transport, input, out, .. } = self;
        let Some(transport) = transport else {
            return Err(Failure { kind: "closed", details: "there is no connection".to_owned() });
        };
        transport.watch().set_limit(Some(worker.timeout));
        let sent_bytes = out.len() as u64;
        // A target may answer and close before it has read everything (a body over its limit, say). Its answer is
        // worth more than the failed sending.
        let sending = transport.send(out).await;
        let received = read_head(is_head, transport, input).await;
        let Received { head, mut received_bytes, first_byte_at, in_pieces } = match (received, sending) {
            (Ok(received), _) => received,
            (Err(_), Err(error)) => return Err(Failure::from_io(&error, "send")),
            (Err(failure), Ok(())) => return Err(failure),
        };
        // An answer that came in one piece needs no second look at the clock.
        let mut last_byte_at = (!in_pieces).then_some(first_byte_at);
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
            last_byte_at = None;
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
        Ok(Answer {
            status: head.status,
            keep_alive: head.keep_alive,
            received_bytes,
            sent_bytes,
            first_byte_at,
            last_byte_at: last_byte_at.unwrap_or_else(Instant::now),
        })
    }
}

/// The head of an answer.
struct Received {
    head: http::ResponseHead,
    /// Of all heads up to this one.
    received_bytes: u64,
    first_byte_at: Instant,
    /// More than one receive was needed.
    in_pieces: bool,
}

/// Reads heads up to the final answer's.
async fn read_head(
    is_head: bool,
    transport: &mut Transport,
    input: &mut ReceiveBuffer,
) -> Result<Received, Failure> {
    let malformed = |reason: &str| Failure { kind: "malformed_answer", details: reason.to_owned() };
    let mut received_bytes = 0;
    let mut first_byte_at = None;
    let mut in_pieces = false;
    loop {
        let parsed = http::parse_response(input.unread(), is_head).map_err(|error| {
            let is_tls = transport.tls().is_none() && input.unread().starts_with(TLS_ALERT);
            malformed(if is_tls { "it is TLS: the URL has to begin with https://" } else { error.reason })
        });
        if let Some(head) = parsed? {
            input.consume(head.length);
            received_bytes += head.length as u64;
            match head.status {
                101 => return Err(malformed("101 Switching Protocols, which was not asked for")),
                100..200 => continue,
                _ => {
                    let first_byte_at = first_byte_at.unwrap_or_else(Instant::now);
                    return Ok(Received { head, received_bytes, first_byte_at, in_pieces });
                }
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
        in_pieces = first_byte_at.is_some();
        first_byte_at.get_or_insert_with(Instant::now);
    }
}

impl Kind {
    /// This failure is what the scenario wants to see.
    fn expects_end(&self, failure: &Failure) -> bool {
        let closed = Verdict::of_error(failure.kind) == Verdict::Closed;
        closed && self.expect.as_ref().is_some_and(|expect| expect.is_met(Verdict::Closed, None))
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

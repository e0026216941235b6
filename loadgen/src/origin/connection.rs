//! One connection of the origin: read a request whole, answer it, again until either side ends it.
//!
//! Answers to pipelined requests collect in one buffer, which goes out before the next receive.

use std::{io, mem::MaybeUninit, net::SocketAddr, rc::Rc, time::Duration};

use httparse::Header;

use super::{
    Worker,
    answer::{Answers, Content, Fault, Plan},
    record::{Echo, LogLine, Record, TlsFacts, now},
};
use crate::{
    http::{self, BodyDecoder, Framing, HEAD_LIMIT_BYTES, MAX_HEADERS, RequestHead},
    net::{ReceiveBuffer, Transport},
};

/// How long a started head, the next piece of a body and the next piece of an answer may take.
pub(super) const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer stalls at most.
const STALL_LIMIT: Duration = Duration::from_secs(3600);
/// How long a piece of a body with a rate lasts, if it has more than a byte.
const SLOW_PIECE_TIME: Duration = Duration::from_millis(100);
/// Answers go out when this much has collected.
const FLUSH_BYTES: usize = 64 * 1024;
/// How much of a request's body an echo repeats.
const ECHO_BODY_LIMIT_BYTES: usize = 1 << 20;
/// What is read and forgotten after an error answer.
const DISCARD_BYTES: usize = 1 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(1);

/// How a request fails whose client goes away in the middle.
pub(super) const CLOSED_WITHIN_BODY: &str = "closed within a request body";

struct Connection {
    worker: Rc<Worker>,
    transport: Transport,
    input: ReceiveBuffer,
    out: Vec<u8>,
    number: u64,
    requests: u64,
    peer: Option<SocketAddr>,
    tls: Option<TlsFacts>,
    /// How much of the input was searched for the end of a head in vain.
    searched: usize,
}

/// A request whose head was read; it owns what it needs, because the buffer moves on to the body.
struct Request {
    framing: Framing,
    keep_alive: bool,
    /// The connection has given as many answers as it may behind this one.
    is_last: bool,
    expects_continue: bool,
    is_head: bool,
    plan: Plan,
    /// What the log and the echo tell.
    record: Option<Box<Record>>,
}

/// Why a request is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    status: u16,
    reason: String,
}

impl Refusal {
    /// A request's body is malformed or cut.
    pub(super) fn of_body(reason: &str) -> Self {
        Self { status: 400, reason: reason.to_owned() }
    }
}

/// Reads the head at the start of `bytes`; `None` if it isn't complete. In the first `searched` bytes there is no end of one.
pub(super) fn read_head<'h, 'b>(
    bytes: &'b [u8],
    searched: usize,
    headers: &'h mut [MaybeUninit<Header<'b>>],
) -> Result<Option<RequestHead<'h, 'b>>, Refusal> {
    // Without a new line end the head can't be complete; parsing each byte of a slow sender anew would be costly.
    let may_be_complete = memchr::memchr(b'\n', &bytes[searched.min(bytes.len())..]).is_some();
    let parsed = if may_be_complete {
        http::parse_request(bytes, headers)
            .map_err(|error| Refusal { status: error.status, reason: error.reason.to_owned() })?
    } else {
        None
    };
    let head = parsed.filter(|head| head.length <= HEAD_LIMIT_BYTES);
    if head.is_none() && bytes.len() >= HEAD_LIMIT_BYTES {
        return Err(Refusal { status: 431, reason: format!("the head has over {HEAD_LIMIT_BYTES} bytes") });
    }
    Ok(head)
}

/// Serves one connection to its end.
pub(super) async fn serve(worker: Rc<Worker>, transport: Transport, number: u64, peer: Option<SocketAddr>) {
    let mut connection = Connection::new(worker, transport, number, peer);
    if let Err(error) = connection.handshake().await {
        connection.log(None, false, Some(&error.to_string()));
        return;
    }
    // An error here is a peer that went away, or a stop: there is nobody left to tell.
    let _gone = connection.run().await;
}

/// Serves the rest of a connection whose requests up to here were answered elsewhere. `unread` is what has come of the next
/// one; with `refusal`, that is how the connection ends.
pub(super) async fn resume(
    worker: Rc<Worker>,
    transport: Transport,
    number: u64,
    unread: &[u8],
    refusal: Option<Refusal>,
) {
    let mut connection = Connection::new(worker, transport, number, None);
    connection.input.append(unread);
    // As above.
    let _gone = match refusal {
        None => connection.run().await,
        Some(refusal) => connection.refuse(&refusal).await,
    };
}

impl Connection {
    fn new(worker: Rc<Worker>, transport: Transport, number: u64, peer: Option<SocketAddr>) -> Self {
        Self {
            worker,
            transport,
            input: ReceiveBuffer::default(),
            out: Vec::new(),
            number,
            requests: 0,
            peer,
            tls: None,
            searched: 0,
        }
    }

    async fn handshake(&mut self) -> io::Result<()> {
        if self.transport.tls().is_some() {
            self.transport.watch().set_limit(Some(PROGRESS_TIMEOUT));
            self.transport.handshake(&mut self.input).await?;
            if self.worker.shared.log.is_some() || self.worker.shared.answers.echo {
                self.tls = self.transport.tls().map(TlsFacts::of);
            }
        }
        Ok(())
    }

    async fn run(&mut self) -> io::Result<()> {
        loop {
            match self.next_request() {
                Ok(Some(request)) => {
                    if !self.exchange(request).await? {
                        return Ok(());
                    }
                }
                Ok(None) => {
                    if !self.receive_head().await? {
                        return Ok(());
                    }
                }
                Err(refusal) => {
                    self.log(None, false, Some(&refusal.reason));
                    return self.refuse(&refusal).await;
                }
            }
        }
    }

    /// Receives more of a head; false when the peer has closed.
    async fn receive_head(&mut self) -> io::Result<bool> {
        self.flush().await?;
        let watch = self.transport.watch();
        if watch.is_stopping() {
            self.transport.finish().await;
            return Ok(false);
        }
        if self.input.unread().is_empty() {
            watch.set_limit(Some(self.worker.shared.idle_timeout));
        } else if self.searched == 0 {
            // The whole head has this long, however many pieces it comes in.
            watch.set_limit(Some(PROGRESS_TIMEOUT));
        }
        self.searched = self.input.unread().len();
        if self.transport.fill(&mut self.input).await? > 0 {
            return Ok(true);
        }
        if self.searched > 0 {
            self.log(None, false, Some("closed within a request head"));
        }
        self.transport.finish().await;
        Ok(false)
    }

    /// Takes the next request's head from the input; `None` if it isn't complete.
    fn next_request(&mut self) -> Result<Option<Request>, Refusal> {
        while self.searched == 0 && self.input.unread().starts_with(b"\r\n") {
            // Empty lines before a request are skipped (RFC 9112 section 2.2).
            self.input.consume(2);
        }
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let Some(head) = read_head(self.input.unread(), self.searched, &mut headers)? else {
            return Ok(None);
        };
        let shared = &self.worker.shared;
        let mut plan = shared.answers.plan(&mut self.worker.random.borrow_mut());
        if shared.answers.steering {
            plan = Answers::steer(plan, head.target, head.headers)
                .map_err(|reason| Refusal { status: 400, reason })?;
        }
        let last = shared.close_after.filter(|limit| self.requests + 1 >= limit.answers);
        plan.close |= last.is_some_and(|limit| limit.announced);
        let record = (shared.log.is_some() || shared.answers.echo).then(|| {
            Box::new(Record::new(head.method, head.target, head.minor_version, head.headers, head.framing))
        });
        let request = Request {
            framing: head.framing,
            keep_alive: head.keep_alive,
            is_last: last.is_some(),
            expects_continue: head.expects_continue,
            is_head: head.method == "HEAD",
            plan,
            record,
        };
        let length = head.length;
        self.input.consume(length);
        self.searched = 0;
        self.requests += 1;
        Ok(Some(request))
    }

    /// Reads the body and answers; false when the connection ends with that.
    async fn exchange(&mut self, mut request: Request) -> io::Result<bool> {
        if request.framing != Framing::Length(0) && !self.read_body(&mut request).await? {
            return Ok(false);
        }
        self.log_answer(&request);
        if !request.plan.delay.is_zero() {
            self.flush().await?;
            monoio::time::sleep(request.plan.delay).await;
        }
        if let Some(fault) = request.plan.fault {
            self.fail(&request, fault).await?;
            return Ok(false);
        }
        let keep_alive = request.keep_alive && !request.plan.close && !self.transport.watch().is_stopping();
        self.answer(&request, keep_alive).await?;
        self.worker.answered.set(self.worker.answered.get() + 1);
        if keep_alive && !request.is_last {
            return Ok(true);
        }
        self.flush().await?;
        self.transport.finish().await;
        self.transport.discard_input(DISCARD_BYTES, DISCARD_TIME).await;
        Ok(false)
    }

    /// Fails as the request asks for; the connection is over behind that. Closing without a farewell is part of it.
    async fn fail(&mut self, request: &Request, fault: Fault) -> io::Result<()> {
        if !matches!(fault, Fault::Close | Fault::Reset) {
            self.answer(request, true).await?;
        }
        self.flush().await?;
        match fault {
            // The other side has had enough at some time; what it sends until then is forgotten.
            Fault::Stall => self.transport.discard_input(usize::MAX, STALL_LIMIT).await,
            Fault::Reset | Fault::Break => self.transport.reset_on_close(),
            Fault::Close | Fault::Truncate => {}
        }
        Ok(())
    }

    /// Reads a request's body to its end; false when it has none and the connection is over.
    async fn read_body(&mut self, request: &mut Request) -> io::Result<bool> {
        let shared = &self.worker.shared;
        let keep_bytes = if shared.answers.echo {
            ECHO_BODY_LIMIT_BYTES
        } else {
            shared.log.as_ref().map_or(0, |log| log.body_bytes)
        };
        let mut kept = Vec::new();
        let mut decoder = BodyDecoder::new(request.framing);
        if request.expects_continue && self.input.unread().is_empty() {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let end = loop {
            let decoded = decoder.decode(self.input.unread(), |data| {
                let room = keep_bytes.saturating_sub(kept.len());
                kept.extend_from_slice(&data[..data.len().min(room)]);
            });
            match decoded {
                Err(error) => break Err(error.0),
                Ok(used) => self.input.consume(used),
            }
            if decoder.is_done() {
                break Ok(());
            }
            self.flush().await?;
            self.transport.watch().set_limit(Some(PROGRESS_TIMEOUT));
            match self.transport.fill(&mut self.input).await {
                Ok(0) => break Err(CLOSED_WITHIN_BODY),
                Ok(_) => {}
                Err(error) => {
                    self.note_body(request, &decoder, kept);
                    self.log(request.record.as_deref(), false, Some(&error.to_string()));
                    return Err(error);
                }
            }
        };
        self.note_body(request, &decoder, kept);
        let Err(reason) = end else { return Ok(true) };
        self.log(request.record.as_deref(), false, Some(reason));
        self.refuse(&Refusal::of_body(reason)).await?;
        Ok(false)
    }

    fn note_body(&self, request: &mut Request, decoder: &BodyDecoder, kept: Vec<u8>) {
        if let Some(record) = &mut request.record {
            record.body_bytes = decoder.received_bytes();
            if !kept.is_empty() {
                record.set_body(kept);
            }
        }
    }

    async fn answer(&mut self, request: &Request, keep_alive: bool) -> io::Result<()> {
        let worker = Rc::clone(&self.worker);
        let answers = &worker.shared.answers;
        let plan = &request.plan;
        let ordinary = keep_alive && !request.is_head && plan == answers.default_plan();
        if let Some(prebuilt) = answers.prebuilt().filter(|_| ordinary) {
            self.out.extend_from_slice(prebuilt);
            return self.flush_if_full().await;
        }
        let content = match &request.record {
            Some(record) if answers.echo => {
                let echo = Echo { record, tls: self.tls.as_ref() };
                Content::Owned(serde_json::to_vec(&echo).map_err(io::Error::other)?)
            }
            _ => answers.content(plan),
        };
        answers.append_head(&mut self.out, plan, content.len(), keep_alive);
        if request.is_head || http::status_has_no_body(plan.status) {
            return self.flush_if_full().await;
        }
        let end = if plan.fault.is_some() { content.len() / 2 } else { content.len() };
        // A body with a rate goes out in as many pieces a second as its rate allows, ten at most.
        let pause =
            plan.rate.map(|rate| SLOW_PIECE_TIME.max(Duration::from_nanos(1_000_000_000 / rate.max(1))));
        let step =
            plan.rate.map_or(usize::MAX, |rate| usize::try_from(rate / 10).unwrap_or(usize::MAX).max(1));
        let mut offset = 0;
        loop {
            let piece = content.piece(offset);
            let left = usize::try_from(end - offset).unwrap_or(usize::MAX).min(step);
            let piece = &piece[..piece.len().min(left)];
            if piece.is_empty() {
                break;
            }
            if plan.chunked {
                http::append_chunk(&mut self.out, piece);
            } else {
                self.out.extend_from_slice(piece);
            }
            offset += piece.len() as u64;
            match pause {
                None => self.flush_if_full().await?,
                Some(pause) => {
                    self.flush().await?;
                    monoio::time::sleep(pause).await;
                }
            }
        }
        if plan.chunked && plan.fault.is_none() {
            http::append_last_chunk(&mut self.out);
        }
        Ok(())
    }

    /// Answers with an error, ends the connection, and lets the answer arrive.
    async fn refuse(&mut self, refusal: &Refusal) -> io::Result<()> {
        let Refusal { status, reason } = refusal;
        let phrase = http::reason_phrase(*status);
        let answer = format!(
            "HTTP/1.1 {status} {phrase}\r\nContent-Length: {}\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n{reason}\n",
            reason.len() + 1
        );
        self.out.extend_from_slice(answer.as_bytes());
        self.flush().await?;
        self.transport.finish().await;
        self.transport.discard_input(DISCARD_BYTES, DISCARD_TIME).await;
        Ok(())
    }

    async fn flush_if_full(&mut self) -> io::Result<()> {
        if self.out.len() >= FLUSH_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.transport.watch().set_limit(Some(PROGRESS_TIMEOUT));
        self.transport.send(&mut self.out).await
    }

    /// Notes a request that came in whole, and what it is answered with.
    fn log_answer(&self, request: &Request) {
        let answer = (request.plan.status, request.plan.fault_name());
        self.write_log(request.record.as_deref(), true, Some(answer), None);
    }

    fn log(&self, record: Option<&Record>, complete: bool, error: Option<&str>) {
        self.write_log(record, complete, None, error);
    }

    fn write_log(
        &self,
        record: Option<&Record>,
        complete: bool,
        answer: Option<(u16, Option<&'static str>)>,
        error: Option<&str>,
    ) {
        if let Some(log) = &self.worker.shared.log {
            log.write(&LogLine {
                time: now(),
                connection: self.number,
                request: self.requests,
                peer: self.peer,
                record,
                complete,
                status: answer.map(|(status, _)| status),
                fault: answer.and_then(|(_, fault)| fault),
                error,
                tls: self.tls.as_ref(),
            });
        }
    }
}

//! One slow connection.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Kind, Options, pace::Steps, report::Ends};
use crate::{
    http::{self, BodyDecoder},
    net::{self, ReceiveBuffer, Transport, Watcher},
    run::Target,
};

/// Wait after a connection that could not be set up.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);
/// The length of a body that is hardly ever sent to its end: it takes 13 hours at the shortest pace. Many targets refuse more
/// than 1 MiB at once, which would not be slow.
const DECLARED_BODY_BYTES: u64 = 500_000;
/// What a slow reader's socket holds; the kernel doubles it for its own needs.
const READER_BUFFER_BYTES: usize = 4096;

/// What all slow connections know.
pub(super) struct Shared {
    target: Arc<Target>,
    kind: Kind,
    pace: Duration,
    set_up_timeout: Duration,
    /// Sent at once when a connection is up.
    opening: Vec<u8>,
    /// The answer to that has no body.
    is_head: bool,
    pub(super) over: AtomicBool,
    /// Connections that are up.
    pub(super) open: AtomicUsize,
    /// Clients that have come as far as their first step, or to the end of their first connection; each counts once.
    pub(super) begun: AtomicUsize,
}

impl Shared {
    pub(super) fn new(options: &Options, target: Arc<Target>) -> Self {
        let request = target.first_request();
        let head_end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or(request.len());
        let head = String::from_utf8_lossy(&request[..head_end]);
        let is_length = |line: &&str| line.to_ascii_lowercase().starts_with("content-length:");
        let lines: Vec<&str> = head.split("\r\n").filter(|line| !is_length(line)).collect();
        let opening = match options.kind {
            Kind::Reader => request.clone(),
            Kind::Header => format!("{}\r\n", lines.join("\r\n")).into_bytes(),
            Kind::Body => format!("{}\r\nContent-Length: {DECLARED_BODY_BYTES}\r\n\r\n", lines.join("\r\n"))
                .into_bytes(),
        };
        Self {
            is_head: options.request.method == "HEAD",
            target,
            kind: options.kind,
            pace: options.pace,
            set_up_timeout: options.request.timeout,
            opening,
            over: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
        }
    }
}

pub(super) struct SlowClient {
    shared: Arc<Shared>,
    watcher: Rc<Watcher>,
    ends: Rc<RefCell<Ends>>,
    steps: Steps,
    has_begun: Cell<bool>,
}

impl SlowClient {
    pub(super) const fn new(
        shared: Arc<Shared>,
        watcher: Rc<Watcher>,
        ends: Rc<RefCell<Ends>>,
        steps: Steps,
    ) -> Self {
        Self { shared, watcher, ends, steps, has_begun: Cell::new(false) }
    }

    /// One connection after the other until it is over.
    pub(super) async fn run(self) {
        let shared = Arc::clone(&self.shared);
        monoio::time::sleep_until(self.steps.connect_at().into()).await;
        while !shared.over.load(Ordering::Relaxed) {
            match self.connect().await {
                Ok(transport) => {
                    let began = Instant::now();
                    shared.open.fetch_add(1, Ordering::Relaxed);
                    let end = self.be_slow(transport).await;
                    shared.open.fetch_sub(1, Ordering::Relaxed);
                    self.begins();
                    self.ends.borrow_mut().note(&end, began.elapsed());
                    // A target that refuses at once isn't asked in a tight loop.
                    monoio::time::sleep_until(self.steps.after(Instant::now()).into()).await;
                }
                Err(error) => {
                    self.ends.borrow_mut().note_failure(&error.to_string());
                    self.begins();
                    monoio::time::sleep(CONNECT_PAUSE).await;
                }
            }
        }
    }

    async fn connect(&self) -> io::Result<Transport> {
        let shared = &self.shared;
        let room = (shared.kind == Kind::Reader).then_some(READER_BUFFER_BYTES);
        let connecting = net::connect(shared.target.address(), None, room);
        let stream = monoio::time::timeout(shared.set_up_timeout, connecting)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the connection took too long"))??;
        let side = shared.target.tls_connection(0).map_err(io::Error::other)?;
        let mut transport = Transport::new(stream, side.map(Into::into), self.watcher.add());
        transport.watch().set_limit(Some(shared.set_up_timeout));
        transport.handshake(&mut ReceiveBuffer::default()).await?;
        Ok(transport)
    }

    /// Until the target has enough, or it is over. Returns how it ended.
    async fn be_slow(&self, mut transport: Transport) -> String {
        let shared = &self.shared;
        let mut answer = Answer::new(shared.is_head);
        let mut out = shared.opening.clone();
        let mut step = 0_u64;
        loop {
            if transport.watch().is_stopping() {
                return "still open".to_owned();
            }
            transport.watch().set_limit(Some(shared.set_up_timeout));
            if !out.is_empty()
                && let Err(error) = transport.send(&mut out).await
            {
                // A target may have said why before it closed.
                return self.last_words(&mut transport, &mut answer).await.unwrap_or_else(|| end_of(&error));
            }
            let mut next = self.steps.after(Instant::now());
            if shared.kind == Kind::Reader {
                transport.watch().pause_until(next).await;
                next = self.steps.after(Instant::now());
            }
            match receive_until(&mut transport, &mut answer.input, next).await {
                Ok(0) => return answer.end().unwrap_or_else(|| "closed".to_owned()),
                Ok(_) if shared.kind == Kind::Reader => self.begins(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(error) => return answer.end().unwrap_or_else(|| end_of(&error)),
            }
            match (answer.is_complete(), shared.kind) {
                (false, _) => {}
                // It was read to its end, so there is another.
                (true, Kind::Reader) if answer.stays_open() => {
                    answer = Answer::new(shared.is_head);
                    out.clone_from(&shared.opening);
                    continue;
                }
                (true, _) => return answer.end().unwrap_or_else(|| "closed".to_owned()),
            }
            step += 1;
            if shared.kind != Kind::Reader {
                self.begins();
            }
            match shared.kind {
                Kind::Header => out.extend_from_slice(format!("X-Slow-{step}: {step}\r\n").as_bytes()),
                Kind::Body => out.push(b'x'),
                Kind::Reader => {}
            }
        }
    }

    /// The client is slow from here on: what its beginning cost the target is over, or about to be.
    fn begins(&self) {
        if !self.has_begun.replace(true) {
            self.shared.begun.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What the target says in place of taking more.
    async fn last_words(&self, transport: &mut Transport, answer: &mut Answer) -> Option<String> {
        transport.watch().set_limit(Some(self.shared.pace));
        let _gone = transport.receive_once(&mut answer.input).await;
        answer.is_complete();
        answer.end()
    }
}

/// One receive that is given up at this moment (`TimedOut`).
async fn receive_until(
    transport: &mut Transport,
    input: &mut ReceiveBuffer,
    moment: Instant,
) -> io::Result<usize> {
    transport.watch().set_limit(None);
    let alarm = transport.watch().alarm();
    let mut receiving = pin!(transport.receive_once(input));
    monoio::select! {
        received = &mut receiving => return received,
        () = monoio::time::sleep_until(moment.into()) => {}
    }
    alarm.ring();
    receiving.await
}

fn end_of(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::Interrupted => "still open".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "reset".to_owned(),
        io::ErrorKind::TimedOut => "stalled".to_owned(),
        _ => error.to_string(),
    }
}

/// As much of an answer as has come.
struct Answer {
    input: ReceiveBuffer,
    is_head: bool,
    head: Option<http::ResponseHead>,
    body: Option<BodyDecoder>,
}

impl Answer {
    fn new(is_head: bool) -> Self {
        Self { input: ReceiveBuffer::default(), is_head, head: None, body: None }
    }

    /// Reads what has come; true when the answer has its end, or makes no sense.
    fn is_complete(&mut self) -> bool {
        while self.head.is_none() {
            match http::parse_response(self.input.unread(), self.is_head) {
                // Interim: the answer is still to come (RFC 9110 section 15.2).
                Ok(Some(head)) if (100..200).contains(&head.status) && head.status != 101 => {
                    self.input.consume(head.length);
                }
                Ok(Some(head)) => {
                    self.input.consume(head.length);
                    self.body = Some(BodyDecoder::new(head.framing));
                    self.head = Some(head);
                }
                Ok(None) => return self.input.unread().len() > http::HEAD_LIMIT_BYTES,
                Err(_) => return true,
            }
        }
        let Some(body) = &mut self.body else { return false };
        let Ok(used) = body.decode(self.input.unread(), |_| {}) else { return true };
        self.input.consume(used);
        body.is_done()
    }

    fn stays_open(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.keep_alive)
    }

    fn end(&self) -> Option<String> {
        self.head.as_ref().map(|head| format!("status {}", head.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interim_answers_are_not_the_answer() {
        let mut answer = Answer::new(false);
        answer.input.append(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!((answer.is_complete(), answer.end()), (false, None));
        answer.input.append(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
        assert_eq!((answer.is_complete(), answer.end()), (true, Some("status 408".to_owned())));
    }
}

//! The origin stub: a small, fast HTTP/1.1 server that reads requests whole and gives answers that it was told to give.
//!
//! Each thread has its own listening socket on the same address (`SO_REUSEPORT`; a Unix socket they share), its own ring and
//! its own connections; threads share the request log and the TLS settings, nothing else.

mod answer;
mod connection;
mod draw;
mod express;
mod record;

use std::{
    cell::{Cell, RefCell},
    fmt, io,
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use monoio::io::{CancelHandle, Canceller};
use rustls::{ServerConfig, ServerConnection};

use self::{answer::Answers, express::Express, record::RequestLog};
pub use self::{
    answer::{Fault, Faults},
    draw::Draw,
};
pub use crate::net::Listen;
use crate::net::{
    self, Identity, Listener, RingListener, ServerTlsFiles, SocketFile, TlsError, Transport, Watcher,
};
use crate::scenario::template::Random;

/// How long connections get to end after a stop.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// The most connections that a thread holds; more are closed as they come.
const CONNECTIONS_PER_THREAD: usize = 100_000;
/// How long a thread waits before it accepts again after the kernel refused (no descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What an origin does. `Options::default()` answers every request with 200 and 1024 bytes of text on a free port of
/// 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen.
    pub listen: Listen,
    /// Threads, at least 1.
    pub threads: usize,
    /// The body of an answer. Default: 1024 bytes of text.
    pub body: Body,
    /// Wait this many nanoseconds before each answer. Default: 0.
    pub delay_nanoseconds: Draw,
    /// Status of an answer, 200 to 599. Default: 200.
    pub status: Draw,
    /// What goes wrong about answers. Default: nothing.
    pub faults: Faults,
    /// Send bodies at this many bytes a second, at least 1. Default: as fast as clients take them.
    pub body_bytes_per_second: Option<u64>,
    /// How many answers a connection lasts. Default: no limit.
    pub close_after: Option<CloseAfter>,
    /// What is drawn follows from this number, from each thread's number, and from the order of its requests. Default: 1.
    pub seed: u64,
    /// More header fields of each answer. `Content-Type` replaces the default one; the fields that frame a message
    /// (`Content-Length`, `Transfer-Encoding`, `Connection`) are refused.
    pub headers: Vec<(String, String)>,
    /// TLS; plain TCP without.
    pub tls: Option<TlsOptions>,
    /// Where each request is recorded as a line of JSON.
    pub request_log: Option<LogTarget>,
    /// How many bytes of each request's body go into the request log. Default: 0.
    pub log_body_bytes: usize,
    /// Answer with a JSON description of the request in place of [`Self::body`].
    pub echo: bool,
    /// Let requests choose their answer by query and `X-Origin-` header fields. Default: true.
    pub steering: bool,
    /// How long a connection may wait for its next request. Default: 75 s.
    pub idle_timeout: Duration,
}

/// When a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseAfter {
    /// Behind this many answers, at least 1.
    pub answers: u64,
    /// Whether the last answer says so (`Connection: close`). A client that doesn't know may send its next request to a
    /// connection that is closing.
    pub announced: bool,
}

/// The body of an origin's answers.
#[derive(Clone, Debug)]
pub enum Body {
    /// This many bytes of text.
    Size(Draw),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// An origin's side of TLS.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// What the origin shows.
    pub identity: Identity,
    /// CA certificates (PEM). With them, clients must show a certificate that one of them signed.
    pub client_ca: Option<PathBuf>,
}

/// Where a request log goes.
#[derive(Clone, Debug)]
pub enum LogTarget {
    /// The process's standard output.
    StandardOutput,
    /// This file, from its end on.
    File(PathBuf),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
            threads: 1,
            body: Body::Size(Draw::fixed(1024)),
            delay_nanoseconds: Draw::fixed(0),
            status: Draw::fixed(200),
            faults: Faults::default(),
            body_bytes_per_second: None,
            close_after: None,
            seed: 1,
            headers: Vec::new(),
            tls: None,
            request_log: None,
            log_body_bytes: 0,
            echo: false,
            steering: true,
            idle_timeout: Duration::from_secs(75),
        }
    }
}

/// Why an origin can't start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The address can't be listened on.
    Listen(Listen, io::Error),
    /// A certificate, key or CA can't be used.
    Tls(TlsError),
    /// The request log can't be opened.
    RequestLog(PathBuf, io::Error),
    /// A header field for answers is malformed or not allowed.
    Header(String),
    /// A thread or its ring can't be set up.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, error) => write!(formatter, "can't listen on {address}: {error}"),
            Self::Tls(error) => error.fmt(formatter),
            Self::RequestLog(path, error) => {
                write!(formatter, "can't open the request log {}: {error}", path.display())
            }
            Self::Header(what) => write!(formatter, "header field for answers: {what}"),
            Self::Thread(error) => write!(formatter, "can't start a thread: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// A running origin. Dropping it stops it.
#[derive(Debug)]
pub struct Origin {
    listen: Listen,
    socket_file: Option<SocketFile>,
    threads: Vec<(UnixStream, JoinHandle<()>)>,
    counts: Arc<Counts>,
}

/// What the threads of an origin have answered.
#[derive(Debug, Default)]
struct Counts {
    answered: AtomicU64,
    ready_made: AtomicU64,
}

/// How many requests an origin has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// All of them.
    pub requests: u64,
    /// Those that got the answer that all get, on the short way: see "How an answer is made" in docs/loadgen.md.
    pub ready_made: u64,
}

impl Origin {
    /// Where it listens, with the port that it got.
    #[must_use]
    pub const fn listens_on(&self) -> &Listen {
        &self.listen
    }

    /// The TCP address that it listens on, see [`Listen::tcp_address`].
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listen.tcp_address()
    }

    /// Stops accepting, ends all connections and waits for the threads. Returns how many requests were answered.
    #[must_use]
    pub fn stop(self) -> u64 {
        self.finish().requests
    }

    /// As [`Self::stop`], and tells how they were answered.
    #[must_use]
    pub fn finish(mut self) -> Answered {
        self.end();
        Answered {
            requests: self.counts.answered.load(Ordering::Relaxed),
            ready_made: self.counts.ready_made.load(Ordering::Relaxed),
        }
    }

    fn end(&mut self) {
        // Who starts an origin in its place finds the name free.
        self.socket_file = None;
        // Let go of all signals first, so that the threads end together.
        let (signals, handles): (Vec<_>, Vec<_>) = self.threads.drain(..).unzip();
        drop(signals);
        for handle in handles {
            // A thread that panicked has said so already.
            let _panicked = handle.join();
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the threads of one origin share.
struct Shared {
    answers: Answers,
    tls: Option<Arc<ServerConfig>>,
    log: Option<RequestLog>,
    connections: AtomicU64,
    idle_timeout: Duration,
    close_after: Option<CloseAfter>,
}

/// What one thread's connections share.
struct Worker {
    shared: Arc<Shared>,
    watcher: Rc<Watcher>,
    answered: Cell<u64>,
    /// Those of them that went the short way.
    ready_made: Cell<u64>,
    /// What is drawn comes from here.
    random: RefCell<Random>,
}

/// Starts an origin on threads of its own; it accepts connections when this returns.
///
/// # Errors
///
/// See [`StartError`].
pub fn spawn(options: Options) -> Result<Origin, StartError> {
    let threads = options.threads.max(1);
    let tls = options.tls.as_ref().map(server_tls).transpose().map_err(StartError::Tls)?;
    let log = match &options.request_log {
        None => None,
        Some(target) => Some(RequestLog::open(target, options.log_body_bytes)?),
    };
    let listened = net::listen(&options.listen, threads);
    let (listeners, listen, socket_file) =
        listened.map_err(|error| StartError::Listen(options.listen.clone(), error))?;
    let shared = Arc::new(Shared {
        answers: Answers::new(&options).map_err(StartError::Header)?,
        tls,
        log,
        connections: AtomicU64::new(0),
        idle_timeout: options.idle_timeout,
        close_after: options.close_after,
    });
    let counts = Arc::new(Counts::default());
    let mut origin = Origin { listen, socket_file, threads: Vec::new(), counts: Arc::clone(&counts) };
    for (index, listener) in listeners.into_iter().enumerate() {
        let (signal, stop) = net::stop_pair().map_err(StartError::Thread)?;
        let (shared, counts) = (Arc::clone(&shared), Arc::clone(&counts));
        let random = Random::new(options.seed, index as u64);
        let thread = std::thread::Builder::new().name(format!("origin-{index}"));
        let handle = thread.spawn(move || {
            let served = net::run_on_ring(|| serve(shared, random, listener, stop, counts));
            if let Err(error) | Ok(Err(error)) = served {
                eprintln!("origin: a thread can't run: {error}");
            }
        });
        origin.threads.push((signal, handle.map_err(StartError::Thread)?));
    }
    Ok(origin)
}

fn server_tls(options: &TlsOptions) -> Result<Arc<ServerConfig>, TlsError> {
    net::server_config(&ServerTlsFiles {
        certificate: &options.identity.certificate,
        private_key: &options.identity.private_key,
        client_ca: options.client_ca.as_deref(),
    })
}

/// One thread: accepts until it is told to stop, then ends its connections.
async fn serve(
    shared: Arc<Shared>,
    random: Random,
    listener: Listener,
    stop: UnixStream,
    counts: Arc<Counts>,
) -> io::Result<()> {
    let ring = Express::ring(&shared);
    let worker = Rc::new(Worker {
        shared,
        watcher: Watcher::new(),
        answered: Cell::new(0),
        ready_made: Cell::new(0),
        random: RefCell::new(random),
    });
    monoio::spawn(Rc::clone(&worker.watcher).run());
    let served = match ring {
        Some(ring) => Express::new(Rc::clone(&worker), ring, listener, stop)?.run().await,
        None => {
            let canceller = Canceller::new();
            let accepting =
                monoio::spawn(accept(Rc::clone(&worker), listener.on_ring()?, canceller.handle()));
            net::wait_for_stop(stop).await;
            let _cancelled = canceller.cancel();
            accepting.await;
            Ok(())
        }
    };
    worker.watcher.stop(STOP_GRACE).await;
    counts.answered.fetch_add(worker.answered.get(), Ordering::Relaxed);
    counts.ready_made.fetch_add(worker.ready_made.get(), Ordering::Relaxed);
    served
}

async fn accept(worker: Rc<Worker>, listener: RingListener, cancel: CancelHandle) {
    const ECANCELED: i32 = 125;
    loop {
        match listener.accept(cancel.clone()).await {
            Ok(_) if worker.watcher.len() >= CONNECTIONS_PER_THREAD => {}
            Ok((stream, peer)) => {
                let number = worker.shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
                // Small answers go out at once. Where this fails the peer is gone, as the next receive will say.
                let _gone = stream.set_nodelay();
                let side = match &worker.shared.tls {
                    None => None,
                    Some(config) => match ServerConnection::new(Arc::clone(config)) {
                        Ok(connection) => Some(connection.into()),
                        Err(error) => {
                            eprintln!("origin: no TLS for connection {number}: {error}");
                            continue;
                        }
                    },
                };
                let transport = Transport::new(stream, side, worker.watcher.add());
                monoio::spawn(connection::serve(Rc::clone(&worker), transport, number, peer));
            }
            Err(error) if error.raw_os_error() == Some(ECANCELED) => return,
            Err(_) => monoio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use super::*;

    /// Sends the same ordinary request twice and one that closes, and tells how they were answered.
    fn answered(options: Options) -> Answered {
        const ORDINARY: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let origin = spawn(options).unwrap();
        let mut client = TcpStream::connect(origin.address()).unwrap();
        client.write_all(&ORDINARY.repeat(2)).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answers = Vec::new();
        client.read_to_end(&mut answers).unwrap();
        assert_eq!(answers.windows(15).filter(|found| *found == b"HTTP/1.1 200 OK").count(), 3);
        origin.finish()
    }

    #[test]
    fn ordinary_requests_go_the_short_way_where_all_answers_are_the_same() {
        let rings_work = net::AnsweringRing::new(Arc::from(*b"answer")).is_ok();
        // A thread that the kernel gives no ring when it asks for one goes the long way.
        let is_short = |options: &Options| {
            (0..10).any(|_| {
                let Answered { requests, ready_made } = answered(options.clone());
                assert!(requests == 3 && matches!(ready_made, 0 | 2), "{requests} {ready_made}");
                ready_made == 2
            })
        };
        let large = Options { body: Body::Size(Draw::fixed(64 * 1024)), ..Options::default() };
        for options in [Options::default(), Options { threads: 2, ..Options::default() }, large] {
            assert!(is_short(&options) || !rings_work, "{options:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let log = LogTarget::File(folder.path().join("log"));
        for options in [
            Options { delay_nanoseconds: Draw::fixed(1000), ..Options::default() },
            Options { body: Body::Size(Draw::fixed(64 * 1024 + 1)), ..Options::default() },
            Options { body_bytes_per_second: Some(1 << 30), ..Options::default() },
            Options { close_after: Some(CloseAfter { answers: 3, announced: true }), ..Options::default() },
            Options { faults: Faults::parse("close=0.000001").unwrap(), ..Options::default() },
            Options { request_log: Some(log), ..Options::default() },
            Options { echo: true, ..Options::default() },
        ] {
            assert_eq!(answered(options), Answered { requests: 3, ready_made: 0 });
        }
    }
}

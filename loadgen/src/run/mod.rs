//! The load generator: sends one kind of request over many connections and measures the answers.
//!
//! Two ways to decide when a request is sent, and they measure different things:
//!
//! - **Closed loop** ([`Load::Closed`]): each connection sends its next request when the last answer is complete. A slow
//!   target slows the load down, so the times are *service times*: they leave out what users would have waited while
//!   the target was stuck. Use it to find the cost of a request and the highest throughput.
//! - **Open loop** ([`Load::Rate`]): requests are due at times that don't depend on answers. A request whose time has
//!   come while all connections are busy waits, and its clock runs. Use it to find the latency at a given load.

mod arrivals;
pub(crate) mod asking;
mod connection;
mod report;
mod schedule;
pub(crate) mod slices;
mod statistics;
mod target;
mod traffic;
mod worker;

use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

pub use self::report::{Cpu, ErrorCount, Handshakes, LabelReport, Report, Times};
pub use self::statistics::Surprises;
use self::worker::Outcome;
pub(crate) use self::{
    statistics::{Histo, Statistics, histogram, record},
    target::Target,
};
use crate::{
    net::{self, Identity, TlsError},
    scenario::Scenario,
};

/// How often the coordinating thread looks whether the run is over.
const POLL: Duration = Duration::from_millis(20);
/// Requests are due from this long after the start, so that threads and connections are up: this, for each connection
/// so much more, and in all at most so much.
const LEAD: Duration = Duration::from_millis(20);
const LEAD_PER_CONNECTION: Duration = Duration::from_micros(500);
const LONGEST_LEAD: Duration = Duration::from_secs(2);

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// Each connection sends as soon as its last answer is complete.
    Closed,
    /// This many requests a second over all threads, at even distances, whatever the answers do. More than 0.
    Rate(f64),
    /// On average this many requests a second over all threads, at random distances, as of many users who don't know of
    /// each other: arrivals come in bursts. The same seed and number of threads give the same times.
    Poisson {
        /// Requests a second; more than 0.
        rate: f64,
        /// Where the random numbers begin.
        seed: u64,
    },
    /// From one number of requests a second to another, in the time that the run measures; both more than 0. The warm-up
    /// has the first.
    Ramp {
        /// Requests a second at the beginning.
        from: f64,
        /// Requests a second at the end.
        to: f64,
        /// So many steps of equal length, the first at `from` and the last at `to`; 0 for a smooth ramp.
        steps: u32,
    },
}

impl Load {
    /// Requests a second that are due on average; `None` in a closed loop.
    #[must_use]
    pub fn mean_rate(self) -> Option<f64> {
        match self {
            Self::Closed => None,
            Self::Rate(rate) | Self::Poisson { rate, .. } => Some(rate),
            Self::Ramp { from, to: _, steps: 1 } => Some(from),
            Self::Ramp { from, to, .. } => Some((from + to) / 2.0),
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => formatter.write_str("closed loop"),
            Self::Rate(rate) => write!(formatter, "open loop at {rate} requests/s"),
            Self::Poisson { rate, seed } => {
                write!(formatter, "open loop, Poisson arrivals at {rate} requests/s with seed {seed}")
            }
            Self::Ramp { from, to, steps: 0 } => {
                write!(formatter, "open loop from {from} to {to} requests/s")
            }
            Self::Ramp { from, to, steps } => {
                write!(formatter, "open loop from {from} to {to} requests/s in {steps} steps")
            }
        }
    }
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After this long, warm-up not counted.
    Duration(Duration),
    /// After this many requests, those of the warm-up not counted.
    Requests(u64),
}

/// What a run does.
#[derive(Clone, Debug)]
pub struct Options {
    /// `http://` or `https://`, host, optional port, and what to ask for.
    pub url: String,
    /// When requests are sent.
    pub load: Load,
    /// When the run ends.
    pub limit: Limit,
    /// Connections over all threads, at least 1.
    pub connections: usize,
    /// Threads, at least 1; more than connections are not started.
    pub threads: usize,
    /// How long to send before anything is counted.
    pub warm_up: Duration,
    /// The method.
    pub method: String,
    /// More header fields. `Host` replaces the one made from the URL.
    pub headers: Vec<(String, String)>,
    /// The body; sent with its `Content-Length` where it isn't empty.
    pub body: Vec<u8>,
    /// What to send in place of one kind of request; method, header fields, body and the URL's path are not used then.
    pub scenario: Option<Arc<Scenario>>,
    /// CA certificates (PEM) that vouch for the target. Default: the system's.
    pub ca: Option<PathBuf>,
    /// What this client shows, if the target asks.
    pub identity: Option<Identity>,
    /// Take any certificate of the target.
    pub insecure: bool,
    /// Resume TLS sessions on new connections. Default: true.
    pub resume: bool,
    /// Use a connection for more than one request. Default: true.
    pub keep_alive: bool,
    /// How long a connection's set-up, and then each answer, may take.
    pub timeout: Duration,
}

impl Options {
    /// A closed loop of 64 connections for 10 seconds with `GET url`.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            load: Load::Closed,
            limit: Limit::Duration(Duration::from_secs(10)),
            connections: 64,
            threads: net::default_threads(),
            warm_up: Duration::ZERO,
            method: "GET".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            scenario: None,
            ca: None,
            identity: None,
            insecure: false,
            resume: true,
            keep_alive: true,
            timeout: Duration::from_secs(10),
        }
    }
}

/// Why a run can't start.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// The URL, method, header fields or numbers make no request.
    Request(String),
    /// A certificate, key or CA can't be used.
    Tls(TlsError),
    /// The host has no address.
    Resolve(String, io::Error),
    /// Nobody accepts connections there.
    Unreachable(SocketAddr, io::Error),
    /// TLS with the target fails.
    Handshake(String, io::Error),
    /// A thread or its ring can't be set up.
    Thread(io::Error),
}

impl fmt::Display for RunError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(what) => formatter.write_str(what),
            Self::Tls(error) => error.fmt(formatter),
            Self::Resolve(host, error) => write!(formatter, "{host} has no address: {error}"),
            Self::Unreachable(address, error) => write!(formatter, "can't connect to {address}: {error}"),
            Self::Handshake(host, error) => write!(
                formatter,
                "no TLS with {host}: {error} (--ca names the CA to trust, --certificate and --key what to show)"
            ),
            Self::Thread(error) => write!(formatter, "can't start a thread: {error}"),
        }
    }
}

impl std::error::Error for RunError {}

/// Runs to the end, or until `interrupted` becomes true; what was measured until then is reported either way.
///
/// # Errors
///
/// See [`RunError`]. Errors of single requests are part of the report.
pub fn run(options: &Options, interrupted: &AtomicBool) -> Result<Report, RunError> {
    run_with_histogram(options, interrupted).map(|(report, _response)| report)
}

/// As [`run`], with the response times of an open loop.
pub(crate) fn run_with_histogram(
    options: &Options,
    interrupted: &AtomicBool,
) -> Result<(Report, Histo), RunError> {
    check(options)?;
    let target = Arc::new(Target::new(options)?);
    target.probe(options.timeout)?;
    let threads = options.threads.clamp(1, options.connections);
    let start = Instant::now() + lead(options.connections);
    let mut workers = Vec::new();
    for index in 0..threads {
        let (signal, stop) = net::stop_pair().map_err(RunError::Thread)?;
        let assignment = worker::Assignment::new(options, Arc::clone(&target), start, index, threads);
        let thread = std::thread::Builder::new().name(format!("load-{index}"));
        let handle = thread.spawn(move || net::run_on_ring(|| worker::drive(assignment, stop)));
        workers.push((signal, handle.map_err(RunError::Thread)?));
    }
    let mut was_interrupted = false;
    while !workers.iter().all(|(_, handle)| handle.is_finished()) {
        if interrupted.load(Ordering::Relaxed) {
            was_interrupted = true;
            break;
        }
        std::thread::sleep(POLL);
    }
    // Letting go of the signals ends threads that still send.
    let handles: Vec<_> = workers.into_iter().map(|(_signal, handle)| handle).collect();
    let mut total = Outcome::new();
    for handle in handles {
        let outcome = handle.join().map_err(|_| RunError::Thread(io::Error::other("a thread panicked")))?;
        total.add(&outcome.and_then(|outcome| outcome).map_err(RunError::Thread)?);
    }
    let report = Report::new(options, &target.traffic.labels, threads, was_interrupted, &total);
    Ok((report, total.statistics.response))
}

/// How long before the first request threads and connections get to be up.
pub(crate) fn lead(connections: usize) -> Duration {
    let per_connection = LEAD_PER_CONNECTION * u32::try_from(connections).unwrap_or(u32::MAX);
    LEAD + per_connection.min(LONGEST_LEAD)
}

pub(crate) fn check(options: &Options) -> Result<(), RunError> {
    let wrong = |what: &str| Err(RunError::Request(what.to_owned()));
    let is_rate = |rate: f64| rate.is_finite() && rate > 0.0 && rate <= 1e8;
    match options.load {
        Load::Rate(rate) | Load::Poisson { rate, .. } if !is_rate(rate) => {
            wrong("the rate must be over 0 and at most 100 million requests a second")
        }
        Load::Ramp { from, to, .. } if !(is_rate(from) && is_rate(to)) => {
            wrong("both rates must be over 0 and at most 100 million requests a second")
        }
        Load::Ramp { steps: 10_001.., .. } => wrong("a ramp has at most 10000 steps"),
        Load::Ramp { .. } if matches!(options.limit, Limit::Requests(_)) => {
            wrong("a ramp needs a duration, not a number of requests")
        }
        _ if options.connections == 0 || options.connections > 1_000_000 => {
            wrong("connections: 1 to 1000000")
        }
        _ if options.limit == Limit::Requests(0) => wrong("the number of requests must be over 0"),
        _ if options.limit == Limit::Duration(Duration::ZERO) => wrong("the duration must be over 0"),
        _ => Ok(()),
    }
}

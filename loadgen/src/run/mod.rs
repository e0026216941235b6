//! The load generator: sends requests, of one kind or a scenario's mix, over many connections and measures the answers.
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
mod intervals;
mod load;
mod report;
mod schedule;
pub(crate) mod slices;
mod soak;
mod statistics;
mod target;
mod text;
mod trace;
mod traffic;
pub(crate) mod validity;
mod worker;

use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant, SystemTime},
};

use rustix::process::{Resource, getrlimit};

pub use self::intervals::{Interval, Observer, Snapshot};
pub use self::load::{Load, MOST_STEPS, Step};
pub(crate) use self::report::interrupted;
pub use self::report::{AnswerTimes, Cpu, Curves, ErrorCount, Handshakes, LabelReport, Report, Times};
pub use self::soak::{Soak, Trend};
pub use self::statistics::Surprises;
pub use self::trace::{TraceError, read_trace};
use self::{intervals::Collector, report::Measured, worker::Outcome};
pub(crate) use self::{
    statistics::{Histo, Statistics, histogram, record},
    target::Target,
    worker::share,
};
use crate::{
    net::{self, Identity, TlsError},
    processes::ProcessTree,
    scenario::Scenario,
};

/// The shortest interval: threads look at the time every 5 ms.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
/// How often the coordinating thread looks whether the run is over.
const POLL: Duration = Duration::from_millis(20);
/// Requests are due from this long after the start, so that threads and connections are up: this, for each connection
/// so much more, and in all at most so much.
const LEAD: Duration = Duration::from_millis(20);
const LEAD_PER_CONNECTION: Duration = Duration::from_micros(500);
const LONGEST_LEAD: Duration = Duration::from_secs(2);

/// Files that a process has open beside its connections: logs, files that are read, libraries.
const SPARE_DESCRIPTORS: usize = 64;
/// What each thread has open: its ring, timers, both ends of its signal, and what the runtime wakes it with.
const DESCRIPTORS_PER_THREAD: usize = 8;

pub(crate) fn descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// After this long, warm-up not counted.
    Duration(Duration),
    /// After this many requests, those of the warm-up not counted.
    Requests(u64),
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Requests and their answers.
    Requests,
    /// New connections and, with `https://`, their TLS handshakes. No request is sent.
    Handshakes,
}

impl Work {
    /// What it is called in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Handshakes => "handshakes",
        }
    }
}

/// What a run does.
#[derive(Clone, Debug)]
pub struct Options {
    /// `http://` or `https://`, host, optional port, and what to ask for.
    pub url: String,
    /// What is measured. Default: requests.
    pub work: Work,
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
    /// SNI, and the name that the target's certificate must have. Default: the URL's host. A scenario's own names go first.
    pub server_name: Option<String>,
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
    /// The report has figures for each interval of this length, over 0. Default: 1 second.
    pub interval: Duration,
    /// Processes whose memory is watched, descendants included.
    pub watch: Vec<u32>,
    /// Judge whether the target changes over the time of the run.
    pub soak: bool,
}

impl Options {
    /// A closed loop of 64 connections for 10 seconds with `GET url`.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            work: Work::Requests,
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
            server_name: None,
            identity: None,
            insecure: false,
            resume: true,
            keep_alive: true,
            timeout: Duration::from_secs(10),
            interval: Duration::from_secs(1),
            watch: Vec::new(),
            soak: false,
        }
    }
}

impl Options {
    /// What is sent, wherever it goes: the method and the size of the body, or which scenario.
    pub(crate) fn description(&self) -> String {
        match &self.scenario {
            Some(scenario) => scenario.description(),
            None => format!("{} with {} body bytes", self.method, self.body.len()),
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
            Self::Handshake(host, error) if error.to_string().contains("InvalidContentType") => {
                write!(
                    formatter,
                    "no TLS with {host}: its answer is none; for plain HTTP the URL begins with http://"
                )
            }
            Self::Handshake(host, error) => write!(
                formatter,
                "no TLS with {host}: {error} (--ca names the CA to trust, --insecure trusts any, --certificate and --key are what to show)"
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
    run_observed(options, interrupted, &mut Unobserved)
}

/// As [`run`]; `observer` hears of each interval when it is over.
///
/// # Errors
///
/// As [`run`].
pub fn run_observed(
    options: &Options,
    interrupted: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Report, RunError> {
    run_in_detail(options, interrupted, observer).map(|(report, _details)| report)
}

/// Nobody listens.
pub(crate) struct Unobserved;

impl Observer for Unobserved {
    fn interval(&mut self, _snapshot: &Snapshot<'_>) {}
}

/// What a search needs of a run beside its report.
pub(crate) struct Details {
    /// The response times of an open loop.
    pub(crate) response: Histo,
    /// Requests that did not do what they should, as [`Statistics::failed`] counts them.
    pub(crate) failed: u64,
}

/// As [`run_observed`], with details.
pub(crate) fn run_in_detail(
    options: &Options,
    interrupted: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<(Report, Details), RunError> {
    check(options)?;
    let asked_interval = options.interval;
    let options =
        &Options { interval: intervals::fitting_length(options.interval, options.limit), ..options.clone() };
    let watched = ProcessTree::new(options.watch.clone()).refresh();
    watched.map_err(|error| RunError::Request(format!("nothing to watch: {error}")))?;
    let target = Arc::new(Target::reach(options)?);
    let threads = options.threads.clamp(1, options.connections);
    let start = Instant::now() + lead(options.connections);
    let (sender, parts) = mpsc::channel();
    let mut workers = Vec::new();
    // A thread that fails ends the others: what they measure is of no use then.
    let failed = Arc::new(AtomicBool::new(false));
    for index in 0..threads {
        let (signal, stop) = net::stop_pair().map_err(RunError::Thread)?;
        let assignment =
            worker::Assignment::new(options, Arc::clone(&target), start, index, threads, sender.clone());
        let thread = std::thread::Builder::new().name(format!("load-{index}"));
        let failed = Arc::clone(&failed);
        let handle = thread.spawn(move || {
            let outcome = net::run_on_ring(|| worker::drive(assignment, stop)).flatten();
            failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
            outcome
        });
        workers.push((signal, handle.map_err(RunError::Thread)?));
    }
    drop(sender);
    let until_measured = start.saturating_duration_since(Instant::now()) + options.warm_up;
    observer.started(SystemTime::now() + until_measured);
    let mut collector = Collector::new(options, Arc::clone(&target), threads, observer);
    let mut was_interrupted = false;
    loop {
        match parts.recv_timeout(POLL) {
            Ok(part) => collector.add(part),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if interrupted.load(Ordering::Relaxed) {
            was_interrupted = true;
            break;
        }
        if failed.load(Ordering::Relaxed) {
            break;
        }
    }
    // Letting go of the signals ends threads that still send.
    let handles: Vec<_> = workers.into_iter().map(|(_signal, handle)| handle).collect();
    let mut outcome = Outcome::default();
    for handle in handles {
        let own = handle.join().map_err(|_| RunError::Thread(io::Error::other("a thread panicked")))?;
        outcome.add(&own.map_err(RunError::Thread)?);
    }
    parts.iter().for_each(|part| collector.add(part));
    collector.finish(outcome.elapsed);
    let Collector { intervals, total, dropped, .. } = collector;
    let details = Details { response: total.all_timings().response, failed: total.failed };
    let measured = Measured { statistics: total, outcome, intervals, threads, interrupted: was_interrupted };
    let mut report = Report::new(options, &target.traffic, measured);
    report.notes.extend(interval_note(asked_interval, options.interval, dropped));
    Ok((report, details))
}

/// What to know about intervals that are not what was asked for.
fn interval_note(asked: Duration, length: Duration, dropped: u64) -> Option<String> {
    if length > asked {
        return Some(format!("intervals have {length:?} in place of {asked:?}: there would be too many"));
    }
    (dropped > 0).then(|| {
        format!("the last {dropped} intervals are in the logs alone: there were too many for a report")
    })
}

/// How long before the first request threads and connections get to be up.
pub(crate) fn lead(connections: usize) -> Duration {
    let per_connection = LEAD_PER_CONNECTION * u32::try_from(connections).unwrap_or(u32::MAX);
    LEAD + per_connection.min(LONGEST_LEAD)
}

/// Finds out whether the open files of this process are enough for so many connections, which so many threads share.
pub(crate) fn check_descriptors(connections: usize, threads: usize, limit: usize) -> Result<(), RunError> {
    let others = SPARE_DESCRIPTORS + threads.min(connections) * DESCRIPTORS_PER_THREAD;
    if connections.saturating_add(others) <= limit {
        return Ok(());
    }
    Err(RunError::Request(format!(
        "{connections} connections and {others} other files are more than the {limit} that this process may have open: raise the limit with `ulimit -Hn`, or use several processes"
    )))
}

pub(crate) fn check(options: &Options) -> Result<(), RunError> {
    let wrong = |what: &str| Err(RunError::Request(what.to_owned()));
    options.load.check(options.warm_up, options.limit)?;
    if options.connections == 0 || options.connections > 1_000_000 {
        return wrong("connections: 1 to 1000000");
    }
    check_descriptors(options.connections, options.threads, descriptor_limit())?;
    match options {
        Options { scenario: Some(scenario), connections, .. } if scenario.groups.len() > *connections => {
            let groups = scenario.groups.len();
            wrong(&format!(
                "{connections} connections leave some of the scenario's {groups} groups without one: at least {groups} are needed"
            ))
        }
        _ if options.limit == Limit::Requests(0) => wrong("the number of requests must be over 0"),
        _ if options.limit == Limit::Duration(Duration::ZERO) => wrong("the duration must be over 0"),
        _ if options.timeout.is_zero() => wrong("the timeout must be over 0"),
        _ if options.interval < SHORTEST_INTERVAL => wrong("the interval must be at least 10 ms"),
        _ if options.work == Work::Handshakes && options.scenario.is_some() => {
            wrong("handshakes have no requests, so they go with no scenario")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_for_threads_too() {
        assert!(check_descriptors(1000, 2, 1080).is_ok());
        let error = check_descriptors(1000, 64, 1080).unwrap_err().to_string();
        assert!(error.starts_with("1000 connections and 576 other files are more than the 1080"), "{error}");
        // More threads than connections are not started.
        assert!(check_descriptors(1, 1024, 80).is_ok());
    }

    #[test]
    fn intervals_that_are_not_what_was_asked_for_are_told() {
        let second = Duration::from_secs(1);
        assert_eq!(interval_note(second, second, 0), None);
        let note = interval_note(second, second * 2, 0).unwrap();
        assert!(note.starts_with("intervals have 2s in place of 1s"), "{note}");
        assert!(interval_note(second, second, 7).unwrap().starts_with("the last 7 intervals"));
    }
}

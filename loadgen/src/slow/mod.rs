//! Clients that are slow on purpose: they hold a target's connections with heads or bodies that never end, or with answers
//! that they hardly read. What matters is how long the target lets them, and what ordinary requests see meanwhile.

mod connection;
mod crowd;
mod effect;
mod pace;
mod report;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use self::crowd::Crowd;
pub use self::{
    effect::{Cycle, Effect},
    report::{Moment, Report},
};
use crate::run::{self, Limit, Load, RunError, Target};

/// A shorter pace isn't slow.
const SHORTEST_PACE: Duration = Duration::from_millis(100);
/// How often it is noted how many connections are open.
const SAMPLE: Duration = Duration::from_millis(250);
/// How often it is looked whether it is over.
const POLL: Duration = Duration::from_millis(20);
/// Connections of ordinary requests.
const PROBE_CONNECTIONS: usize = 16;
/// The most moments of a report; with more, every other one is dropped.
const MOST_MOMENTS: usize = 2_000;

/// What is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A head that gets one more field at each step and never ends.
    Header,
    /// A body that gets one more byte at each step and never comes to its declared length.
    Body,
    /// An answer that is read through a small socket buffer, once at each step.
    Reader,
}

impl Kind {
    /// What it is called in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Body => "body",
            Self::Reader => "reader",
        }
    }
}

/// What slow clients do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to, the request, how many connections and threads, how long (a duration), TLS, and the patience for the set-up
    /// of connections. Its load is not used.
    pub request: run::Options,
    /// What is slow.
    pub kind: Kind,
    /// The time between two steps, at least 100 ms.
    pub pace: Duration,
    /// Where within the pace each client takes its steps follows from this.
    pub seed: u64,
    /// Ordinary requests a second to the same target meanwhile, over connections of their own; none without.
    pub probe_rate: Option<f64>,
    /// What they `GET`; the same as the slow clients' request without.
    pub probe_url: Option<String>,
    /// Over 0, the duration is cut into twice as many slices, in turn with and without slow clients, and the ordinary
    /// requests of both are compared.
    pub cycles: usize,
    /// With cycles: a target does well if the p99 of ordinary requests is not higher than this many times what it is
    /// without slow clients. Over 0.
    pub max_factor: Option<f64>,
    /// A target does well if no slow connection lives longer.
    pub cut_within: Option<Duration>,
}

/// Is slow until the end, or until `interrupted` becomes true. Connections that end are made anew.
///
/// # Errors
///
/// The options make no sense, the target can't be reached, or a thread can't be started.
pub fn run(options: &Options, interrupted: &AtomicBool) -> Result<Report, RunError> {
    let length = check(options)?;
    let slice = (options.cycles > 0).then(|| effect::slice(options, length)).transpose()?;
    let target = Arc::new(Target::reach(&options.request)?);
    if options.probe_rate.is_some() {
        Target::reach(&probe_options(options, length))?;
    }
    let began = Instant::now();
    let mut moments = Vec::new();
    let mut tick = |open: usize| note_moment(&mut moments, began.elapsed(), open);
    let mut report = Report::new(options);
    if let Some(slice) = slice {
        let turns = effect::take_turns(options, &target, slice, interrupted, &mut tick)?;
        report.reasons = turns.reasons;
        report.effect = Some(turns.effect);
        report.note_ends(&turns.ends);
    } else {
        let (ends, probe) = be_slow(options, &target, length, interrupted, &mut tick)?;
        report.probe = probe;
        report.note_ends(&ends);
    }
    report.lifetimes = moments;
    report.finish(began.elapsed(), interrupted.load(Ordering::Relaxed));
    Ok(report)
}

/// Without turns: slow clients all the time.
fn be_slow(
    options: &Options,
    target: &Arc<Target>,
    length: Duration,
    interrupted: &AtomicBool,
    tick: &mut dyn FnMut(usize),
) -> Result<(report::Ends, Option<run::Report>), RunError> {
    let began = Instant::now();
    let crowd = Crowd::gather(options, target)?;
    std::thread::scope(|scope| {
        let probe = options.probe_rate.map(|_| {
            let request = probe_options(options, length);
            scope.spawn(move || run::run(&request, interrupted))
        });
        while began.elapsed() < length && !interrupted.load(Ordering::Relaxed) {
            std::thread::sleep(POLL);
            tick(crowd.open());
        }
        let ends = crowd.dismiss()?;
        let probe = probe.map(|probe| joined(probe.join())).transpose()?;
        Ok((ends, probe))
    })
}

fn joined(probe: std::thread::Result<Result<run::Report, RunError>>) -> Result<run::Report, RunError> {
    probe.map_err(|_| RunError::Thread(io::Error::other("the probe's thread panicked")))?
}

fn check(options: &Options) -> Result<Duration, RunError> {
    run::check(&options.request)?;
    if options.probe_rate.is_some() {
        // Both are open at the same time.
        let all = options.request.connections.saturating_add(PROBE_CONNECTIONS);
        run::check_descriptors(all, options.request.threads + 1, run::descriptor_limit())?;
    }
    let wrong = |what: &str| Err(RunError::Request(what.to_owned()));
    if options.request.scenario.is_some() {
        return wrong("slow clients send one kind of request, so they go with no scenario");
    }
    if options.pace < SHORTEST_PACE {
        return wrong("the pace must be at least 100 ms");
    }
    if options.max_factor.is_some_and(|factor| factor.is_nan() || factor <= 0.0) {
        return wrong("the highest factor that is allowed must be over 0");
    }
    match options.request.limit {
        Limit::Duration(length) => Ok(length),
        Limit::Requests(_) => wrong("slow clients need a duration"),
    }
}

fn probe_options(options: &Options, length: Duration) -> run::Options {
    let ordinary = run::Options {
        load: options.probe_rate.map_or(Load::Closed, Load::Rate),
        limit: Limit::Duration(length),
        connections: PROBE_CONNECTIONS,
        threads: 1,
        ..options.request.clone()
    };
    match &options.probe_url {
        None => ordinary,
        Some(url) => {
            run::Options { url: url.clone(), method: "GET".to_owned(), body: Vec::new(), ..ordinary }
        }
    }
}

fn note_moment(moments: &mut Vec<Moment>, at: Duration, open: usize) {
    let seconds = at.as_secs_f64();
    if moments.last().is_some_and(|last: &Moment| seconds - last.seconds < SAMPLE.as_secs_f64()) {
        return;
    }
    if moments.len() == MOST_MOMENTS {
        let mut is_kept = false;
        moments.retain(|_| {
            is_kept = !is_kept;
            is_kept
        });
    }
    moments.push(Moment { seconds, open });
}

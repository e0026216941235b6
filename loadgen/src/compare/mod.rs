//! Compares targets that do the same work: which one needs how much CPU time for a request.
//!
//! All targets are up at once. The load goes to one at a time for a short slice, round and round, in reverse order in
//! every other cycle, so that a machine with fast and slow phases hurts all alike. What counts is the ratio to the first
//! target within the same cycle. Before anything is timed, all targets must give the same answers.

mod parity;
mod report;

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

pub use self::{
    parity::Parity,
    report::{Host, LabelSurprises, ParityFound, Report, Row, SliceRecord, Spread, Table},
};
use crate::{
    processes::ProcessTree,
    run::{
        self, RunError, Target,
        slices::{Fleet, Slice},
    },
};

/// The most targets of one comparison.
const MOST_TARGETS: usize = 64;
/// How long before a slice's first request its threads hear of it.
const LEAD: Duration = Duration::from_millis(3);

/// One of the targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetOptions {
    /// What tables call it.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// The processes whose CPU time and memory are its own, their descendants included; may be empty.
    pub pids: Vec<u32>,
}

/// What a comparison does.
#[derive(Clone, Debug)]
pub struct Options {
    /// At least two; the others are compared with the first.
    pub targets: Vec<TargetOptions>,
    /// The request, the load, TLS, threads and timeout, the same for all targets. Its URL, limit, warm-up and number of
    /// connections are not used.
    pub request: run::Options,
    /// Each of these numbers of connections makes a table of its own.
    pub connections: Vec<usize>,
    /// How often each target has its turn, at least 1. One more cycle before is not counted.
    pub cycles: usize,
    /// The measured part of a slice.
    pub slice: Duration,
    /// What comes before it in each slice.
    pub warm_up: Duration,
    /// What must be the same about answers.
    pub parity: Parity,
    /// How often each target is asked for that, at least 1.
    pub parity_requests: usize,
}

impl Options {
    /// 30 cycles of 120 ms slices over 64 connections, in a closed loop with `GET`.
    #[must_use]
    pub fn new(targets: Vec<TargetOptions>) -> Self {
        Self {
            targets,
            request: run::Options::new(""),
            connections: vec![64],
            cycles: 30,
            slice: Duration::from_millis(120),
            warm_up: Duration::from_millis(30),
            parity: Parity::Bytes,
            parity_requests: 20,
        }
    }
}

/// Why there is no comparison.
#[derive(Debug)]
#[non_exhaustive]
pub enum CompareError {
    /// The options make no comparison.
    Usage(String),
    /// A target can't be reached or a request can't be made: the target's name, and why.
    Target(String, RunError),
    /// Targets don't give the same answers, or other ones than the scenario expects.
    Parity(String),
    /// The CPU time of a target's processes can't be read before the first slice: the target, and why.
    Measure(String, io::Error),
}

impl fmt::Display for CompareError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) | Self::Parity(what) => formatter.write_str(what),
            Self::Target(name, error) => write!(formatter, "{name}: {error}"),
            Self::Measure(name, error) => write!(formatter, "{name} can't be measured: {error}"),
        }
    }
}

impl std::error::Error for CompareError {}

/// One target at work.
struct Contender {
    options: TargetOptions,
    target: Arc<Target>,
    processes: ProcessTree,
}

/// Compares until all cycles are over, until `interrupted` becomes true, or until a target can't be measured any more, as when
/// its process ends: then the cycles that were complete are reported as not valid. `progress` hears of each cycle: the number
/// of connections, how many cycles are over, and of how many.
///
/// # Errors
///
/// See [`CompareError`]. Errors of single requests are part of the report.
pub fn run(
    options: &Options,
    interrupted: &AtomicBool,
    mut progress: impl FnMut(usize, usize, usize),
) -> Result<Report, CompareError> {
    check(options)?;
    let mut contenders = prepare(options)?;
    let found = parity::check(options, &contenders)?;
    let mut report = Report::new(options, found);
    for &connections in &options.connections {
        let mut records = Vec::new();
        let request = run::Options { connections, ..options.request.clone() };
        let targets: Vec<_> = contenders.iter().map(|contender| Arc::clone(&contender.target)).collect();
        let name =
            |index: usize| options.targets.get(index).map_or_else(String::new, |target| target.name.clone());
        let (mut lost, mut cycles_over) = (None, 0);
        let fleet = Fleet::start(&request, &targets).map_err(|error| CompareError::Target(name(0), error))?;
        // The first cycle makes the connections and warms everything up.
        'cycles: for cycle in 0..=options.cycles {
            if interrupted.load(Ordering::Relaxed) {
                report.interrupted = true;
                break;
            }
            let mut order: Vec<usize> = (0..contenders.len()).collect();
            if cycle % 2 == 1 {
                order.reverse();
            }
            let lead = if cycle == 0 { run::lead(connections) } else { LEAD };
            for index in order {
                match measure(options, &fleet, &mut contenders[index], index, cycle, lead) {
                    Ok(record) if cycle > 0 => records.push(record),
                    Ok(_warm_up) => {}
                    Err(error) => {
                        lost = Some(CompareError::Measure(name(index), error));
                        break 'cycles;
                    }
                }
            }
            cycles_over += usize::from(cycle > 0);
            progress(connections, cycle, options.cycles);
        }
        fleet.stop();
        let labels =
            contenders.first().map_or(&[][..], |contender| contender.target.traffic.labels.as_slice());
        report.add_table(options, connections, records, labels);
        if let Some(lost) = lost {
            report.reasons.push(format!("{lost}; the comparison ended there"));
            break;
        }
        if report.interrupted {
            report.reasons.push(format!(
                "interrupted: {cycles_over} of {} cycles with {connections} connections were complete",
                options.cycles
            ));
            break;
        }
    }
    report.judge();
    Ok(report)
}

fn measure(
    options: &Options,
    fleet: &Fleet,
    contender: &mut Contender,
    index: usize,
    cycle: usize,
    lead: Duration,
) -> io::Result<report::Measured> {
    contender.processes.refresh()?;
    let slice = Slice {
        target: index,
        start: Instant::now() + lead,
        warm_up: options.warm_up,
        length: options.slice,
        processes: Arc::new(contender.processes.clone()),
        over: Arc::default(),
    };
    let outcome = fleet.run(&slice)?;
    Ok(report::Measured {
        target: index,
        cycle,
        outcome,
        resident_bytes: contender.processes.resident_bytes(),
    })
}

fn check(options: &Options) -> Result<(), CompareError> {
    let wrong = |what: String| Err(CompareError::Usage(what));
    let mut names: Vec<_> = options.targets.iter().map(|target| &target.name).collect();
    names.sort_unstable();
    if names.len() < 2 || names.len() > MOST_TARGETS {
        return wrong(format!("a comparison has 2 to {MOST_TARGETS} targets"));
    }
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return wrong(format!("two targets have the name `{}`", pair[0]));
    }
    if options.cycles == 0 || options.parity_requests == 0 || options.slice.is_zero() {
        return wrong("cycles, parity requests and the length of a slice must be over 0".to_owned());
    }
    if options.connections.is_empty() {
        return wrong("a comparison needs a number of connections".to_owned());
    }
    for &connections in &options.connections {
        let usage = |error: RunError| CompareError::Usage(error.to_string());
        run::check(&run::Options { connections, ..options.request.clone() }).map_err(usage)?;
        // Those to all targets stay open.
        let all = connections.saturating_mul(options.targets.len());
        run::check_descriptors(all, options.request.threads, run::descriptor_limit()).map_err(usage)?;
    }
    Ok(())
}

fn prepare(options: &Options) -> Result<Vec<Contender>, CompareError> {
    let mut contenders = Vec::new();
    for target in &options.targets {
        let failed = |error| CompareError::Target(target.name.clone(), error);
        let most = options.connections.iter().copied().max().unwrap_or(1);
        let request = run::Options { url: target.url.clone(), connections: most, ..options.request.clone() };
        let prepared = Target::reach(&request).map_err(failed)?;
        let mut processes = ProcessTree::new(target.pids.clone());
        processes
            .refresh()
            .and_then(|()| processes.cpu())
            .map_err(|error| CompareError::Measure(target.name.clone(), error))?;
        contenders.push(Contender { options: target.clone(), target: Arc::new(prepared), processes });
    }
    Ok(contenders)
}

//! What slow clients cost others: the same ordinary requests with and without them, in turns.
//!
//! One measurement with and one without says little on a machine that others use too. So the time is cut into slices, with
//! and without slow clients in turn, and medians over the slices are compared.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{Options, crowd::Crowd, pace, probe_options, report::Ends};
use crate::{
    compare::Spread,
    run::{self, RunError, Target, Times},
    units::format_nanoseconds,
};

/// A 99th percentile of fewer requests says nothing.
const FEWEST_REQUESTS: f64 = 500.0;
/// Between slices, so that what one leaves behind isn't in the next: connections that are being closed, most of all.
const PAUSE: Duration = Duration::from_millis(300);
/// How long a slice waits at most for its slow clients to have begun.
const LONGEST_GATHERING: Duration = Duration::from_secs(30);
/// Ordinary requests that aren't counted, before each slice.
const WARM_UP: Duration = Duration::from_millis(200);

/// What ordinary requests saw with and without slow clients beside them.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Effect {
    /// How long each slice was.
    pub slice_seconds: f64,
    /// Each pair of slices, in the order of time.
    pub cycles: Vec<Cycle>,
    /// The slices' 99th percentiles without slow clients, in microseconds; absent before the first cycle was over, and if in
    /// some slice no request was answered.
    pub p99_without_microseconds: Option<Spread>,
    /// The same with slow clients.
    pub p99_with_microseconds: Option<Spread>,
    /// The median with slow clients by the median without: 1 where others don't notice them. Absent if one of them is.
    pub factor: Option<f64>,
    /// The highest factor that is allowed; absent if nothing was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_factor: Option<f64>,
}

/// Two slices, one without and one with slow clients.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Cycle {
    /// Response times without slow clients.
    pub without: Times,
    /// Response times with them.
    pub with: Times,
    /// Slow connections that were open at the end of the slice with them.
    pub open: usize,
}

/// What the turns found, beside the figures.
pub(super) struct Turns {
    pub(super) effect: Effect,
    pub(super) ends: Ends,
    /// What spoils the figures.
    pub(super) reasons: Vec<String>,
}

/// How long each slice is.
///
/// # Errors
///
/// Each would have too few requests.
pub(super) fn slice(options: &Options, length: Duration) -> Result<Duration, RunError> {
    let wrong = |what: String| Err(RunError::Request(what));
    let Some(rate) = options.probe_rate else {
        return wrong("cycles compare ordinary requests, and without --probe-rate there are none".to_owned());
    };
    let slice = length.div_f64(options.cycles as f64 * 2.0);
    let requests = rate * slice.as_secs_f64();
    if requests < FEWEST_REQUESTS {
        return wrong(format!(
            "{} slices of {:.3} s would have {requests:.0} ordinary requests each, and a 99th percentile needs {FEWEST_REQUESTS}: a longer duration, a higher rate or fewer cycles",
            options.cycles * 2,
            slice.as_secs_f64(),
        ));
    }
    Ok(slice)
}

/// All cycles, or those that were over when `interrupted` became true. `tick` hears often how many slow connections are open.
pub(super) fn take_turns(
    options: &Options,
    target: &Arc<Target>,
    slice: Duration,
    interrupted: &AtomicBool,
    tick: &mut dyn FnMut(usize),
) -> Result<Turns, RunError> {
    let (mut cycles, mut ends, mut reasons) = (Vec::new(), Ends::default(), Vec::new());
    for cycle in 0..options.cycles {
        let mut measured = [None, None];
        let mut open = 0;
        // The other way round in every other cycle: a machine that becomes slower must not look like slow clients.
        for with_slow in [cycle % 2 == 1, cycle % 2 == 0] {
            let crowd = with_slow.then(|| Crowd::gather(options, target)).transpose()?;
            if let Some(crowd) = &crowd {
                reasons.extend(gathered(options, crowd, cycle, interrupted, tick));
            }
            wait(PAUSE, interrupted, &mut || tick(crowd.as_ref().map_or(0, Crowd::open)));
            let report =
                probe(options, slice, interrupted, &mut || tick(crowd.as_ref().map_or(0, Crowd::open)))?;
            if let Some(crowd) = crowd {
                open = crowd.open();
                ends.add(&crowd.dismiss()?);
            }
            if interrupted.load(Ordering::Relaxed) {
                return Ok(Turns { effect: Effect::of(options, slice, cycles), ends, reasons });
            }
            let beside = if with_slow { "with" } else { "without" };
            let found = report.reasons.iter();
            reasons.extend(
                found.map(|why| {
                    format!("ordinary requests of cycle {} {beside} slow clients: {why}", cycle + 1)
                }),
            );
            measured[usize::from(with_slow)] = report.times.response_time;
        }
        if let [Some(without), Some(with)] = measured {
            cycles.push(Cycle { without, with, open });
        }
    }
    let effect = Effect::of(options, slice, cycles);
    reasons.extend(effect.excess());
    Ok(Turns { effect, ends, reasons })
}

/// Ordinary requests for one slice.
fn probe(
    options: &Options,
    slice: Duration,
    interrupted: &AtomicBool,
    tick: &mut dyn FnMut(),
) -> Result<run::Report, RunError> {
    let request = run::Options { warm_up: WARM_UP, ..probe_options(options, slice) };
    std::thread::scope(|scope| {
        let probe = scope.spawn(|| run::run(&request, interrupted));
        while !probe.is_finished() {
            std::thread::sleep(super::POLL);
            tick();
        }
        super::joined(probe.join())
    })
}

/// Waits until all slow clients have begun to be slow. A thousand that begin at once cost a target more than
/// they do from then on, readers of something large above all, and that is not what is compared. Says so if some haven't.
fn gathered(
    options: &Options,
    crowd: &Crowd,
    cycle: usize,
    interrupted: &AtomicBool,
    tick: &mut dyn FnMut(usize),
) -> Option<String> {
    let began = Instant::now();
    let most = LONGEST_GATHERING.max(options.pace * 2 + pace::arrival(options.pace));
    let connections = options.request.connections;
    while crowd.begun() < connections && !interrupted.load(Ordering::Relaxed) {
        if began.elapsed() >= most {
            return Some(format!(
                "only {} of {connections} slow clients of cycle {} had begun after {most:?}",
                crowd.begun(),
                cycle + 1
            ));
        }
        std::thread::sleep(super::POLL);
        tick(crowd.open());
    }
    None
}

fn wait(time: Duration, interrupted: &AtomicBool, tick: &mut dyn FnMut()) {
    let began = Instant::now();
    while began.elapsed() < time && !interrupted.load(Ordering::Relaxed) {
        std::thread::sleep(super::POLL);
        tick();
    }
}

impl Effect {
    fn of(options: &Options, slice: Duration, cycles: Vec<Cycle>) -> Self {
        // Where nobody was answered there is no percentile, and a median of the others would hide that.
        let p99 = |times: fn(&Cycle) -> &Times| {
            let of_all = cycles.iter().map(times);
            let all_answered = of_all.clone().all(|times| times.count > 0);
            Spread::of(of_all.map(|times| times.p99 as f64 / 1e3)).filter(|_| all_answered)
        };
        let (without, with) = (p99(|cycle| &cycle.without), p99(|cycle| &cycle.with));
        let factor = with.as_ref().zip(without.as_ref()).map(|(with, without)| with.median / without.median);
        Self {
            slice_seconds: slice.as_secs_f64(),
            cycles,
            p99_without_microseconds: without,
            p99_with_microseconds: with,
            factor,
            max_factor: options.max_factor,
        }
    }

    /// What is said where the factor is too high.
    fn excess(&self) -> Option<String> {
        let (factor, most) = self.factor.zip(self.max_factor)?;
        (factor > most).then(|| {
            format!(
                "slow clients made the p99 of ordinary requests {factor:.2} times as high; {most} is allowed"
            )
        })
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "ordinary requests, {} slices of {:.1} s each without and with slow clients, p99 of each:",
            self.cycles.len(),
            self.slice_seconds
        )?;
        for (name, spread, of) in [
            ("without", &self.p99_without_microseconds, (|cycle| &cycle.without) as fn(&Cycle) -> &Times),
            ("with", &self.p99_with_microseconds, |cycle| &cycle.with),
        ] {
            let Some(spread) = spread else { continue };
            let all: Vec<String> =
                self.cycles.iter().map(|cycle| format_nanoseconds(of(cycle).p99)).collect();
            let median = format_nanoseconds((spread.median * 1e3) as u64);
            writeln!(formatter, "  {name:<7} median {median} ({})", all.join(", "))?;
        }
        match self.factor {
            Some(factor) => writeln!(formatter, "  factor  {factor:.2}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        run::{histogram, record},
        slow::Kind,
    };

    fn options(max_factor: f64) -> Options {
        Options {
            request: run::Options::new("http://127.0.0.1/"),
            kind: Kind::Body,
            pace: Duration::from_secs(1),
            seed: 1,
            probe_rate: Some(500.0),
            probe_url: None,
            cycles: 3,
            max_factor: Some(max_factor),
            cut_within: None,
        }
    }

    /// Slices with these 99th percentiles; of those with 0, nobody was answered.
    fn cycles(of_all: &[(u64, u64)]) -> Vec<Cycle> {
        let times = |milliseconds: u64| {
            let mut histogram = histogram();
            if milliseconds > 0 {
                record(&mut histogram, Duration::from_millis(milliseconds));
            }
            Times::of(&histogram)
        };
        let cycle = |&(without, with)| Cycle { without: times(without), with: times(with), open: 4 };
        of_all.iter().map(cycle).collect()
    }

    #[test]
    fn medians_are_compared_and_judged() {
        let slice = Duration::from_secs(1);
        let effect = Effect::of(&options(2.0), slice, cycles(&[(4, 90), (2, 6), (1, 1)]));
        assert!((effect.factor.unwrap() - 3.0).abs() < 0.01, "{effect}");
        assert!(effect.excess().unwrap().contains("3.00 times as high; 2 is allowed"));
        let text = effect.to_string();
        assert!(text.contains("without median 2.00ms (4.00ms, 2.00ms, 1.00ms)"), "{text}");
        assert!(text.contains("factor  3.00"), "{text}");
        assert_eq!(Effect::of(&options(3.5), slice, cycles(&[(2, 6)])).excess(), None);
    }

    #[test]
    fn without_answers_there_is_no_factor() {
        for of_all in [&[][..], &[(2, 6), (0, 6), (2, 6)], &[(2, 0)]] {
            let effect = Effect::of(&options(2.0), Duration::from_secs(1), cycles(of_all));
            assert_eq!((effect.factor, effect.excess()), (None, None), "{effect}");
        }
    }

    #[test]
    fn a_slice_has_enough_requests() {
        let sliced = |seconds| slice(&options(2.0), Duration::from_secs(seconds));
        assert_eq!(sliced(12).unwrap(), Duration::from_secs(2));
        let error = sliced(5).unwrap_err().to_string();
        assert!(error.contains("6 slices of 0.833 s would have 417 ordinary requests each"), "{error}");
    }
}

//! Whether the generator itself kept up: the same rule for a run, the trials of a search, and a comparison at a rate.

use crate::units::format_nanoseconds;

/// Above this share of its time, a generator thread is taken for the bottleneck.
pub(crate) const BUSY_LIMIT: f64 = 0.90;
/// The kernel counts CPU time by its tick of up to 10 ms, so shares of less time than this say nothing.
const SHORTEST_BUSY_SECONDS: f64 = 0.2;
/// A load at a rate must send this share of what was due.
const SENT_SHARE: f64 = 0.99;
/// Requests may be sent this much later than they are due, at the 99th percentile.
const SEND_LAG_LIMIT_NANOSECONDS: u64 = 2_000_000;
/// The share of requests that makes what they waited for the cause of a large send lag.
const CAUSE_SHARE: f64 = 0.01;

/// What the rule is about.
pub(crate) struct Generator {
    /// The share of their time in which its threads ran or waited for a CPU, and of how many seconds.
    pub(crate) busy_share: f64,
    pub(crate) seconds: f64,
    /// Measured requests that were made, and those that were due and never sent.
    pub(crate) requests: u64,
    pub(crate) missed: u64,
    /// The 99th percentile of send lag, in nanoseconds; 0 in a closed loop.
    pub(crate) lag_p99: u64,
    /// Requests, those never sent included, that waited for a connection that was busy, and for one that was still being made.
    pub(crate) waited_for_connection: u64,
    pub(crate) waited_for_set_up: u64,
    pub(crate) connections: usize,
}

/// What a late request waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// For an answer on one of the connections: the target's doing, or too few connections.
    BusyConnections,
    /// For connections that were being made when the load began.
    SetUp,
    /// For the generator.
    Generator,
}

impl Generator {
    /// Its threads were the bottleneck.
    pub(crate) fn busy(&self) -> Option<String> {
        (self.busy_share > BUSY_LIMIT && self.seconds >= SHORTEST_BUSY_SECONDS).then(|| {
            format!(
                "the generator was a bottleneck itself: its threads ran or waited for a CPU {:.0} % of the time (limit {:.0} %)",
                self.busy_share * 100.0,
                BUSY_LIMIT * 100.0
            )
        })
    }

    /// The share of due requests that were never sent.
    pub(crate) fn missed_share(&self) -> f64 {
        let due = self.requests + self.missed;
        if due == 0 { 0.0 } else { self.missed as f64 / due as f64 }
    }

    /// Too much of what was due was never sent.
    pub(crate) fn missed(&self) -> Option<String> {
        let due = self.requests + self.missed;
        ((self.requests as f64) < due as f64 * SENT_SHARE).then(|| {
            format!(
                "{} of {due} requests that were due were never sent: {}",
                self.missed,
                match self.cause() {
                    Cause::BusyConnections => format!(
                        "the target, or {} connections, can't keep up with the rate",
                        self.connections
                    ),
                    Cause::SetUp => "connections were still being made".to_owned(),
                    Cause::Generator => "the generator did not keep up with the rate itself".to_owned(),
                }
            )
        })
    }

    /// Requests were sent late.
    pub(crate) fn late(&self) -> Option<String> {
        (self.lag_p99 > SEND_LAG_LIMIT_NANOSECONDS).then(|| {
            format!(
                "requests were sent late, {} at the 99th percentile (limit {}); {}",
                format_nanoseconds(self.lag_p99),
                format_nanoseconds(SEND_LAG_LIMIT_NANOSECONDS),
                match self.cause() {
                    Cause::BusyConnections =>
                        "all connections were busy: more are needed, or the target is too slow",
                    Cause::SetUp =>
                        "connections were still being made: a warm-up keeps that out of what is measured",
                    Cause::Generator => "the generator was late itself",
                }
            )
        })
    }

    /// What late and missed requests waited for.
    pub(crate) fn cause(&self) -> Cause {
        let due = self.requests + self.missed;
        let is_notable = |count: u64| count as f64 > due as f64 * CAUSE_SHARE;
        match () {
            () if is_notable(self.waited_for_connection) => Cause::BusyConnections,
            () if is_notable(self.waited_for_set_up) => Cause::SetUp,
            () => Cause::Generator,
        }
    }

    /// Why the generator, and not the target, made this load worse than it should be.
    pub(crate) fn own_faults(&self) -> Vec<String> {
        let own = |why: Option<String>| why.filter(|_| self.cause() != Cause::BusyConnections);
        [self.busy(), own(self.missed()), own(self.late())].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> Generator {
        Generator {
            busy_share: 0.5,
            seconds: 1.0,
            requests: 1000,
            missed: 5,
            lag_p99: 1_000_000,
            waited_for_connection: 0,
            waited_for_set_up: 0,
            connections: 4,
        }
    }

    #[test]
    fn each_limit_is_told_with_its_cause() {
        assert!(fine().own_faults().is_empty());
        let late = |busy: u64, set_up: u64| Generator {
            lag_p99: 3_000_000,
            waited_for_connection: busy,
            waited_for_set_up: set_up,
            ..fine()
        };
        for (generator, expected, own) in [
            (late(0, 0), "the generator was late itself", true),
            (late(10, 20), "connections were still being made", true),
            (late(11, 11), "all connections were busy", false),
            (Generator { missed: 100, ..fine() }, "100 of 1100 requests that were due were never sent", true),
            (Generator { missed: 100, ..late(500, 0) }, "or 4 connections, can't keep up", false),
            // Nothing was answered at all: what was never sent tells what it waited for.
            (
                Generator { requests: 4, missed: 4996, lag_p99: 0, waited_for_connection: 4996, ..fine() },
                "or 4 connections, can't keep up",
                false,
            ),
            (Generator { busy_share: 0.95, ..fine() }, "ran or waited for a CPU 95 %", true),
        ] {
            let told: Vec<String> =
                [generator.busy(), generator.missed(), generator.late()].into_iter().flatten().collect();
            assert!(told[0].contains(expected), "{told:?}");
            assert_eq!(!generator.own_faults().is_empty(), own, "{told:?}");
        }
        assert_eq!(Generator { busy_share: 1.0, seconds: 0.1, ..fine() }.busy(), None);
    }
}

//! A run's intervals as CSV, a line each.

use std::{fmt::Write as _, io, time::SystemTime};

use super::Sink;
use crate::{
    Verdict,
    run::{Interval, Observer, Snapshot},
};

const VERDICTS: [Verdict; 5] =
    [Verdict::Passed, Verdict::Blocked, Verdict::Unresolved, Verdict::Closed, Verdict::Error];

/// Writes the intervals of a run while it goes on. Times are in nanoseconds; what there is not is empty.
#[derive(Debug)]
pub struct Csv<W>(Sink<W>);

impl<W: io::Write> Csv<W> {
    /// Nothing is written before the run begins.
    pub const fn new(output: W) -> Self {
        Self(Sink::new(output))
    }

    /// # Errors
    ///
    /// The first error of writing; what came before it is there.
    pub fn finish(self) -> io::Result<()> {
        self.0.finish()
    }
}

impl<W: io::Write> Observer for Csv<W> {
    /// Writes the line with the names of the columns.
    fn started(&mut self, _measured_from: SystemTime) {
        let verdicts: Vec<&str> = VERDICTS.iter().map(|verdict| verdict.name()).collect();
        self.0.write(&format!(
            "from_seconds,seconds,target_rate,rate,answers,errors,{},p50,p90,p99,p99_9,max,send_lag_p99,generator_busy,resident_bytes\n",
            verdicts.join(",")
        ));
    }

    fn interval(&mut self, snapshot: &Snapshot<'_>) {
        self.0.write(&line(snapshot.interval()));
    }
}

fn line(interval: &Interval) -> String {
    let optional = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
    let time = |value: u64| optional((interval.answers > 0).then_some(value));
    let mut line = format!(
        "{},{},{},{:.3},{},{}",
        interval.from_seconds,
        interval.seconds,
        interval.target_rate.map_or_else(String::new, |rate| rate.to_string()),
        interval.rate,
        interval.answers,
        interval.errors
    );
    // Writing to a string can't fail.
    for verdict in VERDICTS {
        let _written = write!(line, ",{}", interval.verdicts.get(&verdict).copied().unwrap_or(0));
    }
    let _written = writeln!(
        line,
        ",{},{},{},{},{},{},{:.4},{}",
        time(interval.p50),
        time(interval.p90),
        time(interval.p99),
        time(interval.p99_9),
        time(interval.max),
        interval.send_lag_p99.map_or_else(String::new, time),
        interval.generator_busy,
        optional(interval.resident_bytes)
    );
    line
}

//! HdrHistogram interval logs, version 1.3: what HistogramLogProcessor, HistogramLogAnalyzer and the readers of other
//! languages take.

use std::{
    fmt::Write as _,
    io,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::Engine;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};

use super::Sink;
use crate::run::{Observer, Snapshot};

/// The log's column of maxima is in milliseconds, as the tools expect; the histograms are in nanoseconds.
const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;

/// Writes the histograms of each interval while a run goes on, a line for each tag: `service`, `first_byte`, `connect`,
/// `handshake_full`, `handshake_resumed`, in an open loop `response` and `send_lag`, and `service:LABEL` and so on for each
/// label of a scenario.
pub struct HdrLog<W> {
    sink: Sink<W>,
    serializer: V2DeflateSerializer,
}

impl<W: io::Write> HdrLog<W> {
    /// Nothing is written before the run begins.
    pub fn new(output: W) -> Self {
        Self { sink: Sink::new(output), serializer: V2DeflateSerializer::new() }
    }

    /// # Errors
    ///
    /// The first error of writing; what came before it is there.
    pub fn finish(self) -> io::Result<()> {
        self.sink.finish()
    }
}

impl<W: io::Write> Observer for HdrLog<W> {
    /// Writes the head of the log.
    fn started(&mut self, measured_from: SystemTime) {
        let since_1970 = measured_from.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        self.sink.write(&format!(
            "#[Histogram log format version 1.3]\n#[Logged with weir-loadgen {}; values are nanoseconds]\n\
             #[BaseTime: {since_1970:.3} (seconds since epoch)]\n#[StartTime: {since_1970:.3} (seconds since epoch)]\n\
             \"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n",
            env!("CARGO_PKG_VERSION")
        ));
    }

    fn interval(&mut self, snapshot: &Snapshot<'_>) {
        let interval = snapshot.interval();
        let mut lines = String::new();
        for (name, histogram) in snapshot.histograms() {
            let mut bytes = Vec::new();
            if let Err(error) = self.serializer.serialize(&histogram, &mut bytes) {
                self.sink.error.get_or_insert_with(|| io::Error::other(error.to_string()));
                return;
            }
            // Writing to a string can't fail.
            let _written = writeln!(
                lines,
                "Tag={},{:.3},{:.3},{:.6},{}",
                tag(&name),
                interval.from_seconds,
                interval.seconds,
                histogram.max() as f64 / NANOSECONDS_PER_MILLISECOND,
                base64::engine::general_purpose::STANDARD.encode(&bytes)
            );
        }
        self.sink.write(&lines);
    }
}

/// A tag ends at a comma, space or line end, so a label with these has others in their place.
fn tag(name: &str) -> String {
    name.chars().map(|c| if c == ',' || c.is_whitespace() || c.is_control() { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_hold_no_separators() {
        assert_eq!(tag("service:a, b\n"), "service:a__b_");
    }
}

//! A run's report as text for people.

use std::fmt;

use super::{
    report::{Report, Times},
    soak::Soak,
    statistics::Surprises,
};

impl Report {
    fn write_labels(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.labels.keys().map(|label| label.len()).max().unwrap_or(0);
        for (name, label) in &self.labels {
            let times = label.times.main();
            write!(
                formatter,
                "  label   {name:<width$}  p50 {:>7}  p99 {:>7} ",
                times.text(times.p50),
                times.text(times.p99)
            )?;
            for (verdict, count) in &label.verdicts {
                write!(formatter, " {}: {count}", verdict.name())?;
            }
            if let Some(Surprises { count, expected, example }) = &label.surprises {
                write!(formatter, "  SURPRISES: {count}, expected {expected}, first met {example}")?;
            }
            writeln!(formatter)?;
        }
        Ok(())
    }

    /// The second quarter of the run beside its last, and what became worse.
    fn write_soak(&self, soak: &Soak, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = |value: f64| format!("{:.2} ms", value / 1e6);
        let rate = |value: f64| match self.target_rate {
            Some(_) => format!("{:.1} % of due", value * 100.0),
            None => format!("{value:.0}/s"),
        };
        let mebibytes = |value: f64| format!("{:.1} MiB", value / f64::from(1 << 20));
        write!(
            formatter,
            "  soak    p99 {} -> {}, answers {} -> {}",
            milliseconds(soak.p99.early),
            milliseconds(soak.p99.late),
            rate(soak.rate.early),
            rate(soak.rate.late)
        )?;
        if let Some(memory) = soak.resident_bytes {
            write!(formatter, ", memory {} -> {}", mebibytes(memory.early), mebibytes(memory.late))?;
        }
        writeln!(formatter, " (second quarter -> last)")?;
        soak.findings.iter().try_for_each(|finding| writeln!(formatter, "  SOAK    {finding}"))
    }

    fn is_of_handshakes(&self) -> bool {
        self.work == "handshakes"
    }

    /// Where to, how, and how many.
    fn write_opening(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_handshakes = self.is_of_handshakes();
        let (requests, answers) =
            if is_handshakes { ("handshakes", "handshakes") } else { ("requests", "answers") };
        let meaning = match (self.target_rate, is_handshakes) {
            (None, _) => "times are service times, without the waiting that a fixed load would see",
            (Some(_), false) => "response times count from when a request was due",
            (Some(_), true) => "each request is a handshake, whose response time counts from when it was due",
        };
        writeln!(formatter, "{}", self.url)?;
        writeln!(formatter, "  {}: {meaning}", self.load)?;
        writeln!(formatter, "  {} connections, {} threads on {}", self.connections, self.threads, self.io)?;
        let (count, seconds) = (self.requests, self.elapsed_seconds);
        write!(formatter, "  {count} {requests} in {seconds:.2} s: {:.1} {answers}/s", self.rate)?;
        if !is_handshakes && seconds > 0.0 {
            write!(formatter, ", {:.2} MB/s received", self.received_bytes as f64 / seconds / 1e6)?;
        }
        writeln!(formatter)
    }

    fn write_times(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["p50", "p90", "p99", "p99.9", "max", "mean"];
        write!(formatter, "  {:<14}", "")?;
        header.iter().try_for_each(|name| write!(formatter, "{name:>10}"))?;
        writeln!(formatter)?;
        let some = |times| Some::<&Times>(times).filter(|times| times.count > 0);
        let first_byte = Some(&self.times.first_byte_time).filter(|_| !self.is_of_handshakes());
        let rows = [
            ("response time", self.times.response_time.as_ref()),
            ("service time", Some(&self.times.service_time)),
            ("first byte", first_byte),
            ("send lag", self.times.send_lag.as_ref()),
            ("TCP connect", some(&self.connect_time)),
            ("full TLS", some(&self.handshakes.full_time)),
            ("resumed TLS", some(&self.handshakes.resumed_time)),
        ];
        for (name, times) in rows.into_iter().filter_map(|(name, times)| times.map(|times| (name, times))) {
            let values = [times.p50, times.p90, times.p99, times.p99_9, times.max, times.mean as u64];
            write!(formatter, "  {name:<14}")?;
            values.iter().try_for_each(|value| write!(formatter, "{:>10}", times.text(*value)))?;
            writeln!(formatter)?;
        }
        Ok(())
    }

    /// Statuses, errors, labels and handshakes.
    fn write_outcomes(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statuses: Vec<String> =
            self.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        if !statuses.is_empty() {
            writeln!(formatter, "  status  {}", statuses.join(", "))?;
        }
        for (kind, error) in &self.errors {
            writeln!(formatter, "  error   {kind}: {} ({})", error.count, error.example)?;
        }
        self.write_labels(formatter)?;
        let (full, resumed) = (self.handshakes.full, self.handshakes.resumed);
        if full + resumed > 0 {
            writeln!(formatter, "  TLS     {full} full, {resumed} resumed handshakes")?;
        }
        Ok(())
    }

    fn write_own_cpu(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("  own CPU ")?;
        if self.times.service_time.count > 0 {
            let one = if self.is_of_handshakes() { "handshake" } else { "answer" };
            write!(formatter, "{:.1} us per {one}, ", self.cpu.microseconds_per_answer)?;
        }
        writeln!(formatter, "busy {:.0} %", self.cpu.busy_share * 100.0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_opening(formatter)?;
        self.write_times(formatter)?;
        self.write_outcomes(formatter)?;
        self.write_own_cpu(formatter)?;
        if let Some(soak) = &self.soak {
            self.write_soak(soak, formatter)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(formatter, "  note    {note}"))?;
        if self.valid {
            return writeln!(formatter, "  valid");
        }
        writeln!(formatter, "  NOT VALID")?;
        self.reasons.iter().try_for_each(|reason| writeln!(formatter, "    {reason}"))
    }
}

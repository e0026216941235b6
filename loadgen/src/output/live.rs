//! A run while it goes on, for people: a block that is drawn anew on a terminal, or a line for each interval elsewhere.

use std::{collections::BTreeMap, fmt::Write as _, io, time::Duration};

use super::Sink;
use crate::{
    Verdict,
    run::{Interval, Limit, Observer, Options, Snapshot},
    units::format_nanoseconds,
};

/// Lines are cut here, so that the block has the height that is counted on.
const MOST_COLUMNS: usize = 79;
/// How many intervals the line of bars shows.
const MOST_BARS: usize = 40;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Shows the intervals of a run.
#[derive(Debug)]
pub struct Live<W> {
    sink: Sink<W>,
    title: String,
    limit: Limit,
    redraws: bool,
    /// How many lines the last block had.
    drawn: usize,
    rates: Vec<f64>,
    /// Made so far, those included that a scenario wants closed in place of an answer.
    requests: u64,
    errors: u64,
    verdicts: BTreeMap<Verdict, u64>,
}

impl<W: io::Write> Live<W> {
    /// With `redraws` one block that is drawn again and again with a terminal's control sequences.
    pub fn new(output: W, options: &Options, redraws: bool) -> Self {
        Self {
            sink: Sink::new(output),
            title: format!("{}  {}", options.url, options.load),
            limit: options.limit,
            redraws,
            drawn: 0,
            rates: Vec::new(),
            requests: 0,
            errors: 0,
            verdicts: BTreeMap::new(),
        }
    }

    fn block(&self, snapshot: &Snapshot<'_>) -> Vec<String> {
        let now = snapshot.interval();
        let end = now.from_seconds + now.seconds;
        let progress = match self.limit {
            Limit::Duration(all) => format!("{end:.1} s of {:.1} s", all.as_secs_f64()),
            Limit::Requests(all) => format!("{end:.1} s, {} of {all} requests", self.requests),
        };
        let due = now.target_rate.map_or_else(String::new, |rate| format!(" of {rate:.0} due"));
        let times = if now.target_rate.is_some() { "response" } else { "service" };
        let lag = now.send_lag_p99.map_or_else(String::new, |lag| format!("p99 {}", time_text(now, lag)));
        let memory = now.resident_bytes.map_or_else(String::new, |bytes| {
            format!("   watched memory {:.1} MiB", bytes as f64 / f64::from(1 << 20))
        });
        let [p50, p90, p99, p99_9, max] =
            [now.p50, now.p90, now.p99, now.p99_9, now.max].map(|value| time_text(now, value));
        vec![
            self.title.clone(),
            format!("  time      {progress}"),
            format!("  rate      {:.0} answers/s{due}", now.rate),
            format!("            {}", self.bars()),
            format!("  {times:<9} p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p99_9}  max {max}"),
            format!("  send lag  {lag}   generator busy {:.0} %{memory}", now.generator_busy * 100.0),
            format!("  verdicts  {}", self.verdict_text()),
            format!("  errors    {}", self.errors),
        ]
    }

    fn verdict_text(&self) -> String {
        let texts: Vec<String> =
            self.verdicts.iter().map(|(verdict, count)| format!("{} {count}", verdict.name())).collect();
        texts.join("  ")
    }

    fn bars(&self) -> String {
        let highest = self.rates.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        let bar =
            |rate: &f64| BARS[((rate / highest * (BARS.len() - 1) as f64) as usize).min(BARS.len() - 1)];
        self.rates.iter().map(bar).collect()
    }
}

/// A time of an interval; without answers there is none.
fn time_text(interval: &Interval, nanoseconds: u64) -> String {
    if interval.answers == 0 { "-".to_owned() } else { format_nanoseconds(nanoseconds) }
}

impl<W: io::Write> Observer for Live<W> {
    fn interval(&mut self, snapshot: &Snapshot<'_>) {
        let now = snapshot.interval();
        self.requests += snapshot.requests();
        self.errors += now.errors;
        for (verdict, count) in &now.verdicts {
            *self.verdicts.entry(*verdict).or_default() += count;
        }
        if self.rates.len() == MOST_BARS {
            self.rates.remove(0);
        }
        self.rates.push(now.rate);
        let mut text = String::new();
        if self.redraws {
            if self.drawn > 0 {
                // Writing to a string can't fail.
                let _written = write!(text, "\x1b[{}A", self.drawn);
            }
            let block = self.block(snapshot);
            self.drawn = block.len();
            for line in block {
                let line: String =
                    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST_COLUMNS).collect();
                let _written = writeln!(text, "\x1b[2K{line}");
            }
        } else {
            let lag = now
                .send_lag_p99
                .map_or_else(String::new, |lag| format!("  send lag p99 {}", time_text(now, lag)));
            let at = Duration::from_secs_f64(now.from_seconds + now.seconds);
            let _written = writeln!(
                text,
                "{:>8.1} s  {:.0} answers/s  p50 {}  p99 {}  max {}{lag}  errors {}  {}",
                at.as_secs_f64(),
                now.rate,
                time_text(now, now.p50),
                time_text(now, now.p99),
                time_text(now, now.max),
                self.errors,
                self.verdict_text()
            );
        }
        // Who closed the terminal doesn't want to know.
        self.sink.write(&text);
    }
}

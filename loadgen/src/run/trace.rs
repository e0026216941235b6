//! Recorded arrivals: the times at which requests came, read from a file.

use std::{
    fmt, fs,
    io::{self, BufRead, BufReader},
    path::Path,
};

use serde::Deserialize;

use crate::units::parse_duration;

/// The most requests of one trace, and the most bytes of one line.
const MOST_REQUESTS: usize = 20_000_000;
const LINE_LIMIT_BYTES: usize = 1 << 20;
/// The longest trace, at the speed that was asked for: a year.
const MOST_SECONDS: f64 = 365.0 * 24.0 * 3600.0;

/// Why a trace can't be read: the file, the line, and what was expected.
#[derive(Debug)]
pub struct TraceError(String);

impl fmt::Display for TraceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for TraceError {}

/// A line of a log in JSON; other fields than this are nothing to us.
#[derive(Deserialize)]
struct Logged {
    time: Moment,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Moment {
    Seconds(f64),
    Text(String),
}

/// Reads the times of a trace, in seconds from its first request, in order.
///
/// A line is a time in seconds (`12.5`) or with a unit (`12500ms`), or a JSON object whose `time` is RFC 3339 or a number of
/// seconds, such as a line of an access log. Empty lines and lines that begin with `#` are left out. With a `speed` of 2 the
/// trace takes half of its time.
///
/// # Errors
///
/// The file can't be read, has no times, or a line is none.
pub fn read_trace(path: &Path, speed: f64) -> Result<Vec<f64>, TraceError> {
    let place = |why: &dyn fmt::Display| TraceError(format!("{}: {why}", path.display()));
    if !(speed.is_finite() && speed > 0.0) {
        return Err(TraceError(format!("a speed of {speed} is not over 0")));
    }
    let file = fs::File::open(path).map_err(|error| place(&format!("can't read it: {error}")))?;
    read_lines(BufReader::new(file), speed).map_err(|why| place(&why))
}

fn read_lines(mut input: impl BufRead, speed: f64) -> Result<Vec<f64>, String> {
    let mut times = Vec::new();
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        let wrong = |why: &dyn fmt::Display| format!("line {number}: {why}");
        let mut limited = io::Read::take(&mut input, LINE_LIMIT_BYTES as u64);
        if limited.read_line(&mut line).map_err(|error| wrong(&error))? == 0 {
            break;
        }
        if line.len() == LINE_LIMIT_BYTES {
            return Err(wrong(&format!("it is longer than {LINE_LIMIT_BYTES} bytes")));
        }
        let text = line.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if times.len() == MOST_REQUESTS {
            return Err(wrong(&format!("there are more than {MOST_REQUESTS} requests")));
        }
        times.push(parse(text).map_err(|why| wrong(&why))?);
    }
    // Logs are written when answers end, so their lines are not in the order of arrivals.
    times.sort_unstable_by(f64::total_cmp);
    let Some(&first) = times.first() else { return Err("there is no time in it".to_owned()) };
    times.iter_mut().for_each(|time| *time = (*time - first) / speed);
    match times.last() {
        Some(&last) if last.is_nan() || last > MOST_SECONDS => {
            Err(format!("its last request is {last:e} s behind its first, and a year is the most"))
        }
        _ => Ok(times),
    }
}

fn parse(text: &str) -> Result<f64, String> {
    let seconds = if text.starts_with('{') {
        let Logged { time } =
            serde_json::from_str(text).map_err(|error| format!("{error}; expected `time`"))?;
        match time {
            Moment::Seconds(seconds) => seconds,
            Moment::Text(text) => {
                let time: jiff::Timestamp =
                    text.parse().map_err(|error| format!("`{text}` is no time: {error}"))?;
                time.as_nanosecond() as f64 / 1e9
            }
        }
    } else if let Ok(seconds) = text.parse() {
        seconds
    } else {
        parse_duration(text)?.as_secs_f64()
    };
    if seconds.is_finite() && seconds >= 0.0 { Ok(seconds) } else { Err(format!("`{text}` is no time")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_units_and_logs_are_read() {
        let text = "# arrivals\n10\n\n10.5\n10250ms\n";
        assert_eq!(read_lines(text.as_bytes(), 1.0).unwrap(), [0.0, 0.25, 0.5]);
        let log = "{\"time\":\"2026-11-22T05:00:01.500Z\",\"more\":1}\n{\"time\":\"2026-11-22T05:00:00Z\"}\n";
        assert_eq!(read_lines(log.as_bytes(), 2.0).unwrap(), [0.0, 0.75]);
        assert_eq!(read_lines(&b"{\"time\":3}\n{\"time\":4.5}"[..], 1.0).unwrap(), [0.0, 1.5]);
    }

    #[test]
    fn what_is_no_time_is_named_with_its_line() {
        for (text, expected) in [
            ("", "there is no time"),
            ("1\nx", "line 2: `x` is not a time"),
            ("nan", "line 1: `nan` is no time"),
            ("-3", "line 1: `-3` is no time"),
            ("{\"at\":1}", "line 1: missing field `time`"),
            ("{\"time\":\"soon\"}", "line 1: `soon` is no time"),
            ("{\"time\":-1}", "line 1: `{\"time\":-1}` is no time"),
            ("0\n1e300", "its last request is 1e300 s behind its first"),
            ("1e999", "line 1: `1e999` is no time"),
        ] {
            let error = read_lines(text.as_bytes(), 1.0).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        assert!(
            read_trace(Path::new("/gone"), 1.0).unwrap_err().to_string().contains("/gone: can't read it")
        );
        assert!(read_trace(Path::new("/gone"), 0.0).is_err());
        assert!(read_trace(Path::new("/dev/zero"), 1.0).unwrap_err().to_string().contains("is longer than"));
        assert!(read_lines(&b"0\n1\n"[..], 1e-300).is_err());
    }
}

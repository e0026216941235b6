//! Sizes (`"64KiB"`) and times (`"30s"`): exact, one number and one unit, nothing rounded.

use std::time::Duration;

const SIZE_UNITS: [(&str, u64); 5] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// Name and microseconds.
const TIME_UNITS: [(&str, u64); 6] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60 * 1_000_000),
    ("h", 3_600 * 1_000_000),
    ("d", 86_400 * 1_000_000),
];

/// Other spellings, lower-cased, and the unit that was probably meant.
const SIZE_SPELLINGS: [(&str, &str); 13] = [
    ("b", "B"),
    ("k", "KiB"),
    ("kb", "KiB"),
    ("kib", "KiB"),
    ("m", "MiB"),
    ("mb", "MiB"),
    ("mib", "MiB"),
    ("g", "GiB"),
    ("gb", "GiB"),
    ("gib", "GiB"),
    ("t", "TiB"),
    ("tb", "TiB"),
    ("tib", "TiB"),
];
const TIME_SPELLINGS: [(&str, &str); 20] = [
    ("usec", "us"),
    ("µs", "us"),
    ("msec", "ms"),
    ("millis", "ms"),
    ("milliseconds", "ms"),
    ("S", "s"),
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("M", "m"),
    ("min", "m"),
    ("mins", "m"),
    ("minute", "m"),
    ("minutes", "m"),
    ("hour", "h"),
    ("hours", "h"),
    ("hr", "h"),
    ("day", "d"),
    ("days", "d"),
];

/// Why a text is no size or no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnitError {
    /// Not a whole number and a unit.
    Form,
    /// A number alone.
    NoUnit,
    /// A unit that isn't known; perhaps the one that was meant.
    UnknownUnit(Option<&'static str>),
    /// More than 64 bits hold.
    TooLarge,
}

/// Bytes of `"64KiB"`. `"0"` needs no unit.
pub(super) fn parse_size(text: &str) -> Result<u64, UnitError> {
    parse(text, &SIZE_UNITS, |unit| {
        let lower = unit.to_ascii_lowercase();
        SIZE_SPELLINGS.iter().find(|(spelling, _)| *spelling == lower).map(|(_, meant)| *meant)
    })
}

/// The time of `"30s"`, at microsecond resolution. `"0"` needs no unit.
pub(super) fn parse_time(text: &str) -> Result<Duration, UnitError> {
    parse(text, &TIME_UNITS, |unit| {
        let lower = unit.to_lowercase();
        TIME_SPELLINGS
            .iter()
            .find(|(spelling, _)| *spelling == unit || *spelling == lower)
            .map(|(_, meant)| *meant)
    })
    .map(Duration::from_micros)
}

fn parse(
    text: &str,
    units: &[(&'static str, u64)],
    suggest: impl Fn(&str) -> Option<&'static str>,
) -> Result<u64, UnitError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() || (number.len() > 1 && number.starts_with('0')) {
        return Err(UnitError::Form);
    }
    let number: u64 = number.parse().map_err(|_| UnitError::TooLarge)?;
    if unit.is_empty() {
        return if number == 0 { Ok(0) } else { Err(UnitError::NoUnit) };
    }
    if let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) {
        return number.checked_mul(*factor).ok_or(UnitError::TooLarge);
    }
    if unit.chars().all(|c| c.is_alphabetic()) {
        Err(UnitError::UnknownUnit(suggest(unit)))
    } else {
        Err(UnitError::Form)
    }
}

/// A size in its largest exact unit: `64KiB`, `1025B`, `0`.
pub(super) fn format_size(bytes: u64) -> String {
    format(bytes, &SIZE_UNITS)
}

/// A time in its largest exact unit: `30s`, `1500ms`, `0`.
pub(super) fn format_time(microseconds: u64) -> String {
    format(microseconds, &TIME_UNITS)
}

fn format(value: u64, units: &[(&str, u64)]) -> String {
    let exact = units.iter().rev().find(|(_, factor)| value.is_multiple_of(*factor));
    match exact {
        Some((unit, factor)) if value > 0 => format!("{}{unit}", value / factor),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact() {
        for (text, bytes) in [
            ("0", 0),
            ("0B", 0),
            ("0KiB", 0),
            ("1B", 1),
            ("64KiB", 65_536),
            ("1MiB", 1_048_576),
            ("3GiB", 3_221_225_472),
            ("2TiB", 2_199_023_255_552),
            ("18446744073709551615B", u64::MAX),
            ("16777215TiB", 16_777_215 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn times_are_exact() {
        for (text, micros) in [
            ("0", 0),
            ("0s", 0),
            ("7us", 7),
            ("1500ms", 1_500_000),
            ("30s", 30_000_000),
            ("5m", 300_000_000),
            ("2h", 7_200_000_000),
            ("1d", 86_400_000_000),
        ] {
            assert_eq!(parse_time(text), Ok(Duration::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_or_time_says_why() {
        use UnitError::{Form, NoUnit, TooLarge, UnknownUnit};
        for (text, error) in [
            ("", Form),
            ("KiB", Form),
            ("-1KiB", Form),
            ("+1KiB", Form),
            ("1.5MiB", Form),
            ("1 KiB", Form),
            (" 1KiB", Form),
            ("1KiB ", Form),
            ("1_000B", Form),
            ("010B", Form),
            ("1KiB1B", Form),
            ("64", NoUnit),
            ("64kib", UnknownUnit(Some("KiB"))),
            ("64KB", UnknownUnit(Some("KiB"))),
            ("64k", UnknownUnit(Some("KiB"))),
            ("64PiB", UnknownUnit(None)),
            ("18446744073709551616B", TooLarge),
            ("16777216TiB", TooLarge),
        ] {
            assert_eq!(parse_size(text), Err(error), "{text}");
        }
        for (text, error) in [
            ("1m30s", Form),
            ("30", NoUnit),
            ("30sec", UnknownUnit(Some("s"))),
            ("30S", UnknownUnit(Some("s"))),
            ("5min", UnknownUnit(Some("m"))),
            ("5w", UnknownUnit(None)),
            ("213503982334602d", TooLarge),
        ] {
            assert_eq!(parse_time(text), Err(error), "{text}");
        }
    }

    #[test]
    fn what_is_written_out_reads_back() {
        for value in [0, 1, 999, 1000, 1023, 1024, 1025, 3_600_000_000, 65_536, 90_000_000, u64::MAX] {
            assert_eq!(parse_size(&format_size(value)), Ok(value));
            assert_eq!(parse_time(&format_time(value)), Ok(Duration::from_micros(value)));
        }
        assert_eq!(format_size(65_536), "64KiB");
        assert_eq!(format_time(1_500_000), "1500ms");
        assert_eq!(format_time(90_000_000), "90s");
    }
}

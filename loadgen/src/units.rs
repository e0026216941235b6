//! Reading and printing the units that people type: times (`10ms`) and sizes (`64KiB`).

use std::time::Duration;

/// The longest time that [`parse_duration`] takes: one year.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads a time such as `250us`, `10ms`, `1.5s`, `2m` or `1h`.
///
/// A unit is required, because a bare number could mean seconds to one reader and milliseconds to the next.
///
/// # Errors
///
/// A sentence that says what was found and what is allowed.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let seconds_per_unit = match unit {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => {
            return Err(format!(
                "`{text}` is not a time: write a number and one of ns, us, ms, s, m, h, as in `10ms`"
            ));
        }
    };
    let number: f64 =
        number.parse().map_err(|_| format!("`{text}` is not a time: `{number}` is not a positive number"))?;
    let duration = Duration::try_from_secs_f64(number * seconds_per_unit)
        .map_err(|_| format!("`{text}` is not a time: it must be zero or more and at most a year"))?;
    if duration > LONGEST {
        return Err(format!("`{text}` is too long: the longest time is a year"));
    }
    Ok(duration)
}

/// Reads a size in bytes such as `1000`, `64KiB`, `1MiB` or `2kB` (`KiB` is 1024 bytes, `kB` is 1000).
///
/// # Errors
///
/// A sentence that says what was found and what is allowed.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" | "k" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        _ => {
            return Err(format!(
                "`{text}` is not a size: write whole bytes or a number with KiB, MiB, GiB, kB, MB or GB"
            ));
        }
    };
    let number: u64 =
        number.parse().map_err(|_| format!("`{text}` is not a size: `{number}` is not a whole number"))?;
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large: sizes fit in 64 bits"))
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// Prints nanoseconds in the unit that reads best, with three significant digits: `812ns`, `1.24ms`.
#[must_use]
pub fn format_nanoseconds(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    let (scaled, unit) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds}ns"),
        1_000..1_000_000 => (value / 1e3, "us"),
        1_000_000..1_000_000_000 => (value / 1e6, "ms"),
        _ => (value / 1e9, "s"),
    };
    let decimals = if scaled < 10.0 {
        2
    } else if scaled < 100.0 {
        1
    } else {
        0
    };
    format!("{scaled:.decimals$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_unit_and_stay_in_range() {
        assert_eq!(parse_duration("10ms"), Ok(Duration::from_millis(10)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["10", "", "ms", "-1s", "1.2.3s", "9000h", "1d", "1e400s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_know_binary_and_decimal_units() {
        assert_eq!(parse_size("1000"), Ok(1000));
        assert_eq!(parse_size("64KiB"), Ok(65536));
        assert_eq!(parse_size("2kB"), Ok(2000));
        for bad in ["", "KiB", "1.5KiB", "-1", "1XB", "99999999999GiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_print_with_three_digits() {
        assert_eq!(format_nanoseconds(812), "812ns");
        assert_eq!(format_nanoseconds(1_240_000), "1.24ms");
        assert_eq!(format_nanoseconds(45_600), "45.6us");
        assert_eq!(format_nanoseconds(3_000_000_000), "3.00s");
    }
}

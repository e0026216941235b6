//! The Prometheus text format, version 0.0.4.
//!
//! Written by hand because the values live in arrays that workers own: a metrics library would bring counters and
//! locks of its own, and the usual one writes OpenMetrics only.

use super::histogram::{HistogramTotals, INSPECTION_BOUNDS_NANOS, REQUEST_BOUNDS_NANOS};
use super::registry::{Family, Kind, MetricsSnapshot};
use std::borrow::Cow;
use std::fmt::Write as _;

/// The media type of [`render`]'s result.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes all metrics as text.
pub fn render(snapshot: &MetricsSnapshot) -> String {
    let mut out = String::with_capacity(16 * 1024);
    for family in Family::ALL {
        let kind = match family.kind() {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        header(&mut out, family.name(), kind, family.help());
        for (labels, value) in snapshot.series(*family) {
            out.push_str(family.name());
            write_labels(&mut out, family.labels(), labels);
            let _ = writeln!(out, " {value}");
        }
    }
    let inspection = "Time that the inspection of a request took.";
    histogram(&mut out, "weir_inspection_seconds", inspection, &snapshot.inspection, INSPECTION_BOUNDS_NANOS);
    let request = "Time from the first byte of a request to the last byte of its answer.";
    histogram(&mut out, "weir_request_seconds", request, &snapshot.request, REQUEST_BOUNDS_NANOS);
    out
}

fn header(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String can't fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn write_labels(out: &mut String, names: &[&str], values: &[Cow<'static, str>]) {
    for (position, (name, value)) in names.iter().zip(values).enumerate() {
        out.push(if position == 0 { '{' } else { ',' });
        out.push_str(name);
        out.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    if !names.is_empty() && !values.is_empty() {
        out.push('}');
    }
}

fn histogram(out: &mut String, name: &str, help: &str, totals: &HistogramTotals, bounds_nanos: &[u64]) {
    header(out, name, "histogram", help);
    for bound in bounds_nanos {
        let _ = writeln!(out, "{name}_bucket{{le=\"{}\"}} {}", seconds(*bound), totals.count_up_to(*bound));
    }
    let count = totals.count();
    let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}");
    let _ = writeln!(out, "{name}_sum {}\n{name}_count {count}", seconds(totals.sum_nanos()));
}

/// Nanoseconds as a decimal number of seconds, exact and without trailing zeros.
fn seconds(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::histogram::LatencyHistogram;

    #[test]
    fn every_family_has_help_and_type_once() {
        let text = render(&MetricsSnapshot::default());
        for family in Family::ALL {
            let name = family.name();
            let kind = if family.kind() == Kind::Counter { "counter" } else { "gauge" };
            assert_eq!(text.matches(&format!("# TYPE {name} {kind}\n")).count(), 1, "{name}");
            assert_eq!(text.matches(&format!("# HELP {name} ")).count(), 1, "{name}");
            assert_eq!(name.ends_with("_total"), family.kind() == Kind::Counter, "{name}");
        }
    }

    #[test]
    fn label_values_are_escaped() {
        let mut snapshot = MetricsSnapshot::default();
        snapshot.add(Family::Requests, &["a\"b\\c\nd", "block", "pass"], 3);
        let expected = r#"weir_requests_total{server="a\"b\\c\nd",mode="block",verdict="pass"} 3"#;
        assert!(render(&snapshot).contains(&format!("\n{expected}\n")));
    }

    #[test]
    fn a_histogram_is_cumulative_and_in_seconds() {
        let recorded = LatencyHistogram::default();
        [500, 1_000, 1_001, 4_000, 200_000_000].into_iter().for_each(|nanos| recorded.record(nanos));
        let mut snapshot = MetricsSnapshot::default();
        recorded.add_to(&mut snapshot.inspection);
        let text = render(&snapshot);
        for line in [
            "weir_inspection_seconds_bucket{le=\"0.000001\"} 2",
            "weir_inspection_seconds_bucket{le=\"0.000002\"} 3",
            "weir_inspection_seconds_bucket{le=\"0.000005\"} 4",
            "weir_inspection_seconds_bucket{le=\"0.1\"} 4",
            "weir_inspection_seconds_bucket{le=\"+Inf\"} 5",
            "weir_inspection_seconds_sum 0.200006501",
            "weir_inspection_seconds_count 5",
            "weir_request_seconds_bucket{le=\"60\"} 0",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line}");
        }
    }
}

//! One self-contained page from JSON reports: no script, no external resource, light and dark, wide and narrow.

mod others;
mod run;
mod svg;

use serde_json::Value;

use self::svg::{Bars, escape};
use crate::units::format_nanoseconds;

const STYLE: &str = include_str!("style.css");

/// Makes a page of reports, each with the name that it has on the page. Reports of `run`, `search`, `compare`, `replay`
/// and `slow` are shown in full; several of `run` are compared too.
///
/// # Errors
///
/// A sentence about a report that is none of these.
pub fn page(reports: &[(String, Value)]) -> Result<String, String> {
    let mut body = String::new();
    let runs: Vec<_> = reports.iter().filter(|(_, report)| kind(report) == Some(Kind::Run)).collect();
    if runs.len() > 1 {
        body += &run::comparison(&runs);
    }
    for (name, report) in reports {
        body += &match kind(report) {
            Some(Kind::Run) => run::section(name, report),
            Some(Kind::Compare) => others::compare(name, report),
            Some(Kind::Search) => others::search(name, report),
            Some(Kind::Replay) => others::replay(name, report),
            Some(Kind::Slow) => others::slow(name, report),
            None => return Err(format!("{name} is no report of run, compare, search, replay or slow")),
        };
    }
    let names: Vec<&str> = reports.iter().map(|(name, _)| name.as_str()).collect();
    let title = escape(&names.join(", "));
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <meta name=\"generator\" content=\"weir-loadgen {}\"><title>{title}</title><style>{STYLE}</style></head>\n<body><main>{body}</main></body></html>\n",
        env!("CARGO_PKG_VERSION")
    ))
}

#[derive(PartialEq)]
enum Kind {
    Run,
    Compare,
    Search,
    Replay,
    Slow,
}

/// What a report is of, by what only such a report has.
fn kind(report: &Value) -> Option<Kind> {
    let has = |name: &str| report.get(name).is_some();
    match () {
        () if has("intervals") && has("service_time") => Some(Kind::Run),
        () if has("tables") && has("parity") => Some(Kind::Compare),
        () if has("trials") && has("highest_rate") => Some(Kind::Search),
        () if has("balanced_accuracy") => Some(Kind::Replay),
        () if has("lifetimes") => Some(Kind::Slow),
        () => None,
    }
}

/// A number at a path such as `cpu.busy_share`.
fn number(value: &Value, path: &str) -> Option<f64> {
    path.split('.').try_fold(value, |value, name| value.get(name))?.as_f64()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

fn entries<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn members<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value.get(name).and_then(Value::as_object).into_iter().flatten()
}

/// Nanoseconds as text, or nothing.
fn time_text(nanoseconds: Option<f64>) -> String {
    nanoseconds.map_or_else(String::new, |nanoseconds| format_nanoseconds(nanoseconds as u64))
}

fn nanoseconds_tick(value: f64) -> String {
    let text = format_nanoseconds(value as u64);
    // Round figures need no digits behind the point.
    let (digits, unit) = text.split_at(text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len()));
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    format!("{digits} {unit}")
}

fn count_tick(value: f64) -> String {
    match value {
        1e6.. => format!("{} M", value / 1e6),
        1e4.. => format!("{} k", value / 1e3),
        _ => format!("{value}"),
    }
}

fn count_text(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.0}"))
}

/// A table. Columns with words stand left, those with figures right.
fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let has_words = |column: usize| {
        rows.iter().any(|row| row.get(column).is_some_and(|cell| cell.starts_with(char::is_alphabetic)))
    };
    let classes: Vec<&str> =
        (0..header.len()).map(|column| if has_words(column) { " class=\"text\"" } else { "" }).collect();
    let cells = |tag: &str, texts: &mut dyn Iterator<Item = &str>| -> String {
        let each = texts.zip(&classes);
        each.map(|(text, class)| format!("<{tag}{class}>{}</{tag}>", escape(text))).collect()
    };
    let head = cells("th", &mut header.iter().copied());
    let rows: String = rows
        .iter()
        .map(|row| format!("<tr>{}</tr>", cells("td", &mut row.iter().map(String::as_str))))
        .collect();
    format!("<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>")
}

/// Whether the report can be used, and why not.
fn validity(report: &Value) -> String {
    let mut html = match report.get("valid").and_then(Value::as_bool) {
        Some(true) => "<p class=\"good\">valid</p>".to_owned(),
        Some(false) => "<p class=\"bad\">NOT VALID</p>".to_owned(),
        None => String::new(),
    };
    for list in ["reasons", "notes"] {
        for reason in entries(report, list).iter().filter_map(Value::as_str) {
            html += &format!("<p>{}</p>", escape(reason));
        }
    }
    if report.get("interrupted") == Some(&Value::Bool(true)) {
        html += "<p class=\"bad\">interrupted: this is what was measured until then</p>";
    }
    html
}

/// When, with what and where it was measured, as far as the report says that.
fn host(report: &Value) -> String {
    let Some(host) = report.get("host") else { return String::new() };
    let version = text(report, "version");
    let parts = [
        text(report, "time").to_owned(),
        if version.is_empty() { String::new() } else { format!("weir-loadgen {version}") },
        text(host, "cpu").to_owned(),
        format!("{} usable cores", count_text(number(host, "usable_cores"))),
        format!("Linux {}", text(host, "kernel")),
    ];
    let parts: Vec<String> = parts.iter().filter(|part| !part.is_empty()).map(|part| escape(part)).collect();
    format!("<p class=\"dim\">{}</p>", parts.join(" · "))
}

/// Bars of one figure over several reports or targets.
fn bars(title: &str, bars: Vec<(String, Option<f64>, String)>) -> String {
    let bars = bars.into_iter().filter_map(|(name, length, text)| Some((name, length?, text))).collect();
    Bars { title: title.to_owned(), bars, whole: None }.draw()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ticks_are_short() {
        assert_eq!(
            [1e3, 1e4, 1e6, 2.5e8, 1e9].map(nanoseconds_tick),
            ["1 us", "10 us", "1 ms", "250 ms", "1 s"]
        );
        assert_eq!([0.0, 500.0, 20_000.0, 1.5e6].map(count_tick), ["0", "500", "20 k", "1.5 M"]);
    }

    #[test]
    fn what_is_no_report_is_refused_and_text_stays_text() {
        assert!(page(&[("x.json".to_owned(), json!({"a": 1}))]).unwrap_err().contains("x.json is no report"));
        let report = json!({
            "url": "http://a/<img src=x>", "valid": false, "reasons": ["<u>"], "intervals": [],
            "service_time": {"p50": 1}, "labels": {"</table><script>": {"verdicts": {"passed": 1}}},
        });
        let page = page(&[("<i>".to_owned(), report)]).unwrap();
        for bad in ["<img", "<u>", "<script", "<i>"] {
            assert!(!page.contains(bad), "{bad} in {page}");
        }
    }
}

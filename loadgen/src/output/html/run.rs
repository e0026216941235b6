//! Reports of `run`: one alone, and several side by side.

use serde_json::Value;

use super::{
    bars, count_text, count_tick, entries, host, members, nanoseconds_tick, number,
    svg::{Plot, Scale, Series, escape},
    table, text, time_text, validity,
};

/// The most labels whose curves are drawn; the table has all.
const MOST_CURVES: usize = 8;
/// From this one on, curves are dashed: more colours are hard to tell apart.
const FIRST_DASHED_CURVE: usize = 4;

pub(super) fn section(name: &str, report: &Value) -> String {
    let is_open = text(report, "mode") == "open";
    let mut html = format!(
        "<section><h1>{}</h1><p>{}: {} connections, {} threads on {}</p>{}",
        escape(text(report, "url")),
        escape(text(report, "load")),
        count_text(number(report, "connections")),
        count_text(number(report, "threads")),
        escape(text(report, "io")),
        host(report)
    );
    if name != text(report, "url") {
        html += &format!("<p class=\"dim\">{}</p>", escape(name));
    }
    html += &validity(report);
    html += &format!(
        "<p>{} {} in {:.2} s: <b>{:.1}</b> answers/s; missed {}; own CPU {:.1} us for each, busy {:.0} %</p>",
        count_text(number(report, "requests")),
        escape(text(report, "work")),
        number(report, "elapsed_seconds").unwrap_or(0.0),
        number(report, "rate").unwrap_or(0.0),
        count_text(number(report, "missed")),
        number(report, "cpu.microseconds_per_answer").unwrap_or(0.0),
        number(report, "cpu.busy_share").unwrap_or(0.0) * 100.0
    );
    html += &times(report);
    html += &format!(
        "<div class=\"plots\">{}{}{}</div>",
        latency(report, is_open),
        labels_plot(report),
        over_time(report, is_open)
    );
    html += &verdicts(report);
    html += &errors(report);
    html += &soak(report);
    html + "</section>"
}

/// Bars of the figures that matter, a bar for each report, and their curves in one plot.
pub(super) fn comparison(reports: &[&(String, Value)]) -> String {
    let main =
        |report: &Value| if report.get("response_time").is_some() { "response_time" } else { "service_time" };
    let is_valid = |report: &Value| report.get("valid") != Some(&Value::Bool(false));
    let figure = |title: &str, of: &dyn Fn(&Value) -> Option<f64>, text: fn(f64) -> String| {
        let each = reports.iter().map(|(name, report)| {
            let value = of(report);
            let mark = if is_valid(report) { "" } else { " NOT VALID" };
            (name.clone(), value, value.map_or_else(String::new, |value| text(value) + mark))
        });
        bars(title, each.collect())
    };
    let nanoseconds = |value: f64| time_text(Some(value));
    let mut html = "<section><h1>Comparison</h1><div class=\"plots\">".to_owned();
    html += &figure("answers a second", &|report| number(report, "rate"), |rate| format!("{rate:.0}"));
    for quantile in ["p50", "p99", "p99_9"] {
        let title = format!("{} (response time, in a closed loop service time)", quantile.replace('_', "."));
        html +=
            &figure(&title, &|report| number(report, &format!("{}.{quantile}", main(report))), nanoseconds);
    }
    let series = reports.iter().map(|(name, report)| Series {
        name: if is_valid(report) { name.clone() } else { format!("{name} (NOT VALID)") },
        points: points(report.get("curves").and_then(|curves| curves.get(main(report)))),
        is_dashed: false,
    });
    html += &quantiles("latency by quantile", series.collect());
    html + "</div></section>"
}

fn times(report: &Value) -> String {
    let names = [
        ("response time", "response_time"),
        ("service time", "service_time"),
        ("first byte", "first_byte_time"),
        ("send lag", "send_lag"),
        ("TCP connect", "connect_time"),
        ("full TLS handshake", "handshakes.full_time"),
        ("resumed TLS handshake", "handshakes.resumed_time"),
    ];
    let is_handshakes = text(report, "work") == "handshakes";
    let row = |(title, path): &(&str, &str)| {
        // A handshake alone has no answer that could begin.
        if is_handshakes && *path == "first_byte_time" {
            return None;
        }
        number(report, &format!("{path}.count")).filter(|count| *count > 0.0)?;
        let at = |figure: &str| time_text(number(report, &format!("{path}.{figure}")));
        let figures = ["p50", "p90", "p99", "p99_9", "p99_99", "max", "mean"].map(at);
        let mut row = vec![(*title).to_owned(), count_text(number(report, &format!("{path}.count")))];
        row.extend(figures);
        Some(row)
    };
    let rows: Vec<_> = names.iter().filter_map(row).collect();
    table(&["", "count", "p50", "p90", "p99", "p99.9", "p99.99", "max", "mean"], &rows)
}

fn points(curve: Option<&Value>) -> Vec<(f64, f64)> {
    let pairs = curve.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let points = pairs.iter().filter_map(|pair| Some((pair.get(0)?.as_f64()?, pair.get(1)?.as_f64()?)));
    // The longest of all has no place on a scale that never comes to 1.
    points.filter(|(quantile, _)| *quantile < 1.0).collect()
}

fn quantiles(title: &str, series: Vec<Series>) -> String {
    Plot {
        title: title.to_owned(),
        x: (Scale::Quantile, "share of requests that took at most so long"),
        y: (Scale::Logarithmic, "time"),
        format_y: nanoseconds_tick,
        series,
    }
    .draw()
}

fn latency(report: &Value, is_open: bool) -> String {
    let curves = report.get("curves");
    let line = |name: &str, key: &str| Series {
        name: name.to_owned(),
        points: points(curves.and_then(|curves| curves.get(key))),
        is_dashed: key == "send_lag",
    };
    let mut series = vec![line("service time", "service_time")];
    if is_open {
        series.insert(0, line("response time", "response_time"));
        series.push(line("send lag", "send_lag"));
    }
    quantiles("latency by quantile", series)
}

fn labels_plot(report: &Value) -> String {
    let series =
        members(report, "labels").take(MOST_CURVES).enumerate().map(|(index, (name, label))| Series {
            name: name.clone(),
            points: points(label.get("curve")),
            is_dashed: index >= FIRST_DASHED_CURVE,
        });
    quantiles("latency by label", series.collect())
}

/// Plots with the time of the run from left to right.
fn over_time(report: &Value, is_open: bool) -> String {
    let intervals = entries(report, "intervals");
    let line = |name: &str, is_dashed: bool, figure: &dyn Fn(&Value) -> Option<f64>| {
        let points = intervals.iter().filter_map(|interval| {
            let middle = number(interval, "from_seconds")? + number(interval, "seconds")? / 2.0;
            Some((middle, figure(interval)?))
        });
        Series { name: name.to_owned(), points: points.collect(), is_dashed }
    };
    let plot = |title: &str, y: (Scale, &'static str), format_y, series| {
        Plot { title: title.to_owned(), x: (Scale::Linear, "seconds"), y, format_y, series }.draw()
    };
    let mut rates = vec![line("answers/s", false, &|interval| number(interval, "rate"))];
    if is_open {
        rates.push(line("due/s", true, &|interval| number(interval, "target_rate")));
    }
    if intervals.iter().any(|interval| number(interval, "errors").is_some_and(|errors| errors > 0.0)) {
        rates.push(line("errors/s", false, &|interval| {
            Some(number(interval, "errors")? / number(interval, "seconds")?)
        }));
    }
    let mut html = plot("throughput", (Scale::Linear, "a second"), count_tick, rates);
    let quantile = |name: &str, key: &'static str, is_dashed| {
        line(name, is_dashed, &|interval| {
            number(interval, key).filter(|_| number(interval, "answers").is_some_and(|count| count > 0.0))
        })
    };
    let mut times =
        vec![quantile("p50", "p50", false), quantile("p99", "p99", false), quantile("longest", "max", false)];
    if is_open {
        times.push(quantile("send lag p99", "send_lag_p99", true));
    }
    html += &plot("latency over time", (Scale::Logarithmic, "time"), nanoseconds_tick, times);
    let memory =
        line("memory", false, &|interval| Some(number(interval, "resident_bytes")? / f64::from(1 << 20)));
    html + &plot("memory of the watched processes", (Scale::Linear, "MiB"), count_tick, vec![memory])
}

fn verdicts(report: &Value) -> String {
    const NAMES: [&str; 5] = ["passed", "blocked", "unresolved", "closed", "error"];
    let row = |name: &str, part: &Value| {
        let of = |figure: &str| number(part, figure).unwrap_or(0.0);
        let mut row = vec![name.to_owned(), count_text(number(part, "requests"))];
        row.extend(NAMES.map(|verdict| format!("{}", of(&format!("verdicts.{verdict}")))));
        let times = if part.get("response_time").is_some() { "response_time" } else { "service_time" };
        let has_times = number(part, &format!("{times}.count")).is_some_and(|count| count > 0.0);
        let time = |figure: &str| number(part, &format!("{times}.{figure}")).filter(|_| has_times);
        row.extend(["p50", "p99"].map(|figure| time_text(time(figure))));
        let surprises = part.get("surprises");
        let surprises = surprises.and_then(|some| some.as_u64().or_else(|| some.get("count")?.as_u64()));
        row.push(surprises.unwrap_or(0).to_string());
        row
    };
    let mut rows: Vec<_> = members(report, "labels").map(|(name, label)| row(name, label)).collect();
    rows.push(row("all", report));
    let header = [
        "label",
        "requests",
        "passed",
        "blocked",
        "unresolved",
        "closed",
        "error",
        "p50",
        "p99",
        "surprises",
    ];
    let mut html = format!("<h2>Verdicts</h2>{}", table(&header, &rows));
    for (name, label) in members(report, "labels") {
        if let Some(some) = label.get("surprises") {
            html += &format!(
                "<p><span class=\"bad\">{} surprises</span> with {}: expected {}, first met {}</p>",
                count_text(number(some, "count")),
                escape(name),
                escape(text(some, "expected")),
                escape(text(some, "example"))
            );
        }
    }
    let status = |(status, count): (&String, &Value)| {
        let times = |figure: &str| {
            let by_status = report.get("by_status").and_then(|all| all.get(status));
            let response = by_status.and_then(|times| times.get("response_time"));
            let chosen = response.or_else(|| by_status.and_then(|times| times.get("service_time")));
            time_text(chosen.and_then(|times| number(times, figure)))
        };
        vec![status.clone(), count.to_string(), times("p50"), times("p99")]
    };
    let statuses: Vec<_> = members(report, "statuses").map(status).collect();
    if !statuses.is_empty() {
        html += &table(&["status", "answers", "p50", "p99"], &statuses);
    }
    html
}

fn errors(report: &Value) -> String {
    let row = |(kind, error): (&String, &Value)| {
        vec![kind.clone(), count_text(number(error, "count")), text(error, "example").to_owned()]
    };
    let rows: Vec<_> = members(report, "errors").map(row).collect();
    if rows.is_empty() {
        String::new()
    } else {
        format!("<h2>Errors</h2>{}", table(&["kind", "count", "first"], &rows))
    }
}

fn soak(report: &Value) -> String {
    let Some(soak) = report.get("soak") else { return String::new() };
    let findings: Vec<&str> = entries(soak, "findings").iter().filter_map(Value::as_str).collect();
    let trend = |name: &str, path: &str, text: &dyn Fn(f64) -> String| {
        let at = |when: &str| number(soak, &format!("{path}.{when}")).map(text);
        Some(vec![name.to_owned(), at("early")?, at("late")?])
    };
    let is_open = text(report, "mode") == "open";
    let rate =
        |value: f64| if is_open { format!("{:.1} % of due", value * 100.0) } else { format!("{value:.0}/s") };
    let rows = [
        trend("p99", "p99", &|value| time_text(Some(value))),
        trend("answers", "rate", &rate),
        trend("memory", "resident_bytes", &|value| format!("{:.1} MiB", value / f64::from(1 << 20))),
    ];
    let rows: Vec<_> = rows.into_iter().flatten().collect();
    let table = table(&["", "second quarter", "last quarter"], &rows);
    if findings.is_empty() {
        return format!("<h2>Soak</h2><p class=\"good\">no change over the time of the run</p>{table}");
    }
    let findings: String =
        findings.iter().map(|finding| format!("<p class=\"bad\">{}</p>", escape(finding))).collect();
    format!("<h2>Soak</h2>{findings}{table}")
}

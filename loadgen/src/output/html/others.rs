//! Reports of `compare`, `search`, `replay` and `slow`.

use serde_json::Value;

use super::{
    bars, count_text, count_tick, entries, host, members, nanoseconds_tick, number,
    svg::{Bars, Plot, Scale, Series, escape},
    table, text, time_text, validity,
};

/// The title, what was done (if there is more to say than the title does), where, and whether it can be used.
fn opening(name: &str, title: &str, what: &str, report: &Value) -> String {
    let name = if title.ends_with(name) { "" } else { name };
    let lines = [what, name].into_iter().filter(|line| !line.is_empty());
    let lines: String = lines.map(|line| format!("<p class=\"dim\">{}</p>", escape(line))).collect();
    format!("<section><h1>{}</h1>{lines}{}{}", escape(title), host(report), validity(report))
}

pub(super) fn compare(name: &str, report: &Value) -> String {
    let milliseconds = |path: &str| number(report, path).unwrap_or(0.0) * 1e3;
    let what = format!(
        "{}; slices of {:.0} ms behind {:.0} ms of warm-up; before them the same {} answers of each target, by {}",
        text(report, "load"),
        milliseconds("slice_seconds"),
        milliseconds("warm_up_seconds"),
        count_text(number(report, "parity.requests")),
        report.get("parity").map_or("", |parity| text(parity, "level"))
    );
    let mut html = opening(name, &format!("Comparison: {}", text(report, "request")), &what, report);
    entries(report, "tables").iter().for_each(|part| html += &comparison(part));
    html + "</section>"
}

/// All targets at one number of connections.
fn comparison(part: &Value) -> String {
    let targets = entries(part, "targets");
    let rows: Vec<_> = targets.iter().map(comparison_row).collect();
    format!(
        "<h2>{} connections, {} cycles</h2><div class=\"plots\">{}{}{}{}</div>\
         <p class=\"dim\">10th percentile / median / 90th percentile over slices</p>{}",
        count_text(number(part, "connections")),
        count_text(number(part, "cycles")),
        ratio_bars(
            targets,
            "CPU time for each answer (and as a share of the first)",
            ("cpu_microseconds_per_answer.median", " us", 1),
            "cpu_ratio.median"
        ),
        ratio_bars(
            targets,
            "answers a second (and as a share of the first)",
            ("rate.median", "", 0),
            "rate_ratio.median"
        ),
        time_bars(targets, "p50", "latency.p50"),
        time_bars(targets, "p99", "latency.p99"),
        table(&["target", "CPU us/answer", "CPU ratio", "answers/s", "rate ratio", "memory"], &rows)
    )
}

/// A figure of each target (its path, unit and digits), and behind it its ratio.
fn ratio_bars(targets: &[Value], title: &str, figure: (&str, &str, usize), ratio: &str) -> String {
    let (path, unit, digits) = figure;
    let bar = |target: &Value| {
        let value = number(target, path);
        let ratio = number(target, ratio).map_or_else(String::new, |ratio| format!(" ({ratio:.2})"));
        let text = value.map_or_else(String::new, |value| format!("{value:.digits$}{unit}{ratio}"));
        (text_of_name(target), value, text)
    };
    bars(title, targets.iter().map(bar).collect())
}

fn time_bars(targets: &[Value], title: &str, path: &str) -> String {
    let bar = |target: &Value| (text_of_name(target), number(target, path), time_text(number(target, path)));
    bars(title, targets.iter().map(bar).collect())
}

fn comparison_row(target: &Value) -> Vec<String> {
    let spread = |name: &str, digits: usize| match target.get(name) {
        Some(Value::Object(_)) => ["p10", "median", "p90"]
            .map(|part| number(target, &format!("{name}.{part}")))
            .map(|value| value.map_or_else(String::new, |value| format!("{value:.digits$}")))
            .join(" / "),
        _ => String::new(),
    };
    let memory = number(target, "resident_bytes").map(|bytes| bytes / f64::from(1 << 20));
    vec![
        text_of_name(target),
        spread("cpu_microseconds_per_answer", 2),
        spread("cpu_ratio", 3),
        spread("rate", 0),
        spread("rate_ratio", 3),
        memory.map_or_else(String::new, |memory| format!("{memory:.1} MiB")),
    ]
}

fn text_of_name(target: &Value) -> String {
    text(target, "name").to_owned()
}

pub(super) fn search(name: &str, report: &Value) -> String {
    let what = format!(
        "{} over {} connections; {} trials of {} s for each rate",
        text(report, "request"),
        count_text(number(report, "connections")),
        count_text(number(report, "repeats")),
        number(report, "trial_seconds").unwrap_or(0.0)
    );
    let mut html = opening(name, &format!("Search: {}", text(report, "url")), &what, report);
    html += &search_result(report);
    let series = |name: &str, key: &str| Series {
        name: name.to_owned(),
        points: medians_by_rate(entries(report, "trials"), key),
        is_dashed: false,
    };
    let plot = Plot {
        title: "latency by rate: medians of the trials that count".to_owned(),
        x: (Scale::Linear, "requests a second"),
        y: (Scale::Logarithmic, "time"),
        format_y: nanoseconds_tick,
        series: vec![series("bounded quantile", "latency"), series("p50", "p50")],
    };
    html += &format!("<div class=\"plots\">{}</div>", plot.draw());
    let rows: Vec<_> = entries(report, "trials").iter().map(trial_row).collect();
    html += &table(&["rate", "", "p50", "bounded", "failed", "never sent", ""], &rows);
    html + "</section>"
}

/// The rate that was found, and what to know about it.
fn search_result(report: &Value) -> String {
    let bound = format!(
        "p{} within {}",
        number(report, "quantile").unwrap_or(0.0) * 100.0,
        time_text(number(report, "bound_nanoseconds"))
    );
    let mut html = match number(report, "highest_rate") {
        Some(rate) => format!("<p><b>{rate:.0}</b> requests/s hold {}</p>", escape(&bound)),
        None => format!("<p class=\"bad\">no rate holds {}</p>", escape(&bound)),
    };
    if let Some(share) = number(report, "failure_share_at_any_rate") {
        html += &format!("<p class=\"bad\">{:.2} % of requests fail, whatever the rate</p>", share * 100.0);
    }
    if report.get("limited_by_generator") == Some(&Value::Bool(true)) {
        html +=
            "<p class=\"bad\">the generator did not keep up itself: the target may be able to do more</p>";
    }
    html
}

fn trial_row(trial: &Value) -> Vec<String> {
    let reasons: Vec<&str> = ["reasons", "spoiled"]
        .iter()
        .flat_map(|list| entries(trial, list).iter().filter_map(Value::as_str))
        .collect();
    let held = match (trial.get("held"), trial.get("repeated")) {
        (_, Some(Value::Bool(true))) => "not counted",
        (Some(Value::Bool(true)), _) => "held",
        _ => "missed",
    };
    vec![
        count_text(number(trial, "rate")),
        held.to_owned(),
        time_text(number(trial, "p50")),
        time_text(number(trial, "latency")),
        count_text(number(trial, "failed")),
        count_text(number(trial, "missed")),
        reasons.join("; "),
    ]
}

/// A point for each rate. Trials that the generator spoiled, and made again, say nothing about the target.
fn medians_by_rate(trials: &[Value], key: &str) -> Vec<(f64, f64)> {
    let counted = trials.iter().filter(|trial| trial.get("repeated") != Some(&Value::Bool(true)));
    let mut points: Vec<(f64, f64)> =
        counted.filter_map(|trial| Some((number(trial, "rate")?, number(trial, key)?))).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
    points
        .chunk_by(|one, other| one.0 == other.0)
        .map(|of_one_rate| of_one_rate[of_one_rate.len() / 2])
        .collect()
}

pub(super) fn replay(name: &str, report: &Value) -> String {
    let mut html = opening(name, &format!("Replay: {}", text(report, "url")), "", report);
    html += &scores(report);
    let rows: Vec<_> = entries(report, "categories")
        .iter()
        .map(|category| {
            let verdicts = ["blocked", "passed", "unresolved", "closed", "error"].map(|verdict| {
                count_text(Some(number(category, &format!("verdicts.{verdict}")).unwrap_or(0.0)))
            });
            let mut row = vec![text(category, "label").to_owned(), text(category, "category").to_owned()];
            row.extend(verdicts);
            row
        })
        .collect();
    if !rows.is_empty() {
        html += &table(&["label", "category", "blocked", "passed", "unresolved", "closed", "error"], &rows);
    }
    html + "</section>"
}

/// What was blocked of attacks and of benign requests, as bars of at most 100 % and with the intervals.
fn scores(report: &Value) -> String {
    let percent = |value: f64| format!("{:.2} %", value * 100.0);
    let bar =
        |title: &str, path: &str| number(report, path).map(|value| (title.to_owned(), value, percent(value)));
    let bars = [
        bar("recall (blocked attacks)", "recall.rate"),
        bar("false positives (blocked benign requests)", "false_positive_rate.rate"),
        bar("balanced accuracy", "balanced_accuracy"),
    ];
    let bars =
        Bars { title: "detection".to_owned(), bars: bars.into_iter().flatten().collect(), whole: Some(1.0) };
    let row = |title: &str, name: &str| {
        let at = |figure: &str| number(report, &format!("{name}.{figure}"));
        Some(vec![
            title.to_owned(),
            percent(at("rate")?),
            format!("{} to {}", percent(at("low")?), percent(at("high")?)),
            format!("{} of {}", count_text(at("count")), count_text(at("of"))),
        ])
    };
    let rows = [
        row("recall", "recall"),
        row("recall, blocked or refused", "recall_with_refused"),
        row("false positives", "false_positive_rate"),
        row("false positives, blocked or refused", "false_positive_rate_with_refused"),
    ];
    let rows: Vec<_> = rows.into_iter().flatten().collect();
    let table = if rows.is_empty() {
        String::new()
    } else {
        table(&["", "share", "with 95 % certainty", "requests"], &rows)
    };
    format!("<div class=\"plots\">{}</div>{table}", bars.draw())
}

pub(super) fn slow(name: &str, report: &Value) -> String {
    let mut html =
        opening(name, &format!("Slow {}: {}", text(report, "kind"), text(report, "url")), "", report);
    let rows: Vec<_> = members(report, "ends")
        .map(|(end, times)| {
            let at = |figure: &str| time_text(number(times, figure));
            vec![end.clone(), count_text(number(times, "count")), at("min"), at("p50"), at("max")]
        })
        .collect();
    html += &table(&["end of connection", "count", "shortest life", "p50", "longest"], &rows);
    let points = |key: &str| {
        let times = entries(report, "lifetimes").iter();
        times.filter_map(|moment| Some((number(moment, "seconds")?, number(moment, key)?))).collect()
    };
    let plot = Plot {
        title: "slow connections that the target keeps open".to_owned(),
        x: (Scale::Linear, "seconds"),
        y: (Scale::Linear, "connections"),
        format_y: count_tick,
        series: vec![Series { name: "open".to_owned(), points: points("open"), is_dashed: false }],
    };
    html += &format!("<div class=\"plots\">{}</div>", plot.draw());
    if let Some(effect) = report.get("effect").filter(|effect| effect.is_object()) {
        html += &slow_effect(effect);
    }
    if let Some(probe) = report.get("probe").filter(|probe| probe.is_object()) {
        html += "<h2>Ordinary requests meanwhile</h2>";
        html += &super::run::section("", probe);
    }
    html + "</section>"
}

/// What ordinary requests saw with and without slow clients.
fn slow_effect(effect: &Value) -> String {
    let mut rows: Vec<_> = entries(effect, "cycles")
        .iter()
        .enumerate()
        .map(|(index, cycle)| {
            let p99 = |side: &str| time_text(number(cycle, &format!("{side}.p99")));
            vec![format!("cycle {}", index + 1), p99("without"), p99("with")]
        })
        .collect();
    let median = |side: &str| {
        let microseconds = number(effect, &format!("p99_{side}_microseconds.median"));
        time_text(microseconds.map(|microseconds| microseconds * 1e3))
    };
    rows.push(vec!["median".to_owned(), median("without"), median("with")]);
    let mut html = "<h2>Ordinary requests beside slow clients: p99</h2>".to_owned();
    html += &table(&["", "without", "with"], &rows);
    if let Some(factor) = number(effect, "factor") {
        html += &format!("<p>With slow clients {factor:.2} times as high.</p>");
    }
    html
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rate_has_one_point_of_the_trials_that_count() {
        let trial = |rate: f64, latency: u64, repeated: bool| json!({"rate": rate, "latency": latency, "repeated": repeated});
        let trials = [
            trial(2e3, 5, false),
            trial(1e3, 9, false),
            trial(1e3, 1, false),
            trial(1e3, 3, false),
            trial(1e3, 1_000, true),
            trial(4e3, 7, true),
        ];
        assert_eq!(medians_by_rate(&trials, "latency"), [(1e3, 3.0), (2e3, 5.0)]);
    }

    #[test]
    fn scores_are_bars_of_at_most_a_hundred_percent() {
        let rate = |rate: f64| json!({"rate": rate, "low": 0.0, "high": 1.0, "count": 1, "of": 2});
        let html = scores(
            &json!({"recall": rate(0.5), "false_positive_rate": rate(0.0), "balanced_accuracy": 0.75}),
        );
        for width in ["width=\"240.0\"", "width=\"0.0\"", "width=\"360.0\""] {
            assert!(html.contains(width), "{width} in {html}");
        }
        assert!(html.contains("50.00 %") && html.contains("1 of 2"), "{html}");
        assert!(!scores(&json!({})).contains("<table"));
    }
}

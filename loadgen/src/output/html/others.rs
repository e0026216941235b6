//! Reports of `compare`, `search`, `replay` and `slow`.

use serde_json::Value;

use super::{
    bars, count_text, count_tick, entries, host, members, nanoseconds_tick, number,
    svg::{Plot, Scale, Series, escape},
    table, text, time_text, validity,
};

fn opening(name: &str, title: &str, report: &Value) -> String {
    format!(
        "<section><h1>{}</h1><p class=\"dim\">{}</p>{}{}",
        escape(title),
        escape(name),
        host(report),
        validity(report)
    )
}

pub(super) fn compare(name: &str, report: &Value) -> String {
    let mut html = opening(name, &format!("Comparison: {}", text(report, "request")), report);
    for part in entries(report, "tables") {
        let targets = entries(part, "targets");
        html += &format!("<h2>{} connections</h2>", count_text(number(part, "connections")));
        let figure = |title: &str, path: &str, unit: &str, digits: usize| {
            let bar = |target: &Value| {
                let value = number(target, path);
                let ratio_of =
                    if path.starts_with("rate") { "rate_ratio.median" } else { "cpu_ratio.median" };
                let ratio =
                    number(target, ratio_of).map_or_else(String::new, |ratio| format!(" ({ratio:.2})"));
                let text = value.map_or_else(String::new, |value| format!("{value:.digits$}{unit}{ratio}"));
                (text_of_name(target), value, text)
            };
            bars(title, targets.iter().map(bar).collect())
        };
        html += "<div class=\"plots\">";
        html += &figure(
            "CPU time for each answer (and as a share of the first)",
            "cpu_microseconds_per_answer.median",
            " us",
            1,
        );
        html += &figure("answers a second (and as a share of the first)", "rate.median", "", 0);
        let quantile = |title: &str, path: &str| {
            let bar = |target: &Value| {
                (text_of_name(target), number(target, path), time_text(number(target, path)))
            };
            bars(title, targets.iter().map(bar).collect())
        };
        html += &quantile("p50", "latency.p50");
        html += &quantile("p99", "latency.p99");
        html += "</div>";
        let row = |target: &Value| {
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
        };
        let rows: Vec<_> = targets.iter().map(row).collect();
        html += "<p class=\"dim\">10th percentile / median / 90th percentile over slices</p>";
        html += &table(&["target", "CPU us", "CPU ratio", "answers/s", "rate ratio", "memory"], &rows);
    }
    html + "</section>"
}

fn text_of_name(target: &Value) -> String {
    text(target, "name").to_owned()
}

pub(super) fn search(name: &str, report: &Value) -> String {
    let mut html = opening(name, &format!("Search: {}", text(report, "url")), report);
    let bound = format!(
        "p{} within {}",
        number(report, "quantile").unwrap_or(0.0) * 100.0,
        time_text(number(report, "bound_nanoseconds"))
    );
    html += &match number(report, "highest_rate") {
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
    let mut trials: Vec<&Value> = entries(report, "trials").iter().collect();
    trials.sort_by(|one, other| {
        let rate = |trial: &Value| number(trial, "rate").unwrap_or(0.0);
        rate(one).total_cmp(&rate(other))
    });
    let line = |name: &str, key: &str| Series {
        name: name.to_owned(),
        points: trials
            .iter()
            .filter_map(|trial| Some((number(trial, "rate")?, number(trial, key)?)))
            .collect(),
        is_dashed: false,
    };
    let plot = Plot {
        title: "latency by rate".to_owned(),
        x: (Scale::Linear, "requests a second"),
        y: (Scale::Logarithmic, "time"),
        format_y: nanoseconds_tick,
        series: vec![line("bounded quantile", "latency"), line("p50", "p50")],
    };
    html += &format!("<div class=\"plots\">{}</div>", plot.draw());
    let row = |trial: &Value| {
        let reasons: Vec<&str> = ["reasons", "spoiled"]
            .iter()
            .flat_map(|list| entries(trial, list).iter().filter_map(Value::as_str))
            .collect();
        vec![
            count_text(number(trial, "rate")),
            match (trial.get("held"), trial.get("repeated")) {
                (_, Some(Value::Bool(true))) => "not counted",
                (Some(Value::Bool(true)), _) => "held",
                _ => "missed",
            }
            .to_owned(),
            time_text(number(trial, "p50")),
            time_text(number(trial, "latency")),
            count_text(number(trial, "failed")),
            count_text(number(trial, "missed")),
            reasons.join("; "),
        ]
    };
    let rows: Vec<_> = entries(report, "trials").iter().map(row).collect();
    html += &table(&["rate", "", "p50", "bounded", "failed", "never sent", ""], &rows);
    html + "</section>"
}

pub(super) fn replay(name: &str, report: &Value) -> String {
    let mut html = opening(name, &format!("Replay: {}", text(report, "url")), report);
    let rate = |title: &str, path: &str| {
        let value = number(report, path);
        (title.to_owned(), value, value.map_or_else(String::new, |value| format!("{:.2} %", value * 100.0)))
    };
    html += "<div class=\"plots\">";
    html += &bars(
        "detection",
        vec![rate("recall", "recall.rate"), rate("balanced accuracy", "balanced_accuracy")],
    );
    html += &bars("false positives", vec![rate("false positive rate", "false_positive_rate.rate")]);
    html += "</div>";
    let rows: Vec<_> = entries(report, "categories")
        .iter()
        .map(|category| {
            let verdicts = ["blocked", "passed", "unresolved", "closed", "error"]
                .map(|verdict| count_text(number(category, &format!("verdicts.{verdict}"))));
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

pub(super) fn slow(name: &str, report: &Value) -> String {
    let mut html = opening(name, &format!("Slow {}: {}", text(report, "kind"), text(report, "url")), report);
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

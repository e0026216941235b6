//! Two reports side by side: what became better, what became worse, and whether that is more than is tolerated.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;

/// The figures that are compared: the end of their path in a report, and whether less is better.
const METRICS: [(&str, bool); 17] = [
    ("rate", false),
    ("rate.median", false),
    ("highest_rate", false),
    ("recall.rate", false),
    ("balanced_accuracy", false),
    ("service_time.p50", true),
    ("service_time.p99", true),
    ("service_time.p99_9", true),
    ("response_time.p50", true),
    ("response_time.p99", true),
    ("response_time.p99_9", true),
    ("latency.p50", true),
    ("latency.p99", true),
    ("latency.p99_9", true),
    ("cpu_microseconds_per_answer.median", true),
    ("cpu_ratio.median", true),
    ("false_positive_rate.rate", true),
];
/// The classes of statuses whose shares are compared. With fewer good answers, more errors, or any change of what is refused,
/// the target answers differently, and its times say nothing.
const STATUS_CLASSES: [(&str, char, Better); 4] = [
    ("2xx", '2', Better::More),
    ("3xx", '3', Better::Same),
    ("4xx", '4', Better::Same),
    ("5xx", '5', Better::Less),
];
/// The same for verdicts.
const VERDICTS: [(&str, Better); 5] = [
    ("passed", Better::More),
    ("blocked", Better::Same),
    ("unresolved", Better::Less),
    ("closed", Better::Same),
    ("error", Better::Less),
];
/// How many points a share may become worse by, unless it is said.
const SHARE_TOLERANCE: f64 = 0.01;
/// The name of a tolerance for all shares.
const SHARES: &str = "shares";
/// Requests with another outcome than the scenario expects, as a share: none is the only fine number to begin with.
const SURPRISE_SHARE: &str = "surprise_share";
/// Parts of reports with single slices, trials, intervals and findings, and other views of the same times.
const DETAILS: [&str; 8] =
    ["slices", "trials", "misses", "false_alarms", "categories", "intervals", "by_status", "by_verdict"];
/// What names an entry of a list.
const NAMES: [&str; 2] = ["name", "connections"];

/// What reports say about the work that was measured, at their top: figures of different work say nothing about each other.
const SETTINGS: [&str; 8] =
    ["work", "load", "connections", "request", "quantile", "bound_nanoseconds", "error_share", "records"];

/// Which way a figure becomes better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    Less,
    More,
    /// Neither: every change is for the worse.
    Same,
}

/// A figure of a report.
#[derive(Clone, Copy, Debug)]
struct Figure {
    value: f64,
    better: Better,
    /// A share of requests, 0 to 1, that is compared in points.
    is_share: bool,
}

/// How much worse a figure may become.
#[derive(Clone, Debug)]
pub struct Tolerance {
    /// As a share of what it was, 0.05 for 5 %; not for shares of requests, which may become worse by a point.
    pub share: f64,
    /// The same for figures whose path ends with this, and for shares of requests in points, 0.05 for 5; `shares` is all of
    /// these. The last that fits counts.
    pub by_metric: Vec<(String, f64)>,
    /// Reports of different loads are compared all the same.
    pub any_load: bool,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { share: 0.05, by_metric: Vec::new(), any_load: false }
    }
}

impl Tolerance {
    fn of(&self, path: &str, figure: Figure) -> f64 {
        let fits = self.by_metric.iter().rev().find(|(end, _)| is_meant(path, figure, end));
        let default = if figure.is_share { SHARE_TOLERANCE } else { self.share };
        fits.map_or(default, |(_, share)| *share)
    }
}

/// What two reports have in common, and what not.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields, rename = "DiffReport"))]
pub struct Report {
    /// `diff`: what kind of report this is.
    pub report: &'static str,
    /// The version of the generator.
    pub version: &'static str,
    /// Figures of both.
    pub changes: Vec<Change>,
    /// Why the second can't stand beside the first: a figure is missing, one of them isn't valid, or they are of different
    /// loads.
    pub problems: Vec<String>,
}

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Change {
    /// Its path in the reports.
    pub metric: String,
    /// In the first report.
    pub before: f64,
    /// In the second.
    pub after: f64,
    /// It is a share of requests, 0 to 1: [`Self::worse_by`] and [`Self::tolerance`] are differences, 0.01 for a point.
    pub is_share: bool,
    /// How much worse it became, as a share of what it was; below 0 for better.
    pub worse_by: f64,
    /// How much worse it may become.
    pub tolerance: f64,
    /// It became worse than is tolerated.
    pub regressed: bool,
}

impl Report {
    /// Nothing became worse than is tolerated, and nothing is missing.
    #[must_use]
    pub fn is_fine(&self) -> bool {
        self.problems.is_empty() && !self.changes.iter().any(|change| change.regressed)
    }
}

/// Compares two reports, as JSON, of the same command.
///
/// # Errors
///
/// The first report has no figures to compare, the second is of another command, or there is no figure with the name of a
/// tolerance.
pub fn diff(before: &Value, after: &Value, tolerance: &Tolerance) -> Result<Report, String> {
    let (old, new) = (figures(before), figures(after));
    if old.is_empty() {
        return Err("the first file is no report of run, compare, search or replay".to_owned());
    }
    let command = |report: &Value| report.get("report").and_then(Value::as_str).map(str::to_owned);
    if let (Some(first), Some(second)) = (command(before), command(after))
        && first != second
    {
        return Err(format!("the first report is of `{first}`, the second of `{second}`"));
    }
    if let Some((unknown, _)) = tolerance
        .by_metric
        .iter()
        .find(|(end, _)| !old.iter().any(|(path, figure)| is_meant(path, *figure, end)))
    {
        let ends = METRICS.iter().map(|(end, _)| *end).chain([SURPRISE_SHARE, SHARES]);
        let known: Vec<&str> =
            ends.filter(|end| old.iter().any(|(path, figure)| is_meant(path, *figure, end))).collect();
        return Err(format!(
            "no figure of the first report ends with `{unknown}`; there are {}",
            known.join(", ")
        ));
    }
    let (changes, problems) = (Vec::new(), Vec::new());
    let mut report = Report { report: "diff", version: env!("CARGO_PKG_VERSION"), changes, problems };
    for (name, value) in [("first", before), ("second", after)] {
        if value.get("interrupted") == Some(&Value::Bool(true)) {
            report.problems.push(format!("the {name} report was interrupted"));
        } else if value.get("valid") == Some(&Value::Bool(false)) {
            report.problems.push(format!("the {name} report is not valid"));
        }
    }
    if !tolerance.any_load {
        report.problems.extend(differences(before, after));
    }
    for (path, before) in old {
        match new.get(&path) {
            // What no request had in either says nothing.
            Some(after) if before.is_share && before.value == 0.0 && after.value == 0.0 => {}
            Some(after) => {
                report.changes.push(Change::new(&path, before, after.value, tolerance.of(&path, before)));
            }
            None => report.problems.push(format!("the second report has no {path}")),
        }
    }
    Ok(report)
}

/// How the work of two reports differs, as far as both tell.
fn differences(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for name in SETTINGS {
        if let (Some(first), Some(second)) = (before.get(name), after.get(name))
            && first != second
        {
            found
                .push(format!("different {name}: {first}, then {second} (--any-load compares all the same)"));
        }
    }
    found
}

impl Change {
    fn new(path: &str, figure: Figure, after: f64, tolerance: f64) -> Self {
        let Figure { value: before, better, is_share } = figure;
        let worse = match better {
            Better::Less => after - before,
            Better::More => before - after,
            Better::Same => (after - before).abs(),
        };
        // What was nothing and is something now has become worse by any measure, or better.
        let worse_by = match before {
            _ if is_share => worse,
            0.0 if worse == 0.0 => 0.0,
            0.0 => worse.signum(),
            _ => worse / before.abs(),
        };
        // The first surprise is one too many, however large the load.
        let first_surprise = ends_with(path, SURPRISE_SHARE) && before == 0.0 && after > 0.0;
        let regressed = worse_by > tolerance || first_surprise;
        Self { metric: path.to_owned(), before, after, is_share, worse_by, tolerance, regressed }
    }
}

/// Whether the name of a tolerance means this figure.
fn is_meant(path: &str, figure: Figure, name: &str) -> bool {
    if name == SHARES {
        return figure.is_share;
    }
    // Percentiles may be written as people do.
    ends_with(path, name) || name.ends_with("p99.9") && ends_with(path, &name.replace("p99.9", "p99_9"))
}

fn ends_with(path: &str, end: &str) -> bool {
    path.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// The figures to compare, by path.
fn figures(report: &Value) -> BTreeMap<String, Figure> {
    let mut all = BTreeMap::new();
    collect(report, "", &mut all);
    // A replay has its verdicts by label.
    if report.get("report") == Some(&Value::String("replay".to_owned())) {
        for (label, verdicts) in report.get("labels").and_then(Value::as_object).into_iter().flatten() {
            add_verdicts(verdicts, &format!("labels.{label}"), &mut all);
        }
    }
    all
}

fn collect(value: &Value, path: &str, all: &mut BTreeMap<String, Figure>) {
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => {
            add_shares(value, path, all);
            let kept = fields.iter().filter(|(name, _)| !DETAILS.contains(&name.as_str()));
            kept.for_each(|(name, value)| collect(value, &join(name), all));
        }
        Value::Array(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                let name = NAMES.iter().find_map(|name| entry.get(name)).map_or_else(
                    || index.to_string(),
                    |name| name.as_str().map_or_else(|| name.to_string(), str::to_owned),
                );
                collect(entry, &join(&name), all);
            }
        }
        Value::Number(number) => {
            // `rate` alone is a figure of its own at the top; deeper it is a part of others, named above.
            let metric = METRICS.iter().find(|(end, _)| match *end {
                "rate" => path == "rate",
                end => ends_with(path, end),
            });
            if let (Some((_, less_is_better)), Some(value)) = (metric, number.as_f64()) {
                let better = if *less_is_better { Better::Less } else { Better::More };
                all.insert(path.to_owned(), Figure { value, better, is_share: false });
            }
        }
        // A search that found no rate that holds: nothing is the least that a target can do.
        Value::Null if path == "highest_rate" => {
            all.insert(path.to_owned(), Figure { value: 0.0, better: Better::More, is_share: false });
        }
        _ => {}
    }
}

/// The shares of classes of statuses, verdicts and surprises, of an object that counts them.
fn add_shares(object: &Value, path: &str, all: &mut BTreeMap<String, Figure>) {
    let Some(statuses) = object.get("statuses").and_then(Value::as_object) else { return };
    let errors = object.get("errors").and_then(Value::as_object).into_iter().flatten();
    let errors: f64 = errors.filter_map(|(_, error)| error.get("count")?.as_f64()).sum();
    let answers: f64 = statuses.values().filter_map(Value::as_f64).sum();
    let verdicts = object.get("verdicts").map_or(0.0, sum);
    let requests = object.get("requests").and_then(Value::as_f64).unwrap_or(0.0);
    let requests = requests.max(verdicts).max(answers + errors);
    if requests == 0.0 {
        return;
    }
    for (class, digit, better) in STATUS_CLASSES {
        let of_class = statuses.iter().filter(|(status, _)| status.starts_with(digit));
        let count: f64 = of_class.filter_map(|(_, count)| count.as_f64()).sum();
        add_share(all, path, &format!("status_share.{class}"), count / requests, better);
    }
    if let Some(verdicts) = object.get("verdicts") {
        add_verdicts(verdicts, path, all);
    }
    // A label has what it met first beside the count.
    let surprises = object.get("surprises");
    let surprises =
        surprises.and_then(|some| some.as_f64().or_else(|| some.get("count")?.as_f64())).unwrap_or(0.0);
    add_share(all, path, SURPRISE_SHARE, surprises / requests, Better::Less);
}

fn add_verdicts(verdicts: &Value, path: &str, all: &mut BTreeMap<String, Figure>) {
    let requests = sum(verdicts);
    for (verdict, better) in VERDICTS.into_iter().filter(|_| requests > 0.0) {
        let count = verdicts.get(verdict).and_then(Value::as_f64).unwrap_or(0.0);
        add_share(all, path, &format!("verdict_share.{verdict}"), count / requests, better);
    }
}

fn add_share(all: &mut BTreeMap<String, Figure>, path: &str, name: &str, value: f64, better: Better) {
    let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    // The sum of nothing is -0, which would be shown.
    all.insert(path, Figure { value: value + 0.0, better, is_share: true });
}

/// The sum of an object's counts.
fn sum(counts: &Value) -> f64 {
    counts.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_f64()).sum()
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.changes.iter().map(|change| change.metric.len()).max().unwrap_or(0);
        for change in &self.changes {
            let Change { metric, before, after, is_share, worse_by, tolerance, regressed } = change;
            let (percent, unit) = (worse_by.abs() * 100.0, if *is_share { "points" } else { "%" });
            let judged = match () {
                () if *regressed => {
                    format!("WORSE by {percent:.1} {unit}, tolerated {:.1} {unit}", tolerance * 100.0)
                }
                () if *worse_by > 0.0 => format!("worse by {percent:.1} {unit}"),
                () if *worse_by < 0.0 => format!("better by {percent:.1} {unit}"),
                () => "the same".to_owned(),
            };
            let (before, after) = if *is_share {
                (format!("{:.3} %", before * 100.0), format!("{:.3} %", after * 100.0))
            } else {
                (format!("{before:.3}"), format!("{after:.3}"))
            };
            writeln!(formatter, "{metric:<width$}  {before:>14}  {after:>14}  {judged}")?;
        }
        self.problems.iter().try_for_each(|problem| writeln!(formatter, "PROBLEM: {problem}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_search_without_a_rate_that_holds_is_a_report() {
        let report = |rate: Value, interrupted: bool| json!({"report": "search", "highest_rate": rate, "interrupted": interrupted});
        let (none, some) = (report(Value::Null, false), report(json!(1000.0), false));
        let judge = |before: &Value, after: &Value| {
            let report = diff(before, after, &Tolerance::default()).unwrap();
            (report.problems.len(), report.changes.iter().map(|change| change.regressed).collect::<Vec<_>>())
        };
        assert_eq!(judge(&none, &none), (0, vec![false]));
        assert_eq!(judge(&none, &some), (0, vec![false]));
        assert_eq!(judge(&some, &none), (0, vec![true]));
        assert_eq!(judge(&some, &report(json!(1000.0), true)), (1, vec![false]));
    }

    #[test]
    fn worse_is_worse_in_the_direction_of_each_figure() {
        let before = json!({"valid": true, "rate": 100.0, "service_time": {"p50": 10, "p99": 100, "p99_9": 100, "max": 1}});
        let after = json!({"valid": true, "rate": 90.0, "service_time": {"p50": 9, "p99": 104, "p99_9": 106, "max": 9}});
        let report = diff(&before, &after, &Tolerance::default()).unwrap();
        let found: Vec<_> = report
            .changes
            .iter()
            .map(|change| (&*change.metric, change.worse_by, change.regressed))
            .collect();
        let expected = [
            ("rate", 0.1, true),
            ("service_time.p50", -0.1, false),
            ("service_time.p99", 0.04, false),
            ("service_time.p99_9", 0.06, true),
        ];
        assert_eq!(found, expected);
        assert!(!report.is_fine());
        let tolerance = Tolerance {
            share: 0.2,
            by_metric: vec![("p99".to_owned(), 0.01), ("p99.9".to_owned(), 1.0)],
            ..Tolerance::default()
        };
        let report = diff(&before, &after, &tolerance).unwrap();
        let regressed: Vec<_> = report.changes.iter().filter(|change| change.regressed).collect();
        assert_eq!(regressed.len(), 1);
        assert_eq!(regressed[0].metric, "service_time.p99");
        assert!(diff(&before, &before, &Tolerance { share: 0.0, ..Tolerance::default() }).unwrap().is_fine());
    }

    #[test]
    fn answers_that_turn_into_others_are_worse_however_fast() {
        let report = |statuses: Value, verdicts: Value, surprises: u64| {
            let label = json!({"requests": 1000, "statuses": statuses, "verdicts": verdicts,
                "surprises": {"count": surprises, "expected": "pass", "example": "status 502"}});
            json!({"rate": 1.0, "requests": 1000, "statuses": statuses, "verdicts": verdicts,
                "surprises": surprises, "labels": {"page": label}})
        };
        let regressed = |before: &Value, after: &Value, tolerance: &Tolerance| {
            let report = diff(before, after, tolerance).unwrap();
            let regressed = report.changes.into_iter().filter(|change| change.regressed);
            regressed
                .map(|change| change.metric)
                .filter(|metric| !metric.starts_with("labels."))
                .collect::<Vec<_>>()
        };
        let wide = Tolerance { share: 100.0, ..Tolerance::default() };
        let before = report(json!({"200": 1000}), json!({"passed": 1000}), 0);
        let broken = report(json!({"502": 1000}), json!({"unresolved": 1000}), 0);
        let expected =
            ["status_share.2xx", "status_share.5xx", "verdict_share.passed", "verdict_share.unresolved"];
        assert_eq!(regressed(&before, &broken, &wide), expected);
        assert!(regressed(&broken, &before, &wide).is_empty());
        let text = diff(&before, &broken, &wide).unwrap().to_string();
        assert!(text.contains(" 0.000 % ") && !text.contains("-0.000"), "{text}");
        let labels = diff(&before, &broken, &wide).unwrap().changes;
        assert!(
            labels.iter().any(|change| change.metric == "labels.page.status_share.5xx" && change.regressed)
        );

        // What was blocked passes now.
        let leaky = report(json!({"200": 980, "403": 20}), json!({"passed": 980, "blocked": 20}), 0);
        assert_eq!(regressed(&leaky, &before, &wide), ["status_share.4xx", "verdict_share.blocked"]);
        let points = Tolerance { by_metric: vec![("shares".to_owned(), 0.05)], ..wide };
        assert!(regressed(&leaky, &before, &points).is_empty());

        // One surprise is too many where there was none; then its share counts.
        let surprising = |count: u64| report(json!({"200": 1000}), json!({"passed": 1000}), count);
        assert_eq!(regressed(&before, &surprising(1), &points), ["surprise_share"]);
        assert!(regressed(&surprising(1), &surprising(2), &wide).is_empty());
        assert_eq!(regressed(&surprising(1), &surprising(20), &wide), ["surprise_share"]);
        let own = Tolerance { by_metric: vec![("surprise_share".to_owned(), 0.5)], ..wide };
        assert!(regressed(&surprising(1), &surprising(20), &own).is_empty());
    }

    #[test]
    fn what_cannot_be_compared_is_told() {
        let report = |command: &str, load: &str| json!({"report": command, "load": load, "connections": 64, "rate": 1.0});
        let (before, after) = (report("run", "closed loop"), report("run", "open loop"));
        let found = diff(&before, &after, &Tolerance::default()).unwrap();
        assert!(!found.is_fine() && found.problems[0].starts_with("different load:"), "{found}");
        let any_load = Tolerance { any_load: true, ..Tolerance::default() };
        assert!(diff(&before, &after, &any_load).unwrap().is_fine());
        assert!(diff(&before, &before, &Tolerance::default()).unwrap().is_fine());
        let other = diff(&before, &report("search", "x"), &any_load).unwrap_err();
        assert_eq!(other, "the first report is of `run`, the second of `search`");
        let tolerance = Tolerance { by_metric: vec![("p98".to_owned(), 0.1)], ..Tolerance::default() };
        let unknown = diff(&before, &before, &tolerance).unwrap_err();
        assert_eq!(unknown, "no figure of the first report ends with `p98`; there are rate");
    }

    #[test]
    fn targets_are_found_by_name_and_what_is_missing_is_a_problem() {
        let target =
            |name: &str, cpu: f64| json!({"name": name, "cpu_ratio": {"median": cpu}, "connections": 1});
        let before = json!({"tables": [{"connections": 64, "targets": [target("a", 1.0), target("b", 0.5)], "slices": [{"latency": {"p50": 1}}]}]});
        let after = json!({"valid": false, "tables": [{"connections": 64, "targets": [target("b", 0.6)]}]});
        let report = diff(&before, &after, &Tolerance::default()).unwrap();
        assert_eq!(report.changes.len(), 1);
        assert_eq!(report.changes[0].metric, "tables.64.targets.b.cpu_ratio.median");
        assert!(report.changes[0].regressed);
        let expected = [
            "the second report is not valid",
            "the second report has no tables.64.targets.a.cpu_ratio.median",
        ];
        assert_eq!(report.problems, expected);
        assert!(diff(&json!([1]), &after, &Tolerance::default()).is_err());
    }
}

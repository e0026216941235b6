//! Two reports side by side: what became better, what became worse, and whether that is more than is tolerated.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;

/// The figures that are compared: the end of their path in a report, and whether less is better.
const METRICS: [(&str, bool); 15] = [
    ("rate", false),
    ("rate.median", false),
    ("highest_rate", false),
    ("recall.rate", false),
    ("balanced_accuracy", false),
    ("service_time.p50", true),
    ("service_time.p99", true),
    ("response_time.p50", true),
    ("response_time.p99", true),
    ("latency.p50", true),
    ("latency.p99", true),
    ("cpu_microseconds_per_answer.median", true),
    ("cpu_ratio.median", true),
    ("false_positive_rate.rate", true),
    ("surprises", true),
];
/// Parts of reports with single slices, trials, intervals and findings, and other views of the same times.
const DETAILS: [&str; 8] =
    ["slices", "trials", "misses", "false_alarms", "categories", "intervals", "by_status", "by_verdict"];
/// What names an entry of a list.
const NAMES: [&str; 2] = ["name", "connections"];

/// What reports say about the work that was measured, at their top: figures of different work say nothing about each other.
const SETTINGS: [&str; 7] =
    ["work", "load", "connections", "request", "quantile", "bound_nanoseconds", "records"];

/// How much worse a figure may become.
#[derive(Clone, Debug)]
pub struct Tolerance {
    /// As a share of what it was, 0.05 for 5 %.
    pub share: f64,
    /// The same for figures whose path ends with this; the last that fits counts.
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
    fn of(&self, path: &str) -> f64 {
        let fits = self.by_metric.iter().rev().find(|(end, _)| ends_with(path, end));
        fits.map_or(self.share, |(_, share)| *share)
    }
}

/// What two reports have in common, and what not.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields, rename = "DiffReport"))]
pub struct Report {
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
    if let Some((unknown, _)) =
        tolerance.by_metric.iter().find(|(end, _)| !old.keys().any(|path| ends_with(path, end)))
    {
        let known: Vec<&str> = METRICS
            .iter()
            .map(|(end, _)| *end)
            .filter(|end| old.keys().any(|path| ends_with(path, end)))
            .collect();
        return Err(format!(
            "no figure of the first report ends with `{unknown}`; there are {}",
            known.join(", ")
        ));
    }
    let mut report = Report { changes: Vec::new(), problems: Vec::new() };
    for (name, value) in [("first", before), ("second", after)] {
        if value.get("valid") == Some(&Value::Bool(false)) {
            report.problems.push(format!("the {name} report is not valid"));
        }
    }
    if !tolerance.any_load {
        report.problems.extend(differences(before, after));
    }
    for (path, (before, less_is_better)) in old {
        match new.get(&path) {
            Some((after, _)) => {
                report.changes.push(Change::new(&path, before, *after, less_is_better, tolerance.of(&path)));
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
    fn new(path: &str, before: f64, after: f64, less_is_better: bool, tolerance: f64) -> Self {
        let worse = if less_is_better { after - before } else { before - after };
        // What was nothing and is something now has become worse by any measure, or better.
        let worse_by = match before {
            0.0 if worse == 0.0 => 0.0,
            0.0 => worse.signum(),
            _ => worse / before.abs(),
        };
        let metric = path.to_owned();
        Self { metric, before, after, worse_by, tolerance, regressed: worse_by > tolerance }
    }
}

fn ends_with(path: &str, end: &str) -> bool {
    path.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// The figures to compare, by path, and whether less is better.
fn figures(report: &Value) -> BTreeMap<String, (f64, bool)> {
    let mut all = BTreeMap::new();
    collect(report, "", &mut all);
    all
}

fn collect(value: &Value, path: &str, all: &mut BTreeMap<String, (f64, bool)>) {
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => {
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
            if let (Some((_, less_is_better)), Some(number)) = (metric, number.as_f64()) {
                all.insert(path.to_owned(), (number, *less_is_better));
            }
        }
        _ => {}
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.changes.iter().map(|change| change.metric.len()).max().unwrap_or(0);
        for change in &self.changes {
            let Change { metric, before, after, worse_by, tolerance, regressed } = change;
            let percent = worse_by.abs() * 100.0;
            let judged = match () {
                () if *regressed => {
                    format!("WORSE by {percent:.1} %, tolerated {:.1} %", tolerance * 100.0)
                }
                () if *worse_by > 0.0 => format!("worse by {percent:.1} %"),
                () if *worse_by < 0.0 => format!("better by {percent:.1} %"),
                () => "the same".to_owned(),
            };
            writeln!(formatter, "{metric:<width$}  {before:>14.3}  {after:>14.3}  {judged}")?;
        }
        self.problems.iter().try_for_each(|problem| writeln!(formatter, "PROBLEM: {problem}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn worse_is_worse_in_the_direction_of_each_figure() {
        let before = json!({"valid": true, "rate": 100.0, "service_time": {"p50": 10, "p99": 100, "max": 1}, "surprises": 0});
        let after = json!({"valid": true, "rate": 90.0, "service_time": {"p50": 9, "p99": 104, "max": 9}, "surprises": 1});
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
            ("surprises", 1.0, true),
        ];
        assert_eq!(found, expected);
        assert!(!report.is_fine());
        let tolerance = Tolerance {
            share: 0.2,
            by_metric: vec![("p99".to_owned(), 0.01), ("surprises".to_owned(), 1.0)],
            ..Tolerance::default()
        };
        let report = diff(&before, &after, &tolerance).unwrap();
        let regressed: Vec<_> = report.changes.iter().filter(|change| change.regressed).collect();
        assert_eq!(regressed.len(), 1);
        assert_eq!(regressed[0].metric, "service_time.p99");
        assert!(diff(&before, &before, &Tolerance { share: 0.0, ..Tolerance::default() }).unwrap().is_fine());
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

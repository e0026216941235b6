//! The table that the demo prints.

use std::fmt::Write as _;

use serde_json::Value;

use super::cases::Case;
use super::check::{Observed, differences, outcome_expected, outcome_found, winning_rule};

const COLUMNS: usize = 10;
const HEADINGS: [&str; COLUMNS] = [
    "request",
    "client",
    "local mode (from)",
    "rule",
    "effective mode",
    "finding",
    "verdict",
    "status",
    "expected",
    "",
];

/// The table, and what is wrong with which rows.
pub(super) struct Report {
    /// The table as text, each line ended.
    pub(super) table: String,
    /// One line for each row that isn't as expected.
    pub(super) failures: Vec<String>,
}

/// Makes the table of all requests, in groups.
pub(super) fn report(cases: &[Case], observed: &[Observed]) -> Report {
    let mut failures = Vec::new();
    let mut rows = Vec::new();
    for (number, (case, observed)) in (1..).zip(cases.iter().zip(observed)) {
        let wrong = differences(case, observed);
        rows.push(cells(case, observed, wrong.is_empty()));
        if !wrong.is_empty() {
            let (title, client) = (&case.title, case.client.as_str());
            failures.push(format!("row {number}, {title}, {client}: {}", wrong.join("; ")));
        }
    }
    let widths = widths(&rows);
    let mut table = String::new();
    write_row(&mut table, "", &HEADINGS.map(str::to_owned), &widths);
    let mut group = "";
    for (number, (case, row)) in (1..).zip(cases.iter().zip(&rows)) {
        if case.group != group {
            group = case.group;
            table.push_str(&format!("\n{group}\n"));
        }
        write_row(&mut table, &format!("{number}"), row, &widths);
    }
    Report { table, failures }
}

fn widths(rows: &[[String; COLUMNS]]) -> [usize; COLUMNS] {
    let mut widths = HEADINGS.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}

fn write_row(table: &mut String, number: &str, row: &[String; COLUMNS], widths: &[usize; COLUMNS]) {
    let mut line = format!("{number:>3}");
    for (cell, width) in row.iter().zip(widths) {
        // Writing to a string doesn't fail.
        let _ = write!(line, "  {cell:<width$}");
    }
    table.push_str(line.trim_end());
    table.push('\n');
}

fn cells(case: &Case, observed: &Observed, as_expected: bool) -> [String; COLUMNS] {
    let explained = &observed.explained;
    [
        case.title.clone(),
        case.client.as_str().to_owned(),
        local_mode(explained),
        rule(explained),
        text(&explained["mode"]),
        finding(explained),
        verdict(explained),
        outcome_found(observed),
        outcome_expected(&case.expected),
        if as_expected { "ok" } else { "NO" }.to_owned(),
    ]
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

/// The local mode, and the kind of context that it comes from: which one, the request tells.
fn local_mode(explained: &Value) -> String {
    let local = &explained["local_mode"];
    let Some(value) = local["value"].as_str() else { return "-".to_owned() };
    let from = local["from"].as_str().and_then(|from| from.split(' ').next()).unwrap_or_default();
    format!("{value} ({from})")
}

/// The rule that wins, and whether it counts.
fn rule(explained: &Value) -> String {
    let Some(mode_from) = explained["mode_from"].as_str() else { return "-".to_owned() };
    let name = winning_rule(explained).map_or_else(
        || "general mode".to_owned(),
        |rule| format!("{} {}", rule["id"], rule["mode"].as_str().unwrap_or_default()),
    );
    if mode_from == "local" && !name.ends_with(" default") { format!("({name})") } else { name }
}

fn finding(explained: &Value) -> String {
    let found = explained["findings"].as_array().and_then(|findings| findings.first());
    match found {
        Some(finding) => format!("{} {}", text(&finding["class"]), text(&finding["point"])),
        None if explained["inspected"] == true => "none".to_owned(),
        None => "-".to_owned(),
    }
}

fn verdict(explained: &Value) -> String {
    match (text(&explained["verdict"]), explained["reason"].as_str()) {
        (verdict, None | Some("none")) => verdict,
        (verdict, Some(reason)) => format!("{verdict}, {reason}"),
    }
}

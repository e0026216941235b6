//! The part of `docs/http.md` that shows the verdict on every case, made from the tables and from what was recorded of
//! nginx and HAProxy.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::peers;
use super::table::{self, Case, REQUESTS, RESPONSES, Says};

const START: &str =
    "<!-- cases: written by `WEIR_WRITE_CASES=1 cargo test -p weir --test e2e the_page_shows` -->\n";
const END: &str = "<!-- end of cases -->\n";

fn page_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/http.md")
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

/// Answers for a cell: the word for an end without one, and codes as code.
fn shown(answers: &str) -> String {
    let show = |answer: &str| match answer.split_once(' ') {
        Some((status, code)) => format!("{status} `{code}`"),
        None if answer == "none" => "closed".to_owned(),
        None => answer.to_owned(),
    };
    answers.split(", ").map(show).collect::<Vec<_>>().join(", ")
}

fn is_refusal(answers: &str) -> bool {
    answers == "none" || answers.split(", ").any(|answer| answer.starts_with(['4', '5']))
}

/// How many cases a party refuses of those that a suite wants refused, accepted, or leaves open.
fn counted<'c>(cases: impl Iterator<Item = (Says, &'c str)> + Clone) -> String {
    let count = |says: Says| {
        let of_kind = cases.clone().filter(move |(case, _)| *case == says);
        let refused = of_kind.clone().filter(|(_, answers)| is_refusal(answers)).count();
        format!("{refused} of {}", of_kind.count())
    };
    format!("{} | {} | {}", count(Says::Reject), count(Says::Either), count(Says::Accept))
}

fn cases() -> String {
    let recorded = peers::recorded();
    let suites: Vec<(&str, &str, Vec<Case>)> =
        REQUESTS.iter().map(|(file, title)| (*file, *title, table::read(file))).collect();
    let answers_of = |peer: usize, suite: &str, id: &str| {
        let answers = recorded.answers.get(&(suite.to_owned(), id.to_owned()));
        answers.unwrap_or_else(|| panic!("record {suite} {id} of the peers anew"))[peer].as_str()
    };
    let mut text = "\n| suite | party | refused where the suite wants that | where it leaves it open | where it wants it accepted |\n\
                    | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for (suite, title, cases) in &suites {
        let ours = counted(cases.iter().map(|case| (case.says, case.answers.as_str())));
        writeln!(text, "| {title} | Weir | {ours} |").unwrap();
        for (peer, version) in recorded.versions.iter().enumerate() {
            let theirs = counted(cases.iter().map(|case| (case.says, answers_of(peer, suite, &case.id))));
            writeln!(text, "| {title} | {version} | {theirs} |").unwrap();
        }
    }
    for (suite, title, cases) in &suites {
        writeln!(text, "\n### {title}: {} cases\n", cases.len()).unwrap();
        writeln!(text, "| case | suite | Weir | {} | why |", recorded.versions.join(" | ")).unwrap();
        writeln!(text, "| --- | --- | --- |{} --- |", " --- |".repeat(recorded.versions.len())).unwrap();
        for case in cases {
            let theirs: Vec<String> =
                (0..recorded.versions.len()).map(|peer| shown(answers_of(peer, suite, &case.id))).collect();
            writeln!(
                text,
                "| `{}` | {} | {} | {} | {} |",
                case.id,
                case.says.as_str(),
                shown(&case.answers),
                theirs.join(" | "),
                cell(case.why.as_deref().unwrap_or_default())
            )
            .unwrap();
        }
    }
    let responses = table::read(RESPONSES.0);
    writeln!(text, "\n### {}: {} cases\n", RESPONSES.1, responses.len()).unwrap();
    text.push_str("| case | llhttp | the client gets | why |\n| --- | --- | --- | --- |\n");
    for case in &responses {
        let why = cell(case.why.as_deref().unwrap_or_default());
        writeln!(text, "| `{}` | {} | {} | {why} |", case.id, case.says.as_str(), shown(&case.answers))
            .unwrap();
    }
    text.push('\n');
    text
}

/// Fails with what to do when the page is behind the tables.
#[test]
fn the_page_shows_every_case() {
    let page = std::fs::read_to_string(page_path()).unwrap();
    let (before, rest) = page.split_once(START).expect("the page has a place for the cases");
    let (_, after) = rest.split_once(END).expect("the place for the cases has an end");
    let wanted = format!("{before}{START}{}{END}{after}", cases());
    if page != wanted && std::env::var_os("WEIR_WRITE_CASES").is_some() {
        std::fs::write(page_path(), &wanted).unwrap();
    } else {
        assert!(page == wanted, "docs/http.md is behind the tables: run the command in its comment");
    }
}

//! The cases of requests, through a real node.

use super::table::{Case, REQUESTS, Says};
use super::{Finish, converse, table};
use crate::support::message::Message;
use crate::support::node::Node;
use crate::support::origin::{Origin, ok};
use crate::support::setup::Setup;

/// An origin for the cases: it knows HEAD, conditional requests, and the few methods that the cases ask about.
pub(super) fn origin() -> Origin {
    Origin::answering(answer)
}

fn answer(request: &Message) -> Vec<u8> {
    let fields = "ETag: \"v1\"\r\nLast-Modified: Sun, 01 Nov 2026 00:00:00 GMT\r\n";
    let etag_matches = request
        .fields
        .iter()
        .filter(|(name, _)| name == "if-none-match")
        .map(|(_, value)| matches!(value.as_str(), "*" | "\"v1\"" | "W/\"v1\""))
        .next();
    let unchanged_since = || {
        request.fields.iter().any(|(name, value)| name == "if-modified-since" && value.starts_with("Sun, 01"))
    };
    let method = request.first_line.split(' ').next().unwrap_or_default();
    if etag_matches.unwrap_or_else(unchanged_since) {
        format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").into_bytes()
    } else if method == "HEAD" {
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 5\r\n\r\n").into_bytes()
    } else if method == "OPTIONS" {
        b"HTTP/1.1 200 OK\r\nAllow: GET, HEAD, POST, OPTIONS\r\nContent-Length: 0\r\n\r\n".to_vec()
    } else {
        ok(format!("{} bytes", request.body.len()).as_bytes())
    }
}

/// What a client heard, as the tables have it: statuses, with the reason where Weir answered by itself.
pub(crate) fn answers(heard: &[u8]) -> String {
    let text = String::from_utf8_lossy(heard);
    let mut reasons = text.match_indices("Reason: <code>").map(|(at, mark)| {
        let rest = &text[at + mark.len()..];
        &rest[..rest.find('<').unwrap_or_default()]
    });
    let all: Vec<String> = super::statuses(heard)
        .into_iter()
        .map(|status| match status {
            400.. => format!("{status} {}", reasons.next().unwrap_or("without a reason")),
            _ => status.to_string(),
        })
        .collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

/// A request as the tables have it.
fn seen(request: &Message) -> String {
    let method = request.first_line.split(' ').next().unwrap_or_default();
    let target = request.target();
    let shown = if target.len() > 200 { format!("({} bytes)", target.len()) } else { target.to_owned() };
    format!("{method} {shown} {}", request.body.len())
}

/// Puts one case to the node.
fn try_case(node: &Node, origin: &Origin, case: &Case) -> (String, Vec<String>) {
    let before = origin.requests().len();
    let heard = converse(node.address, &case.parts, Finish::AtOnce);
    let reached = &origin.requests()[before..];
    assert!(!reached.iter().any(|request| request.trailers), "{}: trailers are not forwarded", case.id);
    (answers(&heard), reached.iter().map(seen).collect())
}

fn check_suites(mode: &str) {
    let mut wrong = Vec::new();
    for (suite, _) in REQUESTS {
        let origin = origin();
        let node = Setup::new(origin.address).mode(mode).detection("min_score = 1000").start();
        for case in table::read(suite) {
            let (answers, reached) = try_case(&node, &origin, &case);
            if answers != case.answers || reached != case.origin {
                wrong.push(format!("{suite}\t{}\t{answers}\t{reached:?}", case.id));
            }
        }
        assert_eq!(node.get("/probe").status(), 200, "{mode}: the node serves on");
    }
    assert!(wrong.is_empty(), "{mode}: {} cases differ from the tables:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn cases_of_other_parsers_get_the_verdicts_of_the_tables_while_streamed() {
    check_suites("off");
}

#[test]
fn cases_of_other_parsers_get_the_verdicts_of_the_tables_while_held() {
    check_suites("block");
}

#[test]
fn every_case_that_differs_from_its_suite_says_why() {
    for (suite, _) in REQUESTS {
        for case in table::read(suite) {
            let refused = case.answers.split(", ").any(|answer| answer.starts_with(['4', '5']))
                || case.answers == "none";
            let differs = match case.says {
                Says::Accept => refused,
                Says::Reject => !refused,
                Says::Either => false,
            };
            assert!(!differs || case.why.is_some(), "{suite} {} needs a reason", case.id);
        }
    }
}

//! The cases of responses: what a client hears when an origin sends them.

use std::sync::{Arc, Mutex};

use super::table::RESPONSES;
use super::{Finish, converse, table};
use crate::support::client::get;
use crate::support::origin::{Origin, ok};
use crate::support::setup::Setup;

/// What the client heard, as the table has it.
fn outcome(heard: &[u8]) -> String {
    let text = String::from_utf8_lossy(heard);
    let statuses = super::statuses(heard);
    let status: Vec<String> = statuses.iter().map(u16::to_string).collect();
    let status = status.join(", ");
    if let Some(at) = text.find("Reason: <code>") {
        let rest = &text[at + "Reason: <code>".len()..];
        return format!("{status} {}", &rest[..rest.find('<').unwrap_or_default()]);
    }
    if statuses.is_empty() {
        return "none".to_owned();
    }
    let (head, body) = text.rsplit_once("\r\n\r\n").map_or((&*text, ""), |_| {
        let start = text.rfind("HTTP/1.1 ").unwrap_or_default();
        text[start..].split_once("\r\n\r\n").unwrap_or((&text[start..], ""))
    });
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    let whole = if matches!(statuses.last(), Some(204 | 304)) {
        body.is_empty()
    } else if head.contains("Transfer-Encoding: chunked") {
        body.ends_with("0\r\n\r\n")
    } else {
        length.is_none_or(|length: usize| body.len() == length)
    };
    format!("{status} {}", if whole { "whole" } else { "cut" })
}

#[test]
fn cases_of_responses_get_the_outcomes_of_the_table() {
    let next = Arc::new(Mutex::new(Vec::new()));
    let script = Arc::clone(&next);
    let origin = Origin::scripted(move |peer| {
        while let Some(request) = peer.request() {
            if request.target() == "/next" {
                peer.send(ok(b"next"));
                continue;
            }
            let bytes = script.lock().unwrap().clone();
            peer.send(bytes);
            return;
        }
    });
    let node = Setup::new(origin.address).mode("off").start();
    let mut wrong = Vec::new();
    for case in table::read(RESPONSES.0) {
        *next.lock().unwrap() = case.parts.concat();
        let heard = converse(node.address, &[get("/case").into_bytes()], Finish::AtOnce);
        let outcome = outcome(&heard);
        if outcome != case.answers {
            wrong.push(format!("llhttp_resp\t{}\t{outcome}\t[]", case.id));
        }
        // Whatever that was, the next client gets its own answer.
        assert_eq!(node.get("/next").text(), "next", "{}", case.id);
    }
    assert!(wrong.is_empty(), "{} cases differ from the table:\n{}", wrong.len(), wrong.join("\n"));
}

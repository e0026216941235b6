//! Limits of size.

use super::rule;
use crate::support::client::{chunked_post, post};
use crate::support::origin::Origin;
use crate::support::setup::Setup;

fn upload(name: &str, content: &str) -> String {
    let body = format!(
        "--x\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"a.bin\"\r\n\r\n{content}\r\n--x--\r\n"
    );
    format!(
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Type: multipart/form-data; boundary=x\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn a_body_may_be_so_large() {
    for (action, mode, status) in [
        ("inherited", "monitoring", 200),
        ("inherited", "block", 403),
        ("monitoring", "block", 200),
        ("block", "monitoring", 403),
        ("off", "block", 200),
        ("block", "off", 200),
    ] {
        let rules = rule(9, &format!("type = \"upload_size\"\nlimit = \"1KiB\"\naction = \"{action}\""));
        let origin = Origin::echoing_targets();
        let node = Setup::new(origin.address).mode(mode).rules(&rules).start();
        let context = format!("{action} in {mode}");
        assert_eq!(node.connect().ask(post("/", &[b'a'; 1024])).status(), 200, "{context}: just fits");
        let answer = node.connect().ask(post("/", &[b'a'; 1025]));
        assert_eq!(answer.status(), status, "{context}");
        let expected = 1 + usize::from(status == 200);
        assert_eq!(origin.requests().len(), expected, "{context}");
        if action == "off" || mode == "off" {
            continue;
        }
        let event = node.await_event_of(&answer);
        assert_eq!(event["attack_class"], "file_upload_violation", "{context}");
        assert_eq!((&event["rule_id"], &event["reason"]), (&9.into(), &"over_limit".into()), "{context}");
        assert_eq!(event["point"], "body", "{context}");
        assert_eq!(event["action"], if status == 403 { "blocked" } else { "monitored" }, "{context}");
    }
}

#[test]
fn a_body_without_a_length_is_counted_as_it_comes() {
    let rules = rule(9, "type = \"upload_size\"\nlimit = \"1KiB\"\naction = \"block\"");
    for mode in ["monitoring", "block"] {
        let origin = Origin::echoing_targets();
        let node = Setup::new(origin.address).mode(mode).rules(&rules).start();
        let mut client = node.connect();
        client.send(chunked_post("/"));
        client.send(format!("400\r\n{}\r\n", "a".repeat(1024)));
        client.send("1\r\na\r\n");
        let answer = client.answer();
        assert_eq!(answer.status(), 403, "{mode}");
        let event = node.await_event_of(&answer);
        assert_eq!(event["attack_class"], "file_upload_violation", "{mode}");
        assert_eq!(origin.requests().len(), 0, "{mode}: never whole at the origin");
    }
}

#[test]
fn one_part_may_be_so_large() {
    let rules = [
        rule(
            1,
            "type = \"upload_size\"\nlimit = \"1KiB\"\naction = \"block\"\npoint = [\"body\", \"avatar\"]",
        ),
        rule(
            2,
            "type = \"upload_size\"\nlimit = \"16B\"\naction = \"monitoring\"\npoint = \"header.x-token\"",
        ),
    ]
    .concat();
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("monitoring").rules(&rules).start();
    let mut client = node.connect();
    assert_eq!(client.ask(upload("avatar", &"a".repeat(1024))).status(), 200);
    assert_eq!(client.ask(upload("other", &"a".repeat(5000))).status(), 200);
    let answer = client.ask(upload("avatar", &"a".repeat(1025)));
    assert_eq!(answer.status(), 403);
    let event = node.await_event_of(&answer);
    assert_eq!(
        (&event["point"], &event["payload"]),
        (&"body.avatar".into(), &"1025 bytes, 1024 are allowed".into())
    );
    assert_eq!(origin.requests().len(), 2, "held and not forwarded");
    let answer = client.ask(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Token: {}\r\n\r\n", "t".repeat(17)));
    assert_eq!(answer.status(), 200);
    assert_eq!(node.await_event_of(&answer)["point"], "header.x-token");
}

#[test]
fn a_file_that_outgrows_what_is_inspected_is_too_large_all_the_same() {
    let rules = rule(
        1,
        "type = \"upload_size\"\nlimit = \"3KiB\"\naction = \"block\"\npoint = [\"body\", \"avatar\"]",
    );
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .mode("monitoring")
        .detection("body_limit = \"4KiB\"")
        .rules(&rules)
        .start();
    assert_eq!(node.connect().ask(upload("avatar", &"a".repeat(20_000))).status(), 403);
    assert_eq!(origin.requests().len(), 0);
}

//! Bodies that are compressed are inspected as what they hold and forwarded as they came, and places say what becomes of what
//! can't be inspected.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::client::{get, post};
use crate::support::origin::{Origin, ok};
use crate::support::pattern;
use crate::support::setup::Setup;

const ATTACK: &[u8] = b"id=1' UNION SELECT password FROM users--";

/// What Python's module makes of the bytes.
fn compressed(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let call = match coding {
        "gzip" => "gzip.compress(body)",
        "deflate" => "zlib.compress(body)",
        _ => unreachable!("{coding}"),
    };
    let script =
        format!("import gzip, sys, zlib\nbody = sys.stdin.buffer.read()\nsys.stdout.buffer.write({call})");
    let mut python = Command::new("python3")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("these tests need python3: apt-get install python3");
    python.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// A POST of a compressed body.
fn post_coded(target: &str, coding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: site.example\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn compressed_bodies_are_inspected_decoded_and_forwarded_as_they_came() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .mode("block")
        .server("[[server.location]]\npath = \"/watched\"\nmode = \"monitoring\"")
        .start();
    for coding in ["gzip", "deflate"] {
        let clean = compressed(coding, b"id=1&name=Anna");
        assert_eq!(node.connect().ask(post_coded("/clean", coding, &clean)).status(), 200, "{coding}");
        let forwarded = origin.requests().pop().unwrap();
        assert_eq!((forwarded.body, forwarded.fields.len() > 3), (clean, true), "{coding}");
        let attack = compressed(coding, ATTACK);
        assert_eq!(node.connect().ask(post_coded("/", coding, &attack)).status(), 403, "{coding}");
        let answer = node.connect().ask(post_coded("/watched", coding, &attack));
        assert_eq!(answer.status(), 200, "{coding}");
        assert_eq!(node.await_event_of(&answer)["attack_class"], "sqli", "{coding}");
    }
    assert!(!origin.targets().contains(&"/".to_owned()));
}

#[test]
fn a_body_that_inflates_beyond_what_is_inspected_makes_an_event_or_is_blocked() {
    let origin = Origin::echoing_targets();
    let node =
        Setup::new(origin.address).mode("block").server("[[server.location]]\npath = \"/pass\"").start();
    let bomb = compressed("gzip", &[b"pad=".as_slice(), &vec![b'a'; 64 << 20]].concat());
    assert!(bomb.len() < 100_000);
    let answer = node.connect().ask(post_coded("/pass", "gzip", &bomb));
    let event = node.await_event_of(&answer);
    assert_eq!((answer.status(), &event["attack_class"]), (403, &"data_bomb".into()), "{event}");
    // An attack at its start is found, whatever comes behind it.
    let bomb = compressed("gzip", &[ATTACK, b"&pad=", &vec![b'a'; 64 << 20]].concat());
    assert_eq!(node.connect().ask(post_coded("/", "gzip", &bomb)).status(), 403);
    assert_eq!(node.get("/after").status(), 200);
}

#[test]
fn places_fail_open_or_closed_where_there_is_no_room_for_a_body() {
    let origin = Origin::answering(|request| ok(request.body.len().to_string().as_bytes()));
    let node = Setup::new(origin.address)
        .mode("block")
        .node("body_bytes_total = \"1MiB\"")
        .limits("body_timeout = \"1h\"\nbody_rate_min_bytes = 0")
        .server("[[server.location]]\npath = \"/closed\"\noverload = \"block\"")
        .start();
    // Most of the room is taken by a body that is held and not whole.
    let large = pattern(900_000);
    let request = post("/first", &large);
    let mut first = node.connect();
    first.send(&request[..request.len() - 1]);
    node.await_metric("weir_received_bytes_total", &[], request.len() as u64 - 1);
    let body = pattern(600_000);
    let open = node.connect().ask(post("/open", &body));
    assert_eq!((open.status(), open.text().as_str()), (200, "600000"), "the default is to pass");
    let event = node.await_event_of(&open);
    assert_eq!(
        (&event["attack_class"], &event["point"]),
        (&"overlimit_res".into(), &"overload".into()),
        "{event}"
    );
    let closed = node.connect().ask(post("/closed", &body));
    assert_eq!(closed.status(), 503);
    assert_eq!(node.await_event_of(&closed)["action"], "blocked");
    assert_eq!(node.connect().ask(get("/closed")).status(), 200, "nothing of it was left out");
    assert!(node.metric("weir_limit_hits_total", &[("limit", "body_bytes_total")]) >= 2);
    first.send(&request[request.len() - 1..]);
    assert_eq!(first.answer().text(), "900000");
}

/// What no request from outside can bring about: a build for development has a defect where a test says so.
#[cfg(debug_assertions)]
#[test]
fn places_fail_open_or_closed_where_the_inspection_fails() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address)
        .mode("block")
        .server(
            "[[server.location]]\npath = \"/closed\"\ninspection_failure = \"block\"\n\
             [[server.location]]\npath = \"/watched\"\nmode = \"monitoring\"\ninspection_failure = \"block\"",
        )
        .variable("WEIR_TEST_DEFECT", "defect")
        .start();
    for (place, status, action) in
        [("/open", 200, "monitored"), ("/closed", 503, "blocked"), ("/watched", 200, "monitored")]
    {
        assert_eq!(node.get(place).status(), 200, "{place}: this one is inspected");
        let answer = node.connect().get(&format!("{place}?defect"));
        assert_eq!(answer.status(), status, "{place}");
        let event = node.await_event_of(&answer);
        assert_eq!(
            (&event["attack_class"], &event["point"], &event["action"]),
            (&"overlimit_res".into(), &"inspection_failure".into(), &action.into()),
            "{event}"
        );
    }
    assert_eq!(node.metric("weir_limit_hits_total", &[("limit", "inspection_failure")]), 3);
    assert_eq!(node.get("/?id=1'%20UNION%20SELECT%20a%20FROM%20b--").status(), 403, "the worker inspects on");
    assert!(!origin.targets().contains(&"/closed?defect".to_owned()));
}

//! Replays against the origin stub, whose queries choose their status.

mod common;

use std::{fmt::Write, process::Command, sync::atomic::AtomicBool};

use base64::Engine;
use common::Logged;
use serde_json::{Value, json};
use weir_loadgen::{
    Verdict,
    origin::Options as OriginOptions,
    replay::{Options, Record, run},
};

fn record(id: &str, label: &str, category: &str, raw: &str) -> Record {
    Record { id: id.to_owned(), label: label.to_owned(), category: category.to_owned(), raw: raw.into() }
}

fn get(status: u16) -> String {
    format!("GET /?status={status} HTTP/1.1\r\nHost: shop.example\r\n\r\n")
}

#[test]
fn every_record_is_sent_whole_and_judged() {
    let origin = Logged::start(OriginOptions { log_body_bytes: 10, ..OriginOptions::default() });
    let post = "POST /?status=403 HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\n\r\nhello";
    let mut records = vec![
        record("hit", "attack", "sqli", &get(403)),
        record("body", "attack", "xss", post),
        record("miss", "attack", "sqli", &get(200)),
        record("odd", "attack", "protocol", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        record("head", "benign", "get", "HEAD /?size=9 HTTP/1.1\r\nHost: a\r\n\r\n"),
        record("gone", "benign", "get", &get(404)),
        record("alarm", "benign", "get", &get(403)),
        record("login", "benign", "get", &get(401)),
        record("other", "neg", "", &get(403)),
    ];
    records.extend((0..100).map(|number| record(&format!("more{number}"), "benign", "more", &get(200))));
    for keep_alive in [false, true] {
        let mut options = Options::new(&format!("http://{}/unused", origin.origin.address()));
        options.request.threads = 2;
        options.request.connections = 5;
        options.pass_statuses = vec![401];
        options.keep_alive = keep_alive;
        let report = run(&options, &records, &AtomicBool::new(false)).unwrap();
        assert_eq!((report.sent, report.service_time.count), (109, 109));
        let recall = report.recall.unwrap();
        assert_eq!((recall.count, recall.of), (2, 4), "{report}");
        assert_eq!(report.recall_with_refused.unwrap().count, 3);
        let alarms = report.false_positive_rate.unwrap();
        assert_eq!((alarms.count, alarms.of), (1, 104), "{report}");
        assert_eq!(report.labels["neg"], [(Verdict::Blocked, 1)].into());
        let ids = |list: &[weir_loadgen::replay::Finding]| -> Vec<String> {
            list.iter().map(|finding| format!("{} {}", finding.id, finding.reason)).collect()
        };
        assert_eq!(ids(&report.misses), ["miss status 200", "odd status 400"]);
        assert_eq!(ids(&report.false_alarms), ["alarm status 403"]);
    }
    let lines = origin.lines();
    let connections: std::collections::BTreeSet<_> =
        lines.iter().map(|line| line["connection"].to_string()).collect();
    // One for each of the first 109; then 5, and one more behind the malformed request, which the origin closes.
    assert!((109 + 1..=109 + 6).contains(&connections.len()), "{}", connections.len());
    let body = lines.iter().find(|line| line["method"] == "POST").unwrap();
    assert_eq!((&body["body"], &body["headers"][0]), (&json!("hello"), &json!(["Host", "b"])));
}

fn own((outcome, count): (&str, u64)) -> (String, u64) {
    (outcome.to_owned(), count)
}

#[test]
fn closed_connections_are_told_from_answers() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Closes every connection at its first bytes; ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut room = [0; 1000];
            let _read = std::io::Read::read(&mut stream.unwrap(), &mut room);
        }
    });
    let records = [record("a", "attack", "x", &get(200))];
    let mut options = Options::new(&format!("http://{address}/"));
    let report = run(&options, &records, &AtomicBool::new(false)).unwrap();
    assert_eq!(report.misses[0].verdict, Verdict::Closed, "{report}");
    assert!(!report.valid && report.reasons[0].starts_with("no request was answered"), "{report}");
    options.close_blocks = true;
    let report = run(&options, &records, &AtomicBool::new(false)).unwrap();
    // It may as well be dead.
    assert!(!report.valid && report.reasons[0].starts_with("no request was answered"), "{report}");
    let origin = Logged::start(OriginOptions::default());
    let options =
        Options { close_blocks: true, ..Options::new(&format!("http://{}/", origin.origin.address())) };
    let close = "GET /?fault=close HTTP/1.1\r\nHost: a\r\n\r\n";
    // Of a record without a request nothing is sent, and nobody waits for an answer.
    let records = [
        record("a", "attack", "x", close),
        record("b", "benign", "x", &get(200)),
        record("c", "other", "x", ""),
    ];
    let report = run(&options, &records, &AtomicBool::new(false)).unwrap();
    assert_eq!(report.recall.unwrap().count, 1, "{report}");
    assert_eq!(report.outcomes, [("closed", 1), ("empty", 1), ("status 200", 1)].map(own).into());
    assert_eq!(report.reasons.len(), 1, "{report}");
    let report = run(&options, &records[..2], &AtomicBool::new(false)).unwrap();
    assert!(report.valid, "{report}");
}

#[test]
fn the_command_scores_a_corpus() {
    let origin = Logged::start(OriginOptions::default());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut corpus = String::new();
    for (id, label, status) in [(1, "attack", 403), (2, "attack", 200), (3, "benign", 200)] {
        let raw = base64::engine::general_purpose::STANDARD.encode(get(status));
        writeln!(corpus, "{}", json!({"id": id, "label": label, "category": "c", "raw": raw})).unwrap();
    }
    std::fs::write(path("corpus"), corpus).unwrap();
    let url = format!("http://{}/", origin.origin.address());
    let replay = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_weir-loadgen"))
            .args(["replay", "--target", &url, "--corpus", &path("corpus")])
            .args(more)
            .output()
            .unwrap()
    };
    let output = replay(&["--json", &path("json"), "--findings", &path("findings")]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("recall                50.00 % (1 of 2;"), "{output:?}");
    let report: Value = serde_json::from_slice(&std::fs::read(path("json")).unwrap()).unwrap();
    assert_eq!(report["balanced_accuracy"], json!(0.75));
    let findings = std::fs::read_to_string(path("findings")).unwrap();
    assert_eq!(findings, "miss\t2\tc\tpassed\tstatus 200\tGET /?status=200 HTTP/1.1\n");
    let output = replay(&["--json", &path("both"), "--findings", &path("both")]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    // A key that is read must not be written over.
    std::fs::write(path("key"), "key").unwrap();
    let output = replay(&["--certificate", &path("key"), "--key", &path("key"), "--json", &path("key")]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(std::fs::read_to_string(path("key")).unwrap(), "key");
    let output = replay(&["--label", "nothing"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

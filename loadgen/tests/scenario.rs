//! Scenarios against the origin stub.

mod common;

use std::{collections::BTreeSet, path::Path, process::Command, sync::Arc, sync::atomic::AtomicBool};

use base64::Engine;
use common::{Certificates, Logged};
use serde_json::{Value, json};
use weir_loadgen::{
    Verdict,
    origin::{Options as OriginOptions, spawn},
    run::{Limit, Load, Options, Report, run},
    scenario::Scenario,
};

fn start(url: &str, scenario: &str, requests: u64) -> Report {
    run(&options(url, scenario, requests), &AtomicBool::new(false)).unwrap()
}

fn options(url: &str, scenario: &str, requests: u64) -> Options {
    let scenario = Scenario::parse(scenario, Path::new(".")).unwrap();
    Options {
        scenario: Some(Arc::new(scenario)),
        limit: Limit::Requests(requests),
        connections: 6,
        threads: 2,
        ..Options::new(url)
    }
}

const MIX: &str = r#"
seed = 3

[[request]]
label = "page"
weight = 6
target = "/item/${int:1-50}?size=10"
headers = ["User-Agent: test", "Host: shop.example"]
template = true
expect = "pass"

[[request]]
label = "form"
weight = 2
target = "/form"
body = '{"id": "${hex:8}"}'
template = true
expect = [200, 201]

[[request]]
label = "attack"
weight = 1
target = "/?status=403&q=select"
expect = "block"

[[request]]
label = "malformed"
weight = 1
raw = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
expect = "refuse"
"#;

#[test]
fn a_mix_is_sent_by_weight_and_judged_by_label() {
    let origin = Logged::start(OriginOptions { log_body_bytes: 100, ..OriginOptions::default() });
    let url = format!("http://{}/ignored", origin.origin.address());
    let report = start(&url, MIX, 1000);
    assert!(report.errors.is_empty() && report.surprises == 0 && report.requests == 1000, "{report}");
    let counts: Vec<_> = report.labels.iter().map(|(name, label)| (name.as_str(), label.requests)).collect();
    let expected = [("attack", 100), ("form", 200), ("malformed", 100), ("page", 600)];
    for ((name, count), (expected_name, expected)) in counts.iter().zip(expected) {
        // The mix is drawn with a fixed seed.
        assert!(*name == expected_name && count.abs_diff(expected) < 60, "{counts:?}");
    }
    assert_eq!(report.labels["attack"].verdicts.keys().collect::<Vec<_>>(), [&Verdict::Blocked]);
    assert_eq!(report.labels["malformed"].verdicts.keys().collect::<Vec<_>>(), [&Verdict::Unresolved]);
    assert_eq!(report.labels["page"].times.service_time.count, report.labels["page"].requests);

    let lines = origin.lines();
    let targets: BTreeSet<&str> = lines.iter().filter_map(|line| line["target"].as_str()).collect();
    assert!(targets.len() > 40, "{targets:?}");
    let form = lines.iter().find(|line| line["target"] == "/form").unwrap();
    assert_eq!((&form["method"], &form["body_bytes"]), (&json!("POST"), &json!(18)));
    let page = lines
        .iter()
        .find(|line| line["target"].as_str().is_some_and(|text| text.starts_with("/item")))
        .unwrap();
    assert_eq!(page["headers"], json!([["User-Agent", "test"], ["Host", "shop.example"]]));

    // The same seed sends the same, whatever the threads and the kind of load.
    let drawn = |lines: &[Value]| -> Vec<String> {
        let mut all: Vec<String> =
            lines.iter().map(|line| format!("{}{}", line["target"], line["body"])).collect();
        all.sort_unstable();
        all
    };
    let again = Logged::start(OriginOptions { log_body_bytes: 100, ..OriginOptions::default() });
    let mut options = options(&format!("http://{}/", again.origin.address()), MIX, 1000);
    (options.threads, options.load) = (1, Load::Rate(20_000.0));
    let report = run(&options, &AtomicBool::new(false)).unwrap();
    assert_eq!(
        report.labels["page"].times.response_time.as_ref().unwrap().count,
        report.labels["page"].requests
    );
    assert_eq!(drawn(&again.lines()), drawn(&lines));
}

#[test]
fn surprises_are_counted_and_shown() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let scenario = "[[request]]\nlabel = \"attack\"\ntarget = \"/\"\nexpect = \"block\"\n";
    let report = start(&format!("http://{}/", origin.address()), scenario, 5);
    let surprises = report.labels["attack"].surprises.as_ref().unwrap();
    assert_eq!((surprises.count, &*surprises.expected, &*surprises.example), (5, "block", "status 200"));
    assert_eq!(report.surprises, 5);
    assert!(report.to_string().contains("SURPRISES: 5, expected block, first met status 200"), "{report}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scenario.toml");
    std::fs::write(&file, scenario).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_weir-loadgen"))
        .args(["run", "--closed", "--requests", "3", "--url", &format!("http://{}/", origin.address())])
        .arg("--scenario")
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("3 requests had another outcome"), "{output:?}");
}

#[test]
fn a_connection_that_should_be_closed_is_no_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Closes every connection at its first bytes; ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut room = [0; 1000];
            let _read = std::io::Read::read(&mut stream.unwrap(), &mut room);
        }
    });
    let scenario = "[[request]]\nlabel = \"junk\"\nraw_base64 = \"AAEC\"\nexpect = \"close\"\n";
    let report = start(&format!("http://{address}/"), scenario, 8);
    assert!(report.errors.is_empty() && report.surprises == 0 && report.requests == 8, "{report}");
    assert_eq!(report.labels["junk"].verdicts[&Verdict::Closed], 8);
}

#[test]
fn groups_have_their_addresses_certificates_and_connections() {
    let certificates = Certificates::new();
    let origin =
        Logged::start(OriginOptions { tls: Some(certificates.mutual_tls()), ..OriginOptions::default() });
    let scenario = format!(
        "server_name = \"localhost\"\n[[request]]\nlabel = \"old\"\ntarget = \"/old\"\ngroups = [\"old\"]\n\
         [[request]]\nlabel = \"new\"\ntarget = \"/new\"\ngroups = [\"new\"]\n\
         [[group]]\nname = \"old\"\nsources = [\"127.0.0.2-127.0.0.3\"]\ncertificate = {c:?}\nprivate_key = {k:?}\n\
         [[group]]\nname = \"new\"\nkeep_alive = false\nresume = false\nsources = [\"127.0.0.9\"]\ncertificate = {c:?}\nprivate_key = {k:?}\n",
        c = certificates.path("client-cert.pem"),
        k = certificates.path("client-key.pem"),
    );
    // The address stands in for a host that has no name: the scenario says which name its certificate has.
    let mut options = options(&format!("https://{}/", origin.origin.address()), &scenario, 60);
    options.ca = Some(certificates.path("server-ca.pem"));
    let report = run(&options, &AtomicBool::new(false)).unwrap();
    assert!(report.errors.is_empty() && report.requests == 60, "{report}");
    let peers = |target: &str| -> (BTreeSet<String>, usize) {
        let lines = origin.lines();
        let own = lines.iter().filter(|line| line["target"] == target);
        let address = |line: &Value| line["peer"].as_str().unwrap().split_once(':').unwrap().0.to_owned();
        (
            own.clone().map(address).collect(),
            own.map(|line| line["connection"].to_string()).collect::<BTreeSet<_>>().len(),
        )
    };
    let (old, old_connections) = peers("/old");
    assert_eq!(old, ["127.0.0.2", "127.0.0.3"].map(str::to_owned).into());
    assert!(old_connections <= 3, "{old_connections}");
    let (new, new_connections) = peers("/new");
    assert_eq!(new, ["127.0.0.9".to_owned()].into());
    let named = scenario.replace("name = \"new\"\n", "name = \"new\"\nserver_name = \"partner.example\"\n");
    options.scenario = Some(Arc::new(Scenario::parse(&named, Path::new(".")).unwrap()));
    (options.ca, options.insecure) = (None, true);
    run(&options, &AtomicBool::new(false)).unwrap();
    let names: BTreeSet<_> = origin
        .lines()
        .iter()
        .map(|line| format!("{} {}", line["target"], line["tls"]["server_name"]))
        .collect();
    assert!(
        names.contains("\"/new\" \"partner.example\"") && names.contains("\"/old\" \"localhost\""),
        "{names:?}"
    );
    assert!(!names.contains("\"/old\" \"partner.example\""), "{names:?}");
    assert_eq!(new_connections as u64, report.labels["new"].requests);
    assert_eq!(report.handshakes.resumed, 0, "{report}");
}

#[test]
fn nothing_is_left_without_traffic_silently() {
    let origin = Logged::start(OriginOptions::default());
    let url = format!("http://{}/", origin.origin.address());
    let request = "[[request]]\nlabel = \"a\"\ntarget = \"/\"\n";
    let group = |name: &str, rest: &str| format!("[[group]]\nname = \"{name}\"\nshare = 90\n{rest}\n");

    // Each connection has the next address, with one connection at a time too.
    let rotating = group("g", "sources = [\"127.0.0.2-127.0.0.4\"]\nkeep_alive = false");
    let mut one = options(&url, &format!("{request}{rotating}"), 6);
    one.connections = 1;
    let report = run(&one, &AtomicBool::new(false)).unwrap();
    assert!(report.errors.is_empty() && report.notes.is_empty(), "{report}");
    let lines = origin.lines();
    let peers: BTreeSet<&str> =
        lines.iter().map(|line| line["peer"].as_str().unwrap().split_once(':').unwrap().0).collect();
    assert_eq!(peers, ["127.0.0.2", "127.0.0.3", "127.0.0.4"].into());

    // A group without a connection, and addresses that are not this machine's.
    let groups = [group("x", ""), group("y", ""), group("z", "")].concat();
    let foreign = group("x", "sources = [\"192.0.2.1\"]");
    for (groups, expected) in [
        (groups, "2 connections leave some of the scenario's 3 groups without one"),
        (foreign, "connections can't come from the source address 192.0.2.1"),
    ] {
        let mut few = options(&url, &format!("{request}{groups}"), 6);
        few.connections = 2;
        let error = run(&few, &AtomicBool::new(false)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    // A label that had no luck is in the report, and a note tells.
    let rare = format!("{request}weight = 1000000\n{}", request.replace("\"a\"", "\"rare\""));
    let report = start(&url, &rare, 3);
    assert_eq!((report.labels["rare"].requests, report.requests), (0, 3), "{report}");
    assert_eq!(
        report.notes,
        ["no request was sent with the label rare: a longer run or larger weights are needed"]
    );
}

#[test]
fn corpora_are_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String =
        [("attack", "GET /?status=403&a", 1), ("attack", "GET /?status=403&b", 2), ("benign", "HEAD /c", 3)]
            .map(|(label, line, id)| {
                let raw = base64::engine::general_purpose::STANDARD
                    .encode(format!("{line} HTTP/1.1\r\nHost: kept\r\n\r\n"));
                format!("{{\"id\":{id},\"label\":\"{label}\",\"raw\":\"{raw}\"}}\n")
            })
            .concat();
    std::fs::write(folder.path().join("corpus.jsonl"), lines).unwrap();
    let text = "
[[request]]
label = \"bad\"
corpus = \"corpus.jsonl\"
corpus_label = \"attack\"
expect = \"block\"
[[request]]
label = \"good\"
corpus = \"corpus.jsonl\"
corpus_label = \"benign\"
close = false
expect = \"pass\"
";
    let origin = Logged::start(OriginOptions::default());
    let mut options = options(
        &format!("http://{}/", origin.origin.address()),
        "[[request]]\nlabel = \"x\"\ntarget = \"/\"",
        200,
    );
    options.scenario = Some(Arc::new(Scenario::parse(text, folder.path()).unwrap()));
    let report = run(&options, &AtomicBool::new(false)).unwrap();
    assert!(report.errors.is_empty() && report.surprises == 0 && report.requests == 200, "{report}");
    let lines = origin.lines();
    let targets: BTreeSet<&str> = lines.iter().filter_map(|line| line["target"].as_str()).collect();
    assert_eq!(targets, ["/?status=403&a", "/?status=403&b", "/c"].into());
    assert!(lines.iter().all(|line| line["headers"] == json!([["Host", "kept"]])));
    let missing = Scenario::parse(&text.replace("benign", "other"), folder.path()).unwrap_err();
    assert!(missing.to_string().contains("has no request with the label `other`"), "{missing}");
}

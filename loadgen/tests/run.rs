//! The load generator against the origin stub.

mod common;

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::atomic::AtomicBool,
    time::Duration,
};

use common::{Certificates, Logged, unused_address};
use serde_json::json;
use weir_loadgen::{
    origin::{Options as OriginOptions, spawn},
    run::{Limit, Load, Options, Report, RunError, run},
};

fn start(options: &Options) -> Report {
    run(options, &AtomicBool::new(false)).unwrap()
}

fn requests(url: &str, count: u64) -> Options {
    Options { limit: Limit::Requests(count), connections: 7, threads: 2, ..Options::new(url) }
}

#[test]
fn a_closed_loop_sends_exactly_what_was_asked_for() {
    let origin = Logged::start(OriginOptions::default());
    let mut options = requests(&format!("http://{}/x?status=403", origin.origin.address()), 1001);
    options.method = "POST".to_owned();
    options.body = b"hello".to_vec();
    options.headers = vec![("X-Test".to_owned(), "yes".to_owned())];
    let report = start(&options);
    assert_eq!(report.statuses, [(403, 1001)].into());
    assert_eq!(
        (report.requests, report.times.service_time.count, report.connect_time.count),
        (1001, 1001, 7)
    );
    assert!(report.times.response_time.is_none() && report.times.send_lag.is_none());
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let lines = origin.lines();
    assert_eq!(lines.len(), 1001);
    assert!(lines.iter().all(|line| line["body_bytes"] == json!(5) && line["method"] == json!("POST")));
    assert!(lines[0]["headers"].as_array().unwrap().contains(&json!(["X-Test", "yes"])));
}

#[test]
fn an_open_loop_sends_at_its_rate_and_counts_from_the_due_time() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let mut options = requests(&format!("http://{}/", origin.address()), 200);
    options.load = Load::Rate(1000.0);
    let report = start(&options);
    let (response, lag) =
        (report.times.response_time.as_ref().unwrap(), report.times.send_lag.as_ref().unwrap());
    assert_eq!(
        (report.requests, response.count, lag.count, report.times.service_time.count),
        (200, 200, 200, 200)
    );
    assert_eq!(report.missed, 0);
    // The last of 200 requests at 1000 a second is due after 199 ms, however fast the answers are.
    assert!(report.elapsed_seconds >= 0.199, "{}", report.elapsed_seconds);
    assert!(response.max >= report.times.service_time.min, "{report}");
}

#[test]
fn each_request_can_have_a_connection_of_its_own() {
    let certificates = Certificates::new();
    let tls = Some(certificates.mutual_tls());
    let origin = spawn(OriginOptions { tls, ..OriginOptions::default() }).unwrap();
    let mut options = requests(&format!("https://localhost:{}/", origin.address().port()), 50);
    options.ca = Some(certificates.path("server-ca.pem"));
    options.identity = Some(certificates.identity("client"));
    (options.keep_alive, options.resume) = (false, false);
    let report = start(&options);
    assert!(report.errors.is_empty(), "{report}");
    // One is counted more where a connection was made and no request was left for it.
    assert!((50..=57).contains(&report.handshakes.full) && report.handshakes.resumed == 0, "{report}");
}

#[test]
fn arrivals_can_be_random_or_grow() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let mut options = requests(&format!("http://{}/", origin.address()), 300);
    options.load = Load::Poisson { rate: 2000.0, seed: 4 };
    let report = start(&options);
    assert_eq!((report.requests, report.missed), (300, 0), "{report}");
    assert!(report.load.contains("Poisson") && report.target_rate == Some(2000.0), "{report}");
    options.load = Load::Ramp { from: 100.0, to: 900.0 };
    options.limit = Limit::Duration(Duration::from_millis(400));
    let report = start(&options);
    assert_eq!(report.requests + report.missed, 200, "{report}");
    options.limit = Limit::Requests(1);
    assert!(matches!(run(&options, &AtomicBool::new(false)), Err(RunError::Request(_))));
}

#[test]
fn a_target_that_cannot_keep_up_makes_an_open_loop_invalid() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let mut options = Options::new(&format!("http://{}/?delay=50ms", origin.address()));
    options.load = Load::Rate(500.0);
    options.limit = Limit::Duration(Duration::from_millis(500));
    (options.connections, options.threads) = (2, 1);
    let report = start(&options);
    assert_eq!(report.requests + report.missed, 250, "{report}");
    // Two connections that wait 50 ms for each answer send at most 20 requests in half a second, and 2 in the end.
    assert!(report.requests <= 22, "{report}");
    // All but the first two were late because both connections were busy.
    assert!(report.times.response_time.as_ref().unwrap().max > report.times.service_time.p50, "{report}");
    assert!(!report.valid);
    assert!(report.reasons.iter().any(|reason| reason.contains("never sent")), "{:?}", report.reasons);
}

#[test]
fn every_way_to_frame_an_answer_is_read() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let cases = [
        ("/?size=0", "GET", 0),
        ("/?size=200000", "GET", 200_000),
        ("/?size=200000&chunked=1", "GET", 200_000),
        ("/?close=1", "GET", 1024),
        ("/?status=204", "GET", 0),
        ("/?size=200000", "HEAD", 0),
    ];
    for (rest, method, body) in cases {
        let mut options = requests(&format!("http://{}{rest}", origin.address()), 20);
        options.method = method.to_owned();
        let report = start(&options);
        assert!(report.errors.is_empty() && report.requests == 20, "{method} {rest}: {report}");
        let per_answer = report.received_bytes / 20;
        assert!((body..body + 300).contains(&per_answer), "{method} {rest}: {per_answer}");
    }
}

#[test]
fn mutual_tls_works_and_resumes() {
    let certificates = Certificates::new();
    let options =
        OriginOptions { tls: Some(certificates.mutual_tls()), threads: 2, ..OriginOptions::default() };
    let origin = Logged::start(options);
    let mut options =
        requests(&format!("https://localhost:{}/?close=1&size=50000", origin.origin.address().port()), 40);
    options.ca = Some(certificates.path("server-ca.pem"));
    options.identity = Some(certificates.identity("client"));
    let report = start(&options);
    assert!(report.errors.is_empty() && report.requests == 40, "{report}");
    assert!(report.handshakes.resumed > 0, "{report}");
    options.resume = false;
    let report = start(&options);
    assert_eq!(report.handshakes.resumed, 0);
    assert!(report.handshakes.full >= 40, "{report}");
    let subjects: Vec<_> = origin
        .lines()
        .iter()
        .filter(|line| line["method"] == json!("GET"))
        .map(|line| line["tls"]["client_subject"].clone())
        .collect();
    assert_eq!(subjects, vec![json!("edge"); 80]);

    // Without a certificate the handshake looks fine to a TLS 1.3 client; the refusal comes after it, and ends the run
    // before its first request.
    options.identity = None;
    let error = run(&options, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, RunError::Handshake(..)) && error.to_string().contains("ertificate"), "{error}");
    // One of a CA that the target doesn't trust is none.
    options.identity = Some(certificates.identity("server"));
    let error = run(&options, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, RunError::Handshake(..)), "{error}");
    options.identity = None;

    options.ca = Some(certificates.path("client-ca.pem"));
    let error = run(&options, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, RunError::Handshake(..)), "{error}");
    options.ca = None;
    options.insecure = true;
    options.identity = Some(certificates.identity("client"));
    assert!(start(&options).errors.is_empty());
}

#[test]
fn failures_are_counted_by_kind() {
    // Each answer, and what a run makes of it.
    let cases: [(&'static [u8], &str); 6] = [
        (b"", "closed"),
        // A TLS server's complaint.
        (b"\x15\x03\x03\x00\x02\x02\x0a", "malformed_answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "cut_off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "cut_off"),
        (b"nonsense\r\n\r\n", "malformed_answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", "malformed_answer"),
    ];
    for (answer, kind) in cases {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Ends with the test's process: it waits for connections that no longer come.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 1024];
                if matches!(stream.read(&mut request), Ok(count) if count > 0) {
                    stream.write_all(answer).unwrap();
                }
            }
        });
        let mut options = requests(&format!("http://{address}/"), 3);
        options.connections = 1;
        let report = start(&options);
        let errors: Vec<_> = report.errors.iter().map(|(kind, error)| (kind.as_str(), error.count)).collect();
        assert_eq!(errors, [(kind, 3)], "{}", String::from_utf8_lossy(answer));
        assert_eq!(report.to_string().contains("begin with https://"), answer.starts_with(&[21]), "{report}");
        assert!(!report.valid);
    }
}

#[test]
fn slow_answers_time_out() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let mut options = requests(&format!("http://{}/?delay=30s", origin.address()), 2);
    options.timeout = Duration::from_millis(500);
    let report = start(&options);
    assert_eq!(report.errors["timeout"].count, 2, "{report}");
}

#[test]
fn what_cannot_be_run_is_explained() {
    let (_socket, free) = unused_address();
    let error = run(&Options::new(&format!("http://{free}/")), &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, RunError::Unreachable(address, _) if address == free), "{error}");
    for options in [
        Options { load: Load::Rate(0.0), ..Options::new("http://127.0.0.1/") },
        Options { connections: 0, ..Options::new("http://127.0.0.1/") },
        Options { method: "G T".to_owned(), ..Options::new("http://127.0.0.1/") },
        Options::new("127.0.0.1:80"),
    ] {
        let error = run(&options, &AtomicBool::new(false)).unwrap_err();
        assert!(matches!(error, RunError::Request(_)), "{error}");
    }
}

#[test]
fn a_target_that_answers_nothing_is_to_blame_and_not_the_generator() {
    // A machine that stood still for most of such a short run says nothing about the target.
    let blamed = (0..20).any(|_| {
        // The kernel takes connections for it, as many as its queue holds: each try needs a new one.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut options = Options::new(&format!("http://{}/", silent.local_addr().unwrap()));
        (options.load, options.connections, options.threads) = (Load::Rate(1000.0), 4, 1);
        (options.limit, options.timeout) =
            (Limit::Duration(Duration::from_millis(300)), Duration::from_millis(300));
        let report = start(&options);
        assert!(!report.valid && report.missed > 0, "{report}");
        report.reasons.iter().any(|reason| reason.contains("the target, or 4 connections, can't keep up"))
    });
    assert!(blamed);
}

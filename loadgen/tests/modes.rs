//! Ways to send other than a steady rate: steps, recorded arrivals, handshakes, a soak, and clients that are slow.

mod common;

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use common::{Certificates, Logged, wait_for};
use weir_loadgen::{
    Verdict,
    origin::{Options as OriginOptions, spawn},
    output::Live,
    run::{Limit, Load, Options, Report, RunError, Step, Work, run, run_observed},
    slow,
};

fn start(options: &Options) -> Report {
    run(options, &AtomicBool::new(false)).unwrap()
}

fn options(url: &str) -> Options {
    Options { connections: 4, threads: 2, ..Options::new(url) }
}

#[test]
fn steps_follow_each_other() {
    let origin = Logged::start(OriginOptions::default());
    let mut options = options(&format!("http://{}/", origin.origin.address()));
    let step = |rate: f64| Step { rate, lasts: Duration::from_millis(200) };
    options.load = Load::Steps(Arc::new([step(100.0), step(500.0), step(50.0)]));
    options.limit = Limit::Duration(options.load.length(options.warm_up).unwrap());
    options.interval = Duration::from_millis(200);
    let report = start(&options);
    assert_eq!(report.requests + report.missed, 20 + 100 + 10, "{report}");
    assert_eq!(origin.lines().len() as u64, report.requests);
    // A machine that was busy elsewhere for a whole interval has none for it.
    let at_begin = [(0.0, 100.0), (0.2, 500.0), (0.4, 50.0)];
    for interval in &report.intervals {
        let rate = (interval.from_seconds, interval.target_rate.unwrap());
        assert!(at_begin.contains(&rate), "{rate:?}");
    }
}

#[test]
fn recorded_arrivals_are_sent_again() {
    let origin = Logged::start(OriginOptions::default());
    let mut options = options(&format!("http://{}/", origin.origin.address()));
    let times: Arc<[f64]> = [0.0, 0.01, 0.01, 0.01, 0.15].into();
    options.load = Load::Trace(times);
    assert_eq!(options.load.length(options.warm_up), Some(Duration::from_millis(250)));
    options.limit = Limit::Requests(5);
    let report = start(&options);
    assert_eq!((report.requests, report.missed), (5, 0), "{report}");
    assert!(report.elapsed_seconds >= 0.15, "{report}");
    assert_eq!(origin.lines().len(), 5);
}

#[test]
fn handshakes_are_full_or_resumed_and_send_no_request() {
    let certificates = Certificates::new();
    let tls = Some(certificates.mutual_tls());
    let origin = Logged::start(OriginOptions { tls, ..OriginOptions::default() });
    let mut options = options(&format!("https://localhost:{}/", origin.origin.address().port()));
    options.ca = Some(certificates.path("server-ca.pem"));
    options.identity = Some(certificates.identity("client"));
    (options.work, options.limit) = (Work::Handshakes, Limit::Requests(60));
    let report = start(&options);
    assert!(
        report.errors.is_empty() && !report.reasons.iter().any(|why| why.contains("resumed")),
        "{report}"
    );
    assert_eq!((report.requests, report.times.service_time.count), (60, 60), "{report}");
    let handshakes = &report.handshakes;
    // The first on each connection at the most finds no ticket.
    assert!(handshakes.resumed >= 56 && handshakes.full + handshakes.resumed == 60, "{report}");
    assert_eq!(handshakes.resumed_time.count, handshakes.resumed);
    // As many connections at once as there are tickets: all find one, once there are as many.
    (options.connections, options.limit) = (40, Limit::Requests(400));
    let report = start(&options);
    assert!(report.handshakes.resumed >= 340, "{report}");
    (options.connections, options.limit) = (4, Limit::Requests(60));
    options.resume = false;
    let report = start(&options);
    assert_eq!((report.handshakes.full, report.handshakes.resumed), (60, 0), "{report}");
    assert!(report.statuses.is_empty() && report.verdicts.is_empty());
    assert!(origin.lines().iter().all(|line| line.get("method").is_none()), "a request was sent");

    // Without TLS it is connections a second.
    let origin = spawn(OriginOptions::default()).unwrap();
    options.url = format!("http://{}/", origin.address());
    let report = start(&options);
    assert!(
        report.errors.is_empty() && report.connect_time.count == 60 && report.handshakes.full == 0,
        "{report}"
    );

    // A target that refuses the certificate says so behind the handshake.
    let refusing =
        spawn(OriginOptions { tls: Some(certificates.mutual_tls()), ..OriginOptions::default() }).unwrap();
    options.url = format!("https://localhost:{}/", refusing.address().port());
    options.identity = None;
    let error = run(&options, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, RunError::Handshake(..)), "{error}");
}

#[test]
fn intervals_add_up_and_times_have_many_views() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let mut options = options(&format!("http://{}/?status=403", origin.address()));
    (options.load, options.interval) = (Load::Rate(500.0), Duration::from_millis(50));
    options.limit = Limit::Duration(Duration::from_millis(400));
    options.watch = vec![std::process::id()];
    let report = start(&options);
    let sum: u64 = report.intervals.iter().map(|interval| interval.answers).sum();
    assert_eq!((sum, report.requests + report.missed), (report.requests, 200), "{report}");
    assert!(!report.intervals.is_empty(), "{report}");
    assert!(report.intervals.iter().all(|interval| interval.resident_bytes > Some(0)));
    assert_eq!(report.verdicts, [(Verdict::Blocked, report.requests)].into());
    assert_eq!(report.by_status[&403].response_time.as_ref().unwrap().count, report.requests);
    assert_eq!(report.by_verdict[&Verdict::Blocked].service_time.count, report.requests);
    let (first, whole) = (&report.times.first_byte_time, &report.times.service_time);
    assert!(first.count == whole.count && first.max <= whole.max, "{report}");
    let measured: f64 = report.intervals.iter().map(|interval| interval.seconds).sum();
    // Time in which the machine stood still is in none of them.
    assert!(measured > 0.0 && measured < report.elapsed_seconds + 1e-6, "{:?}", report.intervals);
    let curve = &report.curves.response_time;
    assert!(curve.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1), "{curve:?}");
    assert_eq!(curve.last().unwrap().1, report.times.response_time.as_ref().unwrap().max);
}

#[test]
fn the_live_view_draws_over_itself() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let mut options = options(&format!("http://{}/", origin.address()));
    (options.load, options.interval) = (Load::Rate(300.0), Duration::from_millis(50));
    options.limit = Limit::Duration(Duration::from_millis(300));
    let mut drawn = Vec::new();
    let report = {
        let mut live = Live::new(&mut drawn, &options, true);
        run_observed(&options, &AtomicBool::new(false), &mut live).unwrap()
    };
    let drawn = String::from_utf8(drawn).unwrap();
    let blocks: Vec<&str> = drawn.split("\x1b[8A").collect();
    assert_eq!(blocks.len(), report.intervals.len(), "{drawn:?}");
    assert!(blocks.iter().all(|block| block.lines().count() == 8), "{drawn:?}");
    assert!(blocks.iter().all(|block| block.lines().all(|line| line.chars().count() <= 83)), "{drawn:?}");
    let last = blocks.last().unwrap();
    assert!(
        last.contains("of 0.3 s") && last.contains(&format!("passed {}", report.statuses[&200])),
        "{last:?}"
    );
    assert!(last.contains("of 300 due") && last.contains("send lag  p99"), "{last:?}");
}

#[test]
fn a_soak_is_judged() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let mut options = options(&format!("http://{}/", origin.address()));
    (options.load, options.interval) = (Load::Rate(400.0), Duration::from_millis(50));
    (options.limit, options.soak) = (Limit::Duration(Duration::from_millis(100)), true);
    let soak = start(&options).soak.unwrap();
    assert!(soak.findings[0].contains("show no trend"), "{soak:?}");
    options.limit = Limit::Duration(Duration::from_secs(2));
    options.watch = vec![std::process::id()];
    let report = start(&options);
    let soak = report.soak.as_ref().unwrap();
    assert!(soak.p99.early > 0.0 && soak.p99.late > 0.0 && soak.resident_bytes.is_some(), "{soak:?}");
    let line = report.to_string().lines().find(|line| line.starts_with("  soak    p99 ")).unwrap().to_owned();
    assert!(line.contains("% of due") && line.contains(", memory "), "{line}");
}

fn slow(url: &str, kind: slow::Kind) -> slow::Options {
    let limit = Limit::Duration(Duration::from_millis(900));
    slow::Options {
        request: Options { limit, ..options(url) },
        kind,
        pace: Duration::from_millis(100),
        seed: 1,
        probe_rate: None,
        probe_url: None,
        cycles: 0,
        max_factor: None,
        cut_within: None,
    }
}

#[test]
fn slow_clients_hold_connections_that_the_target_does_not_cut() {
    let origin = Logged::start(OriginOptions::default());
    let url = format!("http://{}/?size=1000000", origin.origin.address());
    for kind in [slow::Kind::Header, slow::Kind::Body, slow::Kind::Reader] {
        let mut options = slow(&url, kind);
        (options.probe_rate, options.cut_within) = (Some(50.0), Some(Duration::from_millis(500)));
        // A machine that stood still had not all of them open by the end of the run: then there is another one.
        let report = wait_for(|| {
            let report = slow::run(&options, &AtomicBool::new(false)).unwrap();
            assert!(report.ends.keys().all(|end| *end == "still open"), "{report}");
            let all_were_open = report.ends.get("still open").is_some_and(|times| times.count == 4)
                && report.lifetimes.iter().any(|moment| moment.open == 4)
                && report.reasons.iter().any(|reason| reason.contains("a slow connection lived for"));
            all_were_open.then_some(report)
        });
        assert!(report.probe.unwrap().statuses.keys().all(|status| *status == 200));
    }
    // None of the slow requests ever came to its end.
    assert!(origin.lines().iter().all(|line| line["method"] != "POST" || line["complete"] == false));
}

#[test]
fn what_slow_clients_cost_others_is_compared_in_turns() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let url = format!("http://{}/", origin.address());
    let mut options = slow(&format!("{url}?size=1000000"), slow::Kind::Reader);
    (options.probe_rate, options.probe_url) = (Some(2000.0), Some(url));
    options.request.limit = Limit::Duration(Duration::from_millis(1200));
    for (max_factor, cycles, is_told) in [(1e6, 2, false), (1e-6, 1, true)] {
        (options.max_factor, options.cycles) = (Some(max_factor), cycles);
        let report = slow::run(&options, &AtomicBool::new(false)).unwrap();
        let effect = report.effect.as_ref().unwrap();
        assert_eq!(effect.cycles.len(), cycles, "{report}");
        // On a machine that is busy enough a slice has no answers, and then there is no factor.
        let told = report.reasons.iter().any(|reason| reason.contains("times as high"));
        assert_eq!(told, is_told && effect.factor.is_some(), "{report}");
        assert!(!(told && report.valid), "{report}");
        assert!(report.ends.values().all(|times| times.count <= 4 * cycles as u64), "{report}");
    }
    (options.probe_rate, options.cycles) = (Some(100.0), 2);
    let error = slow::run(&options, &AtomicBool::new(false)).unwrap_err().to_string();
    assert!(error.contains("4 slices of 0.300 s would have 30 ordinary requests"), "{error}");
}

#[test]
fn slow_clients_notice_how_they_are_cut() {
    for (answer, end) in [
        (
            &b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"[..],
            "status 408",
        ),
        (b"", "closed"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        // Ends with the test's process: it waits for connections that no longer come.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    // Its second step is too much for this target.
                    let mut steps = 0;
                    while steps < 2 && stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {
                        steps += 1;
                    }
                    stream.write_all(answer).unwrap();
                });
            }
        });
        // A machine that stood still cut not all of them by the end of the run: then there is another one.
        let report = wait_for(|| {
            let report = slow::run(&slow(&url, slow::Kind::Header), &AtomicBool::new(false)).unwrap();
            let all_were_cut = report.ends.get(end).is_some_and(|times| times.count >= 4);
            all_were_cut.then_some(report)
        });
        assert!(report.valid, "{report}");
    }
}

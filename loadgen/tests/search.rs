//! The search against an origin whose highest rate is known.

mod common;

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use common::Logged;
use serde_json::Value;
use weir_loadgen::{
    origin::{Draw, Options as OriginOptions, spawn},
    run,
    scenario::Scenario,
    search::{self, Options},
};

#[test]
fn the_highest_rate_is_found() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let mut request = run::Options::new(&format!("http://{}/?delay=20ms", origin.address()));
    (request.connections, request.threads) = (2, 1);
    let options = Options {
        from: 5.0,
        trial: Duration::from_millis(400),
        repeats: 1,
        precision: 0.3,
        ..Options::new(request, Duration::from_secs(5))
    };
    let report = search::run(&options, &AtomicBool::new(false)).unwrap();
    // Two connections that wait 20 ms for each answer send at most 100 requests a second, and two more in the end.
    assert!(report.highest_rate.is_some_and(|rate| rate <= 110.0), "{report}");
    assert!(report.lowest_failed_rate.is_some(), "{report}");
    assert!(report.trials[0].held && report.trials[0].latency >= 20_000_000, "{report}");

    let impossible = Options { bound: Duration::from_millis(10), ..options };
    let report = search::run(&impossible, &AtomicBool::new(false)).unwrap();
    assert_eq!(report.highest_rate, None, "{report}");
    assert!(report.trials.iter().all(|trial| trial.reasons.iter().any(|why| why.starts_with("latency"))));
}

#[test]
fn error_answers_and_surprises_do_not_hold() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let text = |status: u16, expect: &str| {
        format!("[[request]]\nlabel = \"a\"\ntarget = \"/?status={status}\"\nexpect = {expect}\n")
    };
    let search = |query: &str, text: Option<String>, error_share: f64| {
        let mut request = run::Options::new(&format!("http://{}/{query}", origin.address()));
        (request.connections, request.threads) = (4, 1);
        request.scenario = text.map(|text| Scenario::parse(&text, Path::new(".")).unwrap().into());
        let options = Options {
            // One request, and half a second in which it can be sent.
            from: 1.0,
            to: 1.0,
            trial: Duration::from_millis(500),
            repeats: 1,
            error_share,
            ..Options::new(request, Duration::from_secs(30))
        };
        search::run(&options, &AtomicBool::new(false)).unwrap()
    };
    for (query, scenario, why) in [
        ("?status=500", None, "with status 5xx)"),
        ("", Some(text(200, "\"block\"")), "not as the scenario expects)"),
        ("", Some(text(500, "200")), "with status 5xx, "),
    ] {
        let report = search(query, scenario, 0.0);
        let trial = &report.trials[0];
        assert_eq!(report.highest_rate, None, "{report}");
        assert!(trial.failed > 0 && trial.errors == 0, "{report}");
        assert!(
            trial.reasons[0].starts_with(&format!("{0} of {0} requests failed (", trial.failed)),
            "{report}"
        );
        assert!(trial.reasons[0].contains(why), "{report}");
    }
    // What is expected, and what is allowed.
    assert_eq!(search("", Some(text(503, "503")), 0.0).highest_rate, Some(1.0));
    assert_eq!(search("?status=404", None, 0.0).highest_rate, Some(1.0));
    assert_eq!(search("?status=500", None, 1.0).highest_rate, Some(1.0));
}

#[test]
fn failures_at_every_rate_are_told_from_a_rate_that_is_too_high() {
    let half = Draw::parse("200=50,503=50", |text| text.parse().map_err(|_| text.to_owned())).unwrap();
    let origin = spawn(OriginOptions { status: half, ..OriginOptions::default() }).unwrap();
    let url = format!("http://{}/", origin.address());
    let output = Command::new(env!("CARGO_BIN_EXE_weir-loadgen"))
        .args(["search", "--url", &url, "--bound", "p99=30s", "--from", "200", "--trial", "400ms"])
        .args(["--repeats", "1", "--warm-up", "0s", "--threads", "1", "--json", "-"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let share = report["failure_share_at_any_rate"].as_f64().unwrap();
    assert!((0.2..0.8).contains(&share), "{report}");
    assert!(report["highest_rate"].is_null(), "{report}");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("% of requests fail, whatever the rate"), "{text}");
    // What was asked is in the report.
    for (name, value) in [("from", 200.0), ("trial_seconds", 0.4), ("repeats", 1.0), ("error_share", 0.0)] {
        assert_eq!(report[name].as_f64(), Some(value), "{name}");
    }
}

#[test]
fn trials_that_the_generator_spoils_are_made_again_and_marked() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let mut request = run::Options::new(&format!("http://{}/", origin.address()));
    (request.connections, request.threads) = (2, 1);
    // More than one thread of a generator can send.
    let rate = 10_000_000.0;
    let options = Options {
        from: rate,
        to: rate,
        trial: Duration::from_millis(300),
        repeats: 1,
        ..Options::new(request, Duration::from_secs(30))
    };
    let report = search::run(&options, &AtomicBool::new(false)).unwrap();
    let trial = &report.trials[0];
    assert!(!trial.held && trial.missed_share > 0.01, "{report}");
    for trial in &report.trials {
        assert!(!trial.repeated || !trial.spoiled.is_empty(), "{report}");
        let is_busy = trial.spoiled.iter().any(|why| why.contains("ran or waited for a CPU"));
        assert_eq!(is_busy, trial.generator_busy > 0.9, "{report}");
    }
}

#[test]
fn an_interrupted_trial_is_left_out() {
    let origin = Logged::start(OriginOptions::default());
    let mut request = run::Options::new(&format!("http://{}/", origin.origin.address()));
    (request.connections, request.threads) = (2, 1);
    let options = Options {
        from: 50.0,
        trial: Duration::from_secs(600),
        ..Options::new(request, Duration::from_secs(5))
    };
    let interrupted = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        let search = scope.spawn(|| search::run(&options, &interrupted));
        // It is at its first trial.
        origin.wait_for_lines(1);
        interrupted.store(true, Ordering::Relaxed);
        search.join().unwrap().unwrap()
    });
    assert!(report.interrupted && report.trials.is_empty(), "{report}");
    assert_eq!((report.highest_rate, report.lowest_failed_rate), (None, None));
    assert!(report.to_string().contains("no rate has enough trials"), "{report}");
}

#[test]
fn the_command_reports_its_trials() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let url = format!("http://{}/", origin.address());
    let search = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_weir-loadgen"))
            .args([
                "search",
                "--url",
                &url,
                "--trial",
                "500ms",
                "--warm-up",
                "0s",
                "--from",
                "1",
                "--to",
                "2",
            ])
            .args(more)
            .output()
            .unwrap()
    };
    let output = search(&["--bound", "p99=30s", "--json", "-"]);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["highest_rate"], 2.0, "{report}");
    assert_eq!(search(&["--bound", "p99"]).status.code(), Some(2));
    assert_eq!(search(&["--bound", "p99=1s", "--precision", "0"]).status.code(), Some(2));
    assert_eq!(search(&["--bound", "p50=1ns"]).status.code(), Some(1));
}

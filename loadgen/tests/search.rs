//! The search against an origin whose highest rate is known.

use std::{process::Command, sync::atomic::AtomicBool, time::Duration};

use serde_json::Value;
use weir_loadgen::{
    origin::{Options as OriginOptions, spawn},
    run,
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
                "50ms",
                "--warm-up",
                "0s",
                "--from",
                "20",
                "--to",
                "40",
            ])
            .args(more)
            .output()
            .unwrap()
    };
    let output = search(&["--bound", "p99=30s", "--json", "-"]);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["highest_rate"], 40.0, "{report}");
    assert_eq!(search(&["--bound", "p99"]).status.code(), Some(2));
    assert_eq!(search(&["--bound", "p99=1s", "--precision", "0"]).status.code(), Some(2));
    assert_eq!(search(&["--bound", "p50=1ns"]).status.code(), Some(1));
}

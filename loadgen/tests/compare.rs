//! The comparison against origin stubs.

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde_json::Value;
use weir_loadgen::{
    compare::{CompareError, Options, Parity, Report, TargetOptions, run},
    origin::{Draw, Options as OriginOptions, Origin, spawn},
    run::Load,
    scenario::Scenario,
};

fn target(name: &str, origin: &Origin, rest: &str) -> TargetOptions {
    // The origin is a thread of this process.
    let url = format!("http://{}{rest}", origin.address());
    TargetOptions { name: name.to_owned(), url, pids: vec![std::process::id()] }
}

fn options(targets: Vec<TargetOptions>) -> Options {
    let mut options = Options {
        connections: vec![3],
        cycles: 4,
        slice: Duration::from_millis(80),
        warm_up: Duration::from_millis(10),
        parity_requests: 3,
        ..Options::new(targets)
    };
    options.request.threads = 2;
    options
}

fn compare(options: &Options) -> Result<Report, CompareError> {
    run(options, &AtomicBool::new(false), |_, _, _| {})
}

#[test]
fn targets_take_turns_and_are_measured() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let mut options = options(vec![
        target("fast", &origin, "/"),
        target("slow", &origin, "/?delay=2ms"),
        TargetOptions { pids: Vec::new(), ..target("unknown", &origin, "/") },
    ]);
    options.connections = vec![2, 5];
    let report = compare(&options).unwrap();
    // On a machine that is busy elsewhere a slice may be without answers.
    assert!(report.reasons.iter().all(|reason| reason.contains("a slice had no answers")), "{report}");
    assert_eq!((report.parity.body_bytes, report.parity.keeps_open), (3 * 1024, true));
    assert_eq!(report.parity.statuses, [200]);
    assert_eq!(report.tables.len(), 2);
    for (table, connections) in report.tables.iter().zip([2, 5]) {
        assert_eq!((table.connections, table.cycles), (connections, 4));
        let order: Vec<_> = table.slices.iter().map(|slice| slice.target.as_str()).collect();
        let there = ["fast", "slow", "unknown"];
        let back = ["unknown", "slow", "fast"];
        assert_eq!(order, [back, there, back, there].concat());
        let [fast, slow, unknown] = &table.targets[..] else { panic!("three targets") };
        assert_eq!(fast.cpu_ratio.unwrap().median, 1.0);
        assert_eq!(fast.rate_ratio.unwrap().p90, 1.0);
        assert_eq!(slow.rate_ratio.unwrap().count, 4);
        assert!(slow.latency.min >= 2_000_000, "{report}");
        assert!(slow.cpu_microseconds_per_answer.unwrap().median > 0.0, "{report}");
        assert!(slow.resident_bytes.unwrap() > 1_000_000);
        assert!(unknown.cpu_microseconds_per_answer.is_none() && unknown.resident_bytes.is_none());
        // The connections of the first cycle serve all the others.
        assert_eq!((fast.connects, slow.connects), (0, 0));
        assert!(table.slices.iter().all(|slice| slice.p99 >= slice.p50));
        assert!(table.slices.iter().any(|slice| slice.answers > 0));
    }
}

#[test]
fn an_open_loop_keeps_its_rate_in_each_slice() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let mut options = options(vec![target("one", &origin, "/"), target("other", &origin, "/")]);
    options.request.load = Load::Rate(1000.0);
    let report = compare(&options).unwrap();
    for row in &report.tables[0].targets {
        assert!(row.send_lag.as_ref().is_some_and(|lag| lag.count > 0), "{report}");
        // 80 in each of 4 slices are due, and a few more until the meters are read; they are answered or missed.
        assert!(row.statuses[&200] + row.missed >= 320, "{report}");
    }
}

#[test]
fn targets_that_answer_differently_are_refused() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let other = spawn(OriginOptions {
        body: weir_loadgen::origin::Body::Bytes(vec![b'!'; 1024]),
        ..OriginOptions::default()
    })
    .unwrap();
    let refused = |target: TargetOptions, parity: Parity| {
        let mut options = options(vec![self::target("first", &origin, "/"), target]);
        options.parity = parity;
        compare(&options).err().map(|error| error.to_string())
    };
    let cases = [
        (
            target("odd", &other, "/"),
            Parity::Bytes,
            Some("odd fails the parity check: its answer 1 has another byte at 0"),
        ),
        (target("odd", &other, "/"), Parity::Length, None),
        (target("odd", &origin, "/?size=9"), Parity::Length, Some("a body of 9 bytes in place of 1024")),
        (target("odd", &origin, "/?size=9"), Parity::Status, None),
        (target("odd", &origin, "/?status=404"), Parity::Status, Some("status 404 in place of 200")),
        (target("odd", &origin, "/?close=1"), Parity::Status, Some("its connection closed")),
    ];
    for (target, parity, expected) in cases {
        let error = refused(target, parity);
        match expected {
            None => assert_eq!(error, None),
            Some(expected) => {
                assert!(error.as_ref().is_some_and(|error| error.contains(expected)), "{error:?}")
            }
        }
    }
}

#[test]
fn a_rate_that_the_targets_cannot_keep_up_with_is_not_valid() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let mut options =
        options(vec![target("one", &origin, "/?delay=20ms"), target("other", &origin, "/?delay=20ms")]);
    // Three connections that wait 20 ms for each answer send at most 150 requests a second.
    options.request.load = Load::Rate(1000.0);
    let report = compare(&options).unwrap();
    assert!(!report.valid, "{report}");
    for row in &report.tables[0].targets {
        assert!(row.missed_share > 0.5, "{report}");
        let place = format!("{}/3: {} of ", row.name, row.missed);
        assert!(report.reasons.iter().any(|reason| reason.starts_with(&place)), "{report}");
    }
}

#[test]
fn targets_must_do_what_the_scenario_expects() {
    let scenario = |text: &str| Some(Scenario::parse(text, Path::new(".")).unwrap().into());
    let origin = spawn(OriginOptions::default()).unwrap();
    let mut options = options(vec![target("first", &origin, "/"), target("second", &origin, "/")]);
    // Both let the attack pass, in the same way.
    options.request.scenario = scenario(
        "[[request]]\nlabel = \"page\"\ntarget = \"/\"\nexpect = \"pass\"\n\
         [[request]]\nlabel = \"attack\"\ntarget = \"/?q=select\"\nexpect = \"block\"\n",
    );
    let error = compare(&options).unwrap_err().to_string();
    let expected = "first fails the parity check: its answer 2 has status 200 for `attack`, of which the scenario expects: block";
    assert_eq!(error, expected);

    // Every other answer is unexpected, but not the one that the parity check sees.
    options.request.scenario = scenario("[[request]]\nlabel = \"page\"\ntarget = \"/\"\nexpect = [200]\n");
    (options.parity, options.parity_requests, options.slice) =
        (Parity::Status, 1, Duration::from_millis(300));
    let report = (1..100)
        .find_map(|seed| {
            let status =
                Draw::parse("200=50,404=50", |text| text.parse().map_err(|_| text.to_owned())).unwrap();
            let origins = [(); 2].map(|()| {
                spawn(OriginOptions { status: status.clone(), seed, ..OriginOptions::default() }).unwrap()
            });
            options.targets = vec![target("first", &origins[0], "/"), target("second", &origins[1], "/")];
            match compare(&options) {
                Ok(report) => Some(report),
                Err(CompareError::Parity(_)) => None,
                Err(other) => panic!("{other}"),
            }
        })
        .unwrap();
    assert!(!report.valid, "{report}");
    for row in &report.tables[0].targets {
        assert_eq!(row.surprises, row.statuses[&404], "{report}");
        assert_eq!(row.first_surprise.as_ref().unwrap().label, "page");
    }
    let why =
        "requests had another outcome than the scenario expects: `page` expected 200, first met status 404";
    assert!(report.reasons.iter().any(|reason| reason.contains(why)), "{report}");
}

#[test]
fn what_makes_no_comparison_is_explained() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let (good, other) = (|| target("a", &origin, "/"), || target("b", &origin, "/"));
    let cases = [
        (options(vec![]), "2 to 64 targets"),
        (options(vec![good()]), "2 to 64 targets"),
        (options(vec![good(), good()]), "two targets have the name `a`"),
        (Options { cycles: 0, ..options(vec![good(), other()]) }, "over 0"),
        (Options { connections: vec![0], ..options(vec![good(), other()]) }, "connections"),
        (options(vec![good(), TargetOptions { url: "a/b".to_owned(), ..other() }]), "expected http://HOST"),
        // Above what the kernel gives out.
        (
            options(vec![good(), TargetOptions { pids: vec![u32::MAX], ..other() }]),
            "there is no process 4294967295",
        ),
    ];
    for (options, expected) in cases {
        let error = compare(&options).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn an_interruption_leaves_the_complete_cycles() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let mut options = options(vec![target("a", &origin, "/"), target("b", &origin, "/")]);
    options.connections = vec![2, 3];
    let interrupted = AtomicBool::new(false);
    let report =
        run(&options, &interrupted, |_, done, _| interrupted.store(done == 2, Ordering::Relaxed)).unwrap();
    assert!(report.interrupted && !report.valid);
    assert!(report.reasons[0].starts_with("interrupted: 2 of"), "{report}");
    // The number of connections behind it was not begun.
    assert_eq!(report.tables.len(), 1);
    assert_eq!((report.tables[0].cycles, report.tables[0].slices.len()), (2, 4));
}

#[test]
fn a_target_whose_process_ends_leaves_the_complete_cycles() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let mut process = Command::new("sleep").arg("600").spawn().unwrap();
    let dying = TargetOptions { pids: vec![process.id()], ..target("dying", &origin, "/") };
    let mut options = options(vec![target("a", &origin, "/"), dying]);
    options.connections = vec![2, 3];
    let report = run(&options, &AtomicBool::new(false), |_, done, _| {
        if done == 2 {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    });
    // It has ended already, unless the comparison did before.
    process.kill().unwrap();
    process.wait().unwrap();
    let report = report.unwrap();
    assert!(!report.valid && !report.interrupted, "{report}");
    assert!(report.reasons[0].starts_with("dying can't be measured: there is no process"), "{report}");
    assert_eq!(report.tables.len(), 1);
    assert_eq!((report.tables[0].cycles, report.tables[0].slices.len()), (2, 4));
}

#[test]
fn the_command_prints_a_table_and_writes_json() {
    let origin = spawn(OriginOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let target = |name: &str| format!("{name}=http://{}/,pid={}", origin.address(), std::process::id());
    let output = Command::new(env!("CARGO_BIN_EXE_weir-loadgen"))
        .args(["compare", "--target", &target("stub"), "--target", &target("again")])
        .args(["--cycles", "2", "--slice", "300ms", "--connections", "1,2"])
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("CPU us/answer") && text.contains("2 connections, 2 cycles"), "{text}");
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["tables"][1]["targets"][0]["name"], "stub");
    assert_eq!(report["tables"][1]["targets"][0]["cpu_ratio"]["median"], 1.0);
}

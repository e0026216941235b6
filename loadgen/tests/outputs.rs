//! What the commands leave behind: JSON, pages, logs, CSV, the view of a run, and what happens where they can't be written.

mod common;

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use base64::Engine;
use common::unused_address;
use hdrhistogram::{
    Histogram,
    serialization::{
        Deserializer,
        interval_log::{IntervalLogIterator, LogEntry},
    },
};
use serde_json::Value;
use weir_loadgen::{
    origin::{Options as OriginOptions, Origin, spawn},
    output::SCHEMA,
};

const SCENARIO: &str = r#"
[[request]]
label = "page"
weight = 3
target = "/?size=2000"
expect = "pass"
[[request]]
label = "an attack, or two"
target = "/?status=403"
expect = "block"
[[request]]
label = "gone"
target = "/?fault=close"
expect = "pass"
"#;

fn loadgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir-loadgen")).args(arguments).output().unwrap()
}

fn origin() -> (Origin, String) {
    let origin = spawn(OriginOptions::default()).unwrap();
    let url = format!("http://{}/", origin.address());
    (origin, url)
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_run_leaves_a_report_a_page_and_logs_that_agree() {
    let (_origin, url) = origin();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let name = |name: &str| path(name).to_str().unwrap().to_owned();
    fs::write(path("scenario"), SCENARIO).unwrap();
    let (scenario, json, html, csv, hdr) =
        (name("scenario"), name("json"), name("html"), name("csv"), name("hdr"));
    let run = ["run", "--url", &url, "--scenario", &scenario, "--rate", "400", "--requests", "240"];
    let outputs = ["--json", &json, "--html", &html, "--csv", &csv, "--hdr-log", &hdr, "--live", "always"];
    let output = loadgen(&[&run[..], &["--interval", "100ms"], &outputs].concat());
    // A label has errors and surprises.
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report = read(&path("json"));
    let answers = report["service_time"]["count"].as_u64().unwrap();
    assert!(answers > 100, "{report}");

    let intervals = check_csv(&fs::read_to_string(&csv).unwrap(), &report);
    check_hdr_log(&fs::read(&hdr).unwrap(), &report);
    let live = text(&output.stderr);
    assert!(live.lines().filter(|line| line.contains("answers/s")).count() >= 1, "{live}");
    let html = fs::read_to_string(&html).unwrap();
    // A machine that stood still may have had one interval only, which makes no curve.
    let plots = if intervals > 1 { 4 } else { 1 };
    assert!(html.contains("an attack, or two") && html.matches("<svg").count() >= plots, "{html}");
}

/// Compares the log of intervals with the report; returns how many there are.
fn check_csv(csv: &str, report: &Value) -> usize {
    let mut lines = csv.lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert!(rows.iter().all(|row| row.len() == columns.len()), "{csv}");
    let sum = |column: &str| -> u64 {
        let index = columns.iter().position(|name| *name == column).unwrap();
        rows.iter().map(|row| row[index].parse::<u64>().unwrap()).sum()
    };
    let answers = report["service_time"]["count"].as_u64().unwrap();
    assert_eq!((sum("answers"), sum("passed") + sum("blocked")), (answers, answers));
    assert_eq!(sum("closed"), report["errors"]["closed"]["count"].as_u64().unwrap());
    assert_eq!(rows.len(), report["intervals"].as_array().unwrap().len());
    rows.len()
}

/// Compares the log of histograms with the report.
fn check_hdr_log(log: &[u8], report: &Value) {
    let mut histograms = std::collections::BTreeMap::<String, Histogram<u64>>::new();
    for entry in IntervalLogIterator::new(log) {
        let LogEntry::Interval(entry) = entry.unwrap() else { continue };
        let bytes = base64::engine::general_purpose::STANDARD.decode(entry.encoded_histogram()).unwrap();
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
        assert!((entry.max() - histogram.max() as f64 / 1e6).abs() < 1e-5);
        let tag = entry.tag().unwrap().as_str().to_owned();
        *histograms.entry(tag).or_insert_with(|| Histogram::new(3).unwrap()) += histogram;
    }
    for (tag, path) in
        [("service", "/service_time"), ("response", "/response_time"), ("send_lag", "/send_lag")]
    {
        let times = report.pointer(path).unwrap();
        assert_eq!(histograms[tag].len(), times["count"].as_u64().unwrap(), "{tag}");
        assert_eq!(histograms[tag].max(), times["max"].as_u64().unwrap(), "{tag}");
    }
    let attacks = report["labels"]["an attack, or two"]["requests"].as_u64().unwrap();
    assert_eq!(histograms["response:an_attack__or_two"].len(), attacks);
}

/// A command of each kind, as words, for an origin and the files `scenario` and `corpus` of a folder.
fn commands(origin: &Origin, folder: &Path) -> Vec<Vec<String>> {
    let (address, folder, pid) = (origin.address(), folder.display(), std::process::id());
    let url = format!("http://{address}/");
    let lines = [
        format!("run --url {url} --closed --requests 20 --watch {pid}"),
        format!("run --url {url} --scenario {folder}/scenario --rate 300 --duration 300ms --soak"),
        format!("run --url {url}?fault=close --closed --requests 5"),
        format!("search --url {url} --bound p99=1s --from 20 --to 40 --trial 50ms --warm-up 0s"),
        format!("compare --target a={url},pid={pid} --target b={url},pid={pid} --cycles 2 --connections 2"),
        format!("replay --corpus {folder}/corpus --target {url}"),
        format!("slow --url {url} --kind header --duration 400ms --pace 100ms --probe-rate 50"),
    ];
    lines.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

#[test]
fn every_report_fits_the_schema() {
    let (origin, _url) = origin();
    let folder = tempfile::tempdir().unwrap();
    let name = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(name("scenario"), SCENARIO).unwrap();
    let raw = base64::engine::general_purpose::STANDARD.encode("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let record =
        |label: &str| format!("{{\"id\":1,\"label\":\"{label}\",\"category\":\"c\",\"raw\":\"{raw}\"}}\n");
    fs::write(name("corpus"), record("attack") + &record("benign")).unwrap();
    let schema = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut reports = Vec::new();
    for (number, command) in commands(&origin, folder.path()).iter().enumerate() {
        let words: Vec<&str> = command.iter().map(String::as_str).chain(["--json", "-"]).collect();
        let output = loadgen(&words);
        check_schema(&validator, serde_json::from_slice(&output.stdout).expect("JSON"), command);
        let path = name(&format!("{number}.json"));
        fs::write(&path, &output.stdout).unwrap();
        reports.push(path);
    }
    // All of them make a page.
    let arguments: Vec<&str> = reports.iter().map(String::as_str).collect();
    let output = loadgen(&[&["report", "--html", &name("html")], &arguments[..]].concat());
    assert!(output.status.success(), "{output:?}");
    let html = fs::read_to_string(name("html")).unwrap();
    for part in ["Comparison", "Search:", "Replay:", "Slow header:", "Ordinary requests meanwhile"] {
        assert!(html.contains(part), "{part}");
    }
    let output = loadgen(&["report", "--html", &name("html"), &name("scenario")]);
    assert_eq!(output.status.code(), Some(2));
    let output = loadgen(&["diff", &reports[0], &reports[0], "--json", "-"]);
    assert!(validator.is_valid(&serde_json::from_slice(&output.stdout).unwrap()), "{output:?}");
}

/// The report of a command fits, and would not with a key less or more.
fn check_schema(validator: &jsonschema::Validator, mut report: Value, command: &[String]) {
    let errors: Vec<String> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{command:?}: {errors:?}");
    assert_eq!(report["report"], command[0].as_str());
    for name in ["report", "version", "time", "host"] {
        let mut without = report.clone();
        assert!(without.as_object_mut().unwrap().remove(name).is_some(), "{command:?}: {name}");
        assert!(!validator.is_valid(&without), "{command:?}: {name}");
    }
    report["more"] = Value::Null;
    assert!(!validator.is_valid(&report), "{command:?}");
}

#[test]
fn the_page_has_no_external_resource() {
    let page = weir_loadgen::output::page(&[]).unwrap();
    for bad in ["http://", "https://", "src=", "@import", "url(", "<script", "<link"] {
        assert!(!page.contains(bad), "{bad}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn a_full_disk_takes_nothing_from_the_results() {
    let (_origin, url) = origin();
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("csv");
    let run = ["run", "--url", &url, "--closed", "--requests", "20", "--csv", csv.to_str().unwrap()];
    let output = loadgen(
        &[&run[..], &["--json", "/dev/full", "--html", "/dev/full", "--hdr-log", "/dev/full"]].concat(),
    );
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert_eq!(error.matches("can't write /dev/full: No space left on device").count(), 3, "{error}");
    // The text, and behind it the JSON that the file did not take.
    let stdout = text(&output.stdout);
    let (before, json) = stdout.split_at(stdout.find("\n{").unwrap());
    assert!(before.contains("20 requests in"), "{stdout}");
    assert_eq!(serde_json::from_str::<Value>(json).unwrap()["requests"], 20);
    assert_eq!(fs::read_to_string(&csv).unwrap().lines().count(), 2);

    let [one, other] = ["a", "b"].map(|name| format!("{name}={url}"));
    let targets = ["compare", "--target", &one, "--target", &other];
    let output = loadgen(&[&targets[..], &["--cycles", "1", "--json", "/dev/full"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let stdout = text(&output.stdout);
    let json = &stdout[stdout.find("\n{").unwrap()..];
    assert_eq!(serde_json::from_str::<Value>(json).unwrap()["report"], "compare");

    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_weir-loadgen"))
        .args(run)
        .stdout(Stdio::from(full))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("can't write to standard output"), "{output:?}");
}

#[test]
fn a_disk_that_fills_up_leaves_whole_lines() {
    let (_origin, url) = origin();
    let folder = tempfile::tempdir().unwrap();
    let [json, log] = ["json", "log"].map(|name| folder.path().join(name));
    // No file may become larger than 1 KiB (2 KiB with other shells), which stands in for a disk of that size.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_weir-loadgen")])
        .args(["run", "--url", &url, "--rate", "400", "--requests", "240", "--interval", "20ms"])
        .arg("--json")
        .arg(&json)
        .arg("--hdr-log")
        .arg(&log)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stderr).matches("File too large").count(), 2, "{output:?}");
    let stdout = text(&output.stdout);
    let report: Value = serde_json::from_str(&stdout[stdout.find("\n{").unwrap()..]).unwrap();
    assert_eq!(report["requests"], 240);
    let log = fs::read(log).unwrap();
    assert!(log.starts_with(b"#[Histogram log") && log.ends_with(b"\n"), "{}", log.len());
    assert!(IntervalLogIterator::new(&log).all(|entry| entry.is_ok()));
    assert_eq!(fs::read(json).unwrap(), b"");
}

#[test]
fn files_that_cannot_be_written_are_known_before_the_run() {
    for flag in ["--json", "--html", "--csv", "--hdr-log"] {
        let output =
            loadgen(&["run", "--url", "http://127.0.0.1:1/", "--closed", flag, "/no/such/folder/file"]);
        assert_eq!(output.status.code(), Some(2), "{flag}: {output:?}");
        assert!(text(&output.stderr).contains("can't write /no/such/folder/file"), "{flag}: {output:?}");
    }
    for flag in ["--html", "--csv", "--hdr-log"] {
        let output = loadgen(&["run", "--url", "http://127.0.0.1:1/", "--closed", flag, "-"]);
        assert_eq!(output.status.code(), Some(2), "{flag}: {output:?}");
        assert!(text(&output.stderr).contains("only --json writes to standard output"), "{flag}: {output:?}");
    }
    for flag in ["--json", "--html"] {
        let output = loadgen(&["compare", "--target", "a=http://127.0.0.1:1/", flag, "/no/such/folder/file"]);
        assert_eq!(output.status.code(), Some(2), "{flag}: {output:?}");
        assert!(text(&output.stderr).contains("can't write /no/such/folder/file"), "{flag}: {output:?}");
    }
}

#[test]
fn no_file_is_written_over_another() {
    let folder = tempfile::tempdir().unwrap();
    let name = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::os::unix::fs::symlink(name("json"), name("link")).unwrap();
    let files = "[[request]]\nlabel = \"with a body\"\ntarget = \"/\"\nbody_file = \"body\"\n\
                 [[group]]\nname = \"a\"\ncertificate = \"pem\"\nprivate_key = \"pem\"\n";
    let scenario = format!("{SCENARIO}{files}");
    fs::write(name("scenario"), &scenario).unwrap();
    fs::write(name("body"), "body").unwrap();
    fs::write(name("pem"), "pem").unwrap();
    let run = ["run", "--url", "http://127.0.0.1:1/", "--closed", "--scenario", &name("scenario")];
    for outputs in [
        ["--json", &name("json"), "--html", &name("json")],
        ["--json", &name("json"), "--csv", &name("link")],
        ["--csv", &name("csv"), "--json", &name("scenario")],
        ["--csv", &name("csv"), "--json", &name("body")],
        ["--csv", &name("pem"), "--json", &name("json")],
    ] {
        let output = loadgen(&[&run[..], &outputs].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains("are the same file"), "{output:?}");
        let kept = ["scenario", "body", "pem"].map(|file| fs::read_to_string(name(file)).unwrap());
        assert_eq!(kept, [&scenario, "body", "pem"]);
    }
    // None of them were written, so there are none.
    assert!(!Path::new(&name("json")).exists() && !Path::new(&name("csv")).exists());
}

#[test]
fn a_run_that_never_starts_leaves_files_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (origin, url) = origin();
    let (_socket, unused) = unused_address();
    let nobody = format!("http://{unused}/");
    let flags = ["--json", "--html", "--csv", "--hdr-log"];
    let path = |flag: &str| folder.path().join(flag.trim_start_matches('-'));
    for (arguments, code) in [
        (["--closed", "--url", &nobody], 1),
        (["--closed", "--url", "nonsense"], 2),
        (["--rate=-1", "--url", &url], 2),
        // Above what the kernel gives out.
        (["--watch=4294967295", "--closed", &format!("--url={url}")], 2),
    ] {
        let mut all = vec!["run"];
        all.extend(arguments);
        let paths = flags.map(|flag| path(flag).to_str().unwrap().to_owned());
        for (flag, path) in flags.iter().zip(&paths) {
            fs::write(path, "precious").unwrap();
            all.extend([*flag, path.as_str()]);
        }
        let output = loadgen(&all);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        for path in &paths {
            assert_eq!(fs::read_to_string(path).unwrap(), "precious", "{arguments:?}: {path}");
        }
    }
    // A run that starts has nothing of what was there.
    let csv = path("--csv");
    let output =
        loadgen(&["run", "--url", &url, "--closed", "--requests", "5", "--csv", csv.to_str().unwrap()]);
    assert!(fs::read_to_string(&csv).unwrap().starts_with("from_seconds,"), "{output:?}");
    drop(origin);
}

#[test]
fn a_process_that_does_not_exist_is_not_watched() {
    let (_origin, url) = origin();
    let output = loadgen(&["run", "--url", &url, "--rate", "10", "--soak", "--watch", "4294967295"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("there is no process 4294967295"), "{output:?}");
}

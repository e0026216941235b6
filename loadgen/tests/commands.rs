//! The commands as users run them: output, exit codes and signals.

mod common;

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use common::{json_lines, wait_for};
use serde_json::Value;

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-loadgen"));
    command.args(arguments);
    command
}

fn output(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// Ends a running command by SIGTERM.
fn terminate(child: &Child) {
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
}

fn start_origin(arguments: &[&str]) -> (Child, BufReader<ChildStdout>, String) {
    let mut child = command(&[&["origin"], arguments].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let address = line.strip_prefix("listening ").unwrap().trim_end().to_owned();
    (child, lines, address)
}

#[test]
fn origin_and_run_work_together_and_end_on_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (log, ready, body, json) = (path("log"), path("ready"), path("body"), path("report"));
    std::fs::write(&body, "from a file").unwrap();
    let (mut origin, _lines, address) = start_origin(&[
        "--request-log",
        &log,
        "--ready-file",
        &ready,
        "--body-file",
        &body,
        "--header",
        "X-Weir: yes",
        "--threads",
        "1",
    ]);
    assert_eq!(std::fs::read_to_string(&ready).unwrap().trim_end(), address);
    let url = format!("http://{address}/");

    let answer = Command::new("curl").args(["-si", &url]).output().unwrap();
    let answer = String::from_utf8(answer.stdout).unwrap();
    assert!(answer.contains("X-Weir: yes\r\n") && answer.ends_with("\r\n\r\nfrom a file"), "{answer}");

    let text = output(&[
        "run",
        "--url",
        &url,
        "--closed",
        "--requests",
        "30",
        "--connections",
        "2",
        "--json",
        &json,
    ]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("status  200: 30\n"), "{text:?}");
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!((&report["requests"], &report["mode"]), (&30.into(), &"closed".into()));

    let mut endless = command(&["run", "--url", &url, "--rate", "200", "--duration", "1h", "--json", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It counts from here on, so there is something to report.
    wait_for(|| (json_lines(&folder.path().join("log")).len() >= 40).then_some(()));
    terminate(&endless);
    let report: Value = serde_json::from_reader(endless.stdout.take().unwrap()).unwrap();
    // What was asked for, an hour, was not measured.
    assert_eq!(endless.wait().unwrap().code(), Some(1));
    assert_eq!((&report["interrupted"], &report["valid"]), (&true.into(), &false.into()));
    assert!(report["requests"].as_u64().unwrap() > 0);

    terminate(&origin);
    assert_eq!(origin.wait().unwrap().code(), Some(0));
}

#[test]
fn the_request_log_can_go_to_standard_output() {
    let (mut origin, mut lines, address) = start_origin(&["--request-log", "-", "--echo", "--threads", "1"]);
    Command::new("curl").args(["-s", &format!("http://{address}/logged")]).output().unwrap();
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["target"], "/logged");
    terminate(&origin);
    assert_eq!(origin.wait().unwrap().code(), Some(0));
}

#[test]
fn a_request_log_on_a_full_disk_ends_with_a_whole_line() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("requests.jsonl");
    // No file may become larger than 1 KiB (2 KiB with other shells), which stands in for a disk of that size.
    let mut origin = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_weir-loadgen")])
        .args(["origin", "--threads", "1", "--request-log"])
        .arg(&log)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(origin.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = format!("http://{}/", line.strip_prefix("listening ").unwrap().trim_end());
    let sent = output(&["run", "--url", &url, "--closed", "--requests", "30", "--json", "-"]);
    terminate(&origin);
    let ended = origin.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&sent.stdout).unwrap();
    assert_eq!(report["statuses"]["200"], 30, "{report}");
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(error.contains("the request log ends here: File too large"), "{error}");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.ends_with('\n') && text.len() > 500, "{text}");
    assert_eq!(json_lines(&log).len(), text.lines().count());
}

#[test]
fn keys_without_effect_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (origin, _lines, address) = start_origin(&["--threads", "1"]);
    let url = format!("http://{address}/");
    let path = folder.path().join("scenario.toml");
    let scenario = "server_name = \"a\"\n[[request]]\nlabel = \"x\"\ntarget = \"/\"\n[[group]]\nname = \"g\"\nresume = false\n";
    std::fs::write(&path, scenario).unwrap();
    let run = |url: &str| {
        let arguments =
            ["run", "--closed", "--requests", "2", "--connections", "1", "--url", url, "--scenario"];
        output(&[&arguments[..], &[path.to_str().unwrap()]].concat())
    };
    let told = run(&url).stderr;
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("the scenario's server_name, resume has no effect without https://"), "{told}");
    let https = run(&url.replace("http:", "https:")).stderr;
    assert!(!String::from_utf8_lossy(&https).contains("no effect"));
    terminate(&origin);
    let mut origin = origin;
    origin.wait().unwrap();
}

#[test]
fn the_second_signal_ends_what_does_not_listen_to_the_first() {
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let mut waiting =
        command(&["run", "--url", &url, "--closed", "--insecure", "--timeout", "1h"]).spawn().unwrap();
    // The handshake has begun, so signals are listened to.
    let (mut connection, _) = silent.accept().unwrap();
    connection.read_exact(&mut [0; 1]).unwrap();
    let status = wait_for(|| {
        terminate(&waiting);
        waiting.try_wait().unwrap()
    });
    assert_eq!(status.signal(), Some(15), "{status:?}");
}

#[test]
fn an_origin_writes_over_none_of_its_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("body"), "body").unwrap();
    let (body, again, new) = (path("body"), path("./body"), path("new"));
    for outputs in [
        ["--request-log", &body, "--ready-file", &new],
        ["--request-log", &new, "--ready-file", &again],
        ["--request-log", &new, "--ready-file", &path("./new")],
        ["--request-log", &path("new.part"), "--ready-file", &new],
    ] {
        let refused = output(&[&["origin", "--body-file", &body], &outputs[..]].concat());
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("are the same file"), "{refused:?}");
    }
    assert_eq!(std::fs::read_to_string(&body).unwrap(), "body");
    assert!(!folder.path().join("new").exists());
}

#[test]
fn exit_codes_tell_usage_from_failure() {
    let cases: [(&[&str], i32, &str); 17] = [
        (&[], 2, "Usage"),
        (&["origin", "--listen", "nowhere"], 2, "expected ADDRESS:PORT"),
        (&["origin", "--delay", "10"], 2, "write a number and one of ns, us, ms"),
        (&["origin", "--body-file", "/does/not/exist"], 2, "can't read /does/not/exist"),
        (&["origin", "--tls-certificate", "a.pem"], 2, "--tls-key"),
        (&["origin", "--tls-certificate", "/no.pem", "--tls-key", "/no.pem"], 2, "can't read /no.pem"),
        (&["run", "--url", "http://127.0.0.1:1/"], 2, "--rate"),
        (&["run", "--url", "http://127.0.0.1:1/", "--closed", "--rate", "5"], 2, "cannot be used with"),
        (&["run", "--url", "http://127.0.0.1:1/", "--closed", "--connections", "1000000"], 2, "than the"),
        (&["run", "--url", "http://127.0.0.1:1/", "--ramp", "1-2", "--steps", "4294967295"], 2, "10000"),
        (
            &["search", "--url", "http://127.0.0.1:1/", "--bound", "p99=1s", "--precision", "1e-14"],
            2,
            "0.01 %",
        ),
        (&["run", "--url", "http://127.0.0.1:1/", "--step", "100:1s,200"], 2, "write a rate and a time"),
        (&["run", "--url", "http://127.0.0.1:1/", "--trace", "/no/trace"], 2, "/no/trace: can't read it"),
        (&["slow", "--url", "http://127.0.0.1:1/", "--kind", "body", "--pace", "1ms"], 2, "at least 100 ms"),
        (&["slow", "--url", "http://127.0.0.1:1/", "--kind", "body"], 1, "can't connect to 127.0.0.1:1"),
        (&["run", "--url", "gopher://a/", "--closed"], 2, "expected http://HOST:PORT/PATH"),
        (&["run", "--url", "http://127.0.0.1:1/", "--closed"], 1, "can't connect to 127.0.0.1:1"),
    ];
    for (arguments, code, text) in cases {
        let output = output(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(text), "{arguments:?}: {error}");
    }
}

#[test]
fn diff_tells_worse_from_fine() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (before, after) = (path("before"), path("after"));
    std::fs::write(&before, r#"{"rate": 100, "service_time": {"p99": 100}}"#).unwrap();
    std::fs::write(&after, r#"{"rate": 100, "service_time": {"p99": 110}}"#).unwrap();
    let cases: [(&[&str], i32); 6] = [
        (&["diff", &before, &after], 1),
        (&["diff", &before, &after, "--tolerance", "p98=15"], 2),
        (&["diff", &before, &after, "--tolerance", "p99=15"], 0),
        (&["diff", &after, &before], 0),
        (&["diff", &before, &after, "--tolerance", "much"], 2),
        (&["diff", &before, "/does/not/exist"], 2),
    ];
    for (arguments, code) in cases {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    }
    let text = output(&["diff", &before, &after]).stdout;
    assert!(String::from_utf8_lossy(&text).contains("WORSE by 10.0 %, tolerated 5.0 %"));

    // All answers are errors now, as fast as before.
    std::fs::write(&before, r#"{"rate": 100, "requests": 9, "statuses": {"200": 9}}"#).unwrap();
    std::fs::write(&after, r#"{"rate": 100, "requests": 9, "statuses": {"502": 9}}"#).unwrap();
    let failing = output(&["diff", &before, &after, "--tolerance", "1000"]);
    assert_eq!(failing.status.code(), Some(1), "{failing:?}");
    let text = String::from_utf8_lossy(&failing.stdout);
    assert!(text.contains("WORSE by 100.0 points, tolerated 1.0 points"), "{text}");
    assert_eq!(output(&["diff", &before, &after, "--tolerance", "shares=100"]).status.code(), Some(0));
}

#[test]
fn an_origin_refuses_an_address_in_use() {
    // An address of its own, so that no other test gets the port in between.
    let (mut origin, _lines, address) = start_origin(&["--threads", "2", "--listen", "127.0.77.1:0"]);
    let other = output(&["origin", "--listen", &address]);
    assert_eq!(other.status.code(), Some(1), "{other:?}");
    let text = String::from_utf8_lossy(&other.stderr);
    assert!(text.contains(&format!("can't listen on {address}: Address already in use")), "{text}");
    // Once it is free again, it can be had, with two threads too.
    terminate(&origin);
    origin.wait().unwrap();
    let (mut origin, _lines, again) = start_origin(&["--threads", "2", "--listen", &address]);
    assert_eq!(again, address);
    terminate(&origin);
    origin.wait().unwrap();
}

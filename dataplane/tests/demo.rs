//! `weir demo` as a user runs it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// The demo with a folder of its own for what it leaves behind.
fn demo(temporary: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    // An environment that asks for something else must not change what the demo shows.
    command.arg("demo").env("TMPDIR", temporary.path()).env("WEIR_MODE", "off").env("WEIR_LOG", "error");
    command
}

fn is_empty(folder: &TempDir) -> bool {
    std::fs::read_dir(folder.path()).unwrap().next().is_none()
}

#[test]
fn every_row_is_as_expected() {
    let temporary = tempfile::tempdir().unwrap();
    let output = demo(&temporary).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(" rows, 0 not as expected"), "{text}");

    let row = |request: &str, client: &str| -> String {
        let found = text.lines().find(|line| line.contains(request) && line.contains(client));
        found.unwrap_or_else(|| panic!("no row of {request} by {client}:\n{text}")).to_owned()
    };
    let recorded = row("GET /main/feedback SQL in query", "ordinary");
    assert!(recorded.contains("sqli query.id") && recorded.contains("200 as edge, monitored"), "{recorded}");
    let blocked = row("GET /main/feedback SQL in query", "graylisted");
    assert!(blocked.contains("safe_blocking (location)") && blocked.contains("403, blocked"), "{blocked}");
    assert!(row("POST /main/apply XSS in form", "ordinary").contains("1 default"));
    assert!(row("GET /billing clean", "ordinary").contains("200 as edge-b"));
    assert!(row("GET /wrong-name clean", "ordinary").contains("502, wrong_name"));
    assert!(row("GET /unknown-authority clean", "ordinary").contains("502, certificate_refused"));
    assert!(row("two Hosts, mode off", "ordinary").contains("400"));
    assert!(is_empty(&temporary), "the temporary folder is removed");
}

/// A held demo, killed if the test fails on the way.
struct Held {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Held {
    fn start(temporary: &TempDir) -> Self {
        let mut child = demo(temporary).arg("--hold").stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// What follows the words on the next line that begins with them.
    fn told(&mut self, words: &str) -> String {
        loop {
            let line = self.lines.next().unwrap_or_else(|| panic!("no line begins with {words:?}")).unwrap();
            if let Some(rest) = line.strip_prefix(words) {
                return rest.trim().to_owned();
            }
        }
    }

    fn stop(&mut self, signal: &str) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The status that curl sees.
fn status(url: &str) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "120", "--output", "/dev/null", "--write-out", "%{http_code}", url])
        .output()
        .expect("curl is installed");
    String::from_utf8(output.stdout).unwrap()
}

fn lines(path: &str) -> usize {
    std::fs::read_to_string(path).unwrap().lines().count()
}

#[test]
fn a_held_demo_serves_until_it_is_told_to_stop() {
    for signal in ["-TERM", "-INT"] {
        let temporary = tempfile::tempdir().unwrap();
        let mut held = Held::start(&temporary);
        let listening = held.told("listening ");
        let admin = held.told("admin ");
        let config = held.told("config ");
        let events = held.told("events ");
        let origin_log = held.told("origin log ");
        assert!(Path::new(&config).starts_with(temporary.path()), "{config}");

        let (events_before, reached_before) = (lines(&events), lines(&origin_log));
        let sql = "id=1%27%20UNION%20SELECT%20password%20FROM%20users--";
        assert_eq!(status(&format!("{listening}/main/login?{sql}")), "403");
        assert_eq!(lines(&origin_log), reached_before);
        assert_eq!(status(&format!("{listening}/main/login?id=1")), "200");
        assert_eq!(lines(&origin_log), reached_before + 1);
        assert_eq!(status(&format!("{admin}/ready")), "200");
        let check = Command::new(env!("CARGO_BIN_EXE_weir")).args(["check", "--config", &config]).output();
        assert!(check.unwrap().status.success());

        let mut waited = 0;
        while lines(&events) == events_before {
            assert!(waited < 2000, "the event of the attack doesn't come");
            waited += 1;
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert_eq!(held.stop(signal), Some(0));
        assert!(is_empty(&temporary), "the temporary folder is removed");
    }
}

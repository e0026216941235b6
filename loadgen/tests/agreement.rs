//! What load generators say they did, against what the origin wrote down. h2load and wrk vouch for the origin's log, and the
//! log for weir-loadgen.

mod common;

use std::process::Command;

use common::Logged;
use serde_json::Value;
use weir_loadgen::origin::Options;

const REQUESTS: usize = 2000;
const CONNECTIONS: usize = 8;

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| {
        panic!("{program}: {error} (`make deps` installs it)");
    });
    // On a busy machine the exit code of weir-loadgen says that its times can't be used; these are counts.
    String::from_utf8(output.stdout).unwrap()
}

/// The number in front of `what`.
fn number(text: &str, what: &str) -> usize {
    let before = text.split_once(what).unwrap_or_else(|| panic!("no `{what}` in {text}")).0;
    before.trim_end().rsplit([' ', '\n']).next().unwrap().parse().unwrap()
}

#[test]
fn three_generators_and_the_origin_count_the_same_requests() {
    let origin = Logged::start(Options::default());
    let url = format!("http://{}/", origin.origin.address());
    let (requests, connections) = (REQUESTS.to_string(), CONNECTIONS.to_string());
    let mut logged = 0;
    // Each line is in the log before its request is answered.
    let newly_logged = |logged: &mut usize| {
        let before = *logged;
        *logged = origin.lines().len();
        *logged - before
    };

    let ours = [
        "run",
        "--url",
        &url,
        "--closed",
        "--requests",
        &requests,
        "--connections",
        &connections,
        "--json",
        "-",
    ];
    let report: Value = serde_json::from_str(&output(env!("CARGO_BIN_EXE_weir-loadgen"), &ours)).unwrap();
    assert_eq!(report["requests"], REQUESTS);
    assert_eq!(report["service_time"]["count"], REQUESTS);
    assert_eq!(newly_logged(&mut logged), REQUESTS);

    let text = output("h2load", &["--h1", "-n", &requests, "-c", &connections, "-t", "1", &url]);
    assert_eq!(number(&text, "succeeded"), REQUESTS);
    assert_eq!(newly_logged(&mut logged), REQUESTS);

    // wrk ends by the clock and forgets what is under way: a request for each connection at most. The origin may see such
    // a request only later, so it is stopped before its log is read.
    let text = output("wrk", &["-t", "1", "-c", &connections, "-d", "1s", &url]);
    let counted = number(&text, "requests in");
    let (_answered, lines) = origin.stop();
    let forgotten = (lines.len() - logged).checked_sub(counted).unwrap();
    assert!(forgotten <= CONNECTIONS, "wrk counted {counted} and forgot {forgotten}");
}

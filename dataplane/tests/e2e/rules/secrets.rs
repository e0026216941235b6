//! Masks: what they name never leaves the worker.

use super::rule;
use crate::support::command::run;
use crate::support::origin::Origin;
use crate::support::setup::{Setup, somewhere};

const RULES: [&str; 4] = [
    "type = \"mask\"\npoint = [[\"post\"], [\"json_doc\"], [\"hash\", \"card\"]]",
    "type = \"mask\"\npoint = \"query.token\"",
    "type = \"mask\"\npoint = [\"path\", 1]",
    "type = \"mask\"\npoint = [\"header\", \"AUTHORIZATION\"]",
];

fn rules() -> String {
    RULES.iter().zip(1..).map(|(keys, id)| rule(id, keys)).collect()
}

#[test]
fn events_hold_no_masked_value() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("block").rules(&rules()).start();
    let body = r#"{"card": 4111222233334444, "note": "1' UNION SELECT 4111222233334444 FROM users--",
                   "more": <script>alert(4111222233334444)</script>"#;
    let request = format!(
        "POST /user/s3cretsegment/x?token=t0k3nvalue%27%20OR%201=1-- HTTP/1.1\r\nHost: a.example\r\n\
         Authorization: Bearer b34r3rvalue%27%20OR%201=1--\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = node.connect().ask(&request);
    assert_eq!(answer.status(), 403);
    let event = node.await_event_of(&answer);
    assert_eq!(event["path"], "/user/*/x");
    let lines = std::fs::read_to_string(node.setup.folder.path().join("events.jsonl")).unwrap();
    let log = serde_json::to_string(&node.log()).unwrap();
    for secret in ["4111222233334444", "t0k3nvalue", "b34r3rvalue", "s3cretsegment"] {
        assert!(!lines.contains(secret), "{secret} in {lines}");
        assert!(!log.contains(secret), "{secret} in {log}");
        assert!(!answer.text().contains(secret));
    }
    let points: Vec<_> = node.events().iter().map(|event| event["point"].clone()).collect();
    assert!(!points.is_empty(), "the attack itself is told");
}

#[test]
fn explanations_hold_no_masked_value() {
    let setup = Setup::new(somewhere()).mode("block").rules(&rules());
    let config = setup.write_config();
    let arguments = [
        "-H",
        "Authorization: Bearer b34r3rvalue' OR 1=1--",
        "-H",
        "Content-Type: application/json",
        "-d",
        r#"{"card":"4111222233334444' OR 1=1--"}"#,
        "http://a.example/user/s3cretsegment/x?token=t0k3nvalue'%20OR%201=1--",
    ];
    for form in [&["--json"][..], &[]] {
        let done = run("explain", &config, &[form, &arguments].concat());
        for secret in ["4111222233334444", "t0k3nvalue", "b34r3rvalue", "s3cretsegment"] {
            assert!(!done.stdout.contains(secret), "{secret} in {}", done.stdout);
        }
        assert!(done.stdout.contains("query.token"), "{}", done.stdout);
    }
}

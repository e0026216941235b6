//! Sends the requests, gathers what the node answered, explained and recorded and what the origins saw, and compares
//! it with what was expected.

use std::collections::HashMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::cases::{Case, Event, Expected};
use super::client::{self, Answer};
use super::stage::{Stage, read_json_lines};
use crate::control::Backend;

/// How long expected events may take until they are in the file.
const EVENTS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to look for events that should not come, once all that should have come.
const EVENTS_SETTLE: Duration = Duration::from_millis(250);

/// What came of a request.
pub(super) struct Observed {
    answer: Result<Answer, String>,
    /// The node's own explanation of it.
    pub(super) explained: Value,
    /// What the origins logged of it.
    reached: Vec<Value>,
    events: Vec<Value>,
}

/// Sends all requests, one after the other.
///
/// # Errors
/// If a signal ended the demo, or a file can't be read.
pub(super) fn play(stage: &Stage, cases: &[Case]) -> Result<Vec<Observed>, String> {
    let mut observed = Vec::with_capacity(cases.len());
    for case in cases {
        if stage.is_stopping() {
            return Err("stopped by a signal before all requests were sent".to_owned());
        }
        let request = json!({
            "client": case.client.address().to_string(),
            "raw_base64": STANDARD.encode(&case.request),
        });
        let explained = stage.node.explain(request).map_err(|error| error.to_string())?;
        let answer = client::exchange(case.client, stage.listener, &case.request);
        let answer = answer.map_err(|error| error.to_string());
        observed.push(Observed { answer, explained, reached: Vec::new(), events: Vec::new() });
    }
    let events = events_of(stage, cases, &observed)?;
    let mut events = by_request(events);
    let mut reached = by_request(read_json_lines(&stage.files.origin_log())?);
    for one in &mut observed {
        let Ok(answer) = &one.answer else { continue };
        one.events = events.remove(&answer.request_id).unwrap_or_default();
        one.reached = reached.remove(&answer.request_id).unwrap_or_default();
    }
    let of_nobody: usize = reached.values().chain(events.values()).map(Vec::len).sum();
    if of_nobody > 0 {
        return Err(format!("{of_nobody} lines of events or of the origins' log belong to no request"));
    }
    Ok(observed)
}

fn by_request(lines: Vec<Value>) -> HashMap<String, Vec<Value>> {
    let mut found: HashMap<String, Vec<Value>> = HashMap::new();
    for line in lines {
        let id = line["request_id"].as_str().unwrap_or_default().to_owned();
        found.entry(id).or_default().push(line);
    }
    found
}

/// The event file, once all that is expected is in it and nothing more comes.
fn events_of(stage: &Stage, cases: &[Case], observed: &[Observed]) -> Result<Vec<Value>, String> {
    let answers = cases.iter().zip(observed).filter(|(case, _)| case.expected.event.is_some());
    let wanted: Vec<&str> = answers
        .filter_map(|(_, one)| one.answer.as_ref().ok().map(|answer| answer.request_id.as_str()))
        .collect();
    let deadline = Instant::now() + EVENTS_TIMEOUT;
    loop {
        let found = by_request(read_json_lines(&stage.files.events())?);
        if wanted.iter().all(|id| found.contains_key(*id)) || Instant::now() > deadline {
            std::thread::sleep(EVENTS_SETTLE);
            return read_json_lines(&stage.files.events());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Expected and found, wherever they differ.
struct Differences(Vec<String>);

impl Differences {
    fn compare<T: PartialEq + Display>(
        &mut self,
        what: &str,
        expected: impl Into<Option<T>>,
        found: impl Into<Option<T>>,
    ) {
        let (expected, found) = (expected.into(), found.into());
        if expected != found {
            let shown = |value: Option<T>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
            self.0.push(format!("{what}: expected {}, found {}", shown(expected), shown(found)));
        }
    }
}

/// Everything about a request that is not as expected, in words.
pub(super) fn differences(case: &Case, observed: &Observed) -> Vec<String> {
    let mut differences = Differences(Vec::new());
    let expected = &case.expected;
    match &observed.answer {
        Err(error) => differences.0.push(format!("no answer: {error}")),
        Ok(answer) => {
            differences.compare("status", expected.status, answer.status);
            let closes = expected.resolution.is_none();
            differences.compare("connection closed", closes, answer.closed);
        }
    }
    compare_explanation(expected, &observed.explained, &mut differences);
    compare_origin(case, &observed.reached, &mut differences);
    compare_events(case, &observed.events, &mut differences);
    differences.0
}

fn compare_explanation(expected: &Expected, explained: &Value, differences: &mut Differences) {
    let passes = matches!(expected.status, 200 | 502);
    differences.compare("verdict", if passes { "pass" } else { "block" }, explained["verdict"].as_str());
    let mode = expected.resolution.map(|resolution| resolution.mode);
    differences.compare::<&str>("effective mode", mode, explained["mode"].as_str());
    let recorded = expected.event.is_some_and(|event| event.origin_error.is_none());
    differences.compare("to be recorded", recorded, explained["recorded"].as_bool());
    let Some(resolution) = &expected.resolution else { return };
    let local = &explained["local_mode"];
    differences.compare("local mode", resolution.local, local["value"].as_str());
    differences.compare("local mode from", resolution.local_from, local["from"].as_str());
    let winner = winning_rule(explained).and_then(|rule| rule["id"].as_u64());
    differences.compare::<u64>("winning rule", resolution.rule, winner);
}

/// The rule that wins, applied or not; none is the general mode.
pub(super) fn winning_rule(explained: &Value) -> Option<&Value> {
    explained["rules"].as_array()?.iter().find(|rule| rule["wins"] == true)
}

fn compare_origin(case: &Case, reached: &[Value], differences: &mut Differences) {
    let Some(identity) = case.expected.identity else {
        return differences.compare("requests that reached an origin", 0, reached.len());
    };
    differences.compare("requests that reached the origin", 1, reached.len());
    let Some(line) = reached.first() else { return };
    differences.compare("identity at the origin", identity, line["client_certificate"].as_str());
    let client = case.client.address().to_string();
    differences.compare("X-Forwarded-For", client.as_str(), line["x_forwarded_for"].as_str());
    differences.compare("bytes of the body", case.expected.body_bytes, line["body_bytes"].as_u64());
}

fn compare_events(case: &Case, events: &[Value], differences: &mut Differences) {
    let expected = &case.expected;
    let Some(event) = expected.event else {
        return differences.compare("events", 0, events.len());
    };
    differences.compare("events", 1, events.len());
    let Some(line) = events.first() else { return };
    differences.compare::<&str>("action in the event", event.action, line["action"].as_str());
    differences.compare("reason in the event", event.reason, line["reason"].as_str());
    differences.compare::<&str>("attack class in the event", event.class, line["attack_class"].as_str());
    differences.compare::<&str>(
        "origin error in the event",
        event.origin_error,
        line["origin_error"].as_str(),
    );
    // What isn't sound may have been found so before there was a mode, or, in a body, after it.
    if let Some(resolution) = expected.resolution {
        differences.compare("mode in the event", resolution.mode, line["mode"].as_str());
    }
    differences.compare("status in the event", u64::from(expected.status), line["status"].as_u64());
    let client = case.client.address().to_string();
    differences.compare("client in the event", client.as_str(), line["client_ip"].as_str());
}

/// What came of a request, in short: status, the identity that the origin saw, and what the event says.
pub(super) fn outcome_found(observed: &Observed) -> String {
    let Ok(answer) = &observed.answer else { return "no answer".to_owned() };
    let identity =
        observed.reached.first().map(|line| line["client_certificate"].as_str().unwrap_or("nobody"));
    let event = observed.events.first();
    let event =
        event.map(|line| line["origin_error"].as_str().or(line["action"].as_str()).unwrap_or("event"));
    outcome(answer.status, identity, event)
}

/// The same, as expected.
pub(super) fn outcome_expected(expected: &Expected) -> String {
    let event =
        expected.event.map(|Event { action, origin_error, .. }| origin_error.or(action).unwrap_or("event"));
    outcome(expected.status, expected.identity, event)
}

fn outcome(status: u16, identity: Option<&str>, event: Option<&str>) -> String {
    let identity = identity.map_or_else(String::new, |name| format!(" as {name}"));
    let event = event.map_or_else(String::new, |event| format!(", {event}"));
    format!("{status}{identity}{event}")
}

#[cfg(test)]
mod tests {
    use super::super::cases;
    use super::*;

    /// The graylisted attack that safe_blocking blocks, and all as it should be.
    fn blocked() -> (Case, Observed) {
        let is_it = |case: &Case| {
            case.client == client::Client::Gray && case.title == "GET /main/feedback SQL in query"
        };
        let case = cases::all().into_iter().find(is_it).unwrap();
        let observed = Observed {
            answer: Ok(Answer { status: 403, request_id: "1".to_owned(), closed: false }),
            explained: json!({
                "verdict": "block", "recorded": true, "mode": "safe_blocking",
                "local_mode": { "value": "safe_blocking", "from": "location /main/feedback" },
                "rules": [{ "id": 2, "wins": true }],
            }),
            reached: Vec::new(),
            events: vec![json!({
                "action": "blocked", "reason": "attack", "attack_class": "sqli", "mode": "safe_blocking",
                "status": 403, "client_ip": "127.0.0.2",
            })],
        };
        (case, observed)
    }

    /// A clean request that passes, and all as it should be.
    fn passed() -> (Case, Observed) {
        let case = cases::all().into_iter().find(|case| case.title == "POST /main/login clean JSON").unwrap();
        let observed = Observed {
            answer: Ok(Answer { status: 200, request_id: "2".to_owned(), closed: false }),
            explained: json!({
                "verdict": "pass", "recorded": false, "mode": "block",
                "local_mode": { "value": "block", "from": "location /main/login" },
                "rules": [{ "id": 2, "wins": false }, { "id": 3, "wins": true }],
            }),
            reached: vec![json!({
                "client_certificate": "edge", "x_forwarded_for": "127.0.0.1",
                "body_bytes": case.expected.body_bytes,
            })],
            events: Vec::new(),
        };
        (case, observed)
    }

    #[test]
    fn what_is_as_expected_has_no_differences() {
        for (case, observed) in [blocked(), passed()] {
            assert_eq!(differences(&case, &observed), Vec::<String>::new());
            assert_eq!(outcome_found(&observed), outcome_expected(&case.expected));
        }
    }

    #[test]
    fn every_fact_of_an_explanation_and_an_event_is_compared() {
        let facts =
            ["/verdict", "/recorded", "/mode", "/local_mode/value", "/local_mode/from", "/rules/0/id"];
        for fact in facts {
            let (case, mut observed) = blocked();
            *observed.explained.pointer_mut(fact).unwrap() = json!("other");
            assert_eq!(differences(&case, &observed).len(), 1, "{fact}");
        }
        for fact in ["action", "reason", "attack_class", "mode", "status", "client_ip", "origin_error"] {
            let (case, mut observed) = blocked();
            observed.events[0][fact] = json!("other");
            assert_eq!(differences(&case, &observed).len(), 1, "{fact}");
        }
        for fact in ["client_certificate", "x_forwarded_for", "body_bytes"] {
            let (case, mut observed) = passed();
            observed.reached[0][fact] = json!("other");
            assert_eq!(differences(&case, &observed).len(), 1, "{fact}");
        }
    }

    #[test]
    fn a_missing_or_needless_answer_event_or_forwarding_is_a_difference() {
        let changes: [fn(&mut Observed); 5] = [
            |observed| observed.answer = Err("reset".to_owned()),
            |observed| observed.answer.as_mut().unwrap().status = 200,
            |observed| observed.answer.as_mut().unwrap().closed = true,
            |observed| observed.events.clear(),
            |observed| observed.reached.push(json!({})),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let (case, mut observed) = blocked();
            change(&mut observed);
            assert_eq!(differences(&case, &observed).len(), 1, "change {number}");
        }
        let (case, mut observed) = passed();
        observed.events.push(json!({}));
        observed.reached.clear();
        let found = differences(&case, &observed);
        assert_eq!(
            found,
            ["requests that reached the origin: expected 1, found 0", "events: expected 0, found 1"]
        );
    }
}

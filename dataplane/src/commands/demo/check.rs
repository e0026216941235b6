//! Sends the requests, gathers what the node answered, explained and recorded and what the origins saw, and compares
//! it with what was expected.

use std::collections::HashMap;
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
        let explained = stage.node.explain(request)?;
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
    fn compare<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, expected: T, found: T) {
        if expected != found {
            self.0.push(format!("{what}: expected {expected:?}, found {found:?}"));
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
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let blocks = expected.status != 200 && expected.status != 502;
    let verdict = if blocks { "block" } else { "pass" };
    differences.compare("verdict", Some(verdict.to_owned()), text(&explained["verdict"]));
    let Some(resolution) = &expected.resolution else {
        return differences.compare("mode", None, text(&explained["mode"]));
    };
    let local = &explained["local_mode"];
    differences.compare("local mode", Some(resolution.local.to_owned()), text(&local["value"]));
    differences.compare("local mode from", Some(resolution.local_from.to_owned()), text(&local["from"]));
    let winner = winning_rule(explained).and_then(|rule| rule["id"].as_u64());
    differences.compare("winning rule", resolution.rule, winner);
    differences.compare("effective mode", Some(resolution.mode.to_owned()), text(&explained["mode"]));
    let recorded = expected.event.is_some_and(|event| event.origin_error.is_none());
    differences.compare("to be recorded", Some(recorded), explained["recorded"].as_bool());
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
    differences.compare("identity at the origin", Some(identity), line["client_certificate"].as_str());
    let client = case.client.address().to_string();
    differences.compare("X-Forwarded-For", Some(client.as_str()), line["x_forwarded_for"].as_str());
    differences.compare("bytes of the body", Some(case.expected.body_bytes), line["body_bytes"].as_u64());
}

fn compare_events(case: &Case, events: &[Value], differences: &mut Differences) {
    let expected = &case.expected;
    let Some(event) = expected.event else {
        return differences.compare("events", 0, events.len());
    };
    differences.compare("events", 1, events.len());
    let Some(line) = events.first() else { return };
    differences.compare("action in the event", event.action, line["action"].as_str());
    differences.compare("reason in the event", Some(event.reason), line["reason"].as_str());
    differences.compare("attack class in the event", event.class, line["attack_class"].as_str());
    differences.compare("origin error in the event", event.origin_error, line["origin_error"].as_str());
    let mode = expected.resolution.map(|resolution| resolution.mode);
    differences.compare("mode in the event", mode, line["mode"].as_str());
    differences.compare("status in the event", Some(u64::from(expected.status)), line["status"].as_u64());
    let client = case.client.address().to_string();
    differences.compare("client in the event", Some(client.as_str()), line["client_ip"].as_str());
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

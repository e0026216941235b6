//! Tests of the control thread over real sockets and real signals.

use super::*;
use crate::explain::{DescriptionError, DescriptionErrors};
use crate::telemetry::{
    EventWriter, HandshakeResult, Labels, MetricsRegistry, MetricsSnapshot, VerdictLabel, WorkerMetrics,
};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Longer than anything here takes; only so that a failing test ends.
const PATIENCE: Duration = Duration::from_secs(60);

struct Program {
    ready: AtomicBool,
    registry: MetricsRegistry,
    metrics: Arc<WorkerMetrics>,
    reload: Mutex<Result<u64, Vec<String>>>,
    change: Mutex<Result<Changed, Refused>>,
    token: Mutex<Option<Token>>,
    certificate_check_interval: Mutex<Option<Duration>>,
    /// Held by a test that a reload has to wait for.
    gate: Mutex<()>,
    calls: Mutex<mpsc::Sender<String>>,
}

impl Program {
    fn new() -> (Arc<Self>, mpsc::Receiver<String>) {
        let labels = Labels {
            servers: vec!["server-a".to_owned()],
            origins: vec!["app".to_owned()],
            attack_classes: vec!["sqli".to_owned()],
        };
        let registry = MetricsRegistry::new();
        let metrics = registry.add_worker(&Arc::new(labels));
        let (calls, called) = mpsc::channel();
        let ready = AtomicBool::new(true);
        let (reload, calls) = (Mutex::new(Ok(2)), Mutex::new(calls));
        let change = Mutex::new(Ok(Changed {
            generation: 8,
            in_force: true,
            tag: "\"new\"".to_owned(),
            ..Changed::default()
        }));
        let (token, certificate_check_interval, gate) =
            (Mutex::default(), Mutex::default(), Mutex::default());
        let program =
            Self { ready, registry, metrics, reload, change, token, certificate_check_interval, gate, calls };
        (Arc::new(program), called)
    }

    fn called(&self, what: String) {
        self.calls.lock().unwrap().send(what).unwrap();
    }
}

impl Backend for Program {
    fn live(&self) -> bool {
        true
    }

    fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn status(&self) -> Status {
        Status {
            origins: Vec::new(),
            names: Vec::new(),
            version: "0.1.0".to_owned(),
            config_digest: "abc123".to_owned(),
            generation: 7,
            config_since_unix_seconds: 1_790_000_000,
            started_unix_seconds: 1_789_999_999,
            workers: 2,
            workers_ready: 1,
            draining: false,
            io: "uring".to_owned(),
            listener_certificates: Vec::new(),
            client_certificates: vec![CertificateExpiry {
                name: "edge".to_owned(),
                not_after_unix_seconds: 1_800_000_000,
            }],
        }
    }

    fn metrics(&self) -> MetricsSnapshot {
        self.registry.snapshot()
    }

    fn reload(&self) -> Result<u64, Vec<String>> {
        self.called("reload".to_owned());
        drop(self.gate.lock().unwrap());
        self.reload.lock().unwrap().clone()
    }

    fn explain(&self, request: Value) -> Result<Value, Unexplained> {
        let missing = || {
            let message = "it is missing".to_owned();
            DescriptionErrors(vec![DescriptionError { field: "url".to_owned(), message }])
        };
        let url = request["url"].as_str().ok_or_else(missing)?;
        assert_ne!(url, "/panic");
        if url == "/too-much" {
            return Err(Unexplained::NoMemory("there is no memory".to_owned()));
        }
        Ok(json!({ "verdict": "pass", "of": url }))
    }

    fn rules(&self) -> Answer {
        Answer { body: r#"{"general_mode":"default","rules":[]}"#.to_owned(), tag: "\"one\"".to_owned() }
    }

    fn rule(&self, id: u64) -> Option<Answer> {
        (id == 7).then(|| Answer { body: r#"{"id":7}"#.to_owned(), tag: "\"one\"".to_owned() })
    }

    fn change_rules(&self, change: RulesChange, if_match: Option<&str>) -> Result<Changed, Refused> {
        self.called(format!("{change:?} {if_match:?}"));
        self.change.lock().unwrap().clone()
    }

    fn ip_lists(&self, choice: &EntryChoice, page: Page) -> Answer {
        self.called(format!("{choice:?} {page:?}"));
        Answer { body: r#"{"entries":[]}"#.to_owned(), tag: "\"two\"".to_owned() }
    }

    fn change_ip_lists(&self, change: ListsChange, if_match: Option<&str>) -> Result<Changed, Refused> {
        self.called(format!("{change:?} {if_match:?}"));
        self.change.lock().unwrap().clone()
    }

    fn drop_expired(&self) {}

    fn certificate_check_interval(&self) -> Option<Duration> {
        *self.certificate_check_interval.lock().unwrap()
    }

    fn check_certificates(&self) -> bool {
        self.called("check_certificates".to_owned());
        false
    }

    fn admin_token(&self) -> Option<Token> {
        self.token.lock().unwrap().clone()
    }

    fn upgrade(&self) -> Result<u32, String> {
        Err("not here".to_owned())
    }

    fn stop(&self, how: Stop) {
        self.called(format!("{how:?}"));
    }
}

struct Running {
    program: Arc<Program>,
    called: mpsc::Receiver<String>,
    address: SocketAddr,
    control: Control,
}

fn start_with(token: Option<Token>, limits: AdminLimits) -> Running {
    let (program, called) = Program::new();
    let admin = AdminSocket::bind("127.0.0.1:0".parse().unwrap(), token.is_some(), limits).unwrap();
    *program.token.lock().unwrap() = token;
    let address = admin.address().unwrap();
    let events = Arc::new(EventWriter::new(None).unwrap().spawn().unwrap());
    let backend = Arc::clone(&program) as Arc<dyn Backend>;
    let control = Control::start(Signals::catch().unwrap(), Some(admin), events, backend).unwrap();
    Running { program, called, address, control }
}

fn start() -> Running {
    start_with(None, AdminLimits::default())
}

impl Running {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a request with these header lines and returns status, head and body.
    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
        let mut stream = self.connect();
        let length = body.len();
        let host = if headers.contains("Host:") { "" } else { "Host: 127.0.0.1\r\n" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String, String) {
        self.ask("GET", path, "", "")
    }

    fn json(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, head, body) = self.ask(method, path, "", body);
        assert!(head.contains("content-type: application/json"), "{head}");
        (status, serde_json::from_str(&body).unwrap())
    }
}

#[test]
fn health_follows_the_workers() {
    let running = start();
    assert_eq!(running.json("GET", "/live", ""), (200, json!({ "live": true })));
    let (status, body) = running.json("GET", "/ready", "");
    assert_eq!((status, &body["ready"], &body["workers_ready"]), (200, &json!(true), &json!(1)));
    running.program.ready.store(false, Ordering::Relaxed);
    let (status, body) = running.json("GET", "/ready", "");
    assert_eq!((status, &body["ready"]), (503, &json!(false)));
    assert_eq!(running.get("/live").0, 200);
    running.control.stop();
}

#[test]
fn status_tells_what_runs_and_what_was_counted() {
    let running = start();
    running.program.metrics.request(0, 3, VerdictLabel::Block);
    running.program.metrics.inspection_nanos(2_500);
    let (status, body) = running.json("GET", "/status", "");
    assert_eq!(status, 200);
    assert_eq!(body["version"], "0.1.0");
    assert_eq!(body["config_digest"], "abc123");
    assert_eq!(body["generation"], 7);
    assert_eq!(body["started"], "2026-09-21T14:13:19Z");
    assert_eq!(body["client_certificates"][0]["not_after"], "2027-01-15T08:00:00Z");
    assert_eq!(body["counters"]["requests"], 1);
    assert_eq!(body["counters"]["events_dropped"], 0);
    assert_eq!(body["counters"]["inspection_microseconds_p99"], 3.0);
}

/// Takes the text format apart as a collector would: series to value.
fn parse_metrics(text: &str) -> std::collections::HashMap<String, f64> {
    let mut series = std::collections::HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let number: f64 = value.parse().unwrap();
        assert_eq!(series.insert(name.to_owned(), number), None, "{name} twice");
    }
    series
}

#[test]
fn metrics_carry_every_name_of_the_contract() {
    let running = start();
    running.program.metrics.request(0, 3, VerdictLabel::Block);
    running.program.metrics.handshake(0, HandshakeResult::Resumed);
    running.program.metrics.upstream_connection_opened(0);
    running.program.metrics.request_nanos(1_500_000);
    let (status, head, text) = running.get("/metrics");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let series = parse_metrics(&text);
    for (name, value) in [
        ("weir_requests_total{server=\"server-a\",mode=\"block\",verdict=\"block\"}", 1.0),
        ("weir_requests_total{server=\"server-a\",mode=\"off\",verdict=\"pass\"}", 0.0),
        ("weir_attacks_total{class=\"sqli\",action=\"blocked\"}", 0.0),
        ("weir_blocked_total{reason=\"attack\"}", 0.0),
        ("weir_inspection_seconds_count", 0.0),
        ("weir_request_seconds_bucket{le=\"0.002\"}", 1.0),
        ("weir_request_seconds_bucket{le=\"0.001\"}", 0.0),
        ("weir_request_seconds_sum", 0.0015),
        ("weir_upstream_connections{origin=\"app\",state=\"connecting\"}", 1.0),
        ("weir_upstream_handshakes_total{origin=\"app\",result=\"resumed\"}", 1.0),
        ("weir_client_certificate_not_after_seconds{name=\"edge\"}", 1_800_000_000.0),
        ("weir_events_dropped_total", 0.0),
        ("weir_config_generation", 7.0),
        ("weir_ring_enters_total", 0.0),
    ] {
        assert_eq!(series.get(name), Some(&value), "{name}");
    }
}

#[test]
fn reload_answers_with_the_generation_or_with_every_error() {
    let running = start();
    assert_eq!(running.json("POST", "/v1/reload", ""), (200, json!({ "generation": 2 })));
    let errors = ["weir.toml:3:1: unknown key `a`", "weir.toml:4:1: unknown key `b`"];
    *running.program.reload.lock().unwrap() = Err(errors.map(str::to_owned).to_vec());
    let (status, body) = running.json("POST", "/v1/reload", "");
    assert_eq!((status, &body["errors"]), (422, &json!(errors)));
    let series = parse_metrics(&running.get("/metrics").2);
    assert_eq!(series["weir_config_reloads_total{result=\"in_force\"}"], 1.0);
    assert_eq!(series["weir_config_reloads_total{result=\"refused\"}"], 1.0);
}

#[test]
fn explain_passes_json_through_and_says_what_is_wrong() {
    let running = start();
    let (status, body) = running.json("POST", "/v1/explain", r#"{"url": "/a"}"#);
    assert_eq!((status, body), (200, json!({ "verdict": "pass", "of": "/a" })));
    let (status, body) = running.json("POST", "/v1/explain", "{}");
    assert_eq!((status, body["code"].as_str()), (400, Some("bad_request")));
    assert_eq!(body["error"], "url: it is missing");
    assert_eq!(body["errors"], json!([{ "field": "url", "message": "it is missing" }]));
    let (status, body) = running.json("POST", "/v1/explain", r#"{"url": "/too-much"}"#);
    assert_eq!((status, body["code"].as_str()), (503, Some("unavailable")), "not the caller's fault: {body}");
    for (text, told) in [
        ("{", "line 1 column 1"),
        ("", "the body is empty"),
        ("{\n\"url\": }", "line 2 column 8"),
        (r#"{"url": "/", "url": "/b"}"#, "\"url\" stands twice"),
    ] {
        let (status, body) = running.json("POST", "/v1/explain", text);
        assert_eq!((status, body["code"].as_str()), (400, Some("bad_json")), "{text}");
        assert!(body["error"].as_str().unwrap().contains(told), "{text}: {body}");
    }
    let headers = "Content-Type: text/xml\r\n";
    assert_eq!(running.ask("POST", "/v1/explain", headers, r#"{"url": "/a"}"#).0, 415);
    let (status, body) = running.json("POST", "/v1/explain", r#"{"url": "/panic"}"#);
    assert_eq!((status, body["code"].as_str()), (500, Some("internal")), "and the thread lives on");
    assert_eq!(running.get("/live").0, 200);
}

#[test]
fn unknown_endpoints_and_methods_are_answered_in_json() {
    let running = start();
    assert_eq!(running.json("GET", "/v1/unknown", "").0, 404);
    assert_eq!(running.json("GET", "/", "").0, 404);
    let (status, head, _) = running.ask("GET", "/v1/reload", "", "");
    assert_eq!(status, 405);
    assert!(head.contains("allow: post"), "{head}");
}

#[test]
fn with_a_token_every_call_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "a-token-of-some-length\n").unwrap();
    let running = start_with(Some(Token::read(&path).unwrap()), AdminLimits::default());
    for path in ["/live", "/ready", "/status", "/metrics", "/v1/explain", "/v1/reload", "/none"] {
        for headers in ["", "Authorization: Bearer a-token-of-some-lengtH\r\n"] {
            let (status, head, body) = running.ask("POST", path, headers, "{}");
            assert_eq!(status, 401, "{path}");
            assert!(head.contains("www-authenticate: bearer"), "{head}");
            assert!(!body.contains("a-token"), "{body}");
        }
    }
    let authorization = "Authorization: Bearer a-token-of-some-length\r\nHost: node.example\r\n";
    assert_eq!(running.ask("GET", "/status", authorization, "").0, 200);
    assert!(running.called.try_recv().is_err(), "no reload without the token");
    // The one that a reload has read holds from then on, alone.
    std::fs::write(&path, "another-token-of-some-length\n").unwrap();
    *running.program.token.lock().unwrap() = Some(Token::read(&path).unwrap());
    assert_eq!(running.ask("GET", "/status", authorization, "").0, 401);
    let authorization = "Authorization: Bearer another-token-of-some-length\r\nHost: node.example\r\n";
    assert_eq!(running.ask("GET", "/status", authorization, "").0, 200);
}

#[test]
fn another_interval_of_checking_certificates_counts_at_once() {
    let running = start();
    *running.program.certificate_check_interval.lock().unwrap() = Some(Duration::from_secs(86_400));
    assert_eq!(running.json("POST", "/v1/reload", "").0, 200);
    assert_eq!(running.called.recv_timeout(PATIENCE).unwrap(), "reload");
    *running.program.certificate_check_interval.lock().unwrap() = Some(Duration::from_millis(1));
    assert_eq!(running.json("POST", "/v1/reload", "").0, 200);
    // (who watches may have asked for the interval as late as this, and checks before the second reload then)
    while running.called.recv_timeout(PATIENCE).unwrap() != "check_certificates" {}
}

/// A connection that was opened behind the call shows that the call has grown too old.
#[test]
fn an_old_connection_ends_with_the_call_in_progress() {
    let running =
        start_with(None, AdminLimits { connection_age: Duration::from_secs(1), ..Default::default() });
    let gate = running.program.gate.lock().unwrap();
    let mut calling = running.connect();
    let call = b"POST /v1/reload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n";
    // On a machine that is held up for so long, a connection may end before it is heard.
    while calling.write_all(call).is_err() || running.called.recv_timeout(Duration::from_secs(3)).is_err() {
        calling = running.connect();
    }
    let mut idle = running.connect();
    assert_eq!(idle.read(&mut [0]).unwrap_or(0), 0, "it ends unused");
    drop(gate);
    let mut answer = String::new();
    calling.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("{\"generation\":2}"), "{answer}");
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    let error = AdminSocket::bind("0.0.0.0:0".parse().unwrap(), false, AdminLimits::default()).unwrap_err();
    assert!(error.contains("token_file"), "{error}");
    for loopback in ["127.0.0.2:0", "[::ffff:127.0.0.1]:0"] {
        AdminSocket::bind(loopback.parse().unwrap(), false, AdminLimits::default()).unwrap();
    }
}

#[test]
fn a_web_page_on_this_host_is_refused() {
    let running = start();
    let from_page = "Origin: https://attacker.example\r\n";
    assert_eq!(running.ask("POST", "/v1/reload", from_page, "").0, 403);
    assert_eq!(running.ask("GET", "/status", "Host: attacker.example:9901\r\n", "").0, 403);
    assert_eq!(running.ask("GET", "/status", "Host: localhost:9901\r\n", "").0, 200);
    assert!(running.called.try_recv().is_err());
}

#[test]
fn bodies_and_waiting_are_limited() {
    let running = start_with(None, AdminLimits { body_bytes: 100, ..Default::default() });
    let (status, body) = running.json("POST", "/v1/explain", &" ".repeat(101));
    assert_eq!((status, body["code"].as_str()), (413, Some("body_too_large")));

    // Longer than this test may be held up between connecting and sending.
    let head_timeout = Duration::from_secs(3);
    let body_timeout = Duration::from_millis(50);
    let limits = AdminLimits { connections: 1, head_timeout, body_timeout, ..Default::default() };
    let running = start_with(None, limits);
    // Each of these holds the only place until its time is up, then the next is served.
    let mut silent = running.connect();
    let mut half_a_head = running.connect();
    half_a_head.write_all(b"GET /live HTTP/1.1\r\nHos").unwrap();
    let mut half_a_body = running.connect();
    half_a_body
        .write_all(b"POST /v1/explain HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50\r\n\r\n{")
        .unwrap();
    for stream in [&mut silent, &mut half_a_head] {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    let mut answer = String::new();
    half_a_body.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(running.get("/live").0, 200);
}

/// Signals reach a whole process, so this test runs itself again in one of its own.
#[test]
fn signals_reload_and_stop() {
    const CHILD: &str = "WEIR_TEST_SIGNALS_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return signals_in_this_process();
    }
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "control::tests::signals_reload_and_stop", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}

fn signals_in_this_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("events.jsonl");
    let events = Arc::new(EventWriter::new(Some(&file)).unwrap().spawn().unwrap());
    let (program, called) = Program::new();
    let send = |signal: &str| {
        let pid = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
    };
    let signals = Signals::catch().unwrap();
    // Workers may serve already when the control thread starts: a stop of that time is as graceful as any.
    send("-TERM");
    let control = Control::start(signals, None, Arc::clone(&events), program).unwrap();
    assert_eq!(called.recv_timeout(PATIENCE).unwrap(), "Graceful");
    std::fs::remove_file(&file).unwrap();
    for (signal, call) in [("-HUP", "reload"), ("-INT", "Now"), ("-TERM", "Now"), ("-HUP", "reload")] {
        send(signal);
        assert_eq!(called.recv_timeout(PATIENCE).unwrap(), call, "{signal}");
    }
    control.stop();
    assert_eq!(events.stop(PATIENCE), Some(0));
    assert!(file.exists(), "SIGHUP opens the event file again");
}

#[test]
fn changes_are_passed_on_and_their_outcome_is_told() {
    let running = start();
    let set = r#"{"rules": []}"#;
    let (status, head, body) = running.ask("PUT", "/v1/rules", "If-Match: \"a\"\r\nIf-Match: \"b\"\r\n", set);
    assert_eq!((status, head.contains("etag: \"new\"")), (200, true), "{head}\n{body}");
    let expected = format!("{:?} Some(\"\\\"a\\\",\\\"b\\\"\")", RulesChange::PutAll(set.to_owned()));
    assert_eq!(running.called.recv_timeout(PATIENCE).unwrap(), expected);
    assert_eq!(running.json("DELETE", "/v1/ip-lists?list=gray", "").0, 200);
    assert!(
        running.called.recv_timeout(PATIENCE).unwrap().starts_with("Remove(EntryChoice { list: Some(Gray)")
    );
    assert_eq!(running.json("GET", "/v1/rules/8", "").0, 404);
    assert_eq!(running.get("/v1/rules/7").2, r#"{"id":7}"#);

    let reason = || "the reason".to_owned();
    let wrong =
        Wrong { field: "a.b".to_owned(), position: Some((1, 2)), message: reason(), advice: String::new() };
    for (refused, status, code) in [
        (Refused::Invalid(vec![wrong]), 400, "invalid"),
        (Refused::NotFound(reason()), 404, "not_found"),
        (Refused::Conflict(reason()), 409, "conflict"),
        (Refused::Stale(reason()), 412, "stale"),
        (Refused::TooMany(reason()), 422, "too_many"),
        (Refused::Unavailable(reason()), 503, "unavailable"),
        (Refused::NoRoom(reason()), 507, "no_room"),
    ] {
        *running.program.change.lock().unwrap() = Err(refused);
        let (found, body) = running.json("POST", "/v1/ip-lists", "{}");
        assert_eq!((found, body["code"].as_str()), (status, Some(code)), "{body}");
        assert!(body["error"].as_str().unwrap().contains("the reason"), "{body}");
    }
    // Stored, but a worker takes its time.
    *running.program.change.lock().unwrap() = Ok(Changed { generation: 9, ..Changed::default() });
    assert_eq!(running.json("POST", "/v1/ip-lists", "{}").0, 202);
}

#[test]
fn parameters_that_a_call_does_not_have_are_refused() {
    let running = start();
    for (method, path) in [
        ("POST", "/v1/rules?foo=1"),
        ("PUT", "/v1/rules?only=api"),
        ("PATCH", "/v1/rules?x"),
        ("PUT", "/v1/rules/7?x=1"),
        ("GET", "/v1/rules/7?x=1"),
        ("DELETE", "/v1/rules/7?x=1"),
        ("POST", "/v1/ip-lists?list=deny"),
        ("PUT", "/v1/ip-lists?x=1"),
        ("POST", "/v1/explain?x=1"),
        ("POST", "/v1/reload?x=1"),
    ] {
        let (status, body) = running.json(method, path, "{}");
        let field = path.split(['?', '=']).nth(1);
        let found = (status, body["code"].as_str(), body["errors"][0]["field"].as_str());
        assert_eq!(found, (400, Some("bad_query"), field), "{method} {path}: {body}");
    }
}

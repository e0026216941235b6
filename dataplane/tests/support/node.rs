//! The node under test: `weir run` as a process.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::client::{Client, ORDINARY};
use super::message::{Inbox, Message, Otherwise};
use super::setup::Setup;
use super::{PATIENCE, eventually};

/// A running node. It is killed when dropped.
pub(crate) struct Node {
    pub(crate) setup: Setup,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    process: Child,
    log: Arc<Mutex<Vec<Value>>>,
}

impl Node {
    /// Starts the node on the config that `setup` has written, and waits until it is ready.
    pub(crate) fn start(setup: Setup) -> Self {
        let node = Self::start_guarded(setup);
        eventually("the node to be ready", || (node.admin_get("/ready").status() == 200).then_some(()));
        node
    }

    /// The same without asking whether it is ready, for a node that doesn't answer everybody.
    pub(crate) fn start_guarded(setup: Setup) -> Self {
        let (process, log) = spawn(&setup);
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut node = Self { setup, address: nowhere, admin: nowhere, process, log };
        node.await_addresses();
        node
    }

    /// Ends the node as a power cut would, and starts it again.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    /// Starts it again after it has ended, and waits until it is ready.
    pub(crate) fn restart(&mut self) {
        (self.process, self.log) = spawn(&self.setup);
        self.await_addresses();
        eventually("the node to be ready", || (self.admin_get("/ready").status() == 200).then_some(()));
    }

    /// The same without waiting for it.
    pub(crate) fn kill_now(&self) {
        signal(self.process.id(), "KILL");
    }

    /// Ends the node as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn await_addresses(&mut self) {
        self.address = self.await_address("accepting");
        self.admin = self.await_address("admin endpoints answer");
    }

    fn await_address(&mut self, message: &str) -> SocketAddr {
        eventually(message, || {
            let entry = self.log().into_iter().find(|entry| entry["message"] == message);
            if entry.is_none() && self.process.try_wait().unwrap().is_some() {
                panic!("the node ended: {:#?}\n{}", self.log(), self.setup.text());
            }
            entry
        })["address"]
            .as_str()
            .and_then(|address| address.parse().ok())
            .unwrap()
    }

    /// Where a listener other than the first one listens.
    pub(crate) fn address_of(&self, listener: &str) -> SocketAddr {
        let is_it = |entry: &Value| entry["message"] == "accepting" && entry["listener"] == listener;
        let entry = self.await_log("a listener's address", is_it);
        entry["address"].as_str().and_then(|address| address.parse().ok()).unwrap()
    }

    /// The log so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }

    /// Waits for a line of the log.
    #[track_caller]
    pub(crate) fn await_log(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || self.log().into_iter().find(|entry| wanted(entry)))
    }

    /// A connection from the ordinary address.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address, ORDINARY)
    }

    /// A connection from another address of 127.0.0.0/8.
    pub(crate) fn connect_from(&self, last: u8) -> Client {
        Client::connect(self.address, Ipv4Addr::new(127, 0, 0, last))
    }

    /// One GET on a connection of its own.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Message {
        self.connect().get(target)
    }

    /// Runs curl with a URL of the node; `-s` and a time limit are given.
    pub(crate) fn curl(&self, arguments: &[&str], target: &str) -> std::process::Output {
        Command::new("curl")
            .args(["-s", "--max-time", "120", "--noproxy", "*"])
            .args(arguments)
            .arg(format!("http://{}{target}", self.address))
            .output()
            .expect("these tests need curl: apt-get install curl")
    }

    /// The URL of an admin endpoint.
    pub(crate) fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// A GET of the admin endpoints.
    #[track_caller]
    pub(crate) fn admin_get(&self, path: &str) -> Message {
        self.admin_call("GET", path, &[], "")
    }

    /// A GET of the admin endpoints with more fields.
    #[track_caller]
    pub(crate) fn admin_with(&self, fields: &[&str], path: &str) -> Message {
        self.admin_call("GET", path, fields, "")
    }

    /// A request with a body to the admin endpoints.
    #[track_caller]
    pub(crate) fn admin_request(&self, method: &str, path: &str, body: &str) -> Message {
        self.admin_call(method, path, &[], body)
    }

    #[track_caller]
    pub(crate) fn admin_call(&self, method: &str, path: &str, fields: &[&str], body: &str) -> Message {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
            self.admin,
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut inbox = Inbox::default();
        let head = inbox.head(&mut stream).unwrap();
        inbox.body(&mut stream, head, Otherwise::UntilClose).unwrap()
    }

    /// A request with a JSON body to the admin endpoints: the status, and the answer as JSON.
    #[track_caller]
    pub(crate) fn api(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let answer = self.admin_call(method, path, &["Content-Type: application/json"], body);
        let json =
            serde_json::from_str(&answer.text()).unwrap_or_else(|_| panic!("no JSON: {}", answer.text()));
        (answer.status(), json)
    }

    /// The sum of a metric's series that carry all these labels.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let text = self.admin_get("/metrics").text();
        let wanted: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let mut found = false;
        let mut sum = 0;
        for line in text.lines() {
            let Some(rest) = line.strip_prefix(name) else { continue };
            let (series, value) = rest.rsplit_once(' ').unwrap();
            if !(series.is_empty() || series.starts_with('{')) {
                continue;
            }
            found = true;
            let pairs: Vec<&str> = series.trim_matches(['{', '}']).split(',').collect();
            if wanted.iter().all(|pair| pairs.contains(&pair.as_str())) {
                sum += value.parse::<f64>().unwrap() as u64;
            }
        }
        assert!(found, "there is no metric {name}:\n{text}");
        sum
    }

    /// Waits until a metric has a value.
    #[track_caller]
    pub(crate) fn await_metric(&self, name: &str, labels: &[(&str, &str)], value: u64) {
        let mut last = 0;
        let met = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("a metric", || {
                last = self.metric(name, labels);
                (last == value).then_some(())
            });
        }));
        assert!(met.is_ok(), "{name}{labels:?} is {last}, not {value}");
    }

    /// The events so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        let path = self.setup.folder.path().join("events.jsonl");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for the first `count` events, and that there are no more.
    #[track_caller]
    pub(crate) fn await_events(&self, count: usize) -> Vec<Value> {
        let events = eventually("events", || Some(self.events()).filter(|events| events.len() >= count));
        assert_eq!(events.len(), count, "{events:#?}");
        events
    }

    /// Waits for the one event of a request.
    #[track_caller]
    pub(crate) fn await_event_of(&self, answer: &Message) -> Value {
        let id = answer.field("x-request-id").expect("answers carry the request's id");
        eventually("the request's event", || {
            self.events().into_iter().find(|event| event["request_id"] == id)
        })
    }

    /// The process's number.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal, named without `SIG`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.process.id(), name);
    }

    /// Waits for the end of the process.
    #[track_caller]
    pub(crate) fn await_exit(&mut self) -> ExitStatus {
        eventually("the node to end", || self.process.try_wait().unwrap())
    }

    /// Whether the process still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("log of the node: {:#?}", self.log());
        }
        // A panic of a worker is a defect, whatever a test looks at, but for the one that a test can ask for.
        let panicked =
            self.log().iter().map(Value::to_string).any(|entry| {
                entry.contains("panicked at") && !entry.contains("dataplane/src/worker/defect.rs")
            });
        assert!(std::thread::panicking() || !panicked, "the node panicked: {:#?}", self.log());
    }
}

/// Starts the process and keeps what it logs.
fn spawn(setup: &Setup) -> (Child, Arc<Mutex<Vec<Value>>>) {
    let mut process = weir_by(&setup.launcher)
        .args(["run", "--config"])
        .arg(setup.config_path())
        .envs(setup.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let kept = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let entry = serde_json::from_str(&line).unwrap_or(Value::String(line));
            kept.lock().unwrap().push(entry);
        }
    });
    (process, log)
}

/// The binary, with an environment that says nothing to it.
pub(crate) fn weir() -> Command {
    weir_by(&[])
}

/// The same, started by a program unless there is none.
fn weir_by(launcher: &[String]) -> Command {
    let binary = env!("CARGO_BIN_EXE_weir");
    let mut command = match launcher {
        [] => Command::new(binary),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary);
            command
        }
    };
    command.env_remove("WEIR_MODE").env_remove("WEIR_LOG");
    command
}

/// Sends a signal to a process of ours.
pub(crate) fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), process.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{name} {process}");
}

//! A successor takes over under load, whatever is under way; sockets come from systemd too, and may be Unix sockets.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use weir::tls::forge::DemoAuthority;

use crate::support::client::{Client, ORDINARY, get};
use crate::support::eventually;
use crate::support::load::{Load, SITE};
use crate::support::node::{Node, signal, weir};
use crate::support::origin::{Gate, Origin, ok};
use crate::support::pki::Pki;
use crate::support::setup::Setup;

/// Ends a process that this test's node has started, and waits for it.
struct Successor(u32);

impl Successor {
    fn runs(&self) -> bool {
        Path::new(&format!("/proc/{}/stat", self.0)).exists()
            && !std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default().contains(") Z ")
    }

    fn end(self) {
        signal(self.0, "TERM");
        eventually("the successor to end", || (!self.runs()).then_some(()));
    }
}

/// Asks `process` for an upgrade and waits until the successor serves, which the log says for the `number`th time.
fn upgrade(node: &Node, process: u32, number: usize) -> u32 {
    let failures = |log: &[serde_json::Value]| {
        log.iter().filter(|entry| entry["message"] == "the upgrade failed").count()
    };
    let failed_before = failures(&node.log());
    signal(process, "USR2");
    let lines = eventually("a successor", || {
        let log = node.log();
        assert_eq!(failures(&log), failed_before, "{log:#?}");
        let serves = |entry: &&serde_json::Value| {
            entry["message"].as_str().is_some_and(|message| message.starts_with("a successor serves"))
        };
        let lines: Vec<_> = log.iter().filter(serves).cloned().collect();
        (lines.len() == number).then_some(lines)
    });
    u32::try_from(lines[number - 1]["process"].as_u64().unwrap()).unwrap()
}

#[test]
fn ten_upgrades_and_fifty_reloads_under_load_cost_no_request() {
    let pki = Pki::new();
    let sites = DemoAuthority::new("Sites' root").unwrap();
    let origin = Origin::scripted_tls(pki.demanding_server_config(), |peer| {
        while let Some(request) = peer.request() {
            peer.send(ok(request.target().as_bytes()));
        }
    });
    let setup = pki.mutual(Setup::new(origin.address));
    Pki::write_pair(setup.folder.path(), "site", &sites.server(&[SITE], &[]).unwrap());
    let mut node = setup.workers(2).node("drain_timeout = \"60s\"").more(Setup::SECURE_LISTENER).start();
    let load = Load::start(&node, &sites, 64);
    let mut process = node.id();
    for number in 1..=10 {
        for _ in 0..5 {
            let before = load.answers();
            signal(process, "HUP");
            eventually("more answers", || (load.answers() > before + 10).then_some(()));
        }
        process = upgrade(&node, process, number);
        let before = load.answers();
        eventually("answers of the successor", || (load.answers() > before + 200).then_some(()));
    }
    assert_eq!(node.await_exit().code(), Some(0), "the first process has ended by itself");
    assert!(load.end() > 2000);
    Successor(process).end();
    let log = node.log();
    assert!(!log.iter().any(|entry| entry["level"] == "ERROR"), "{log:#?}");
    assert!(!log.iter().any(|entry| entry["abandoned"].is_u64()), "{log:#?}");
}

#[test]
fn what_runs_is_finished_by_the_process_that_began_it() {
    let gate = Gate::closed();
    let waits = gate.clone();
    let origin = Origin::answering(move |request| {
        if request.target() == "/slow" {
            waits.pass();
        }
        ok(request.target().as_bytes())
    });
    let mut node = Setup::new(origin.address).start();
    let mut idle = node.connect();
    assert_eq!(idle.get("/before").status(), 200);
    let mut running = node.connect();
    running.send(get("/slow"));
    eventually("the slow request", || origin.targets().contains(&"/slow".to_owned()).then_some(()));
    let successor = Successor(upgrade(&node, node.id(), 1));
    // An idle connection isn't closed under its client's feet: its next answer says that it ends.
    let answer = idle.get("/after");
    assert_eq!((answer.status(), answer.field("connection")), (200, Some("close")));
    idle.expect_close();
    let answer = node.get("/new");
    assert_eq!((answer.status(), answer.field("connection")), (200, None));
    // The admin endpoints are the successor's. It takes connections a moment before all its workers have said so.
    eventually("the successor to be ready", || (node.admin_get("/ready").status() == 200).then_some(()));
    let rule = r#"{"id": 9, "type": "mode", "mode": "block", "uri": "/x"}"#;
    let answer = node.admin_request("POST", "/v1/rules", rule);
    assert_eq!(answer.status(), 201, "so is the state folder: {}", answer.text());
    assert!(node.runs());
    // A service manager that stops the service now tells both: this one goes on finishing what runs.
    node.signal("TERM");
    node.await_log("the stop", |entry| entry["message"] == "stopping");
    gate.open();
    assert_eq!(running.answer().text(), "/slow");
    assert_eq!(node.await_exit().code(), Some(0));
    successor.end();
}

#[test]
fn a_websocket_goes_on_in_the_process_that_took_it() {
    let gate = Gate::closed();
    let waits = gate.clone();
    let origin = Origin::scripted(move |peer| {
        if peer.head().is_some() {
            peer.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            );
            waits.pass();
            peer.send("said after the upgrade");
            peer.read_to_end();
        }
    });
    let mut node = Setup::new(origin.address).start();
    let mut socket = node.connect();
    socket.send(
        "GET / HTTP/1.1\r\nHost: site.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert_eq!(socket.head().status(), 101);
    let successor = Successor(upgrade(&node, node.id(), 1));
    assert!(node.runs(), "it has a tunnel");
    gate.open();
    socket.finish_sending();
    assert_eq!(socket.rest().bytes, b"said after the upgrade");
    assert_eq!(node.await_exit().code(), Some(0));
    successor.end();
}

#[test]
fn a_successor_that_cannot_serve_changes_nothing() {
    let origin = Origin::echoing_targets();
    let mut node = Setup::new(origin.address).start();
    let config = node.setup.config_path();
    let sound = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, sound.replace("[http]", "[http]\nmoode = \"block\"")).unwrap();
    node.signal("USR2");
    let line = node.await_log("the failure", |entry| entry["message"] == "the upgrade failed");
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("the successor ended before it served (exit status: 2)"), "{line}");
    node.await_log("the successor's reason", |entry| entry.to_string().contains("moode"));
    assert_eq!(node.get("/page").text(), "/page");
    std::fs::write(&config, sound).unwrap();
    let successor = Successor(upgrade(&node, node.id(), 1));
    assert_eq!(node.get("/page").text(), "/page");
    assert_eq!(node.await_exit().code(), Some(0));
    successor.end();
}

#[test]
fn a_unix_socket_is_served_and_its_leftover_replaced() {
    let origin = Origin::answering(|request| ok(request.field("x-forwarded-for").unwrap_or("").as_bytes()));
    let node = Setup::new(origin.address)
        .http("trusted_proxies = [\"127.0.0.1\"]")
        .more("[[listener]]\nname = \"local\"\naddress = \"unix:weir.sock\"")
        .start();
    let socket = node.setup.folder.path().join("weir.sock");
    let ask = |socket: &Path| {
        let output = Command::new("curl")
            .args([
                "-s",
                "--max-time",
                "120",
                "-H",
                "X-Forwarded-For: 192.0.2.9",
                "http://a/",
                "--unix-socket",
            ])
            .arg(socket)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(ask(&socket), "192.0.2.9");
    // A second node on the same socket is refused while the first one lives.
    let output = weir().args(["run", "--config"]).arg(node.setup.config_path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(ask(&socket), "192.0.2.9");
}

#[test]
fn sockets_come_from_systemd_by_name_or_by_address() {
    let origin = Origin::echoing_targets();
    let setup = Setup::new(origin.address);
    setup.write_config();
    // What systemd does before it starts a service: a listening socket as descriptor 3, and three variables.
    let activate = "import os, socket, sys\n\
        s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n\
        print(s.getsockname()[1], flush=True)\n\
        os.dup2(s.fileno(), 3); os.set_inheritable(3, True)\n\
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='public')\n\
        os.execv(sys.argv[1], sys.argv[1:])\n";
    let mut process = Command::new("python3")
        .args(["-c", activate])
        .arg(weir().get_program())
        .args(["run", "--config"])
        .arg(setup.config_path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("these tests need python3: apt-get install python3");
    let mut line = String::new();
    let mut output = std::io::BufReader::new(process.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    let port: u16 = line.trim().parse().unwrap();
    // The socket listens already: whoever comes early waits for the node.
    let mut client = Client::connect((Ipv4Addr::LOCALHOST, port).into(), ORDINARY);
    assert_eq!(client.get("/page").text(), "/page");
    signal(process.id(), "TERM");
    assert_eq!(eventually("the end", || process.try_wait().unwrap()).code(), Some(0));
}

#[test]
fn whoever_read_the_log_may_go_away() {
    let origin = Origin::echoing_targets();
    let setup = Setup::new(origin.address);
    setup.write_config();
    let mut process = weir()
        .args(["run", "--config"])
        .arg(setup.config_path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = std::io::BufReader::new(process.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("admin endpoints answer") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut log, &mut line).unwrap() > 0, "it ended early");
    }
    drop(log);
    // Each has something to say about it.
    signal(process.id(), "HUP");
    signal(process.id(), "TERM");
    assert_eq!(eventually("the end", || process.try_wait().unwrap()).code(), Some(0));
}

/// Does what systemd does for a socket unit and its service: it listens, starts the service with the socket as descriptor 3,
/// and starts it again when it has ended. USR1 restarts the service.
const SUPERVISOR: &str = "import os, signal, socket, sys\n\
    s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(1024)\n\
    os.dup2(s.fileno(), 3); os.set_inheritable(3, True)\n\
    service = 0\n\
    def restart(*_): os.kill(service, signal.SIGTERM)\n\
    signal.signal(signal.SIGUSR1, restart)\n\
    while True:\n\
    \x20 service = os.fork()\n\
    \x20 if service == 0:\n\
    \x20   os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES='public')\n\
    \x20   os.execvp('setpriv', ['setpriv', '--pdeathsig', 'KILL'] + sys.argv[1:])\n\
    \x20 assert os.waitpid(service, 0)[1] == 0\n";

#[test]
fn restarts_behind_a_socket_of_systemd_cost_no_request() {
    const CLIENTS: usize = 16;
    const RESTARTS: usize = 5;
    let origin = Origin::echoing_targets();
    let setup = Setup::new(origin.address).workers(2).launched_by(&["python3", "-c", SUPERVISOR]);
    let node = setup.start();
    let serving = || node.log().iter().filter(|entry| entry["message"] == "accepting").count();
    let (stop, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // Each request on a connection of its own, as the socket is what is handed on.
                    let begun = Instant::now();
                    let mut client = node.connect();
                    client.send("GET /page HTTP/1.1\r\nHost: site.example\r\nConnection: close\r\n\r\n");
                    // A stop waits a second for it: on a machine that is busy enough, this client may have been later.
                    let was_late = begun.elapsed() > Duration::from_millis(500);
                    let answer = client.rest().bytes;
                    let is_whole = answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"/page");
                    assert!(is_whole || (was_late && answer.is_empty()), "{}", answer.escape_ascii());
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let more = || {
            let before = answers.load(Ordering::Relaxed);
            eventually("answers", || (answers.load(Ordering::Relaxed) > before + 10 * CLIENTS).then_some(()));
        };
        // Whatever fails here must end the clients too.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            more();
            for number in 1..=RESTARTS {
                node.signal("USR1");
                eventually("the service to serve again", || (serving() > number).then_some(()));
                more();
            }
        }));
        stop.store(true, Ordering::Relaxed);
        assert!(done.is_ok(), "see above");
    });
    assert!(!node.log().iter().any(|entry| entry["level"] == "ERROR"), "{:#?}", node.log());
}

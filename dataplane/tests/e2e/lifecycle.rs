//! A node's life: ready, reloaded, asked for its state, drained, stopped.

use serde_json::Value;
use weir::tls::forge::DemoAuthority;

use crate::support::client::get;
use crate::support::eventually;
use crate::support::message::End;
use crate::support::nginx::OpensslServer;
use crate::support::node::Node;
use crate::support::origin::{Gate, Origin, ok};
use crate::support::pki::Pki;
use crate::support::setup::Setup;

const ATTACK: &str = "/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--";

/// An origin that answers `/slow` once the gate is open, and all else at once.
fn gated() -> (Origin, Gate) {
    let gate = Gate::closed();
    let waits = gate.clone();
    let origin = Origin::answering(move |request| {
        if request.target() == "/slow" {
            waits.pass();
        }
        ok(request.target().as_bytes())
    });
    (origin, gate)
}

#[track_caller]
fn await_slow_request(origin: &Origin) {
    eventually("the slow request", || origin.targets().contains(&"/slow".to_owned()).then_some(()));
}

#[test]
fn a_stop_lets_running_requests_finish() {
    for name in ["TERM", "INT"] {
        let (origin, gate) = gated();
        let mut node = Setup::new(origin.address).start();
        let mut idle = node.connect();
        assert_eq!(idle.get("/").status(), 200);
        let mut running = node.connect();
        running.send(get("/slow"));
        await_slow_request(&origin);
        node.signal(name);
        eventually("the node to say that it isn't ready", || {
            (node.admin_get("/ready").status() == 503).then_some(())
        });
        assert_eq!(node.admin_get("/live").status(), 200, "it lives on while it drains");
        eventually("new connections to be refused", || {
            std::net::TcpStream::connect(node.address).err().map(drop)
        });
        idle.expect_close();
        assert!(node.runs());
        gate.open();
        assert_eq!(running.answer().text(), "/slow");
        running.expect_close();
        assert_eq!(node.await_exit().code(), Some(0), "{name}");
        node.await_log("the last word", |entry| entry["message"] == "stopped");
    }
}

#[test]
fn the_last_answer_of_a_draining_node_ends_the_connection() {
    let (origin, gate) = gated();
    let node = Setup::new(origin.address).start();
    let mut running = node.connect();
    running.send(get("/slow"));
    await_slow_request(&origin);
    node.signal("TERM");
    eventually("the drain", || (node.admin_get("/ready").status() == 503).then_some(()));
    eventually("new connections to be refused", || {
        std::net::TcpStream::connect(node.address).err().map(drop)
    });
    gate.open();
    let answer = running.answer();
    assert_eq!((answer.text().as_str(), answer.field("connection")), ("/slow", Some("close")));
    running.expect_close();
}

#[test]
fn a_stop_waits_no_longer_than_drain_timeout() {
    let (origin, _gate) = gated();
    let mut node = Setup::new(origin.address).node("drain_timeout = \"200ms\"").start();
    let mut running = node.connect();
    running.send(get("/slow"));
    await_slow_request(&origin);
    node.signal("TERM");
    assert_eq!(node.await_exit().code(), Some(0));
    assert!(running.rest().bytes.is_empty());
    node.await_log("how many were cut off", |entry| entry["abandoned"] == 1);
}

#[test]
fn a_second_signal_ends_the_drain() {
    let (origin, _gate) = gated();
    let mut node = Setup::new(origin.address).node("drain_timeout = \"1h\"").start();
    let mut running = node.connect();
    running.send(get("/slow"));
    await_slow_request(&origin);
    node.signal("TERM");
    eventually("the drain", || (node.admin_get("/ready").status() == 503).then_some(()));
    node.signal("TERM");
    assert_eq!(node.await_exit().code(), Some(0));
}

#[test]
fn events_that_a_full_disk_costs_are_named_at_the_stop() {
    let origin = Origin::echoing_targets();
    let setup = Setup::new(origin.address).mode("block");
    std::os::unix::fs::symlink("/dev/full", setup.config_path().with_file_name("events.jsonl")).unwrap();
    let mut node = setup.start();
    for _ in 0..3 {
        assert_eq!(node.get("/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--").status(), 403);
    }
    node.signal("TERM");
    assert_eq!(node.await_exit().code(), Some(0));
    node.await_log("what was lost", |entry| entry["lost"] == 3 && entry["level"] == "ERROR");
}

#[test]
fn signals_of_log_rotation_do_not_end_the_node() {
    let origin = Origin::echoing_targets();
    let mut node = Setup::new(origin.address).mode("block").start();
    let attack = "/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--";
    assert_eq!(node.get(attack).status(), 403);
    assert_eq!(node.await_events(1).len(), 1);
    let file = node.setup.config_path().with_file_name("events.jsonl");
    std::fs::rename(&file, file.with_extension("1")).unwrap();
    node.signal("USR1");
    eventually("the new file", || file.exists().then_some(()));
    assert_eq!(node.get(attack).status(), 403);
    assert_eq!(node.await_events(1).len(), 1);
    node.signal("QUIT");
    assert_eq!(node.await_exit().code(), Some(0));
}

#[test]
fn events_reach_their_file_before_the_process_ends() {
    let origin = Origin::echoing_targets();
    let mut node = Setup::new(origin.address).start();
    let mut client = node.connect();
    for _ in 0..500 {
        assert_eq!(client.get(ATTACK).status(), 200);
    }
    node.signal("TERM");
    assert_eq!(node.await_exit().code(), Some(0));
    let events = node.events();
    assert_eq!(events.len(), 500);
    assert!(events.iter().all(|event| event["status"] == 200));
}

/// Changes the config and reloads it by signal; waits until it is in force.
#[track_caller]
fn reload(node: &Node, change: impl Fn(String) -> String) {
    let in_force = [("result", "in_force")];
    let before = node.metric("weir_config_reloads_total", &in_force);
    let text = std::fs::read_to_string(node.setup.config_path()).unwrap();
    node.setup.write("weir.toml", change(text));
    node.signal("HUP");
    // It is counted when it is over, behind the generation.
    node.await_metric("weir_config_reloads_total", &in_force, before + 1);
    eventually("all workers to serve it", || (node.admin_get("/ready").status() == 200).then_some(()));
}

#[test]
fn a_reload_changes_the_mode_and_drops_no_connection() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).workers(2).mode("monitoring").start();
    let mut clients: Vec<_> = (0..8).map(|_| node.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get(ATTACK).status(), 200);
    }
    let opened = origin.connections();
    reload(&node, |text| text.replace("\"monitoring\"", "\"block\""));
    for client in &mut clients {
        assert_eq!(client.get(ATTACK).status(), 403);
        assert_eq!(client.get("/clean").status(), 200);
    }
    assert_eq!(origin.connections(), opened, "connections to an origin that did not change are kept");
    assert_eq!(node.metric("weir_connections_accepted_total", &[]), 8);
    assert_eq!(node.metric("weir_config_reloads_total", &[("result", "in_force")]), 1);
    // Counters go on across generations.
    assert_eq!(node.metric("weir_attacks_total", &[("class", "sqli"), ("action", "monitored")]), 8);
    assert_eq!(node.metric("weir_attacks_total", &[("class", "sqli"), ("action", "blocked")]), 8);
}

#[test]
fn a_reload_with_a_bad_config_changes_nothing() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("block").start();
    let digest = status(&node)["config_digest"].clone();
    let mut client = node.connect();
    assert_eq!(client.get(ATTACK).status(), 403);
    let good = node.setup.text();
    node.setup.write("weir.toml", good.replace("\"block\"", "\"off\"") + "[nonsense]\n[more]\n");
    node.signal("HUP");
    node.await_metric("weir_config_reloads_total", &[("result", "refused")], 1);
    for word in ["nonsense", "more"] {
        node.await_log("each error", |entry| {
            entry["level"] == "ERROR" && entry["error"].as_str().is_some_and(|error| error.contains(word))
        });
    }
    assert_eq!(client.get(ATTACK).status(), 403);
    assert_eq!(node.metric("weir_config_generation", &[]), 1);
    assert_eq!(status(&node)["config_digest"], digest);
    assert_eq!(node.admin_get("/ready").status(), 200);
    // And once it's mended, the next one is taken.
    reload(&node, |_| good.replace("\"block\"", "\"off\""));
    assert_eq!(client.get(ATTACK).status(), 200);
    assert_ne!(status(&node)["config_digest"], digest);
}

#[test]
fn whatever_is_bad_at_a_reload_changes_nothing_and_is_named() {
    let pki = Pki::new();
    let origin = Origin::scripted_tls(pki.demanding_server_config(), |peer| {
        while let Some(request) = peer.request() {
            peer.send(ok(request.target().as_bytes()));
        }
    });
    let setup = pki
        .mutual(Setup::new(origin.address).mode("block"))
        .tls("crl = \"origins.crl\"")
        .rules("general_mode = \"default\"\n")
        .lists("[[entry]]\nlist = \"deny\"\naddress = \"192.0.2.66\"\n")
        .detection("signatures = [\"own\"]")
        // Nothing but this test's own calls reloads.
        .node("certificate_check_interval = \"0s\"")
        .more(Setup::SECURE_LISTENER);
    let folder = setup.folder.path().to_owned();
    std::fs::create_dir(folder.join("own")).unwrap();
    setup.write("origins.crl", pki.origins.revocation_list(&[], false).unwrap());
    Pki::write_pair(&folder, "site", &pki.origin_pair());
    let node = setup.start();
    let mut client = node.connect();
    let digest = status(&node)["config_digest"].clone();
    let other_key = pki.clients.client("edge").unwrap().private_key_pem;
    for (file, bad, named) in [
        ("weir.toml", "[nonsense]\n".to_owned(), "nonsense"),
        ("rules.toml", "[[rule]]\nid = 1\ntype = \"mode\"\nmode = \"blok\"\n".to_owned(), "blok"),
        ("ip-lists.toml", "[[entry]]\nlist = \"deny\"\naddress = \"300.1.1.1\"\n".to_owned(), "300.1.1.1"),
        ("own/x.toml", "class = \"nowhere\"\n".to_owned(), "nowhere"),
        ("edge.pem", "no PEM".to_owned(), "must be X.509 in PEM"),
        ("edge.key", other_key.clone(), "doesn't match"),
        ("edge-ca.pem", pki.origins.certificate_pem(), "must contain the authority"),
        ("origin-ca.pem", "no PEM".to_owned(), "origin-ca.pem"),
        ("origins.crl", "no PEM".to_owned(), "origins.crl"),
        ("site.pem", "no PEM".to_owned(), "site.pem"),
        ("site.key", other_key, "site.pem"),
    ] {
        let path = folder.join(file);
        let good = std::fs::read(&path).ok();
        std::fs::write(&path, bad).unwrap();
        let answer = node.admin_request("POST", "/v1/reload", "");
        assert_eq!(answer.status(), 422, "{file}: {}", answer.text());
        let page: Value = serde_json::from_slice(&answer.body).unwrap();
        let errors = page["errors"].to_string();
        assert!(
            errors.contains(named) && errors.contains(file.split('/').next_back().unwrap()),
            "{file}: {errors}"
        );
        assert_eq!(node.metric("weir_config_generation", &[]), 1, "{file}");
        assert_eq!(status(&node)["config_digest"], digest, "{file}");
        assert_eq!((client.get("/page").status(), client.get(ATTACK).status()), (200, 403), "{file}");
        match good {
            Some(good) => std::fs::write(&path, good).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
    }
    assert_eq!(node.admin_request("POST", "/v1/reload", "").status(), 200, "all is mended");
    assert_eq!(client.get("/page").status(), 200);
}

#[test]
fn a_running_request_finishes_on_the_config_that_it_began_with() {
    let origin = Origin::answering(|request| ok(&request.body));
    let node = Setup::new(origin.address).mode("monitoring").start();
    let mut client = node.connect();
    let (first, second) = ("id=1'+UNION+", "SELECT+password+FROM+users--");
    let length = first.len() + second.len();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{first}"
    ));
    eventually("the first half to arrive", || origin.raw().ends_with(first.as_bytes()).then_some(()));
    reload(&node, |text| text.replace("\"monitoring\"", "\"block\""));
    client.send(second);
    let answer = client.answer();
    assert_eq!(answer.status(), 200);
    let event = node.await_event_of(&answer);
    assert_eq!((&event["mode"], &event["action"]), (&"monitoring".into(), &"monitored".into()));
    assert_eq!(client.get(ATTACK).status(), 403, "the next one is judged by the new config");
}

#[test]
fn a_reload_moves_traffic_to_another_origin() {
    let first = Origin::answering(|_| ok(b"first"));
    let second = Origin::answering(|_| ok(b"second"));
    let node = Setup::new(first.address).start();
    let mut client = node.connect();
    assert_eq!(client.get("/").text(), "first");
    reload(&node, |text| text.replace(&first.address.to_string(), &second.address.to_string()));
    assert_eq!(client.get("/").text(), "second");
}

#[test]
fn a_reload_takes_a_new_client_certificate() {
    let pki = Pki::new();
    let others = DemoAuthority::new("Other clients' root").unwrap();
    let origin = OpensslServer::demanding(&pki, "-tls1_3", &others.certificate_pem());
    let node = pki.mutual(Setup::new(origin.address)).start();
    assert_eq!(node.get("/").status(), 502);
    Pki::write_pair(node.setup.folder.path(), "edge", &others.client("edge").unwrap());
    node.setup.write("edge-ca.pem", others.certificate_pem());
    reload(&node, |text| text);
    assert_eq!(node.get("/").status(), 200);
}

#[test]
fn a_reload_that_needs_a_restart_says_so() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    node.setup.write("weir.toml", node.setup.text().replace("workers = 1", "workers = 2"));
    let answer = node.admin_request("POST", "/v1/reload", "");
    assert_eq!(answer.status(), 422);
    assert!(answer.text().contains("restart") && answer.text().contains("workers"), "{}", answer.text());
    assert_eq!(node.metric("weir_config_generation", &[]), 1);
}

#[test]
fn the_admin_endpoint_reloads_and_answers_with_the_errors() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("monitoring").start();
    node.setup.write("weir.toml", node.setup.text().replace("\"monitoring\"", "\"block\""));
    let answer = node.admin_request("POST", "/v1/reload", "");
    let page: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status(), &page["generation"]), (200, &2.into()));
    assert_eq!(node.get(ATTACK).status(), 403, "in force when the answer comes");
    node.setup.write("weir.toml", "[one]\n[two]\n");
    let answer = node.admin_request("POST", "/v1/reload", "");
    let page: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer.status(), 422);
    assert!(page["errors"].as_array().unwrap().len() >= 2, "{page}");
    assert_eq!(node.get(ATTACK).status(), 403);
}

#[test]
fn the_event_file_can_be_rotated() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    assert_eq!(node.get(ATTACK).status(), 200);
    node.await_events(1);
    let folder = node.setup.folder.path();
    std::fs::rename(folder.join("events.jsonl"), folder.join("events.1")).unwrap();
    node.signal("HUP");
    eventually("a new file", || folder.join("events.jsonl").exists().then_some(()));
    let answer = node.get(&format!("/second{}", &ATTACK[1..]));
    let event = node.await_event_of(&answer);
    assert_eq!(event["path"], "/second");
    assert_eq!(node.events().len(), 1);
    assert_eq!(std::fs::read_to_string(folder.join("events.1")).unwrap().lines().count(), 1);
}

fn status(node: &Node) -> Value {
    let answer = node.admin_get("/status");
    assert_eq!((answer.status(), answer.field("content-type")), (200, Some("application/json")));
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn the_admin_endpoints_tell_the_state() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).mode("block").workers(2).start();
    for _ in 0..3 {
        assert_eq!(node.get("/clean").status(), 200);
    }
    assert_eq!(node.get(ATTACK).status(), 403);
    node.await_events(1);
    assert_eq!(node.admin_get("/live").status(), 200);
    assert_eq!(node.admin_get("/ready").status(), 200);
    let state = status(&node);
    assert_eq!(state["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&state["generation"], &state["workers"], &state["workers_ready"]),
        (&1.into(), &2.into(), &2.into())
    );
    assert_eq!((&state["ready"], &state["draining"]), (&true.into(), &false.into()));
    assert_eq!(state["config_digest"].as_str().unwrap().len(), 64);
    assert_eq!((&state["counters"]["requests"], &state["counters"]["blocked"]), (&4.into(), &1.into()));
    assert_eq!(node.admin_get("/nowhere").status(), 404);
    assert_eq!(node.admin_request("POST", "/live", "").status(), 405);
}

#[test]
fn the_metrics_that_checks_rely_on_are_there() {
    let pki = Pki::new();
    let origin = Origin::scripted_tls(pki.demanding_server_config(), |peer| {
        while let Some(request) = peer.request() {
            peer.send(ok(request.target().as_bytes()));
        }
    });
    let node = pki.mutual(Setup::new(origin.address)).mode("block").start();
    assert_eq!(node.get("/clean").status(), 200);
    assert_eq!(node.get(ATTACK).status(), 403);
    let answer = node.admin_get("/metrics");
    assert!(answer.field("content-type").unwrap().starts_with("text/plain"), "{answer:?}");
    assert_eq!(
        node.metric("weir_requests_total", &[("server", "site"), ("mode", "block"), ("verdict", "pass")]),
        1
    );
    assert_eq!(
        node.metric("weir_requests_total", &[("server", "site"), ("mode", "block"), ("verdict", "block")]),
        1
    );
    assert_eq!(node.metric("weir_attacks_total", &[("class", "sqli"), ("action", "blocked")]), 1);
    assert_eq!(node.metric("weir_blocked_total", &[("reason", "attack")]), 1);
    assert_eq!(node.metric("weir_inspection_seconds_count", &[]), 2);
    assert_eq!(node.metric("weir_request_seconds_count", &[]), 2);
    assert_eq!(node.metric("weir_upstream_connections", &[("origin", "app"), ("state", "idle")]), 1);
    assert_eq!(node.metric("weir_upstream_handshakes_total", &[("origin", "app"), ("result", "full")]), 1);
    assert!(node.metric("weir_client_certificate_not_after_seconds", &[("name", "edge")]) > 0);
    assert_eq!(node.metric("weir_events_dropped_total", &[]), 0);
    assert_eq!(node.metric("weir_config_generation", &[]), 1);
    assert!(node.metric("weir_ring_enters_total", &[]) > 0);
    for line in answer.text().lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(series.starts_with("weir_") && value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn admin_calls_need_the_token_where_there_is_one() {
    let origin = Origin::echoing_targets();
    let setup = Setup::new(origin.address);
    setup.write("token", "0123456789abcdef0123456789abcdef\n");
    let text = setup.text().replace("[admin]\n", "[admin]\ntoken_file = \"token\"\n");
    setup.write("weir.toml", text);
    let node = Node::start_guarded(setup);
    let status_of =
        |token: &str| node.admin_with(&[&format!("Authorization: Bearer {token}")], "/status").status();
    for path in ["/live", "/ready", "/status", "/metrics"] {
        assert_eq!(node.admin_get(path).status(), 401, "{path}");
        let told = node.admin_with(&["Authorization: Bearer 0123456789abcdef0123456789abcdef"], path);
        assert_eq!(told.status(), 200, "{path}");
        assert_eq!(node.admin_with(&["Authorization: Bearer wrong"], path).status(), 401, "{path}");
    }
    // A reload takes the token that the file holds now; one that can't be a token changes nothing.
    let (first, second) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
    node.setup.write("token", "short\n");
    node.signal("HUP");
    node.await_log("a refusal", |entry| entry["message"] == "the new config was refused");
    assert_eq!(status_of(first), 200);
    node.setup.write("token", format!("{second}\n"));
    node.signal("HUP");
    node.await_log("a reload", |entry| entry["message"] == "a new config is in force");
    assert_eq!((status_of(first), status_of(second)), (401, 200));
}

#[test]
fn web_pages_cannot_call_the_admin_endpoints() {
    let origin = Origin::echoing_targets();
    let node = Setup::new(origin.address).start();
    let output = std::process::Command::new("curl")
        .args([
            "-s",
            "--max-time",
            "120",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "-H",
            "Host: attacker.example",
        ])
        .arg(node.admin_url("/status"))
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"403");
    assert_eq!(
        node.admin_with(&["Origin: http://attacker.example"], "/status").status(),
        200,
        "reading is for all"
    );
}

#[test]
fn a_client_in_the_middle_of_its_head_does_not_hold_up_a_stop_for_long() {
    let origin = Origin::echoing_targets();
    // Long enough for a test that is held up between connecting and sending.
    let node = Setup::new(origin.address).node("drain_timeout = \"1h\"");
    let mut node = node.limits("head_timeout = \"4s\"").start();
    let mut client = node.connect();
    client.send("GET / HT");
    // Before that it would be idle, and closed at once.
    node.await_metric("weir_received_bytes_total", &[], 8);
    node.signal("TERM");
    assert_eq!(node.await_exit().code(), Some(0));
    assert_eq!(client.rest().end, End::Closed);
}

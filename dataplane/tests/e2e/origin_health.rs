//! Active health checks: which addresses of an origin get requests, decided by requests of the node's own.

use serde_json::Value;

use crate::support::eventually;
use crate::support::haproxy::Haproxy;
use crate::support::nginx::Nginx;
use crate::support::node::Node;
use crate::support::origin::{Origin, Unserved, ok};
use crate::support::pki::{ORIGIN_NAME, Pki};
use crate::support::setup::Setup;

/// Quick checks that wait for an answer, however late it comes.
const CHECK: &str = "[origin.health_check]\npath = \"/healthz?deep=1\"\ninterval = \"100ms\"\nhealthy_threshold = 2\n\
                     unhealthy_threshold = 2\ntimeout = \"1h\"";

/// Healthy until there is a file `down`. Every page tells which of them it is.
fn directives(name: &str) -> String {
    format!(
        "keepalive_requests 100000; location = /healthz {{ if (-f $document_root/down) {{ return 500; }} return 204; }} \
         location / {{ return 200 \"{name}\"; }}"
    )
}

#[track_caller]
fn await_health(node: &Node, nginx: &Nginx, healthy: u64) {
    let address = nginx.address.to_string();
    let labels = [("origin", "app"), ("address", address.as_str())];
    node.await_metric("weir_origin_address_healthy", &labels, healthy);
}

fn checks(node: &Node, result: &str) -> u64 {
    node.metric("weir_origin_health_checks_total", &[("origin", "app"), ("result", result)])
}

/// The names that so many requests were answered with.
fn answers(node: &Node) -> Vec<String> {
    let mut client = node.connect();
    let mut names: Vec<String> = (0..20).map(|_| client.get("/").text()).collect();
    names.sort();
    names.dedup();
    names
}

/// One of two goes down, comes back, and gets requests as its checks say.
fn goes_down_and_comes_back(node: &Node, first: &Nginx, second: &Nginx) {
    await_health(node, first, 1);
    await_health(node, second, 1);
    assert_eq!(answers(node), ["first", "second"]);
    first.serve_file("down", b"");
    await_health(node, first, 0);
    assert_eq!(answers(node), ["second"]);
    let address = first.address.to_string();
    node.await_log("that it is unhealthy", |entry| {
        entry["address"] == address && entry["origin"] == "app" && entry["reason"] == "it answered 500"
    });
    let status: Value = serde_json::from_str(&node.admin_get("/status").text()).unwrap();
    let shown = &status["origins"][0];
    assert_eq!((&shown["name"], &shown["health_check"]), (&"app".into(), &true.into()), "{status}");
    let shown = shown["addresses"].as_array().unwrap().iter().find(|one| one["address"] == address).unwrap();
    assert_eq!(shown["healthy"], false, "{shown}");
    assert_eq!(shown["last_check"]["error"], "it answered 500", "{shown}");
    first.remove_file("down");
    await_health(node, first, 1);
    assert_eq!(answers(node), ["first", "second"]);
    node.await_log("that it is healthy", |entry| {
        entry["address"] == address && entry["message"] == "an address of an origin is healthy"
    });
    assert!(checks(node, "passed") > 1 && checks(node, "failed") > 0);
}

#[test]
fn an_address_that_fails_its_checks_gets_no_requests_until_it_passes_them() {
    let (first, second) = (Nginx::plain(&directives("first")), Nginx::plain(&directives("second")));
    let node = Setup::new(first.address).address(second.address).origin(CHECK).workers(2).start();
    goes_down_and_comes_back(&node, &first, &second);
    let asked = first.access_log();
    assert!(asked.iter().any(|line| line.starts_with("204 GET /healthz?deep=1 HTTP/1.1|")), "{asked:?}");
    // What was found out outlives a reload.
    first.serve_file("down", b"");
    await_health(&node, &first, 0);
    assert_eq!(node.admin_request("POST", "/v1/reload", "").status(), 200);
    assert_eq!(answers(&node), ["second"]);
}

#[test]
fn checks_show_the_identity_of_their_origin() {
    let pki = Pki::new();
    let (first, second) =
        (Nginx::mutual(&pki, &directives("first")), Nginx::mutual(&pki, &directives("second")));
    let setup = Setup::new(first.address).address(second.address);
    let node = pki.mutual(setup).tls(CHECK).start();
    goes_down_and_comes_back(&node, &first, &second);
    let asked = first.access_log();
    assert!(asked.iter().any(|line| line.contains("/healthz") && line.contains("|CN=edge|")), "{asked:?}");
}

#[test]
fn what_is_wrong_with_an_address_is_said_and_all_are_used_when_none_is_healthy() {
    let pki = Pki::new();
    // It wants a certificate, and gets none: nginx answers 400.
    let strict = Nginx::mutual(&pki, &directives("strict"));
    let dead = Unserved::reserve();
    let setup = Setup::new(strict.address).address(dead.address);
    let node = pki.verified(setup).tls(CHECK).start();
    for reason in ["it answered 400", "Connection refused (os error 111)"] {
        node.await_log(reason, |entry| entry["reason"] == reason);
    }
    assert_eq!(node.get("/").status(), 400);
    assert!(node.metric("weir_origin_panics_total", &[("origin", "app")]) > 0);
}

#[test]
fn the_first_check_of_an_address_decides_alone() {
    let origin = Origin::echoing_targets();
    let unserved = Unserved::reserve();
    let dead = unserved.address;
    let settings = "[origin.health_check]\npath = \"/\"\nmethod = \"HEAD\"\nhost = \"check.test\"\ninterval = \"1h\"\n\
                    timeout = \"1h\"\nunhealthy_threshold = 100";
    let node = Setup::new(origin.address).address(dead).origin(settings).start();
    let labels = [("origin", "app"), ("address", &dead.to_string() as &str)];
    node.await_metric("weir_origin_address_healthy", &labels, 0);
    let checked = eventually("the check", || origin.requests().into_iter().next());
    assert_eq!((checked.target(), checked.field("host")), ("/", Some("check.test")));
    assert!(checked.field("user-agent").is_some_and(|agent| agent.starts_with("weir-health-check/")));
    // What the check has found outlives a reload: the next one is an hour away.
    node.setup.write(
        "weir.toml",
        node.setup.text().replace("unhealthy_threshold = 100", "unhealthy_threshold = 99"),
    );
    assert_eq!(node.admin_request("POST", "/v1/reload", "").status(), 200);
    assert_eq!(node.metric("weir_origin_address_healthy", &labels), 0);
    // A reload that takes the checks away lets all addresses be used again.
    let text = node.setup.text();
    node.setup.write(
        "weir.toml",
        text.split_once("[origin.health_check]").unwrap().0.to_owned()
            + text.split_once("unhealthy_threshold = 100\n").unwrap().1,
    );
    assert_eq!(node.admin_request("POST", "/v1/reload", "").status(), 200);
    let status: Value = serde_json::from_str(&node.admin_get("/status").text()).unwrap();
    let addresses = status["origins"][0]["addresses"].as_array().unwrap();
    assert!(addresses.len() == 2 && addresses.iter().all(|one| one["healthy"] == true), "{status}");
}

/// Answers checks with this, so many times over, and then keeps the connection. Other requests are served.
fn checked_by(answer: &'static [u8], times: usize) -> Origin {
    Origin::scripted(move |peer| {
        while let Some(request) = peer.request() {
            if request.target() != "/healthz" {
                peer.send(ok(b"served"));
                continue;
            }
            (0..times).for_each(|_| peer.send(answer));
            return peer.read_to_end();
        }
    })
}

/// What `/status` says of an address.
fn shown(node: &Node, address: &str) -> Value {
    let status: Value = serde_json::from_str(&node.admin_get("/status").text()).unwrap();
    let origins = status["origins"].as_array().unwrap().iter();
    let mut addresses = origins.flat_map(|origin| origin["addresses"].as_array().unwrap());
    addresses.find(|one| one["address"] == address).unwrap_or_else(|| panic!("{address}: {status}")).clone()
}

#[test]
fn whatever_a_check_is_answered_is_told_and_harms_nobody() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
    static BODY: [u8; 1 << 16] = [b'x'; 1 << 16];
    let closes = || Origin::scripted(|peer| drop(peer.request()));
    let sound = checked_by(b"HTTP/1.1 204 No Content\r\n\r\n", 1);
    // A body that never ends is no part of a check.
    let huge = Origin::scripted(|peer| {
        if peer.request().is_some_and(|request| request.target() == "/healthz") {
            peer.send(HEAD);
            (0..1000).for_each(|_| peer.send(BODY));
        } else {
            peer.send(ok(b"served"));
        }
    });
    let ill = [
        (checked_by(b"SSH-2.0-OpenSSH_9.2p1\r\n", 1), "its answer is no HTTP/1.1: it begins with \"SSH-2.0-"),
        (checked_by(b"\x15\x03\x01\x00\x02\x02\x50", 1), "its answer is no HTTP/1.1: it begins with"),
        (checked_by(b"HTTP/1.1 100 Continue\r\n\r\n", 100_000), "too many interim answers"),
        (checked_by(b"HTTP/1.1 200 OK\r\nX: y\r\n y\r\n\r\n", 1), "its answer is no sound HTTP/1.1"),
        (closes(), "it closed the connection without an answer"),
    ];
    let slow =
        [(checked_by(b"", 1), "no answer within"), (checked_by(b"HTTP/1.1 2", 1), "no whole answer within")];
    // A head that never ends.
    let endless = Origin::scripted(|peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\n");
            (0..100_000).for_each(|number| peer.send(format!("X-{number}: y\r\n")));
        }
    });
    let check = "panic_threshold_percent = 0\n[origin.health_check]\npath = \"/healthz\"\ntimeout = \"1m\"";
    let setup = Setup::new(sound.address).address(huge.address).address(endless.address);
    let setup = ill.iter().fold(setup, |setup, (origin, _)| setup.address(origin.address)).origin(check);
    let slow_ones = slow.each_ref().map(|(origin, _)| origin.address.to_string());
    let node = setup
        .more(&format!(
            "[[origin]]\nname = \"slow\"\naddresses = {slow_ones:?}\n[origin.health_check]\npath = \"/healthz\"\n\
             timeout = \"300ms\"\ninterval = \"100ms\""
        ))
        .start();
    let endless = [(endless, "its answer is no sound HTTP/1.1")];
    for (origin, reason) in ill.iter().chain(&endless).chain(&slow) {
        let address = origin.address.to_string();
        eventually(reason, || {
            let found = &shown(&node, &address)["last_check"]["error"];
            found.as_str().is_some_and(|found| found.starts_with(reason)).then_some(())
        });
        assert_eq!(shown(&node, &address)["healthy"], false, "{reason}");
    }
    // A check that nothing is wrong with passes, and who passes serves alone.
    for origin in [&sound, &huge] {
        let address = origin.address.to_string();
        let known = eventually("the first check", || {
            Some(shown(&node, &address)).filter(|known| !known["last_check"].is_null())
        });
        assert_eq!(known["healthy"], true, "{known}");
    }
    assert_eq!(answers(&node), ["served"]);
}

#[test]
fn checks_begin_with_the_proxy_header_of_their_origin() {
    let pki = Pki::new();
    let nginx = Nginx::told("location / { return 204; }");
    let haproxy = Haproxy::told_under_tls(&pki);
    for version in ["v1", "v2", "off"] {
        let proxy = format!("proxy_protocol = \"{version}\"\n");
        let (plain, secure) = (format!("{proxy}{CHECK}"), format!("{proxy}{CHECK}").replace("app", "secure"));
        let setup = Setup::new(nginx.address).origin(&plain).more(&format!(
            "[[origin]]\nname = \"secure\"\naddresses = [\"{}\"]\n{secure}\n[origin.tls]\n\
             server_name = \"{ORIGIN_NAME}\"\nca = \"origin-ca.pem\"",
            haproxy.address
        ));
        setup.write("origin-ca.pem", pki.origins.certificate_pem());
        let node = setup.start();
        for (origin, address) in [("app", nginx.address), ("secure", haproxy.address)] {
            let result = if version == "off" { "failed" } else { "passed" };
            let labels = [("origin", origin), ("result", result)];
            eventually("checks", || {
                (node.metric("weir_origin_health_checks_total", &labels) > 0).then_some(())
            });
            let address = address.to_string();
            let labels = [("origin", origin), ("address", address.as_str())];
            node.await_metric("weir_origin_address_healthy", &labels, u64::from(version != "off"));
        }
    }
}

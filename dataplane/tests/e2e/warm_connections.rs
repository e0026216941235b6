//! Connections that are kept ready: there before the first request, there again after each, and not asked of an origin that
//! is gone more often than makes sense.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

use crate::support::eventually;
use crate::support::nginx::Nginx;
use crate::support::node::Node;
use crate::support::origin::{Origin, ok};
use crate::support::pki::Pki;
use crate::support::setup::Setup;

fn await_idle(node: &Node, count: u64) {
    node.await_metric("weir_upstream_connections", &[("origin", "app"), ("state", "idle")], count);
}

fn total(node: &Node, name: &str) -> u64 {
    node.metric(name, &[("origin", "app")])
}

fn handshakes(node: &Node, result: &str) -> u64 {
    node.metric("weir_upstream_handshakes_total", &[("origin", "app"), ("result", result)])
}

#[test]
fn each_worker_has_its_own_ready_with_the_handshake_done() {
    let pki = Pki::new();
    let nginx = Nginx::mutual(&pki, "");
    let node = pki.mutual(Setup::new(nginx.address)).workers(2).origin("min_idle_connections = 3").start();
    await_idle(&node, 6);
    assert_eq!(handshakes(&node, "full") + handshakes(&node, "resumed"), 6);
    assert_eq!(total(&node, "weir_upstream_connections_warmed_total"), 6);
    assert_eq!(node.get("/").status(), 200);
    assert_eq!(total(&node, "weir_upstream_connections_reused_total"), 1, "the request found one");
    // A reload that doesn't change the origin leaves them alone.
    assert_eq!(node.admin_request("POST", "/v1/reload", "").status(), 200);
    assert_eq!(node.get("/").status(), 200);
    let idle = node.metric("weir_upstream_connections", &[("origin", "app"), ("state", "idle")]);
    assert!((6..=8).contains(&idle), "{idle}");
    // And one that wants none ready opens none.
    let text = node.setup.text().replace("min_idle_connections = 3", "");
    node.setup.write("weir.toml", text);
    assert_eq!(node.admin_request("POST", "/v1/reload", "").status(), 200);
    assert_eq!(node.get("/").status(), 200);
}

#[test]
fn those_that_close_are_opened_again_and_resume_their_session() {
    let pki = Pki::new();
    let nginx = Nginx::mutual(&pki, "keepalive_requests 1;");
    let node = pki.mutual(Setup::new(nginx.address)).origin("min_idle_connections = 2").start();
    await_idle(&node, 2);
    for _ in 0..5 {
        assert_eq!(node.get("/").status(), 200);
        await_idle(&node, 2);
    }
    assert_eq!(total(&node, "weir_upstream_connections_reused_total"), 5);
    assert_eq!(total(&node, "weir_upstream_connections_warmed_total"), 7);
    assert!(handshakes(&node, "resumed") >= 1);
}

/// How often the node has said that it will try again later.
fn failures(node: &Node) -> u64 {
    let said = "a connection that was to be kept ready failed; the next is tried after a while";
    node.log().iter().filter(|line| line["message"] == said).count() as u64
}

#[test]
fn an_origin_that_is_gone_is_tried_after_growing_pauses_until_it_is_back() {
    // An address that is taken, and at which nobody listens yet.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let node = Setup::new(address).origin("min_idle_connections = 2").start();
    for seconds in [1.0, 2.0] {
        node.await_log("the failure", |line| {
            line["seconds"] == seconds
                && line["reason"] == "connect_refused"
                && line["address"] == address.to_string()
        });
    }
    let opened = total(&node, "weir_upstream_connections_opened_total");
    let attempts = failures(&node) + 1;
    assert!((2..=2 * attempts).contains(&opened), "{opened} in {attempts} attempts");
    // The kernel takes connections for whoever listens.
    socket.listen(16).unwrap();
    await_idle(&node, 2);
}

#[test]
fn an_origin_that_closes_what_is_unused_is_not_hammered() {
    let origin = Origin::scripted(|_| ());
    let node = Setup::new(origin.address).origin("min_idle_connections = 4").start();
    node.await_log("the second pause", |line| {
        line["seconds"] == 2.0 && line["reason"] == "reset" && line["address"] == origin.address.to_string()
    });
    // Some are under way together, no more.
    let opened = origin.connections() as u64;
    let attempts = failures(&node) + 1;
    assert!((2..=4 * attempts).contains(&opened), "{opened} in {attempts} attempts");
}

#[test]
fn a_request_on_one_that_the_origin_had_given_up_is_tried_again() {
    let origin = Origin::scripted(|peer| {
        // The first one is dropped with its first request, as if that had crossed the origin's close.
        let first = peer.number == 0;
        while let Some(request) = peer.request() {
            if first {
                return;
            }
            peer.send(ok(request.target().as_bytes()));
        }
    });
    let node = Setup::new(origin.address).origin("min_idle_connections = 1").start();
    await_idle(&node, 1);
    assert_eq!(node.get("/page").text(), "/page");
    assert_eq!(total(&node, "weir_upstream_retries_total"), 1);
    eventually("another one to be ready", || (origin.connections() >= 3).then_some(()));
}

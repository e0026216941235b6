//! slowhttptest against the node: slow headers, slow bodies, slow readers end, and others are served in the meantime.

use std::process::{Child, Command, Stdio};

use crate::support::client::{Client, get};
use crate::support::node::Node;
use crate::support::origin::{Origin, ok};
use crate::support::setup::Setup;
use crate::support::{eventually, pattern};

/// Slow connections of one attack.
const CONNECTIONS: u64 = 100;
/// Where the attacks go; the answer is larger than what sockets and the node take in.
const LARGE: &str = "/large";

fn node(limits: &str) -> (Node, Origin) {
    let large = pattern(8 * 1024 * 1024);
    let origin = Origin::answering(move |request| match request.target() {
        LARGE => ok(&large),
        target => ok(target.as_bytes()),
    });
    let node = Setup::new(origin.address)
        .limits(&format!(
            "parked_bytes = \"64KiB\"\nhead_bytes = \"16KiB\"\ntarget_bytes = \"8KiB\"\n{limits}"
        ))
        .origin("connections = 8\nstalled_connections = 100\nqueue = 200\nqueue_timeout = \"1h\"")
        .start();
    (node, origin)
}

/// Starts the tool. It ends by itself when all of its connections are gone.
fn attack(node: &Node, arguments: &[&str]) -> Child {
    Command::new("slowhttptest")
        .args(arguments)
        .args(["-c", "100", "-r", "100", "-i", "1", "-l", "120", "-p", "120"])
        .arg("-u")
        .arg(format!("http://{}{LARGE}", node.address))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("these tests need slowhttptest: apt-get install slowhttptest")
}

/// Others are served until the attack is over, and it ends because the node has closed its connections.
fn outlives(node: &Node, attack: Child, limit: &str) {
    let mut attack = attack;
    let mut other = Client::connect(node.address, std::net::Ipv4Addr::new(127, 0, 0, 2));
    eventually("the end of the attack", || {
        if other.get("/other").field("connection") == Some("close") {
            other = node.connect();
        }
        (node.metric("weir_limit_hits_total", &[("limit", limit)]) >= CONNECTIONS).then_some(())
    });
    drop(other);
    eventually("the tool to end", || attack.try_wait().unwrap());
    let report = String::from_utf8_lossy(&attack.wait_with_output().unwrap().stdout).into_owned();
    assert!(report.contains("No open connections left"), "{report}");
    node.await_metric("weir_connections", &[], 0);
    assert_eq!(node.get("/after").status(), 200);
}

#[test]
fn slow_headers_end_in_408() {
    let (node, _origin) = node("head_timeout = \"500ms\"");
    let attack = attack(&node, &["-H"]);
    outlives(&node, attack, "head_timeout");
    // Those whose first byte is late are closed without it.
    assert!(node.metric("weir_protocol_errors_total", &[("status", "408")]) > 0);
}

#[test]
fn slow_bodies_end_in_408() {
    let (node, _origin) = node("body_timeout = \"500ms\"");
    let attack = attack(&node, &["-B", "-s", "100000"]);
    outlives(&node, attack, "body_timeout");
}

#[test]
fn bodies_that_drip_end_in_408() {
    let (node, _origin) = node("body_rate_min_bytes = \"1KiB\"\nbody_rate_grace = \"500ms\"");
    let attack = attack(&node, &["-B", "-s", "100000"]);
    outlives(&node, attack, "body_rate_min_bytes");
}

#[test]
fn slow_readers_are_cut_off() {
    let (node, _origin) = node("send_timeout = \"500ms\"");
    let attack = attack(&node, &["-X", "-w", "512", "-y", "1024", "-n", "1", "-z", "1024"]);
    outlives(&node, attack, "send_timeout");
}

#[test]
fn slow_readers_keep_nobody_waiting_and_the_slowest_of_too_many_is_cut_off() {
    // So much that sockets and the worker's receive buffers can't take it whole.
    const PIECES: usize = 24;
    let piece = pattern(1024 * 1024);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", PIECES * piece.len());
    let origin = Origin::scripted(move |peer| {
        while let Some(request) = peer.request() {
            if request.target() == LARGE {
                peer.send(&head);
                (0..PIECES).for_each(|_| peer.send(&piece));
            } else {
                peer.send(ok(request.target().as_bytes()));
            }
        }
    });
    let node = Setup::new(origin.address)
        .limits("send_timeout = \"1h\"")
        .origin("connections = 2\nstalled_connections = 6\nqueue_timeout = \"1h\"")
        .start();
    let mut readers = Vec::new();
    for number in 1..=10 {
        let mut reader = Client::connect_with_small_window(node.address);
        reader.send(get(LARGE));
        readers.push(reader);
        assert_eq!(node.get("/other").text(), "/other", "beside {number} slow readers");
    }
    // Six may wait for their clients.
    node.await_metric("weir_limit_hits_total", &[("limit", "origin_stalled")], 4);
    let whole = readers.into_iter().filter_map(|mut reader| {
        let head = reader.head();
        reader.body(head).ok()
    });
    assert_eq!(whole.count(), 6);
    node.await_metric("weir_connections", &[], 0);
}

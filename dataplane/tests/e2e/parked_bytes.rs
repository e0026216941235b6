//! What the node keeps for a side that takes nothing, as the kernel's tables tell: what one side has sent, without what
//! waits in the sockets and what the other side has read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::client::{Client, get};
use crate::support::eventually;
use crate::support::origin::{Gate, Origin};
use crate::support::setup::Setup;

const KIB: u64 = 1024;
/// The default of `parked_bytes`.
const PARKED_BYTES: u64 = 256 * KIB;
/// Two receive buffers: what can be on its way to a worker when it stops reading.
const UNDER_WAY_BYTES: u64 = 136 * KIB;
/// What waits on a client's connection before it isn't read any more.
const UNREAD_BYTES: u64 = 64 * KIB;
/// One write of those who count what they have sent; small, because a part of it may have been taken already.
const PIECE_BYTES: u64 = 4 * KIB;
/// Heads, which the node writes anew.
const HEAD_BYTES: u64 = KIB;
/// More than sockets and the node take in.
const LARGE_BYTES: u64 = 128 * 1024 * KIB;

/// Bytes that the kernel holds of one direction between two ports of the loopback: not yet acknowledged, and not yet read.
fn held_by_kernel(from: Option<u16>, to: Option<u16>) -> u64 {
    const ESTABLISHED: &str = "01";
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    let held = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, remote) = (port(fields.get(1)?)?, port(fields.get(2)?)?);
        let (unsent, unread) = fields.get(4)?.split_once(':')?;
        let is = |wanted: Option<u16>, port| wanted.is_none_or(|wanted| wanted == port);
        let queue = match () {
            _ if fields.get(3) != Some(&ESTABLISHED) => return None,
            _ if is(from, local) && is(to, remote) => unsent,
            _ if is(to, local) && is(from, remote) => unread,
            _ => return None,
        };
        u64::from_str_radix(queue, 16).ok()
    });
    held.sum()
}

/// What the node keeps once nothing moves any more, and it keeps at least so much. `measure` gives what was sent, and what is elsewhere: in this order,
/// so that what is under way in between makes the difference smaller and not larger.
fn kept_at_rest(least: u64, measure: impl Fn() -> (u64, u64)) -> u64 {
    let mut last = (0, 0);
    let mut same = 0;
    eventually("nothing to move any more", || {
        let now = measure();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        let kept = now.0.saturating_sub(now.1);
        (same >= 20 && kept >= least).then_some(kept)
    })
}

#[test]
fn a_large_answer_that_nobody_reads_is_kept_up_to_a_limit() {
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let origin = Origin::scripted(move |peer| {
        while let Some(request) = peer.request() {
            // The first one is read, so that the kernel makes room for more on this connection.
            let length = if request.target() == "/first" { 32 * 1024 * KIB } else { LARGE_BYTES };
            let is_counted = request.target() != "/first";
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
            let piece = vec![b'x'; PIECE_BYTES as usize];
            for _ in 0..length / PIECE_BYTES {
                peer.send(&piece);
                if is_counted {
                    counter.fetch_add(PIECE_BYTES, Ordering::SeqCst);
                }
            }
        }
    });
    let node = Setup::new(origin.address).limits("send_timeout = \"1h\"").start();
    assert_eq!(node.get("/first").body.len() as u64, 32 * 1024 * KIB);
    let mut reader = Client::connect_with_small_window(node.address);
    reader.send(get("/second"));
    let client_port = port_of(&reader);
    // Half of it has to go before the origin is read again.
    let kept = kept_at_rest(PARKED_BYTES / 2 - PIECE_BYTES, || {
        let sent = sent.load(Ordering::SeqCst);
        let from_origin = held_by_kernel(Some(origin.address.port()), None);
        (sent, from_origin + held_by_kernel(Some(node.address.port()), Some(client_port)))
    });
    println!("{kept} bytes of an answer are kept");
    assert_eq!(origin.connections(), 1);
    eventually("the limit to be counted", || {
        (node.metric("weir_limit_hits_total", &[("limit", "parked_bytes")]) > 0).then_some(())
    });
    assert!(kept <= PARKED_BYTES + UNDER_WAY_BYTES + PIECE_BYTES + HEAD_BYTES, "{kept} bytes are kept");
}

#[test]
fn a_large_body_that_the_origin_does_not_read_is_kept_up_to_a_limit() {
    let gate = Gate::closed();
    let read = gate.clone();
    let origin = Origin::scripted(move |peer| {
        let _ = peer.head();
        read.pass();
    });
    let node = Setup::new(origin.address)
        .mode("off")
        .limits("body_timeout = \"1h\"\nbody_rate_min_bytes = 0")
        .origin("idle_timeout = \"1h\"")
        .start();
    let client = node.connect();
    let client_port = port_of(&client);
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    std::thread::spawn(move || {
        let mut client = client;
        client.stream.set_write_timeout(None).unwrap();
        client.send(format!(
            "POST /upload HTTP/1.1\r\nHost: site.example\r\nContent-Length: {LARGE_BYTES}\r\n\r\n"
        ));
        let piece = vec![b'x'; PIECE_BYTES as usize];
        for _ in 0..LARGE_BYTES / PIECE_BYTES {
            client.send(&piece);
            counter.fetch_add(PIECE_BYTES, Ordering::SeqCst);
        }
    });
    eventually("a part of the body", || (!origin.raw().is_empty()).then_some(()));
    let kept = kept_at_rest(PARKED_BYTES - PIECE_BYTES - HEAD_BYTES, || {
        let sent = sent.load(Ordering::SeqCst);
        let from_client = held_by_kernel(Some(client_port), Some(node.address.port()));
        let to_origin = held_by_kernel(None, Some(origin.address.port()));
        (sent, from_client + to_origin + origin.raw().len() as u64)
    });
    println!("{kept} bytes of a body are kept");
    let most = PARKED_BYTES + UNREAD_BYTES + UNDER_WAY_BYTES;
    assert!(kept <= most + PIECE_BYTES + HEAD_BYTES, "{kept} bytes are kept");
    gate.open();
}

fn port_of(client: &Client) -> u16 {
    client.stream.local_addr().as_ref().map(SocketAddr::port).unwrap()
}

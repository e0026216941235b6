//! What connections and requests cost, in bytes and system calls: counts, not times.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::support::client::{Client, get};
use crate::support::eventually;
use crate::support::origin::{Origin, Peer, ok};
use crate::support::setup::Setup;

/// Connections that idle at once. The test and the node are two processes, so each needs as many descriptors.
const IDLE_CONNECTIONS: usize = 10_000;
/// User-space memory that one may take.
const IDLE_CONNECTION_BYTES_MAX: usize = 1024;

/// Memory that a process has written to and shares with nobody, in bytes. Clean pages are those of the binary, and whether they
/// are shared depends on what else runs.
fn private_bytes(process: u32) -> usize {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Private_Dirty:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// As many descriptors as there may be.
fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    maximum.unwrap_or(u64::MAX)
}

#[test]
fn ten_thousand_idle_connections_take_at_most_a_kibibyte_each() {
    let descriptors = raise_descriptor_limit();
    // Where an operator of the machine allows fewer, fewer are tried.
    let room = usize::try_from(descriptors.saturating_sub(2000)).unwrap_or(usize::MAX);
    let count = IDLE_CONNECTIONS.min(room);
    let large = vec![b'x'; 64 << 20];
    let origin = Origin::answering(move |request| match request.target() {
        "/large" => ok(&large),
        _ => ok(b"small"),
    });
    let node = Setup::new(origin.address).limits("keep_alive_timeout = \"1h\"").start();
    // What is made or touched once is so before it is measured: above all every receive buffer.
    assert_eq!(node.get("/large").status(), 200);
    let served = |last: u8| {
        let mut client = Client::connect(node.address, Ipv4Addr::new(127, 0, 0, last));
        assert_eq!(client.get("/").status(), 200);
        client
    };
    let warm: Vec<Client> = (0..200).map(|_| served(1)).collect();
    drop(warm);
    node.await_metric("weir_connections", &[], 0);
    let before = private_bytes(node.id());
    let clients: Vec<Client> = (0..count).map(|number| served(1 + (number % 4) as u8)).collect();
    node.await_metric("weir_connections", &[], count as u64);
    let each = private_bytes(node.id()).saturating_sub(before) / count;
    println!("{each} bytes for each of {count} idle connections");
    assert!(each <= IDLE_CONNECTION_BYTES_MAX, "{each} bytes for each of {count} idle connections");
    drop(clients);
}

const BUSY_CONNECTIONS: u64 = 64;
const ROUNDS: u64 = 6;

/// An origin that takes requests until as many are there as a round has, and answers them when it is told to.
#[derive(Default)]
struct Rounds {
    taken: AtomicU64,
    answered: AtomicU64,
    opened: Mutex<u64>,
    opens: Condvar,
}

impl Rounds {
    fn serve(&self, peer: &mut Peer) {
        for round in 1.. {
            if peer.request().is_none() {
                return;
            }
            self.taken.fetch_add(1, Ordering::SeqCst);
            drop(self.opens.wait_while(self.opened.lock().unwrap(), |opened| *opened < round).unwrap());
            peer.send(ok(b"small"));
            self.answered.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn open(&self, round: u64) {
        *self.opened.lock().unwrap() = round;
        self.opens.notify_all();
    }
}

/// A worker that has much to do finds much at once. So that this doesn't hang on how quick the machine and its other
/// processes are, the node is stopped while its peers are made to have it all ready.
#[test]
fn busy_connections_share_their_ring_enters() {
    let rounds = Arc::new(Rounds::default());
    let serving = Arc::clone(&rounds);
    let origin = Origin::scripted(move |peer| serving.serve(peer));
    let node = Setup::new(origin.address).limits("keep_alive_requests = 0").start();
    let mut clients: Vec<Client> = (0..BUSY_CONNECTIONS).map(|_| node.connect()).collect();
    // Timers that are due in a round that takes long cost enters of their own: the round that was least disturbed counts.
    let mut fewest = u64::MAX;
    for round in 0..=ROUNDS {
        let all = (round + 1) * BUSY_CONNECTIONS;
        let before = node.metric("weir_ring_enters_total", &[]);
        node.signal("STOP");
        for client in &mut clients {
            client.send(get("/"));
        }
        node.signal("CONT");
        eventually("requests", || (rounds.taken.load(Ordering::SeqCst) == all).then_some(()));
        node.signal("STOP");
        rounds.open(round + 1);
        eventually("answers", || (rounds.answered.load(Ordering::SeqCst) == all).then_some(()));
        node.signal("CONT");
        for client in &mut clients {
            assert_eq!(client.answer().status(), 200);
        }
        // In the first round connections are made on the way.
        if round > 0 {
            fewest = fewest.min(node.metric("weir_ring_enters_total", &[]) - before);
        }
    }
    println!("{fewest} enters for {BUSY_CONNECTIONS} requests");
    assert!(fewest * 2 < BUSY_CONNECTIONS, "{fewest} enters for {BUSY_CONNECTIONS} requests");
}

/// Requests of all connections together, unless `WEIR_BUSY_REQUESTS` says more.
const BUSY_REQUESTS: u64 = 20_000;

/// The same with connections that nobody times: each sends its next request when it has its answer. The node is a
/// development build, so that it is the slowest of the three; what waits for it meanwhile is what one enter finds.
#[test]
fn busy_connections_share_their_ring_enters_when_nobody_times_them() {
    let requests = std::env::var("WEIR_BUSY_REQUESTS").map_or(BUSY_REQUESTS, |count| count.parse().unwrap());
    let each = requests.div_ceil(BUSY_CONNECTIONS);
    let origin = Origin::answering(|_| ok(b"small"));
    let node = Setup::new(origin.address).limits("keep_alive_requests = 0").start();
    let mut clients: Vec<Client> = (0..BUSY_CONNECTIONS).map(|_| node.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status(), 200);
    }
    let before = node.metric("weir_ring_enters_total", &[]);
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(move || {
                for _ in 0..each {
                    assert_eq!(client.get("/").status(), 200);
                }
            });
        }
    });
    let enters = node.metric("weir_ring_enters_total", &[]) - before;
    let requests = each * BUSY_CONNECTIONS;
    println!("{enters} enters for {requests} requests: {:.2} each", enters as f64 / requests as f64);
    assert!(enters * 2 < requests, "{enters} enters for {requests} requests");
}

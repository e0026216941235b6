//! TLS on both sides: handshakes that a stop or a time-out meets, and failures behind whole messages.

use std::time::Duration;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;

use super::setup::{MAIN, front};
use super::world::{Command, Weather, World};
use crate::io::sim::{SimNetwork, SimPeer};
use crate::telemetry::Family;
use crate::tls::{ClientEngine, Engine, OriginTls, Role, ServerEngine, Trust};

const SECURE: &str = r#"
[[listener]]
name = "secure"
address = "10.0.0.1:443"
[[listener.tls.certificates]]
certificate = "site.pem"
private_key = "site.key"

[[server]]
name = "sealed"
hosts = ["sealed.test"]
default = true
mode = "block"
origin = "sealed"

[[origin]]
name = "sealed"
addresses = ["10.0.0.9:9000"]
[origin.tls]
server_name = "app.internal"
verify = false
"#;

/// What the worker answers by itself.
const BLOCKED: &[u8] =
    b"GET /?q=1%27+union+select+password+from+users-- HTTP/1.1\r\nHost: sealed.test\r\n\r\n";
const CLEAN: &[u8] = b"GET / HTTP/1.1\r\nHost: sealed.test\r\n\r\n";

const MOMENT: Duration = Duration::from_millis(50);

/// One end of a TLS connection.
struct Secured<R> {
    peer: SimPeer,
    engine: Engine<R>,
    plain: Vec<u8>,
}

impl<R: Role> Secured<R> {
    /// Takes what came in, and answers what TLS has to say to it.
    fn exchange(&mut self, network: &SimNetwork) {
        let mut received = network.received(self.peer);
        let mut out = Vec::new();
        self.engine.ingest(&mut received, &mut self.plain, &mut out).unwrap();
        network.send(self.peer, &out);
    }

    fn sealed(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.engine.seal(&[text], &mut out).unwrap();
        out
    }
}

impl Secured<UnbufferedClientConnection> {
    fn connects(network: &SimNetwork) -> Self {
        let tls = OriginTls::build("app.internal", &Trust::Insecure, None).unwrap();
        let engine = ClientEngine::new(&tls.for_worker(), tls.server_name.clone()).unwrap();
        let peer = network.connect_client(front(), "192.0.2.1:40000".parse().unwrap());
        Self { peer, engine, plain: Vec::new() }
    }

    fn says_hello(&mut self, network: &SimNetwork) {
        let mut out = Vec::new();
        self.engine.start(&mut out).unwrap();
        network.send(self.peer, &out);
    }
}

fn world() -> World {
    assert!(!MAIN.contains("10.0.0.9"), "no origin of others");
    World::new(&Weather { config: SECURE, ..Weather::calm(1) })
}

#[test]
fn a_stop_lets_handshakes_finish() {
    let mut world = world();
    world.at(MOMENT, Command::Drain);
    let mut client = Secured::connects(&world.network);
    world.pass(2 * MOMENT);
    client.says_hello(&world.network);
    world.pass(MOMENT);
    client.exchange(&world.network);
    let request = client.sealed(BLOCKED);
    world.network.send(client.peer, &request);
    world.pass(MOMENT);
    client.exchange(&world.network);
    assert!(client.plain.starts_with(b"HTTP/1.1 403 "), "{}", String::from_utf8_lossy(&client.plain));
}

#[test]
fn a_handshake_does_not_put_off_the_first_head() {
    let mut world = world();
    let mut client = Secured::connects(&world.network);
    world.pass(Duration::from_secs(5));
    client.says_hello(&world.network);
    world.pass(MOMENT);
    client.exchange(&world.network);
    assert!(!client.engine.is_handshaking() && world.network.state(client.peer).end.is_none());
    world.pass(Duration::from_secs(20));
    assert!(world.network.state(client.peer).end.is_some(), "head_timeout is ten seconds");
    assert_eq!(world.limit_hits("head_timeout"), 1);
}

#[test]
fn a_whole_answer_counts_whatever_comes_behind_it() {
    let mut world = world();
    let address = "10.0.0.9:9000".parse().unwrap();
    world.network.listen_origin(address);
    let mut client = Secured::connects(&world.network);
    client.says_hello(&world.network);
    world.pass(MOMENT);
    client.exchange(&world.network);
    let request = client.sealed(CLEAN);
    world.network.send(client.peer, &request);
    world.pass(MOMENT);
    let settings = world.worker.current.snapshot.listeners[0].tls.clone().unwrap();
    let mut origin: Secured<UnbufferedServerConnection> = Secured {
        peer: world.network.accept_origin(address).unwrap(),
        engine: ServerEngine::accept(&settings.config).unwrap(),
        plain: Vec::new(),
    };
    for _ in 0..4 {
        origin.exchange(&world.network);
        world.pass(MOMENT);
    }
    assert!(origin.plain.ends_with(b"\r\n\r\n"), "{}", String::from_utf8_lossy(&origin.plain));
    let mut answer = origin.sealed(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine");
    // A record that nobody sealed.
    answer.extend_from_slice(b"\x17\x03\x03\x00\x20");
    answer.extend_from_slice(&[0; 32]);
    world.network.send(origin.peer, &answer);
    world.pass(MOMENT);
    client.exchange(&world.network);
    let answer = String::from_utf8_lossy(&client.plain);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nfine"), "{answer}");
    assert_eq!(world.total(Family::UpstreamHandshakes), 1, "a later failure is none of the handshake");
}

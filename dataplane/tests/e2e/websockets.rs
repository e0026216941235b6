//! WebSockets between the `websockets` package of Python as client and as server, over TCP and over mTLS to the origin.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::support::message::End;
use crate::support::node::Node;
use crate::support::origin::{Origin, ok};
use crate::support::pki::Pki;
use crate::support::setup::Setup;

/// Says what it hears; on `count N` says N messages, on `bye` closes. Arguments: certificate, key and the clients' CA
/// for mTLS.
const SERVER: &str = r#"
import asyncio, ssl, sys, websockets

async def talk(socket, path):
    await socket.send("path " + path)
    async for message in socket:
        if message == "bye":
            await socket.close(4000, "bye then")
        elif isinstance(message, str) and message.startswith("count "):
            for number in range(int(message[6:])):
                await socket.send(str(number))
        else:
            await socket.send(message)

async def main():
    context = None
    if len(sys.argv) > 1:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        context.load_verify_locations(sys.argv[3])
        context.verify_mode = ssl.CERT_REQUIRED
    async with websockets.serve(talk, "127.0.0.1", 0, ssl=context, subprotocols=["chat"], max_size=None) as server:
        print("listening", server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()

asyncio.run(main())
"#;

/// Runs the steps in `talk`, with `connect` given; ends with 0 if all went well.
const CLIENT: &str = r#"
import asyncio, sys, websockets

def connect(path, **more):
    return websockets.connect("ws://" + sys.argv[1] + path, max_size=None, **more)

async def main():
    TALK

asyncio.run(main())
"#;

/// The system's Python, which Debian's packages belong to, wherever another one stands first in the path.
fn python() -> Command {
    let of_system = Path::new("/usr/bin/python3");
    Command::new(if of_system.exists() { of_system } else { Path::new("python3") })
}

struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(setup: &Setup, arguments: &[&str]) -> Self {
        let script = setup.write("server.py", SERVER);
        let mut process = python()
            .arg(script)
            .args(arguments)
            .current_dir(setup.folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("these tests need python3 with websockets: apt-get install python3-websockets");
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("listening ").and_then(|port| port.parse().ok());
        let port: u16 = port.expect("the WebSocket server did not start; is python3-websockets there?");
        Self { process, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a client; `talk` is the body of a coroutine.
fn client(node: &Node, talk: &str) -> Output {
    let lines: Vec<&str> = talk.trim().lines().collect();
    let script = CLIENT.replace("TALK", &lines.join("\n    "));
    let mut process = python()
        .args(["-", &node.address.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    process.wait_with_output().unwrap()
}

#[track_caller]
fn talks(node: &Node, talk: &str) {
    let output = client(node, talk);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An address nobody listens on; the config wants one before the server is there.
fn setup() -> Setup {
    Setup::new(SocketAddr::from(([127, 0, 0, 1], 9)))
}

/// A node before a server that talks in the clear.
fn plain(change: impl Fn(Setup) -> Setup) -> (Node, Server) {
    let server = Server::start(&setup(), &[]);
    (change(Setup::new(server.address)).start(), server)
}

const EVERYTHING: &str = r#"
async with connect("/room?id=7", subprotocols=["chat"]) as one, connect("/other") as two:
    assert one.subprotocol == "chat" and two.subprotocol is None
    assert await one.recv() == "path /room?id=7"
    assert await two.recv() == "path /other"
    for length in (0, 1, 125, 126, 65535, 65536, 3000000):
        for message in ("x" * length, b"\x00\xff" * length):
            await one.send(message)
            assert await one.recv() == message
    await two.send("count 20000")
    await one.ping()
    for number in range(20000):
        assert await two.recv() == str(number)
    await one.send("bye")
    await one.wait_closed()
    assert (one.close_code, one.close_reason) == (4000, "bye then")
assert two.close_code == 1000
"#;

#[test]
fn messages_of_all_sizes_pass_both_ways() {
    let (node, _server) = plain(|setup| setup.mode("block"));
    talks(&node, EVERYTHING);
    node.await_metric("weir_upstream_connections", &[("state", "tunnel")], 0);
    node.await_metric("weir_connections", &[], 0);
    assert_eq!(node.metric("weir_requests_total", &[("verdict", "pass")]), 2);
}

#[test]
fn the_same_over_mutual_tls_to_the_origin() {
    let pki = Pki::new();
    let setup = setup();
    Pki::write_pair(setup.folder.path(), "origin", &pki.origin_pair());
    setup.write("clients-ca.pem", pki.clients.certificate_pem());
    let server = Server::start(&setup, &["origin.pem", "origin.key", "clients-ca.pem"]);
    let node = pki.mutual(Setup::new(server.address)).start();
    talks(&node, EVERYTHING);
}

#[test]
fn a_handshake_is_inspected_like_any_request() {
    let (node, _server) = plain(|setup| setup.mode("block"));
    talks(
        &node,
        r#"
try:
    await connect("/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--")
    raise SystemExit("it was let in")
except websockets.InvalidStatusCode as error:
    assert error.status_code == 403, error.status_code
"#,
    );
    let events = node.await_events(1);
    assert_eq!((&events[0]["attack_class"], &events[0]["action"]), (&"sqli".into(), &"blocked".into()));
}

#[test]
fn where_they_are_off_and_beyond_the_cap_there_are_none() {
    let refused = |status: u16| {
        format!(
            "async with connect('/') as first:\n    try:\n        await connect('/no')\n        raise \
             SystemExit('it was let in')\n    except websockets.InvalidStatusCode as error:\n        assert \
             error.status_code == {status}, error.status_code\n"
        )
    };
    let (node, _server) = plain(|setup| setup.node("max_tunnels = 1"));
    talks(&node, &refused(503));
    assert_eq!(node.metric("weir_limit_hits_total", &[("limit", "max_tunnels")]), 1);
    let (node, _server) =
        plain(|setup| setup.server("[[server.location]]\npath = \"/no\"\nwebsocket = \"off\""));
    // What the server makes of a request that isn't a handshake.
    talks(&node, &refused(426));
}

#[test]
fn silence_ends_it_after_tunnel_timeout() {
    let (node, _server) = plain(|setup| setup.limits("tunnel_timeout = \"300ms\""));
    talks(
        &node,
        r#"
async with connect("/", ping_interval=None) as socket:
    try:
        # Where the server is late, its greeting doesn't come either.
        while await asyncio.wait_for(socket.recv(), 60) == "path /":
            pass
        raise SystemExit("something came")
    except websockets.ConnectionClosedError as error:
        assert socket.close_code == 1006, socket.close_code
"#,
    );
    assert_eq!(node.metric("weir_limit_hits_total", &[("limit", "tunnel_timeout")]), 1);
}

#[test]
fn a_drain_gives_them_drain_timeout() {
    let (mut node, _server) = plain(|setup| setup.node("drain_timeout = \"300ms\""));
    let mut socket = node.connect();
    socket.send(
        "GET / HTTP/1.1\r\nHost: site.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    let head = socket.head();
    assert_eq!((head.status(), head.field("upgrade")), (101, Some("websocket")));
    assert_eq!(head.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(head.has("x-request-id"));
    node.await_metric("weir_upstream_connections", &[("state", "tunnel")], 1);
    // The greeting of the server: an unmasked text frame.
    socket.await_bytes(8);
    node.signal("TERM");
    assert!(socket.rest().bytes.starts_with(b"\x81\x06path /"));
    assert!(node.await_exit().success());
}

#[test]
fn an_origin_that_only_pretends_to_switch_gets_no_tunnel() {
    for lie in [
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    ] {
        let origin =
            Origin::answering(
                move |request| {
                    if request.has("upgrade") { lie.as_bytes().to_vec() } else { ok(b"fine") }
                },
            );
        let node = Setup::new(origin.address).start();
        let mut client = node.connect();
        let answer = client.ask(
            "GET / HTTP/1.1\r\nHost: site.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
        assert_eq!(answer.status(), 502);
        // The connection still speaks HTTP, and another upgrade is none.
        let plain = "GET / HTTP/1.1\r\nHost: site.example\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n";
        assert_eq!(client.ask(plain).status(), 200);
        assert_eq!(origin.await_end(0), End::Closed);
    }
}

//! The engine against another TLS library over a socket: `openssl s_server`, which sends back each line reversed.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::link::{ORIGIN, World};
use crate::tls::{ClientEngine, TlsFailure};

struct Server {
    process: Child,
    address: String,
}

impl Server {
    /// Starts a server that demands certificates of the world's authority.
    fn start(world: &World, version: &str) -> Self {
        let pair = world.authority.server(&[ORIGIN], &[]).unwrap();
        world.files.write("server.pem", pair.certificate_pem);
        world.files.write("server.key", pair.private_key_pem);
        world.files.write("clients.pem", world.authority.certificate_pem());
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-rev", version])
            .args(["-cert", "server.pem", "-key", "server.key"])
            .args(["-Verify", "1", "-verify_return_error", "-CAfile", "clients.pem"])
            .current_dir(world.files.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test needs openssl: apt-get install openssl");
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut lines = output.lines().map(Result::unwrap);
        let address = lines.find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned)).unwrap();
        // It must go on writing without a reader blocking it.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Connects, says `line`, and returns the answer and whether a session was resumed.
fn ask(server: &Server, config: &Arc<ClientConfig>, line: &str) -> Result<(String, bool), TlsFailure> {
    let mut socket = TcpStream::connect(&server.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let mut engine = ClientEngine::new(config, ORIGIN.try_into().unwrap()).unwrap();
    let (mut out, mut plain, mut resumed, mut received) = (Vec::new(), Vec::new(), false, [0; 700]);
    engine.start(&mut out).unwrap();
    while !plain.ends_with(b"\n") {
        // A server that refused us has hung up already, and what it said about that is still to be read.
        let _ = socket.write_all(&std::mem::take(&mut out));
        let count = match socket.read(&mut received) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("no answer: {error}"),
        };
        assert!(count > 0, "closed without a word");
        let ingested = engine.ingest(&mut received[..count], &mut plain, &mut out)?;
        if ingested.handshake_finished_now {
            engine.seal(&[line.as_bytes(), b"\n"], &mut out)?;
        }
        resumed = ingested.resumed;
    }
    engine.close_notify(&mut out);
    let _ = socket.write_all(&out);
    Ok((String::from_utf8(plain).unwrap(), resumed))
}

#[test]
fn openssl_accepts_our_identity_and_resumes() {
    let world = World::new();
    let config = world.client(Some(&world.identity("edge"))).for_worker();
    for version in ["-tls1_2", "-tls1_3"] {
        let server = Server::start(&world, version);
        assert_eq!(ask(&server, &config, "abc").unwrap(), ("cba\n".to_owned(), false), "{version}");
        assert_eq!(ask(&server, &config, "def").unwrap(), ("fed\n".to_owned(), true), "{version}");
        let long: String = "ab".repeat(5_000);
        let reversed: String = long.chars().rev().chain(['\n']).collect();
        assert!(ask(&server, &config, &long).unwrap().0 == reversed, "{version}");
    }
}

#[test]
fn openssl_refuses_us_without_an_identity() {
    let world = World::new();
    let config = world.client(None).for_worker();
    for (version, code) in [("-tls1_2", "handshake_refused"), ("-tls1_3", "certificate_refused")] {
        let server = Server::start(&world, version);
        assert_eq!(ask(&server, &config, "abc").unwrap_err().code, code, "{version}");
    }
}

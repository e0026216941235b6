//! What nginx and HAProxy make of the same cases, as reverse proxies before the same origin. Recorded, not checked:
//! another version may answer otherwise, and no test of ours should fail for that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::requests::origin;
use super::table::REQUESTS;
use super::{Finish, converse, table};
use crate::support::eventually;

/// The answers of a recorded run.
pub(super) struct Recorded {
    /// Name and version of each peer.
    pub(super) versions: Vec<String>,
    /// By suite and id: each peer's answers.
    pub(super) answers: BTreeMap<(String, String), Vec<String>>,
}

fn path() -> PathBuf {
    table::folder().join("peers.tsv")
}

/// Reads what was recorded.
pub(super) fn recorded() -> Recorded {
    let text = std::fs::read_to_string(path()).unwrap();
    let mut lines = text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
    let versions = lines.next().expect("a line of titles").split_off(2);
    let answers = lines.map(|mut line| {
        let answers = line.split_off(2);
        let [suite, id] = <[String; 2]>::try_from(line).expect("a suite and an id");
        ((suite, id), answers)
    });
    Recorded { versions, answers: answers.collect() }
}

/// A proxy that runs until this is dropped.
struct Peer {
    process: Child,
    _folder: tempfile::TempDir,
    version: String,
    address: SocketAddr,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn first_line_of(command: &mut Command) -> String {
    let output =
        command.output().expect("recording needs nginx and haproxy: apt-get install nginx-light haproxy");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}

impl Peer {
    fn nginx(origin: SocketAddr) -> Self {
        let line = first_line_of(Command::new("nginx").arg("-v"));
        let version = format!("nginx {}", line.rsplit('/').next().unwrap_or_default());
        let config = |address: SocketAddr| {
            format!(
                "daemon off; pid nginx.pid; error_log error.log; worker_processes 1;\n\
                 events {{}}\n\
                 http {{\n access_log off; client_body_temp_path body; proxy_temp_path proxy;\n\
                 fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n\
                 upstream origin {{ server {origin}; keepalive 8; }}\n\
                 server {{ listen {address};\n location / {{ proxy_pass http://origin; proxy_http_version 1.1;\n\
                 proxy_set_header Connection \"\"; proxy_set_header Host $http_host; }} }} }}\n"
            )
        };
        Self::start(version, "nginx.conf", config, |folder| {
            let mut command = Command::new("nginx");
            command.args(["-e", "error.log", "-c", "nginx.conf", "-p"]).arg(folder);
            command
        })
    }

    fn haproxy(origin: SocketAddr) -> Self {
        let line = first_line_of(Command::new("haproxy").arg("-v"));
        let number = line.split(' ').nth(2).unwrap_or_default();
        let version = format!("HAProxy {}", number.split('-').next().unwrap_or_default());
        let config = |address: SocketAddr| {
            format!(
                "global\n maxconn 1000\ndefaults\n mode http\n timeout connect 5s\n timeout client 30s\n\
                 timeout server 30s\n timeout http-request 30s\nfrontend front\n bind {address}\n\
                 default_backend back\nbackend back\n server origin {origin}\n"
            )
        };
        Self::start(version, "haproxy.cfg", config, |folder| {
            let mut command = Command::new("haproxy");
            command.arg("-db").arg("-f").arg(folder.join("haproxy.cfg"));
            command
        })
    }

    fn start(
        version: String,
        file: &str,
        config: impl Fn(SocketAddr) -> String,
        command: impl Fn(&std::path::Path) -> Command,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("weir-peer-").tempdir().unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        std::fs::write(folder.path().join(file), config(address)).unwrap();
        let process = command(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually("the peer to listen", || TcpStream::connect(address).ok().map(drop));
        Self { process, _folder: folder, version, address }
    }

    /// The statuses that a client gets.
    fn answers(&self, parts: &[Vec<u8>]) -> String {
        let heard = converse(self.address, parts, Finish::WhenQuiet);
        let all: Vec<String> = super::statuses(&heard).iter().map(u16::to_string).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    }
}

/// Runs all cases of requests against both peers and writes `peers.tsv`.
#[test]
#[ignore = "records; needs nginx and haproxy: cargo test -p weir --test e2e record_the_answers -- --ignored"]
fn record_the_answers_of_nginx_and_haproxy() {
    let origin = origin();
    let peers = [Peer::nginx(origin.address), Peer::haproxy(origin.address)];
    let cases: Vec<(&str, table::Case)> = REQUESTS
        .iter()
        .flat_map(|(suite, _)| table::read(suite).into_iter().map(move |case| (*suite, case)))
        .collect();
    // The time goes by with waiting for silence, so many cases run at once.
    let share = cases.len().div_ceil(32);
    let mut lines: Vec<(usize, String)> = std::thread::scope(|scope| {
        let shares = cases.chunks(share).enumerate().map(|(number, chunk)| {
            let peers = &peers;
            scope.spawn(move || {
                let line = |(at, (suite, case)): (usize, &(&str, table::Case))| {
                    let answers: Vec<String> = peers.iter().map(|peer| peer.answers(&case.parts)).collect();
                    (number * share + at, format!("{suite}\t{}\t{}\n", case.id, answers.join("\t")))
                };
                chunk.iter().enumerate().map(line).collect::<Vec<_>>()
            })
        });
        shares.collect::<Vec<_>>().into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    lines.sort();
    let mut text = "suite\tid".to_owned();
    for peer in &peers {
        write!(text, "\t{}", peer.version).unwrap();
    }
    text.push('\n');
    text.extend(lines.into_iter().map(|(_, line)| line));
    std::fs::write(path(), text).unwrap();
}

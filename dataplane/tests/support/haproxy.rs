//! HAProxy, in front of the node or behind it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::pki::Pki;

/// A running HAProxy. It is killed when dropped.
pub(crate) struct Haproxy {
    process: Child,
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Haproxy {
    /// Passes TCP connections on to `to`; `option` belongs to that server.
    pub(crate) fn before(to: SocketAddr, option: &str) -> Self {
        Self::start(&format!(" mode tcp\n bind fd@0\n server node {to} {option}\n"), |_| {})
    }

    /// An origin under TLS that takes connections with a PROXY header only, and answers with whose they are: source and
    /// destination.
    pub(crate) fn told_under_tls(pki: &Pki) -> Self {
        let answer = "http-request return status 200 content-type text/plain \
                      lf-string \"%[src]:%[src_port] %[dst]:%[dst_port]\"";
        Self::start(
            &format!(" mode http\n bind fd@0 accept-proxy ssl crt origin.both\n {answer}\n"),
            |folder| {
                let pair = pki.origin_pair();
                let both = format!("{}{}", pair.certificate_pem, pair.private_key_pem);
                std::fs::write(folder.join("origin.both"), both).unwrap();
            },
        )
    }

    /// It is given its listening socket as descriptor 0: it can't tell which free port it has, and clients may come at once.
    fn start(section: &str, prepare: impl Fn(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let text = format!(
            "defaults\n timeout connect 100s\n timeout client 100s\n timeout server 100s\nlisten front\n{section}"
        );
        std::fs::write(folder.path().join("haproxy.cfg"), text).unwrap();
        let process = Command::new("haproxy")
            .args(["-db", "-f", "haproxy.cfg"])
            .current_dir(folder.path())
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("these tests need haproxy: apt-get install haproxy");
        Self { process, address, _folder: folder }
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

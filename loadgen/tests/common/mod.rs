//! What the tests share: certificates, origins and raw requests.

// Each test binary uses its own part of this.
#![allow(dead_code, unreachable_pub)]

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use weir_loadgen::{
    Identity,
    origin::{LogTarget, Options, Origin, TlsOptions, spawn},
};

/// Certificates for `localhost` and for a client called `edge`, each signed by a CA of its own.
pub struct Certificates {
    pub folder: TempDir,
}

impl Certificates {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, subject, usage) in [
            ("server", "localhost", ExtendedKeyUsagePurpose::ServerAuth),
            ("client", "edge", ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let ca_key = KeyPair::generate().unwrap();
            let mut ca = CertificateParams::default();
            ca.distinguished_name.push(DnType::CommonName, format!("{name} CA"));
            ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let ca_certificate = ca.self_signed(&ca_key).unwrap();
            let key = KeyPair::generate().unwrap();
            let mut leaf = CertificateParams::new(vec![subject.to_owned()]).unwrap();
            leaf.distinguished_name.push(DnType::CommonName, subject);
            leaf.extended_key_usages = vec![usage];
            let certificate = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
            for (part, text) in
                [("ca", ca_certificate.pem()), ("cert", certificate.pem()), ("key", key.serialize_pem())]
            {
                fs::write(folder.path().join(format!("{name}-{part}.pem")), text).unwrap();
            }
        }
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn identity(&self, name: &str) -> Identity {
        Identity {
            certificate: self.path(&format!("{name}-cert.pem")),
            private_key: self.path(&format!("{name}-key.pem")),
        }
    }

    /// TLS of an origin that demands the client's certificate.
    pub fn mutual_tls(&self) -> TlsOptions {
        TlsOptions { identity: self.identity("server"), client_ca: Some(self.path("client-ca.pem")) }
    }
}

/// An origin with a request log in a temporary folder.
pub struct Logged {
    pub origin: Origin,
    folder: TempDir,
}

impl Logged {
    pub fn start(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = LogTarget::File(folder.path().join("requests.jsonl"));
        let origin = spawn(Options { request_log: Some(log), ..options }).unwrap();
        Self { origin, folder }
    }

    pub fn lines(&self) -> Vec<Value> {
        json_lines(&self.folder.path().join("requests.jsonl"))
    }

    /// Waits until there are so many lines: of what is not answered, the line may come behind the end of the connection.
    pub fn wait_for_lines(&self, count: usize) -> Vec<Value> {
        wait_for(|| Some(self.lines()).filter(|lines| lines.len() >= count))
    }

    /// Stops the origin, and returns how many requests it answered and all lines of its log.
    pub fn stop(self) -> (u64, Vec<Value>) {
        let Self { origin, folder } = self;
        let answered = origin.stop();
        (answered, json_lines(&folder.path().join("requests.jsonl")))
    }
}

/// Looks again and again until there is something, for a minute at the most.
pub fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    const STEP: Duration = Duration::from_millis(5);
    for _ in 0..12_000 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(STEP);
    }
    panic!("it did not come in a minute");
}

/// An address that nobody listens on, and the socket that keeps others from it.
pub fn unused_address() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// The lines of a log that may still be written to: a last line without its end is left for the next look.
pub fn json_lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Sends `request` in pieces of `step` bytes and returns all that comes back until the origin closes.
pub fn exchange_in_steps(address: SocketAddr, request: &[u8], step: usize) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    for piece in request.chunks(step) {
        stream.write_all(piece).unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

pub fn exchange(address: SocketAddr, request: &str) -> String {
    exchange_in_steps(address, request.as_bytes(), request.len())
}

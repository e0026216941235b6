//! The demo's origins: small blocking HTTPS servers that demand a client certificate and log what reaches them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{
    HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
};
use serde_json::json;

use super::verifier::{NamedClient, common_name};
use crate::http::{ChunkLimits, ChunkedDecoder};
use crate::tls::forge::{DemoAuthority, PemPair};

/// Connections that one origin serves at once; one more is closed.
const CONNECTIONS_MAX: usize = 1024;
/// Longest request head; the node forwards none that is longer.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most header fields of a request, those that the node adds included.
const HEADERS_MAX: usize = 128;
/// How long a peer whose certificate was refused may take to hear of it.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// The log of all origins: one JSON object for each request that came in whole.
pub(super) struct RequestLog(Mutex<File>);

impl RequestLog {
    pub(super) fn create(path: &Path) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self(Mutex::new(File::create(path)?))))
    }

    fn write(&self, line: &serde_json::Value) -> io::Result<()> {
        let text = format!("{line}\n");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(text.as_bytes())
    }
}

/// What an origin is, and whom it serves.
pub(super) struct OriginPlan<'a> {
    /// Its name in the log.
    pub(super) name: &'static str,
    /// Its own certificate.
    pub(super) certificate: &'a PemPair,
    /// Who must have signed a client's certificate.
    pub(super) clients_of: &'a DemoAuthority,
    /// The one common name that it serves; none is any.
    pub(super) only_client: Option<&'static str>,
    /// The TLS versions that it speaks.
    pub(super) versions: &'a [&'static SupportedProtocolVersion],
}

/// A running origin. Its connections end when the node closes them.
pub(super) struct Origin {
    /// Where it listens.
    pub(super) address: SocketAddr,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

/// What the connections of one origin share.
struct Service {
    name: &'static str,
    tls: Arc<ServerConfig>,
    log: Arc<RequestLog>,
    connections: AtomicUsize,
}

impl Origin {
    /// Starts to listen on a free port of 127.0.0.1.
    pub(super) fn start(plan: &OriginPlan<'_>, log: &Arc<RequestLog>) -> Result<Self, String> {
        let fail = |error: &dyn std::fmt::Display| format!("origin `{}` can't start: {error}", plan.name);
        let tls = server_config(plan).map_err(|error| fail(&error))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| fail(&error))?;
        let address = listener.local_addr().map_err(|error| fail(&error))?;
        let service =
            Service { name: plan.name, tls, log: Arc::clone(log), connections: AtomicUsize::new(0) };
        let stopping = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stopping);
        let accepting = std::thread::Builder::new()
            .name(format!("origin-{}", plan.name))
            .spawn(move || accept_all(&listener, &Arc::new(service), &stopped))
            .map_err(|error| fail(&error))?;
        Ok(Self { address, stopping, accepting: Some(accepting) })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // A connection that nobody uses: it ends the wait for the next one.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(thread) = self.accepting.take()
            && woken
        {
            let _ = thread.join();
        }
    }
}

fn server_config(plan: &OriginPlan<'_>) -> Result<Arc<ServerConfig>, Box<dyn std::error::Error>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(plan.clients_of.certificate_pem().as_bytes())?)?;
    let signed =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
    let verifier: Arc<dyn ClientCertVerifier> = match plan.only_client {
        Some(name) => Arc::new(NamedClient::new(signed, name)),
        None => signed,
    };
    let certificate = CertificateDer::from_pem_slice(plan.certificate.certificate_pem.as_bytes())?;
    let key = PrivateKeyDer::from_pem_slice(plan.certificate.private_key_pem.as_bytes())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(plan.versions)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn accept_all(listener: &TcpListener, service: &Arc<Service>, stopping: &AtomicBool) {
    for socket in listener.incoming() {
        if stopping.load(Ordering::Relaxed) {
            return;
        }
        let Ok(socket) = socket else {
            // Out of descriptors, most likely: leave the connections time to end.
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        if service.connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            service.connections.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let shared = Arc::clone(service);
        let name = format!("origin-{}-peer", service.name);
        let spawned = std::thread::Builder::new().name(name).spawn(move || {
            // How a connection ends is the node's to tell.
            let _ = serve(&shared, socket);
            shared.connections.fetch_sub(1, Ordering::Relaxed);
        });
        if spawned.is_err() {
            service.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Shakes hands and answers request after request.
fn serve(service: &Service, mut socket: TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut tls = ServerConnection::new(Arc::clone(&service.tls)).map_err(io::Error::other)?;
    while tls.is_handshaking() {
        if let Err(error) = tls.complete_io(&mut socket) {
            return refuse(socket, error);
        }
    }
    let peer = Peer::of(&tls);
    let mut stream = BufReader::new(StreamOwned::new(tls, socket));
    while let Some(request) = read_request(&mut stream)? {
        service.log.write(&peer.log_line(service.name, &request))?;
        answer(service.name, &peer, &request, stream.get_mut())?;
    }
    Ok(())
}

/// Leaves the alert time to arrive: a socket that is closed with bytes unread resets the connection, alert and all.
fn refuse(mut socket: TcpStream, error: io::Error) -> io::Result<()> {
    socket.shutdown(Shutdown::Write)?;
    socket.set_read_timeout(Some(REFUSAL_TIMEOUT))?;
    io::copy(&mut Read::by_ref(&mut socket).take(HEAD_BYTES_MAX as u64), &mut io::sink())?;
    Err(error)
}

/// Who is at the other end of a connection.
struct Peer {
    common_name: Option<String>,
    version: &'static str,
    resumed: bool,
}

impl Peer {
    fn of(tls: &ServerConnection) -> Self {
        let certificate = tls.peer_certificates().and_then(|chain| chain.first());
        Self {
            common_name: certificate.and_then(common_name),
            version: match tls.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "1.3",
                Some(ProtocolVersion::TLSv1_2) => "1.2",
                _ => "unknown",
            },
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    fn log_line(&self, origin: &str, request: &Received) -> serde_json::Value {
        json!({
            "origin": origin,
            "method": request.method,
            "target": request.target,
            "host": request.header("Host"),
            "client_certificate": self.common_name,
            "tls": self.version,
            "resumed": self.resumed,
            "x_forwarded_for": request.header("X-Forwarded-For"),
            "request_id": request.header("X-Request-Id"),
            "body_bytes": request.body_bytes,
        })
    }
}

/// A request that came in whole.
struct Received {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body_bytes: u64,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

fn malformed(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Reads the next request to its end; none if the peer is done.
fn read_request(stream: &mut impl BufRead) -> io::Result<Option<Received>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let room = (HEAD_BYTES_MAX - head.len()) as u64;
        if stream.by_ref().take(room).read_until(b'\n', &mut head)? == 0 {
            return if head.is_empty() { Ok(None) } else { Err(malformed("a head without an end")) };
        }
    }
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    parsed.parse(&head).map_err(malformed)?;
    let headers = parsed.headers.iter();
    let headers = headers.map(|field| (field.name.to_owned(), String::from_utf8_lossy(field.value).into()));
    let mut request = Received {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body_bytes: 0,
    };
    request.body_bytes = if request.header("Transfer-Encoding").is_some() {
        read_chunks(stream)?
    } else {
        let length = request.header("Content-Length").map_or(Ok(0), str::parse).map_err(malformed)?;
        let read = io::copy(&mut stream.by_ref().take(length), &mut io::sink())?;
        if read < length {
            return Err(malformed("a body shorter than its length"));
        }
        length
    };
    Ok(Some(request))
}

/// Reads a chunked body and says how long it is.
fn read_chunks(stream: &mut impl BufRead) -> io::Result<u64> {
    let mut decoder = ChunkedDecoder::new(ChunkLimits::default());
    let mut body_bytes = 0;
    loop {
        let input = stream.fill_buf()?;
        if input.is_empty() {
            return Err(malformed("a chunked body without an end"));
        }
        let chunk = decoder.decode(input).map_err(malformed)?;
        body_bytes += chunk.data.len() as u64;
        stream.consume(chunk.consumed);
        if chunk.finished {
            return Ok(body_bytes);
        }
    }
}

fn answer(origin: &str, peer: &Peer, request: &Received, out: &mut impl Write) -> io::Result<()> {
    let body = json!({
        "origin": origin,
        "seen": format!("{} {}", request.method, request.target),
        "client_certificate": peer.common_name,
        "client": request.header("X-Forwarded-For"),
        "body_bytes": request.body_bytes,
    });
    let body = format!("{body}\n");
    let mut text = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    if request.method != "HEAD" {
        text.push_str(&body);
    }
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Option<Received>> {
        // Small pieces, as they may come from a socket.
        read_request(&mut BufReader::with_capacity(3, bytes))
    }

    #[test]
    fn a_whole_request_is_read_with_its_body() {
        let plain = read(b"POST /a?b HTTP/1.1\r\nHost: x\r\ncontent-length: 4\r\n\r\nabcd").unwrap().unwrap();
        assert_eq!((plain.method.as_str(), plain.target.as_str(), plain.body_bytes), ("POST", "/a?b", 4));
        assert_eq!(plain.header("host"), Some("x"));
        let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let chunked = [head, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".to_vec()].concat();
        assert_eq!(read(&chunked).unwrap().unwrap().body_bytes, 5);
        assert!(read(b"").unwrap().is_none());
    }

    #[test]
    fn a_request_that_breaks_off_is_no_request() {
        let bodies: [&[u8]; 4] = [
            b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabc",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-4\r\nabcd\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n",
        ];
        for bytes in bodies {
            assert!(read(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}

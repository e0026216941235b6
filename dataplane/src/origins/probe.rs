//! One health check: a connection, a request, and the head of its answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::config::HealthCheckConfig;
use crate::http::{HeadLimits, Progress, ResponseHead};
use crate::proxy_protocol::{self, Endpoints};
use crate::snapshot::{OriginTlsSettings, TlsKey};
use crate::tls::{ClientEngine, TlsFailure, WorkerTls};

/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;
/// Interim answers before the final one.
const INTERIM_ANSWERS_MAX: u32 = 8;

/// What is checked, and how.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) check: &'a HealthCheckConfig,
    /// The Host of the request unless the check has its own.
    pub(crate) host: &'a str,
    pub(crate) tls: Option<&'a OriginTlsSettings>,
    /// The PROXY protocol header that connections begin with: this one is our own.
    pub(crate) proxy_protocol: Option<proxy_protocol::Version>,
}

/// Checks one address again and again. Keeps the TLS settings of the last time, and so its session.
#[derive(Debug, Default)]
pub(crate) struct Prober {
    tls: Option<(TlsKey, WorkerTls)>,
}

impl Prober {
    /// Checks once. Gives the status of the answer.
    ///
    /// # Errors
    /// Why there was none, or that the status isn't one that passes.
    pub(crate) async fn check(&mut self, target: Target<'_>) -> Result<u16, String> {
        let timeout = target.check.timeout;
        let mut answered = Vec::new();
        match tokio::time::timeout(timeout, self.ask(target, &mut answered)).await {
            Ok(Ok(status)) if passes(target.check, status) => Ok(status),
            Ok(Ok(status)) => Err(format!("it answered {status}")),
            Ok(Err(reason)) => Err(reason),
            Err(_) if answered.is_empty() => Err(format!("no answer within {}", shown(timeout))),
            Err(_) => Err(format!("no whole answer within {}, only {}", shown(timeout), start_of(&answered))),
        }
    }

    async fn ask(&mut self, target: Target<'_>, answered: &mut Vec<u8>) -> Result<u16, String> {
        let mut stream = TcpStream::connect(target.address).await.map_err(|error| error.to_string())?;
        // The request is one small write.
        let _ = stream.set_nodelay(true);
        if let Some(version) = target.proxy_protocol {
            let source = stream.local_addr().map_err(|error| error.to_string())?;
            let mut header = Vec::new();
            proxy_protocol::write(version, &Endpoints { source, destination: target.address }, &mut header);
            stream.write_all(&header).await.map_err(|error| error.to_string())?;
        }
        let mut connection = match target.tls {
            None => Connection::plain(stream),
            Some(tls) => {
                let settings = self.settings(tls);
                let asked_before = settings.certificate_requests();
                let name = tls.settings.server_name.clone();
                let (connection, resumed) = Connection::open(stream, &settings.config, name).await?;
                let asked = settings.certificate_requests() > asked_before;
                if tls.key.require_mtls && !resumed && !asked {
                    // Resumed, the session would look as one that was asked for.
                    settings.forget_sessions();
                    return Err(failure(TlsFailure::certificate_not_requested()));
                }
                connection
            }
        };
        connection.send(request(&target).as_bytes()).await?;
        answer(&mut connection, target.check.is_head, answered).await
    }

    fn settings(&mut self, tls: &OriginTlsSettings) -> &mut WorkerTls {
        let known = self.tls.take().filter(|(key, _)| *key == tls.key);
        &mut self.tls.insert(known.unwrap_or_else(|| (tls.key.clone(), tls.settings.of_worker()))).1
    }
}

fn passes(check: &HealthCheckConfig, status: u16) -> bool {
    check.statuses.iter().any(|(first, last)| (*first..=*last).contains(&status))
}

fn shown(time: Duration) -> String {
    format!("{time:?}")
}

fn request(target: &Target<'_>) -> String {
    let check = target.check;
    format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: weir-health-check/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        if check.is_head { "HEAD" } else { "GET" },
        check.path,
        check.host.as_deref().unwrap_or(target.host),
        env!("CARGO_PKG_VERSION"),
    )
}

/// How bytes that are no answer begin, as text for the log.
fn start_of(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 24;
    format!("\"{}\"", bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii())
}

/// The status of the final answer. `bytes` holds what came in of it.
async fn answer(
    connection: &mut Connection,
    request_was_head: bool,
    bytes: &mut Vec<u8>,
) -> Result<u16, String> {
    const VERSION: &[u8] = b"HTTP/1.";
    let limits = HeadLimits::default();
    let mut head = ResponseHead::default();
    let mut interim = 0;
    loop {
        if connection.receive(bytes).await? == 0 {
            return Err(match bytes.is_empty() {
                true => "it closed the connection without an answer".to_owned(),
                false => format!("it closed the connection within its answer, after {}", start_of(bytes)),
            });
        }
        if !bytes.iter().zip(VERSION).all(|(found, expected)| found == expected) {
            return Err(format!("its answer is no HTTP/1.1: it begins with {}", start_of(bytes)));
        }
        while let Progress::Complete { consumed } = head
            .parse(bytes, request_was_head, &limits)
            .map_err(|error| format!("its answer is no sound HTTP/1.1: {}", error.detail))?
        {
            if !head.is_interim() {
                return Ok(head.status());
            }
            interim += 1;
            if interim > INTERIM_ANSWERS_MAX {
                return Err("too many interim answers".to_owned());
            }
            bytes.drain(..consumed);
            head.clear();
        }
    }
}

/// A connection to an origin, with TLS or without.
struct Connection {
    stream: TcpStream,
    engine: Option<ClientEngine>,
    resumed: bool,
    buffer: Vec<u8>,
}

impl Connection {
    fn plain(stream: TcpStream) -> Self {
        Self { stream, engine: None, resumed: false, buffer: vec![0; READ_BYTES] }
    }

    /// Makes the TLS handshake. Gives whether it resumed an earlier session, too.
    async fn open(
        stream: TcpStream,
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<(Self, bool), String> {
        let mut connection = Self::plain(stream);
        let mut engine = ClientEngine::new(config, name).map_err(failure)?;
        let mut out = Vec::new();
        engine.start(&mut out).map_err(failure)?;
        connection.engine = Some(engine);
        connection.write(&out).await?;
        let mut early = Vec::new();
        while connection.engine.as_ref().is_some_and(ClientEngine::is_handshaking) {
            if connection.receive_some(&mut early).await? == 0 {
                return Err("it closed the connection during the TLS handshake".to_owned());
            }
        }
        let resumed = connection.resumed;
        Ok((connection, resumed))
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(|error| error.to_string())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(engine) = &mut self.engine else { return self.write(bytes).await };
        let mut out = Vec::new();
        engine.seal(&[bytes], &mut out).map_err(failure)?;
        self.write(&out).await
    }

    /// Appends what comes in next; nothing if the connection has ended.
    async fn receive(&mut self, into: &mut Vec<u8>) -> Result<usize, String> {
        let before = into.len();
        while into.len() == before {
            if self.receive_some(into).await? == 0 {
                break;
            }
        }
        Ok(into.len() - before)
    }

    /// Reads once. Gives how many bytes came in, which under TLS need not be any of the answer.
    async fn receive_some(&mut self, into: &mut Vec<u8>) -> Result<usize, String> {
        let count = self.stream.read(&mut self.buffer).await.map_err(|error| error.to_string())?;
        let Some(engine) = &mut self.engine else {
            into.extend_from_slice(&self.buffer[..count]);
            return Ok(count);
        };
        let mut out = Vec::new();
        let ingested = engine.ingest(&mut self.buffer[..count], into, &mut out);
        // An alert is worth sending even where the handshake has failed.
        let written = self.stream.write_all(&out).await;
        let ingested = ingested.map_err(failure)?;
        self.resumed = ingested.resumed;
        written.map_err(|error| error.to_string())?;
        Ok(if ingested.peer_closed { 0 } else { count })
    }
}

fn failure(failure: TlsFailure) -> String {
    format!("{}: {}", failure.code, failure.detail)
}

//! What the origin saw of a request, as JSON: a line of the request log, or the body of an echoed answer.

use std::{
    fs::File,
    io::{self, Write},
    net::SocketAddr,
    sync::Mutex,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::{Connection, HandshakeKind, ProtocolVersion};
use serde::{Serialize, Serializer};

use super::{LogTarget, StartError};
use crate::{http::Framing, net};

/// The request log stops growing here, so that a long test can't fill the disk.
const LOG_LIMIT_BYTES: u64 = 4 << 30;

/// What an origin knows about a connection's TLS.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TlsFacts {
    version: Option<&'static str>,
    resumed: bool,
    server_name: Option<String>,
    client_subject: Option<String>,
}

/// One request as it arrived.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    method: String,
    target: String,
    version: &'static str,
    headers: Vec<(String, String)>,
    framing: &'static str,
    pub(super) body_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// One line of the request log.
#[derive(Serialize)]
pub(super) struct LogLine<'a> {
    pub(super) time: String,
    pub(super) connection: u64,
    /// The number of the request on its connection, from 1.
    pub(super) request: u64,
    #[serde(serialize_with = "peer_text")]
    pub(super) peer: Option<SocketAddr>,
    #[serde(flatten)]
    pub(super) record: Option<&'a Record>,
    /// The request's body came to its end.
    pub(super) complete: bool,
    /// What it is answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'a str>,
    pub(super) tls: Option<&'a TlsFacts>,
}

/// The peer's address; clients of a Unix socket have none.
fn peer_text<S: Serializer>(peer: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    match peer {
        Some(address) => serializer.collect_str(address),
        None => serializer.serialize_str("unix"),
    }
}

/// The answer of `--echo`.
#[derive(Serialize)]
pub(super) struct Echo<'a> {
    #[serde(flatten)]
    pub(super) record: &'a Record,
    pub(super) tls: Option<&'a TlsFacts>,
}

impl TlsFacts {
    pub(super) fn of(connection: &Connection) -> Self {
        let server_name = match connection {
            Connection::Server(server) => server.server_name().map(str::to_owned),
            Connection::Client(_) => None,
        };
        let certificate = connection.peer_certificates().and_then(|chain| chain.first());
        Self {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => Some("TLSv1.2"),
                Some(ProtocolVersion::TLSv1_3) => Some("TLSv1.3"),
                other => other.and_then(|version| version.as_str()),
            },
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            server_name,
            client_subject: certificate.and_then(net::subject_common_name),
        }
    }
}

impl Record {
    pub(super) fn new(
        method: &str,
        target: &str,
        minor_version: u8,
        headers: &[httparse::Header<'_>],
        framing: Framing,
    ) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: if minor_version == 0 { "HTTP/1.0" } else { "HTTP/1.1" },
            headers: headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect(),
            framing: match framing {
                Framing::Chunked => "chunked",
                Framing::Length(_) | Framing::UntilClose => "length",
            },
            body_bytes: 0,
            body: None,
            body_base64: None,
        }
    }

    /// Notes the start of the body: as text if it is text, in base64 otherwise.
    pub(super) fn set_body(&mut self, start: Vec<u8>) {
        match String::from_utf8(start) {
            Ok(text) => self.body = Some(text),
            Err(error) => self.body_base64 = Some(BASE64_STANDARD.encode(error.as_bytes())),
        }
    }
}

/// The request log. A line is in the file before its request is answered, so that who has the answer finds the line.
pub(super) struct RequestLog {
    sink: Mutex<Sink>,
    /// How much of each body is noted.
    pub(super) body_bytes: usize,
}

enum Output {
    Stdout(io::Stdout),
    File(File),
}

impl Output {
    /// Writes a whole line or, where a file can't take all of it, nothing.
    fn write_line(&mut self, mut line: &[u8]) -> io::Result<()> {
        let file = match self {
            Self::Stdout(stdout) => return stdout.write_all(line).and_then(|()| stdout.flush()),
            Self::File(file) => file,
        };
        let mut written = 0;
        while !line.is_empty() {
            match file.write(line) {
                Ok(count) if count > 0 => {
                    written += count as u64;
                    line = &line[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                failed => {
                    // The start of the line is the file's end, because lines are appended.
                    let length = file.metadata().map_or(0, |facts| facts.len());
                    if written > 0 && length >= written {
                        file.set_len(length - written)?;
                    }
                    return Err(failed.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into()));
                }
            }
        }
        Ok(())
    }
}

struct Sink {
    output: Output,
    written_bytes: u64,
    broken: bool,
}

impl RequestLog {
    pub(super) fn open(target: &LogTarget, body_bytes: usize) -> Result<Self, StartError> {
        let output = match target {
            LogTarget::StandardOutput => Output::Stdout(io::stdout()),
            LogTarget::File(path) => {
                let file = File::options().create(true).append(true).open(path);
                Output::File(file.map_err(|error| StartError::RequestLog(path.clone(), error))?)
            }
        };
        Ok(Self { sink: Mutex::new(Sink { output, written_bytes: 0, broken: false }), body_bytes })
    }

    pub(super) fn write(&self, line: &LogLine<'_>) {
        let mut bytes = match serde_json::to_vec(line) {
            Ok(bytes) => bytes,
            Err(error) => {
                eprintln!("origin: a request can't be logged: {error}");
                return;
            }
        };
        bytes.push(b'\n');
        let mut sink = self.sink.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if sink.broken {
            return;
        }
        sink.written_bytes += bytes.len() as u64;
        let full = sink.written_bytes > LOG_LIMIT_BYTES;
        let result =
            if full { Err(io::ErrorKind::FileTooLarge.into()) } else { sink.output.write_line(&bytes) };
        if let Err(error) = result {
            sink.broken = true;
            eprintln!("origin: the request log ends here: {error} (its limit is {LOG_LIMIT_BYTES} bytes)");
        }
    }
}

/// The present time as RFC 3339 in UTC, with microseconds.
pub(super) fn now() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}

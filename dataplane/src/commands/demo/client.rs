//! The demo's client: one request on a connection of its own, from a loopback address that stands for a kind of client.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// How long each step of an exchange may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
const HEADERS_MAX: usize = 64;

/// Who sends a request: what `demo-ip-lists.toml` says of the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Client {
    /// On no list.
    Ordinary,
    /// Graylisted.
    Gray,
    /// Denylisted.
    Denied,
    /// Allowlisted.
    Allowed,
}

impl Client {
    pub(super) fn address(self) -> IpAddr {
        let last = match self {
            Self::Ordinary => 1,
            Self::Gray => 2,
            Self::Denied => 3,
            Self::Allowed => 4,
        };
        Ipv4Addr::new(127, 0, 0, last).into()
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::Gray => "graylisted",
            Self::Denied => "denylisted",
            Self::Allowed => "allowlisted",
        }
    }
}

/// What the node answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `X-Request-Id`: the key to the event and to the origin's log.
    pub(super) request_id: String,
    /// The node ended the connection, though the request asked to keep it.
    pub(super) closed: bool,
}

/// Sends `request` from the client's address to `node` and reads the answer.
///
/// # Errors
/// No connection, or no sound answer in time.
pub(super) fn exchange(client: Client, node: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(client.address(), 0).into())?;
    socket.connect_timeout(&node.into(), TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    socket.set_tcp_nodelay(true)?;
    socket.write_all(request)?;
    let mut received = Vec::new();
    let mut limited = socket.take(ANSWER_BYTES_MAX);
    let mut piece = [0; 4096];
    loop {
        let length = read_some(&mut limited, &mut piece)?;
        if length == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the node closed without a whole answer",
            ));
        }
        received.extend_from_slice(&piece[..length]);
        if let Some(head) = parse(&received)? {
            let closed = head.closes && read_some(&mut limited, &mut piece)? == 0;
            return Ok(Answer { status: head.status, request_id: head.request_id, closed });
        }
    }
}

/// Reads what is there. A process that is stopped and goes on finds its read interrupted where that has a time limit.
fn read_some(stream: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

struct Head {
    status: u16,
    request_id: String,
    closes: bool,
}

/// The answer, once it is there with its body.
fn parse(received: &[u8]) -> io::Result<Option<Head>> {
    let malformed = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(received).map_err(|error| malformed(format!("no sound answer: {error}")))?;
    let httparse::Status::Complete(head_bytes) = parsed else { return Ok(None) };
    let header = |name: &str| {
        let found = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.and_then(|field| std::str::from_utf8(field.value).ok())
    };
    let length = header("Content-Length").and_then(|value| value.parse::<usize>().ok());
    let length = length.ok_or_else(|| malformed("an answer without Content-Length".to_owned()))?;
    if received.len() - head_bytes < length {
        return Ok(None);
    }
    Ok(Some(Head {
        status: response.code.unwrap_or_default(),
        request_id: header("X-Request-Id").unwrap_or_default().to_owned(),
        closes: header("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_there_once_its_body_is() {
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\nx-request-id: 7\r\nConnection: close\r\n\r\nno\n";
        for end in 0..answer.len() {
            assert!(parse(&answer[..end]).unwrap().is_none(), "{end}");
        }
        let head = parse(answer).unwrap().unwrap();
        assert_eq!((head.status, head.request_id.as_str(), head.closes), (403, "7", true));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(parse(b"SSH-2.0-x\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "its end can't be told");
    }
}

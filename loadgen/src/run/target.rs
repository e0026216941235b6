//! Where requests go and what they say, worked out once.

use std::{
    io,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use rustls::{ClientConnection, ProtocolVersion};
use rustls_pki_types::ServerName;

use super::{
    Options, RunError, Work,
    traffic::{ClientTls, Traffic},
};
use crate::{
    Verdict,
    net::{self, ClientTlsFiles, Identity},
    scenario::template::Random,
};

/// An address, and what is sent there.
pub(crate) struct Target {
    pub(super) address: SocketAddr,
    pub(crate) traffic: Traffic,
    pub(super) work: Work,
}

/// The parts of a URL.
#[derive(Debug, PartialEq, Eq)]
struct Url<'a> {
    tls: bool,
    /// Host and port as in the URL: the value of `Host`.
    authority: &'a str,
    /// Without the brackets of an IPv6 address.
    host: &'a str,
    port: u16,
    /// Path and query, at least `/`.
    target: String,
}

/// How long a target that asked for a certificate gets to refuse it behind a handshake of TLS 1.3.
const REFUSAL_PATIENCE: Duration = Duration::from_millis(500);

impl Target {
    /// Works out what is sent where, and connects once for each group of clients, so that a wrong address or certificate is
    /// one clear error and not a run full of failures.
    pub(crate) fn reach(options: &Options) -> Result<Self, RunError> {
        let url = parse_url(&options.url).map_err(|why| {
            RunError::Request(format!(
                "`{}` is no URL for this: {why}; expected http://HOST:PORT/PATH",
                options.url
            ))
        })?;
        let traffic = traffic(options, &url)?;
        check_sources(&traffic)?;
        let address = reachable(&url, &traffic, options.timeout)?;
        Ok(Self { address, traffic, work: options.work })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bytes of the first kind of request.
    pub(crate) fn first_request(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(kind) = self.traffic.kinds.first() {
            kind.write(&mut bytes, &mut Vec::new(), &mut Random::new(0, 0), 0);
        }
        bytes
    }

    /// What the scenario wanted of request `number` that was [asked](super::asking::ask) outside of any schedule, if this status
    /// is not it. 0 stands for a connection that was closed as it should be.
    pub(crate) fn surprise(&self, number: usize, status: u16) -> Option<String> {
        let Traffic { kinds, labels, block_statuses, .. } = &self.traffic;
        let kind = kinds.get(number % kinds.len().max(1))?;
        let expect = kind.expect.as_ref().filter(|_| status != 0)?;
        let label = kind.label.and_then(|label| labels.get(label)).map_or("", String::as_str);
        let is_met = expect.is_met(Verdict::of_status(status, block_statuses), Some(status));
        (!is_met).then(|| format!("status {status} for `{label}`, of which the scenario expects: {expect}"))
    }

    /// Whether a group's connections resume TLS sessions.
    pub(super) fn resumes(&self, group: usize) -> bool {
        self.traffic.groups[group].tls.as_ref().is_some_and(|tls| tls.resume)
    }

    /// The TLS side of a new connection of a group, if the target speaks TLS.
    pub(crate) fn tls_connection(&self, group: usize) -> Result<Option<ClientConnection>, rustls::Error> {
        self.traffic.groups[group].tls.as_ref().map(ClientTls::connection).transpose()
    }
}

/// The first of a host's addresses that lets clients of each group in.
fn reachable(url: &Url<'_>, traffic: &Traffic, timeout: Duration) -> Result<SocketAddr, RunError> {
    let resolve_error = |error| RunError::Resolve(url.host.to_owned(), error);
    let addresses: Vec<SocketAddr> = (url.host, url.port).to_socket_addrs().map_err(resolve_error)?.collect();
    let sources = || traffic.groups.iter().flat_map(|group| &group.sources);
    let fits = |address: &SocketAddr| sources().all(|source| source.is_ipv4() == address.is_ipv4());
    let mut unreachable = None;
    for address in addresses.iter().copied().filter(fits) {
        match probe(address, url.host, traffic, timeout) {
            Ok(()) => return Ok(address),
            // A name may have addresses of which not all are served. The first one is told of.
            Err(error @ RunError::Unreachable(..)) => unreachable = unreachable.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    Err(match (unreachable, addresses.first()) {
        (Some(error), _) => error,
        (None, None) => resolve_error(io::ErrorKind::NotFound.into()),
        (None, Some(address)) => RunError::Request(format!(
            "{address} and the source addresses of the groups must all be IPv4, or all IPv6"
        )),
    })
}

/// Finds out whether each source address is one of this machine.
fn check_sources(traffic: &Traffic) -> Result<(), RunError> {
    for source in traffic.groups.iter().flat_map(|group| &group.sources) {
        net::check_source(*source).map_err(|error| {
            RunError::Request(format!("connections can't come from the source address {source}: {error}"))
        })?;
    }
    Ok(())
}

/// Connects once for each group, with its certificate, so that what keeps clients out is one clear error and not a run full
/// of failures.
fn probe(address: SocketAddr, host: &str, traffic: &Traffic, timeout: Duration) -> Result<(), RunError> {
    traffic.groups.iter().try_for_each(|group| {
        let stream = net::connect_and_wait(address, group.sources.first().copied(), timeout)
            .map_err(|error| RunError::Unreachable(address, error))?;
        let Some(tls) = &group.tls else { return Ok(()) };
        shake_hands(stream, tls, timeout).map_err(|error| RunError::Handshake(host.to_owned(), error))
    })
}

/// A TLS handshake. In TLS 1.3 the refusal of a client's certificate comes behind it: that is waited for where the target
/// asked for one, until it sends a ticket or says nothing.
fn shake_hands(mut stream: TcpStream, tls: &ClientTls, timeout: Duration) -> io::Result<()> {
    let mut connection = tls.unremembered_connection().map_err(io::Error::other)?;
    stream.set_read_timeout(Some(timeout))?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    if tls.shown.was_asked() && connection.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
        stream.set_read_timeout(Some(timeout.min(REFUSAL_PATIENCE)))?;
        while connection.tls13_tickets_received() == 0 {
            match connection.read_tls(&mut stream) {
                Ok(0) => {
                    let what = "the target closed the connection behind the handshake";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
                }
                Ok(_) => connection.process_new_packets().map(drop).map_err(io::Error::other)?,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
    }
    connection.send_close_notify();
    // The handshake is what was asked about; the farewell is a courtesy.
    let _gone = connection.write_tls(&mut stream);
    Ok(())
}

fn traffic(options: &Options, url: &Url<'_>) -> Result<Traffic, RunError> {
    let tls = |name: &str, identity: Option<&Identity>, resume: bool| {
        url.tls.then(|| client_tls(options, name, identity, resume)).transpose()
    };
    let own_identity = options.identity.as_ref();
    let Some(scenario) = &options.scenario else {
        let request = request_bytes(options, url).map_err(RunError::Request)?;
        let name = options.server_name.as_deref().unwrap_or(url.host);
        let tls = tls(name, own_identity, options.resume)?;
        let description = format!("{} {} with {} body bytes", options.method, url.target, options.body.len());
        let is_head = options.method == "HEAD";
        return Ok(Traffic::single(description, request, is_head, options.keep_alive, tls));
    };
    let groups = scenario.groups.iter().map(|group| {
        let name = group.server_name.as_deref().or(scenario.server_name.as_deref());
        let name = name.or(options.server_name.as_deref()).unwrap_or(url.host);
        tls(name, group.identity.as_ref().or(own_identity), group.resume.unwrap_or(options.resume))
    });
    let groups = groups.collect::<Result<_, _>>()?;
    Ok(Traffic::of_scenario(scenario, url.authority, options.connections, options.keep_alive, groups))
}

fn client_tls(
    options: &Options,
    name: &str,
    identity: Option<&Identity>,
    resume: bool,
) -> Result<ClientTls, RunError> {
    let (config, shown) = net::client_config(&ClientTlsFiles {
        ca: options.ca.as_deref(),
        identity: identity.map(|identity| (&*identity.certificate, &*identity.private_key)),
        verify: !options.insecure,
        resume,
    })
    .map_err(RunError::Tls)?;
    let server_name = ServerName::try_from(name.to_owned())
        .map_err(|_| RunError::Request(format!("`{name}` is neither a host name nor an address")))?;
    Ok(ClientTls { config, shown, server_name, resume })
}

fn parse_url(url: &str) -> Result<Url<'_>, String> {
    let (tls, rest) = if let Some(rest) = url.strip_prefix("http://") {
        (false, rest)
    } else if let Some(rest) = url.strip_prefix("https://") {
        (true, rest)
    } else {
        return Err("it starts with neither http:// nor https://".to_owned());
    };
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("spaces and characters beyond ASCII must be percent-encoded".to_owned());
    }
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    if authority.contains('@') {
        return Err("a user name in a URL is not supported".to_owned());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("the bracket of its address is open")?;
            let port = after.strip_prefix(':');
            if port.is_none() && !after.is_empty() {
                return Err(format!("`{after}` behind the bracket of its address is no port"));
            }
            (host, port)
        }
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err("it has no host".to_owned());
    }
    let port = match port {
        None if tls => 443,
        None => 80,
        Some(port) => port.parse().map_err(|_| format!("`{port}` is not a port"))?,
    };
    Ok(Url { tls, authority, host, port, target })
}

fn request_bytes(options: &Options, url: &Url<'_>) -> Result<Vec<u8>, String> {
    let method = &options.method;
    if method.is_empty()
        || !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    {
        return Err(format!("`{method}` is not a method"));
    }
    let named = |wanted: &str| options.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let mut text = format!("{method} {} HTTP/1.1\r\n", url.target);
    if !named("host") {
        text += &format!("Host: {}\r\n", url.authority);
    }
    for (name, value) in &options.headers {
        crate::check_header(name, value)?;
        if ["content-length", "transfer-encoding"].iter().any(|framing| name.eq_ignore_ascii_case(framing)) {
            return Err(format!("`{name}` is written from the body"));
        }
        text += &format!("{name}: {value}\r\n");
    }
    if !options.body.is_empty() || matches!(method.as_str(), "POST" | "PUT" | "PATCH") {
        text += &format!("Content-Length: {}\r\n", options.body.len());
    }
    text += "\r\n";
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&options.body);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = parse_url("https://[::1]:8443?a=b#part").unwrap();
        let expected =
            Url { tls: true, authority: "[::1]:8443", host: "::1", port: 8443, target: "/?a=b".to_owned() };
        assert_eq!(url, expected);
        assert_eq!(parse_url("http://a").unwrap().port, 80);
        for bad in [
            "a/b",
            "ftp://a/",
            "http:///x",
            "http://a:b/",
            "http://u@a/",
            "http://a/ b",
            "http://[::1/",
            "http://[::1]junk/",
            "http://a/\r\nX:",
        ] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn requests_carry_what_was_asked_for() {
        let mut options = Options::new("http://a:1/p?q");
        options.method = "POST".to_owned();
        options.headers = vec![("host".to_owned(), "b".to_owned())];
        options.body = b"xyz".to_vec();
        let url = parse_url(&options.url).unwrap();
        let bytes = request_bytes(&options, &url).unwrap();
        assert_eq!(bytes, b"POST /p?q HTTP/1.1\r\nhost: b\r\nContent-Length: 3\r\n\r\nxyz");
        options.headers = vec![("Content-Length".to_owned(), "9".to_owned())];
        assert!(request_bytes(&options, &url).is_err());
        options.headers = vec![("A".to_owned(), "b\r\nC: d".to_owned())];
        assert!(request_bytes(&options, &url).is_err());
    }
}

//! The PROXY protocol, versions 1 and 2: how a proxy in front tells whose connection it passes on.
//!
//! Source: "The PROXY protocol", versions 1 and 2 (haproxy.org, doc/proxy-protocol.txt), sections 2.1 and 2.2.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, its line end included (section 2.1).
const V1_BYTES_MAX: usize = 107;

/// What version 2 begins with (section 2.2). No HTTP request and no TLS record does.
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const V2_FIXED_BYTES: usize = 16;

/// The longest header of version 2 that is taken, in bytes: addresses, and room for the additions that proxies in use
/// send. The format itself allows 64 KiB.
pub const HEADER_BYTES_MAX: usize = 4096;

/// What the bytes at the start of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header.
    Incomplete,
    /// A header.
    Complete {
        /// Its length; the payload follows.
        consumed: usize,
        /// Whose connection it is and where it was made to. Absent if the proxy speaks for itself (a health check) or
        /// doesn't know: the connection's own addresses hold then.
        endpoints: Option<Endpoints>,
    },
}

/// Which header is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The two ends of the connection that a proxy passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoints {
    /// The client.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

/// Why the start of a connection is no header. The connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadHeader {
    /// What is wrong, for the log.
    pub detail: &'static str,
}

const fn bad<T>(detail: &'static str) -> Result<T, BadHeader> {
    Err(BadHeader { detail })
}

/// Reads the header at the start of `bytes`.
///
/// # Errors
/// If what is there can't become a header, however much follows.
pub fn parse(bytes: &[u8]) -> Result<Parsed, BadHeader> {
    let v2_prefix = bytes.len().min(V2_SIGNATURE.len());
    if bytes[..v2_prefix] == V2_SIGNATURE[..v2_prefix] {
        return if bytes.len() < V2_FIXED_BYTES { Ok(Parsed::Incomplete) } else { parse_v2(bytes) };
    }
    let v1_prefix = bytes.len().min(6);
    if bytes[..v1_prefix] == b"PROXY "[..v1_prefix] {
        return parse_v1(bytes);
    }
    bad("the connection doesn't begin with a PROXY protocol header")
}

fn parse_v1(bytes: &[u8]) -> Result<Parsed, BadHeader> {
    let within = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_BYTES_MAX {
            Ok(Parsed::Incomplete)
        } else {
            bad("a version 1 header is longer than 107 bytes")
        };
    };
    let consumed = end + 2;
    let Ok(line) = std::str::from_utf8(&within[..end]) else { return bad("a version 1 header is not ASCII") };
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(Parsed::Complete { consumed, endpoints: None });
    }
    let (Some(source), Some(destination), Some(source_port), Some(destination_port), None) =
        (words.next(), words.next(), words.next(), words.next(), words.next())
    else {
        return bad("a version 1 header has two addresses and two ports");
    };
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            Some("TCP4") => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            Some("TCP6") => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let endpoint =
        |host: &str, port: &str| Some(SocketAddr::new(address(host)?.to_canonical(), port_number(port)?));
    match (endpoint(source, source_port), endpoint(destination, destination_port)) {
        (Some(source), Some(destination)) => {
            Ok(Parsed::Complete { consumed, endpoints: Some(Endpoints { source, destination }) })
        }
        _ => bad("a version 1 header with an address or a port that isn't one"),
    }
}

/// Decimal without a sign and without leading zeros.
fn port_number(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, BadHeader> {
    let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    let consumed = V2_FIXED_BYTES + length;
    if bytes[12] >> 4 != 2 {
        return bad("a binary header of another version than 2");
    }
    if consumed > HEADER_BYTES_MAX {
        return bad("a version 2 header is longer than 4096 bytes");
    }
    let Some(content) = bytes.get(V2_FIXED_BYTES..consumed) else { return Ok(Parsed::Incomplete) };
    let endpoints = match (bytes[12] & 0x0f, bytes[13]) {
        // LOCAL: whatever the addresses are, they don't count.
        (0, _) => None,
        (1, 0x11) => Some(match content.first_chunk::<12>() {
            Some(block) => v4_endpoints(block),
            None => return bad("a version 2 header that is too short for IPv4 addresses"),
        }),
        (1, 0x21) => Some(match content.first_chunk::<36>() {
            Some(block) => v6_endpoints(block),
            None => return bad("a version 2 header that is too short for IPv6 addresses"),
        }),
        // Unspecified, or a Unix socket at the proxy: there is no address to take.
        (1, 0x00 | 0x31) => None,
        (1, _) => return bad("a version 2 header of a family or a transport that HTTP doesn't run over"),
        _ => return bad("a version 2 header with an unknown command"),
    };
    Ok(Parsed::Complete { consumed, endpoints })
}

fn port_of(block: &[u8]) -> u16 {
    u16::from_be_bytes([block[0], block[1]])
}

fn v4_endpoints(block: &[u8; 12]) -> Endpoints {
    let address = |at: usize| Ipv4Addr::new(block[at], block[at + 1], block[at + 2], block[at + 3]);
    Endpoints {
        source: SocketAddr::new(address(0).into(), port_of(&block[8..])),
        destination: SocketAddr::new(address(4).into(), port_of(&block[10..])),
    }
}

fn v6_endpoints(block: &[u8; 36]) -> Endpoints {
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&block[at..at + 16]);
        Ipv6Addr::from(octets)
    };
    Endpoints {
        source: SocketAddr::new(address(0).to_canonical(), port_of(&block[32..])),
        destination: SocketAddr::new(address(16).to_canonical(), port_of(&block[34..])),
    }
}

/// Appends a header.
pub fn write(version: Version, endpoints: &Endpoints, out: &mut Vec<u8>) {
    match version {
        Version::V1 => write_v1(endpoints, out),
        Version::V2 => write_v2(endpoints, out),
    }
}

/// Appends a header of version 1.
pub fn write_v1(endpoints: &Endpoints, out: &mut Vec<u8>) {
    let (source, destination) = same_family(endpoints);
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let mut line = String::with_capacity(V1_BYTES_MAX);
    // Writing to a string can't fail.
    let _ = write!(
        line,
        "PROXY {family} {} {} {} {}\r\n",
        source,
        destination,
        endpoints.source.port(),
        endpoints.destination.port()
    );
    out.extend_from_slice(line.as_bytes());
}

/// Appends a header of version 2 without additions.
pub fn write_v2(endpoints: &Endpoints, out: &mut Vec<u8>) {
    out.extend_from_slice(V2_SIGNATURE);
    match same_family(endpoints) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            out.extend_from_slice(&[0x21, 0x11, 0, 12]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
        }
        (source, destination) => {
            out.extend_from_slice(&[0x21, 0x21, 0, 36]);
            out.extend_from_slice(&as_v6(source).octets());
            out.extend_from_slice(&as_v6(destination).octets());
        }
    }
    out.extend_from_slice(&endpoints.source.port().to_be_bytes());
    out.extend_from_slice(&endpoints.destination.port().to_be_bytes());
}

/// Both addresses in the family that both fit: a header has one family for both.
fn same_family(endpoints: &Endpoints) -> (IpAddr, IpAddr) {
    let source = endpoints.source.ip().to_canonical();
    let destination = endpoints.destination.ip().to_canonical();
    if source.is_ipv4() == destination.is_ipv4() {
        (source, destination)
    } else {
        (as_v6(source).into(), as_v6(destination).into())
    }
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn endpoints(source: &str, destination: &str) -> Endpoints {
        Endpoints { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    fn complete(bytes: &[u8]) -> (usize, Option<Endpoints>) {
        match parse(bytes) {
            Ok(Parsed::Complete { consumed, endpoints }) => (consumed, endpoints),
            other => panic!("{other:?} of {bytes:?}"),
        }
    }

    #[test]
    fn version_1_is_read_up_to_its_line_end() {
        let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n";
        assert_eq!(complete(header), (45, Some(endpoints("192.0.2.7:56324", "198.51.100.1:443"))));
        let header = b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n";
        let expected = endpoints("[2001:db8::7]:56324", "[2001:db8::1]:443");
        assert_eq!(complete(header), (header.len(), Some(expected)));
    }

    #[test]
    fn ipv4_within_ipv6_is_ipv4() {
        let header = b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 56324 443\r\n";
        let expected = endpoints("192.0.2.7:56324", "198.51.100.1:443");
        assert_eq!(complete(header), (header.len(), Some(expected)));
        let mut header = Vec::from(*b"\r\n\r\n\0\r\nQUIT\n\x21\x21\x00\x24");
        for address in ["::ffff:192.0.2.7", "::ffff:198.51.100.1"] {
            header.extend(address.parse::<Ipv6Addr>().unwrap().octets());
        }
        header.extend([56324_u16.to_be_bytes(), 443_u16.to_be_bytes()].concat());
        assert_eq!(complete(&header), (header.len(), Some(expected)));
    }

    #[test]
    fn unknown_and_local_leave_the_connections_own_addresses() {
        assert_eq!(complete(b"PROXY UNKNOWN\r\n"), (15, None));
        assert_eq!(complete(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nG"), (35, None));
        assert_eq!(complete(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00GET"), (16, None));
    }

    #[test]
    fn version_2_skips_its_additions() {
        let mut header = Vec::new();
        let expected = endpoints("192.0.2.7:56324", "198.51.100.1:443");
        write_v2(&expected, &mut header);
        header[15] += 5;
        header.extend_from_slice(&[0x04, 0, 2, 0, 0]);
        header.extend_from_slice(b"GET / HTTP/1.1\r\n");
        assert_eq!(complete(&header), (33, Some(expected)));
    }

    #[test]
    fn anything_else_is_refused() {
        let mut other_version = b"\r\n\r\n\0\r\nQUIT\n\x11\x11\x00\x0c".to_vec();
        other_version.extend_from_slice(&[0; 12]);
        for bytes in [
            b"GET / HTTP/1.1\r\n".as_slice(),
            b"\x16\x03\x01",
            b"PROXY  TCP4 192.0.2.7 198.51.100.1 56324 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 1\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 056324 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 +5 443\r\n",
            b"PROXY TCP4 2001:db8::7 198.51.100.1 1 443\r\n",
            b"PROXY TCP6 192.0.2.7 198.51.100.1 1 443\r\n",
            b"PROXY UDP4 192.0.2.7 198.51.100.1 1 443\r\n",
            &other_version,
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x04\0\0\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x12\x00\x0c\0\0\0\0\0\0\0\0\0\0\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x22\x11\x00\x00",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            &[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 107]].concat(),
        ] {
            assert!(parse(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    fn any_endpoints() -> impl Strategy<Value = Endpoints> {
        let v4 = (any::<(u32, u16)>(), any::<(u32, u16)>()).prop_map(|((a, p), (b, q))| Endpoints {
            source: SocketAddr::new(Ipv4Addr::from(a).into(), p),
            destination: SocketAddr::new(Ipv4Addr::from(b).into(), q),
        });
        let v6 = (any::<(u64, u16)>(), any::<(u64, u16)>()).prop_map(|((a, p), (b, q))| Endpoints {
            source: SocketAddr::new(Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(a)).into(), p),
            destination: SocketAddr::new(Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(b)).into(), q),
        });
        prop_oneof![v4, v6]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_every_part_of_it_is_incomplete(expected in any_endpoints(), v1: bool) {
            let mut header = Vec::new();
            if v1 { write_v1(&expected, &mut header) } else { write_v2(&expected, &mut header) }
            prop_assert_eq!(complete(&header), (header.len(), Some(expected)));
            for length in 0..header.len() {
                prop_assert_eq!(parse(&header[..length]), Ok(Parsed::Incomplete));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), v2: bool) {
            let _ = parse(&bytes);
            let mut with_signature = if v2 { V2_SIGNATURE.to_vec() } else { b"PROXY TCP4 ".to_vec() };
            with_signature.extend_from_slice(&bytes);
            let _ = parse(&with_signature);
        }
    }
}

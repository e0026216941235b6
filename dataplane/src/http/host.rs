//! The Host field and the authority of an absolute target (RFC 9110 section 7.2, RFC 3986 section 3.2).

use std::net::Ipv6Addr;

/// Whether `host` is a name, an IPv4 address or an IPv6 address in brackets, with an optional port of 1 to 65535. The port
/// may be left out behind its colon, too (RFC 3986 section 3.2.3).
///
/// Names are what RFC 3986 calls `reg-name`, without the comma: lists of hosts are how caches are poisoned. Userinfo,
/// spaces and slashes are refused.
pub fn is_valid_host(host: &[u8]) -> bool {
    let name = host_without_port(host);
    let port = &host[name.len()..];
    is_valid_name(name) && (port.len() <= 1 || is_valid_port(&port[1..]))
}

/// The host without `:port`. An IPv6 address keeps its brackets.
pub fn host_without_port(host: &[u8]) -> &[u8] {
    let port_search_start = match host {
        [b'[', ..] => memchr::memchr(b']', host).unwrap_or(0),
        _ => 0,
    };
    match memchr::memchr(b':', &host[port_search_start..]) {
        // A bracket that never closes is no address: the search runs from its start, and the name is refused.
        Some(colon) => &host[..port_search_start + colon],
        None => host,
    }
}

/// Whether two valid hosts are the same one: names in any case, and the port that a scheme has by default (RFC 9110
/// sections 4.2.1 and 4.2.2) may be left out of either.
pub(super) fn are_same_host<'a>(one: &'a [u8], other: &'a [u8], is_https: bool) -> bool {
    let default_port: &[u8] = if is_https { b"443" } else { b"80" };
    let parts = |host: &'a [u8]| {
        let name = host_without_port(host);
        let port = host.get(name.len() + 1..).filter(|port| !port.is_empty());
        (name, port.unwrap_or(default_port))
    };
    let ((name, port), (other_name, other_port)) = (parts(one), parts(other));
    name.eq_ignore_ascii_case(other_name) && port == other_port
}

/// Bytes that stand for themselves in a name; `%` must be followed by two hex digits and is looked at apart.
const NAME_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~!$&'()*+;=";
    let mut index = 0;
    while index < others.len() {
        table[others[index] as usize] = true;
        index += 1;
    }
    table
};

fn is_valid_name(name: &[u8]) -> bool {
    match name {
        [] => false,
        [b'[', address @ .., b']'] => {
            str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
        }
        _ => name.iter().all(|byte| NAME_BYTES[usize::from(*byte)]) || is_valid_encoded_name(name),
    }
}

fn is_valid_encoded_name(name: &[u8]) -> bool {
    let mut rest = name.iter();
    while let Some(byte) = rest.next() {
        let legal = match byte {
            b'%' => {
                rest.next().is_some_and(u8::is_ascii_hexdigit)
                    && rest.next().is_some_and(u8::is_ascii_hexdigit)
            }
            byte => NAME_BYTES[usize::from(*byte)],
        };
        if !legal {
            return false;
        }
    }
    true
}

fn is_valid_port(port: &[u8]) -> bool {
    let digits = (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit);
    // Five digits can't overflow.
    digits
        && (1..=65535)
            .contains(&port.iter().fold(0_u32, |number, digit| number * 10 + u32::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_pass() {
        for host in [
            "a",
            "a.example",
            "A.Example:8080",
            "under_score.example",
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]",
            "[2001:db8::1]:443",
            "[::ffff:1.2.3.4]",
            "a.example:65535",
            "xn--bcher-kva.example",
            "caf%C3%A9.example",
            "trailing.dot.",
            "it's.example",
            "a:",
            "[::1]:",
        ] {
            assert!(is_valid_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn hosts_that_fail() {
        for host in [
            "",
            ":80",
            "a b",
            "a,b",
            "a/b",
            "user@a",
            ":",
            "a::",
            "a:0",
            "a:65536",
            "a:999999999999999999999",
            "a:8x",
            "a:80:80",
            "[::1",
            "[::1]x",
            "[::1]80",
            "[]",
            "[::1]::",
            "[v1.x]",
            "[fe80::1%25eth0]",
            "::1",
            "a%2",
            "a%zz",
            "a?b",
            "a#b",
            "a\\b",
            "caf\u{e9}",
            "a\"",
            "<a>",
            "a\t",
        ] {
            assert!(!is_valid_host(host.as_bytes()), "{host}");
        }
    }

    #[test]
    fn ports_are_cut_off() {
        for (host, name) in
            [("a.example:80", "a.example"), ("a", "a"), ("[::1]:8443", "[::1]"), ("[::1]", "[::1]"), ("", "")]
        {
            assert_eq!(host_without_port(host.as_bytes()), name.as_bytes());
        }
    }
    #[test]
    fn the_default_port_may_be_left_out() {
        for (one, other, is_https, same) in [
            ("a.example", "A.Example", false, true),
            ("a", "a:80", false, true),
            ("a:", "a:80", false, true),
            ("a:", "a", false, true),
            ("a:", "a:8080", false, false),
            ("a:443", "a", true, true),
            ("[::1]", "[::1]:80", false, true),
            ("a", "a:80", true, false),
            ("a", "a:443", false, false),
            ("a:80", "a:81", false, false),
            ("a", "b", false, false),
            ("[::1]", "[::2]", false, false),
            ("a80", "a:80", false, false),
        ] {
            assert_eq!(are_same_host(one.as_bytes(), other.as_bytes(), is_https), same, "{one} {other}");
            assert_eq!(are_same_host(other.as_bytes(), one.as_bytes(), is_https), same, "{other} {one}");
        }
    }
}

//! From the Host value to the server: exact names over wildcards, the longest wildcard over shorter ones.

use crate::bytes;
use crate::names::{NONE, Names};

/// Which server answers which name.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    exact: Names,
    /// By what follows `*.`.
    wildcard: Names,
    /// The fewest and the most labels that a wildcard's suffix has: others needn't be looked up.
    wildcard_labels: (usize, usize),
    /// Answers all other names.
    default: u32,
}

impl Hosts {
    /// `patterns` are valid and unique (see [`pattern`]).
    pub(crate) fn new(patterns: impl IntoIterator<Item = (String, u32)>, default: u32) -> Self {
        let mut hosts = Self { default, ..Self::default() };
        for (pattern, server) in patterns {
            if let Some(suffix) = pattern.strip_prefix("*.") {
                let labels = suffix.split('.').count();
                let (fewest, most) = hosts.wildcard_labels;
                let fewest = if hosts.wildcard.is_empty() { labels } else { fewest.min(labels) };
                hosts.wildcard_labels = (fewest, most.max(labels));
                hosts.wildcard.insert(suffix.as_bytes(), server);
            } else {
                hosts.exact.insert(pattern.as_bytes(), server);
            }
        }
        hosts
    }

    /// The server that answers a name.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> u32 {
        if name.is_empty() {
            return self.default;
        }
        let server = self.exact.get(name);
        if server != NONE {
            return server;
        }
        if self.wildcard.is_empty() { self.default } else { self.find_wildcard(name) }
    }

    fn find_wildcard(&self, name: &[u8]) -> u32 {
        // from the right, so that no more suffixes are looked up than wildcards have labels, however long the name is
        let (fewest, most) = self.wildcard_labels;
        let dots = memchr::memrchr_iter(b'.', name).take(most).skip(fewest - 1);
        let longest_last =
            dots.map(|dot| self.wildcard.get(&name[dot + 1..])).filter(|&server| server != NONE);
        longest_last.last().unwrap_or(self.default)
    }
}

/// A Host value in lower case and without the dot of the root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host<'a> {
    /// With the port, if there is one.
    pub(crate) value: &'a [u8],
    /// What `value` starts with: all before the port.
    pub(crate) name: &'a [u8],
}

impl<'a> Host<'a> {
    /// Reads a Host value as received; `buffer` is used if it isn't in that form yet.
    #[inline]
    pub(crate) fn read(received: &'a [u8], buffer: &'a mut Vec<u8>) -> Self {
        let (mut behind_last_colon, mut capitals) = (0, 0);
        bytes::for_each_block(received, |at, block| {
            let colons = block.equal(b':');
            if colons != 0 {
                behind_last_colon = at + 64 - colons.leading_zeros() as usize;
            }
            capitals |= block.capitals();
        });
        let mut name_length = if received.first() == Some(&b'[') {
            memchr::memchr(b']', received).map_or(received.len(), |end| end + 1)
        } else {
            behind_last_colon.checked_sub(1).unwrap_or(received.len())
        };
        let has_root = received[..name_length].last() == Some(&b'.');
        let mut value = received;
        if capitals != 0 || has_root {
            bytes::write_lower(received, buffer);
            if has_root {
                name_length -= 1;
                buffer.remove(name_length);
            }
            value = buffer;
        }
        Self { value, name: &value[..name_length] }
    }

    /// Whether the value has a port.
    pub(crate) const fn has_port(&self) -> bool {
        self.name.len() < self.value.len()
    }
}

/// The form in which a server's host pattern is compared, or what is wrong with it.
pub(crate) fn pattern(host: &str) -> Result<String, &'static str> {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let name = host.strip_prefix("*.").unwrap_or(&host);
    if name.starts_with('[') && name.ends_with(']') {
        return if name.len() == host.len() { Ok(host) } else { Err("a wildcard before an address") };
    }
    if name.contains(':') {
        return Err("a port or scheme in a host name");
    }
    if name.contains('*') {
        return Err("a `*` elsewhere than as the first label");
    }
    if name.is_empty() || name.split('.').any(str::is_empty) {
        return Err("an empty label in a host name");
    }
    if name.bytes().any(|byte| byte <= b' ' || byte >= 0x7f || b"/\\?#@,".contains(&byte)) {
        return Err("a character that no host name has (write international names as xn--)");
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        let patterns = ["a.example", "*.example", "*.b.example", "x.b.example", "[::1]", "10.0.0.1"];
        Hosts::new((0..).zip(patterns).map(|(server, host)| (pattern(host).unwrap(), server)), 99)
    }

    #[test]
    fn exact_over_longest_wildcard_over_default() {
        let table = [
            ("a.example", 0),
            ("A.Example:8080", 0),
            ("a.example.", 0),
            ("a.example.:80", 0),
            ("c.example", 1),
            ("d.c.example", 1),
            ("b.example", 1),
            ("c.b.example", 2),
            ("d.c.b.example", 2),
            ("x.b.example", 3),
            ("example", 99),
            (".example", 1),
            ("[::1]", 4),
            ("[::1]:443", 4),
            ("10.0.0.1:80", 5),
            ("", 99),
            (":80", 99),
            ("xexample", 99),
        ];
        let hosts = hosts();
        for (host, server) in table {
            let mut buffer = b"left over".to_vec();
            assert_eq!(hosts.find(Host::read(host.as_bytes(), &mut buffer).name), server, "{host}");
        }
    }

    #[test]
    fn a_host_is_its_name_and_maybe_a_port() {
        let table = [
            ("", "", ""),
            ("A", "a", "a"),
            ("a.example.", "a.example", "a.example"),
            ("Shop.Example.Org:8080", "shop.example.org:8080", "shop.example.org"),
            ("shop.example.org.:80", "shop.example.org:80", "shop.example.org"),
            ("a:", "a:", "a"),
            (":80", ":80", ""),
            (".", "", ""),
            ("[::A]", "[::a]", "[::a]"),
            ("[::A]:1", "[::a]:1", "[::a]"),
            ("[::a", "[::a", "[::a"),
            ("a:1:2", "a:1:2", "a:1"),
        ];
        for (received, value, name) in table {
            let mut buffer = b"left over".to_vec();
            let host = Host::read(received.as_bytes(), &mut buffer);
            assert_eq!((host.value, host.name), (value.as_bytes(), name.as_bytes()), "{received}");
            assert_eq!(host.has_port(), value != name, "{received}");
        }
    }

    #[test]
    fn odd_patterns_are_refused() {
        for host in
            ["", "a:80", "*", "*.", "a.*", "*a.example", "a..b", "http://a", "a b", "ä.example", "*.[::1]"]
        {
            assert!(pattern(host).is_err(), "{host}");
        }
        assert_eq!(pattern("*.A.example."), Ok("*.a.example".into()));
    }
}

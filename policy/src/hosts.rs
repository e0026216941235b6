//! From the Host value to the server: exact names over wildcards, the longest wildcard over shorter ones.

use std::collections::HashMap;

/// Which server answers which name.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    exact: HashMap<Box<[u8]>, u32, ahash::RandomState>,
    /// By what follows `*.`.
    wildcard: HashMap<Box<[u8]>, u32, ahash::RandomState>,
    /// The most labels that a wildcard's suffix has: longer suffixes of a Host value needn't be looked up.
    wildcard_labels: usize,
    /// Answers all other names.
    default: u32,
}

impl Hosts {
    /// `patterns` are valid and unique (see [`pattern`]).
    pub(crate) fn new(patterns: impl IntoIterator<Item = (String, u32)>, default: u32) -> Self {
        let mut hosts = Self { default, ..Self::default() };
        for (pattern, server) in patterns {
            if let Some(suffix) = pattern.strip_prefix("*.") {
                hosts.wildcard_labels = hosts.wildcard_labels.max(suffix.split('.').count());
                hosts.wildcard.insert(suffix.as_bytes().into(), server);
            } else {
                hosts.exact.insert(pattern.into_bytes().into(), server);
            }
        }
        hosts
    }

    /// The server for a Host value as received; `buffer` is overwritten.
    pub(crate) fn find(&self, host: &[u8], buffer: &mut Vec<u8>) -> u32 {
        let name = bare_name(host);
        if name.is_empty() {
            return self.default;
        }
        buffer.clear();
        buffer.extend_from_slice(name);
        buffer.make_ascii_lowercase();
        if let Some(&server) = self.exact.get(buffer.as_slice()) {
            return server;
        }
        if self.wildcard_labels == 0 {
            return self.default;
        }
        // from the right, so that at most `wildcard_labels` suffixes are looked up however long the name is
        let dots = memchr::memrchr_iter(b'.', buffer).take(self.wildcard_labels);
        let longest_last = dots.filter_map(|dot| self.wildcard.get(&buffer[dot + 1..]));
        longest_last.last().copied().unwrap_or(self.default)
    }
}

/// The name without port and without the dot of the root.
fn bare_name(host: &[u8]) -> &[u8] {
    let name = if host.first() == Some(&b'[') {
        memchr::memchr(b']', host).map_or(host, |end| &host[..=end])
    } else {
        memchr::memrchr(b':', host).map_or(host, |colon| &host[..colon])
    };
    name.strip_suffix(b".").unwrap_or(name)
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
            assert_eq!(hosts.find(host.as_bytes(), &mut Vec::new()), server, "{host}");
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

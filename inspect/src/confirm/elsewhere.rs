//! Addresses of other sites that look like paths.

/// The longest name of a host (RFC 1035 section 2.3.4).
const HOST_BYTES_MAX: usize = 255;

/// Whether the whole value is an address without a scheme (`//x.example/a`, `/\x.example`), which browsers take for one of
/// another host, and that host is not of the site that the request is for.
pub(super) fn leads_there(value: &[u8], own_host: &[u8]) -> bool {
    let [b'/' | b'\\', b'/' | b'\\', rest @ ..] = value.trim_ascii() else { return false };
    let is_end = |byte: &u8| matches!(byte, b'/' | b'\\' | b'?' | b'#');
    let authority = rest.split(is_end).next().unwrap_or_default();
    let host = without_port(authority.rsplit(|byte| *byte == b'@').next().unwrap_or_default());
    is_host(host) && !rest.iter().any(u8::is_ascii_whitespace) && !is_same_site(host, without_port(own_host))
}

fn without_port(host: &[u8]) -> &[u8] {
    let digits = host.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    host[..host.len() - digits].strip_suffix(b":").unwrap_or(host)
}

/// Whether this is the name of a host with a domain, or an IPv4 address. A comment of source code is none: `//a.b();`.
fn is_host(host: &[u8]) -> bool {
    host.len() <= HOST_BYTES_MAX
        && host.contains(&b'.')
        && !host.starts_with(b".")
        && host.last().is_some_and(u8::is_ascii_alphanumeric)
        && host.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | 0x80..))
}

/// Whether two hosts have the same registered domain: their last two labels, or three where the second is one that
/// registries share out (`co.uk`, `com.cn`).
fn is_same_site(host: &[u8], own: &[u8]) -> bool {
    let mut labels = host.rsplit(|byte| *byte == b'.');
    let mut own_labels = own.rsplit(|byte| *byte == b'.');
    let mut are_same = || match (labels.next(), own_labels.next()) {
        (Some(label), Some(own_label)) if label.eq_ignore_ascii_case(own_label) => Some(label.len()),
        _ => None,
    };
    match (are_same(), are_same()) {
        (Some(2), Some(0..=3)) => are_same().is_some(),
        (Some(_), Some(_)) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::leads_there;

    #[test]
    fn addresses_of_other_sites() {
        for value in [
            "//x.example",
            "//x.example/a?b=c",
            "\\\\x.example",
            "/\\x.example/",
            " //ann@x.example:443/",
            "//shop.example@x.example/",
            "//10.0.0.1/",
        ] {
            assert!(leads_there(value.as_bytes(), b"www.shop.example"), "{value}");
        }
        assert!(leads_there(b"//x.co.uk/", b"shop.co.uk"));
    }

    #[test]
    fn paths_and_addresses_of_the_same_site() {
        for value in [
            "/a/b",
            "//",
            "//a",
            "//cdn.shop.example/a.js",
            "//SHOP.example:8443/",
            "//x.example is a host",
            "// a.b",
            "//x.run();",
            "https://x.example/",
        ] {
            assert!(!leads_there(value.as_bytes(), b"www.shop.example:8443"), "{value}");
        }
        assert!(!leads_there(b"//cdn.shop.co.uk/", b"shop.co.uk"));
    }
}

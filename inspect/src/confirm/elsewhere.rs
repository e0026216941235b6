//! Addresses of other sites that look like paths.

/// The longest name of a host (RFC 1035 section 2.3.4).
const HOST_BYTES_MAX: usize = 255;

/// Labels under which registries of countries give out names (`co.uk`, `com.cn`): the registered name has one more.
const SECOND_LEVELS: [&[u8]; 10] =
    [b"co", b"com", b"ac", b"gov", b"net", b"org", b"edu", b"ne", b"or", b"go"];

/// Ends of names of pages, none of which is a top-level domain: `//login.php` is a path with a slash too many.
const PAGE_ENDS: [&[u8]; 7] = [b"php", b"html", b"htm", b"asp", b"aspx", b"jsp", b"cfm"];

/// Whether the whole value is an address without a scheme (`//x.example/a`, `/\x.example`), which browsers take for one of
/// another host, and that host is not of the site that the request is for.
pub(super) fn leads_there(value: &[u8], own_host: &[u8]) -> bool {
    let value = value.trim_ascii();
    let [b'/' | b'\\', b'/' | b'\\', rest @ ..] = value else { return false };
    let is_end = |byte: &u8| matches!(byte, b'/' | b'\\' | b'?' | b'#');
    let authority = rest.split(is_end).next().unwrap_or_default();
    // A file that Windows shares: `\\nas.example\photos`.
    if value.starts_with(b"\\\\") && rest.get(authority.len()) == Some(&b'\\') {
        return false;
    }
    let host = bare_host(authority.rsplit(|byte| *byte == b'@').next().unwrap_or_default());
    let has_blank = authority.iter().any(u8::is_ascii_whitespace);
    !has_blank && (is_domain(host) || is_number(host)) && !is_same_site(host, bare_host(own_host))
}

/// The host without its port and without the dot of the root.
fn bare_host(host: &[u8]) -> &[u8] {
    let digits = host.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let host = host[..host.len() - digits].strip_suffix(b":").unwrap_or(host);
    host.strip_suffix(b".").unwrap_or(host)
}

/// Whether this is the name of a host with a domain, or an IPv4 address. A comment of source code is none: `//a.b();`.
fn is_domain(host: &[u8]) -> bool {
    let labels = || host.split(|byte| *byte == b'.');
    let top = labels().next_back().unwrap_or_default();
    host.len() <= HOST_BYTES_MAX
        && labels().nth(1).is_some()
        && labels().all(|label| !label.is_empty())
        && top.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii())
        && !PAGE_ENDS.iter().any(|end| top.eq_ignore_ascii_case(end))
        && host.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | 0x80..))
}

/// Whether this is an IPv4 address written as one number (WHATWG URL section 3.5), and too long to be a date.
fn is_number(host: &[u8]) -> bool {
    match host {
        [b'0', b'x' | b'X', digits @ ..] => {
            (7..=8).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit)
        }
        _ => (9..=10).contains(&host.len()) && host.iter().all(u8::is_ascii_digit),
    }
}

/// Whether two hosts have the same registered name: one of them is the other or below it, or the last two labels are the
/// same, or three where the second is one of [`SECOND_LEVELS`] of a country.
fn is_same_site(host: &[u8], own: &[u8]) -> bool {
    if is_below(host, own) || is_below(own, host) {
        return true;
    }
    let mut labels = host.rsplit(|byte| *byte == b'.');
    let mut own_labels = own.rsplit(|byte| *byte == b'.');
    let mut next_if_same = || match (labels.next(), own_labels.next()) {
        (Some(label), Some(own_label)) if label.eq_ignore_ascii_case(own_label) => Some(label),
        _ => None,
    };
    let (Some(top), Some(second)) = (next_if_same(), next_if_same()) else { return false };
    let is_address = top.iter().all(u8::is_ascii_digit);
    let is_shared_out =
        top.len() == 2 && SECOND_LEVELS.iter().any(|level| second.eq_ignore_ascii_case(level));
    !is_address && (!is_shared_out || next_if_same().is_some())
}

/// Whether `host` is `domain` or a name below it.
fn is_below(host: &[u8], domain: &[u8]) -> bool {
    let Some(start) = host.len().checked_sub(domain.len()) else { return false };
    let (before, end) = host.split_at(start);
    !domain.is_empty() && end.eq_ignore_ascii_case(domain) && (before.is_empty() || before.ends_with(b"."))
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
            "//x.example/?a b",
            "//x.example/ x",
            "//x.example./",
            "//1249723505/",
            "//0x7f000001/",
            "//a_b.x.example/",
            "\\\\x.example/",
            "//@x.example",
            "//\u{fc}.example",
        ] {
            assert!(leads_there(value.as_bytes(), b"www.shop.example"), "{value}");
        }
        assert!(leads_there(b"//x.co.uk/", b"shop.co.uk"));
        assert!(leads_there(b"//10.0.0.1/", b"192.168.0.1"));
        assert!(leads_there(b"//notgmx.de/", b"gmx.de"));
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
            "//login.php?a=b",
            "//20240501/report",
            "\\\\nas.example\\photos",
        ] {
            assert!(!leads_there(value.as_bytes(), b"www.shop.example:8443"), "{value}");
        }
        let same_sites = [
            ("//cdn.shop.co.uk/", "shop.co.uk"),
            ("//gmx.de/inbox", "gmx.de"),
            ("//gmx.de/", "www.gmx.de"),
            ("//mail.gmx.de./", "www.gmx.de"),
            ("//t.co/a", "t.co"),
            ("//www.hp.de:443/", "hp.de:443"),
            ("//10.0.0.1:8080/", "10.0.0.1"),
            ("//1249723505/", "1249723505"),
        ];
        for (value, own_host) in same_sites {
            assert!(!leads_there(value.as_bytes(), own_host.as_bytes()), "{value}");
        }
    }
}

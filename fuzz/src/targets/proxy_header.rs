//! The PROXY header: decided once and for all by a prefix.

use weir::proxy_protocol::{HEADER_BYTES_MAX, Parsed, parse};

use crate::{Random, Target};

pub(super) const PROXY_HEADER: Target = Target {
    name: "proxy_header",
    seeds: &[
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 80\r\nGET / HTTP/1.1\r\n",
        b"PROXY TCP6 2001:db8::1 2001:db8::2 1234 80\r\n",
        b"PROXY UNKNOWN whatever\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc0\0\x02\x02\x04\xd2\0\x50GET /",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb\0\x01\0\x02",
    ],
    dictionary: &[
        b"PROXY ",
        b"TCP4 ",
        b"TCP6 ",
        b"UNKNOWN",
        b"\r\n",
        b" 65535",
        b" 0",
        b"::1 ",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"\xff\xff",
    ],
    quick_cases: 60_000,
    prepare: || Box::new(check),
};

fn check(input: &[u8], _: &mut Random) {
    let mut decided = None;
    for length in 0..=input.len().min(HEADER_BYTES_MAX + 1) {
        let outcome = parse(&input[..length]);
        match (&decided, &outcome) {
            (Some(before), _) => assert_eq!(*before, outcome, "more bytes change a decision, at {length}"),
            (None, Ok(Parsed::Incomplete)) => {}
            (None, Ok(Parsed::Complete { consumed, .. })) => {
                assert!(*consumed <= length);
                decided = Some(outcome);
            }
            (None, Err(_)) => decided = Some(outcome),
        }
    }
}

//! JSON that comes over the admin API or in a batch: read, or refused with reasons.

use std::path::Path;

use weir::config::{Document, Sent};
use weir::explain::Described;

use crate::{Random, Target};

const DICTIONARY: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"null",
    b"true",
    b"-1",
    b"1e400",
    b"99999999999999999999",
    b"\\u0000",
    b"\\ud83d",
    b"\xff",
    b"\"rules\":",
    b"\"entries\":",
    b"\"id\":1,",
    b"\"type\":\"mode\",",
    b"\"when\":[",
    b"\"point\":[\"path\",0]",
    b"\"ttl\":\"1h\"",
    b"\"uri\":\"/**/a*\"",
    b"\"raw_base64\":\"R0VU\"",
];

/// An arbitrary moment that times to live count from.
const NOW_UNIX: u64 = 1_700_000_000;

pub(super) const RULES: Target = Target {
    name: "rules_document",
    seeds: &[
        b"{\"general_mode\":\"monitoring\",\"rules\":[{\"id\":2,\"type\":\"mode\",\"mode\":\"block\",\"uri\":\"/main/**\"}]}",
        b"{\"rules\":[{\"id\":7,\"type\":\"virtual_patch\",\"attack_type\":\"sqli\",\"point\":[\"query\",\"id\"],\"when\":[{\"point\":[\"header\",\"HOST\"],\"is\":\"iequal\",\"value\":\"a\"}]}]}",
        b"{\"rules\":[{\"id\":8,\"type\":\"rate_limit\",\"rate\":10,\"per\":\"1m\",\"burst\":5,\"status\":429,\"point\":\"header.x\"}]}",
    ],
    dictionary: DICTIONARY,
    quick_cases: 20_000,
    prepare: || {
        Box::new(|input, _: &mut Random| {
            let document = Document::new(Path::new("body"), String::from_utf8_lossy(input).into_owned());
            let read = document.rules();
            judge(document, read.is_some());
        })
    },
};

pub(super) const IP_LISTS: Target = Target {
    name: "ip_lists_document",
    seeds: &[
        b"{\"list\":\"deny\",\"address\":\"192.0.2.0/24\",\"applications\":[1],\"ttl\":\"1h\",\"reason\":\"scanner\"}",
        b"{\"entries\":[{\"list\":\"gray\",\"country\":\"NL\"},{\"list\":\"allow\",\"address\":\"2001:db8::/32\",\"expires\":\"2030-01-01T00:00:00Z\"}]}",
    ],
    dictionary: DICTIONARY,
    quick_cases: 20_000,
    prepare: || {
        Box::new(|input, random: &mut Random| {
            let sent = if random.below(2) == 0 { Sent::All } else { Sent::Some };
            let document = Document::new(Path::new("body"), String::from_utf8_lossy(input).into_owned());
            let read = document.entries(NOW_UNIX, sent);
            judge(document, read.is_some());
        })
    },
};

/// What can't be read has a reason, and each reason a text.
fn judge(document: Document, is_read: bool) {
    match document.finish() {
        Ok(_) => assert!(is_read, "a refusal without a reason"),
        Err(errors) => {
            assert!(!errors.is_empty(), "a refusal without a reason");
            assert!(errors.iter().all(|error| !error.to_string().is_empty()));
        }
    }
}

pub(super) const BATCH_LINE: Target = Target {
    name: "batch_line",
    seeds: &[
        b"{\"method\":\"POST\",\"url\":\"http://a.example/x?y=1\",\"client\":\"192.0.2.1\",\"headers\":[[\"A\",\"b\"]],\"body\":\"c=d\"}",
        b"{\"url\":\"/a\",\"body_base64\":\"YWJj\"}",
        b"{\"raw_base64\":\"R0VUIC8gSFRUUC8xLjENCkhvc3Q6IGENCg0K\"}",
    ],
    dictionary: DICTIONARY,
    quick_cases: 40_000,
    prepare: || {
        Box::new(|input, _: &mut Random| {
            let Ok(value) = serde_json::from_slice(input) else { return };
            if let Err(errors) = Described::from_json(&value) {
                assert!(!errors.to_string().is_empty(), "a refusal without a reason");
            }
        })
    },
};

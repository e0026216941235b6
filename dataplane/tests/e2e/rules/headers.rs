//! Headers of responses.

use super::rule;
use crate::support::message::Message;
use crate::support::origin::Origin;
use crate::support::setup::Setup;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: secret/1.0\r\nX-Powered-By: php\r\nVary: Accept\r\n\
                        X-Frame-Options: ALLOWALL\r\nContent-Length: 2\r\n\r\nok";

fn values<'a>(answer: &'a Message, name: &str) -> Vec<&'a str> {
    answer.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect()
}

#[test]
fn headers_are_set_added_and_removed() {
    let rules = [
        rule(1, "type = \"response_header\"\naction = \"set\"\nname = \"X-Frame-Options\"\nvalues = [\"DENY\"]"),
        rule(2, "type = \"response_header\"\naction = \"append\"\nname = \"vary\"\nvalues = [\"Cookie\", \"Origin\"]"),
        rule(3, "type = \"response_header\"\naction = \"delete\"\nname = \"SERVER\""),
        rule(
            4,
            "type = \"response_header\"\naction = \"set\"\nname = \"X-Frame-Options\"\nvalues = [\"SAMEORIGIN\"]\nuri = \"/embed/**\"",
        ),
    ]
    .concat();
    let origin = Origin::answering(|_| ANSWER.to_vec());
    for mode in ["monitoring", "block"] {
        let node = Setup::new(origin.address).mode(mode).rules(&rules).start();
        let answer = node.get("/");
        assert_eq!(values(&answer, "x-frame-options"), ["DENY"], "{mode}");
        assert_eq!(values(&answer, "vary"), ["Accept", "Cookie", "Origin"], "{mode}");
        assert!(!answer.has("server") && answer.has("x-powered-by"), "{mode}");
        assert_eq!(answer.body, b"ok");
        assert_eq!(
            values(&node.get("/embed/a"), "x-frame-options"),
            ["SAMEORIGIN"],
            "the more specific rule"
        );
    }
    let node = Setup::new(origin.address).mode("off").rules(&rules).start();
    assert_eq!(node.get("/").field("server"), Some("secret/1.0"), "no rule runs in mode off");
}

//! Answers of our own.

use super::*;

const BLOCKED: Answer<'static> = Answer {
    status: 403,
    reason_code: "attack",
    request_id: b"0123456789abcdef",
    accept: None,
    keep_alive: true,
    head_only: false,
};

/// Writes an answer behind other bytes and parses it: the head's lines, and the body.
fn answered(answer: &Answer<'_>) -> (String, String) {
    let mut out = b"earlier".to_vec();
    write_answer(answer, &mut out);
    let bytes = out.strip_prefix(b"earlier").unwrap();
    let (head, consumed) = parse_response(bytes, answer.head_only).unwrap();
    assert_eq!(head.status(), answer.status);
    assert_eq!(head.keep_alive(), answer.keep_alive);
    let body = &bytes[consumed..];
    if answer.head_only {
        assert_eq!(body, b"");
    } else {
        assert_eq!(head.framing(), ResponseFraming::Length(body.len() as u64));
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&bytes[..consumed]), text(body))
}

#[test]
fn a_block_is_a_page_with_the_id() {
    let (head, body) = answered(&BLOCKED);
    assert!(
        head.starts_with("HTTP/1.1 403 Forbidden\r\nContent-Type: text/html; charset=utf-8\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nCache-Control: no-store\r\n"));
    assert!(head.contains("\r\nX-Request-Id: 0123456789abcdef\r\n"));
    assert!(!head.contains("Connection"));
    assert!(body.contains("attack") && body.contains("0123456789abcdef") && body.ends_with("</html>\n"));
}

#[test]
fn json_is_valid() {
    let answer = Answer { accept: Some(b"application/json"), status: 502, reason_code: "a\"\\\n", ..BLOCKED };
    let (head, body) = answered(&answer);
    assert!(head.contains("Content-Type: application/json\r\n"));
    let value: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(value["status"], 502);
    assert_eq!(value["error"], "Bad Gateway");
    assert_eq!(value["reason"], "a\"\\?");
    assert_eq!(value["request_id"], "0123456789abcdef");
}

#[test]
fn accept_chooses_the_form() {
    for (accept, json) in [
        ("*/*", false),
        ("", false),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false),
        ("application/json", true),
        ("APPLICATION/JSON; charset=utf-8", true),
        ("application/json, text/plain, */*", true),
        ("application/problem+json", true),
        ("application/json, text/html", false),
        ("application/json;q=0.5, text/html;q=0.9", false),
        ("application/json;q=0.9, text/html;q=0.5", true),
        ("application/json;q=0, */*", false),
        ("text/html;q=0, */*", true),
        ("application/*", true),
        ("image/png", false),
        ("application/json;q=huge", false),
    ] {
        let (head, _) = answered(&Answer { accept: Some(accept.as_bytes()), ..BLOCKED });
        assert_eq!(head.contains("application/json"), json, "{accept}");
    }
}

#[test]
fn values_cannot_leave_their_place() {
    let answer = Answer {
        request_id: b"x\r\nSet-Cookie: a=b<script>\xff",
        reason_code: "<b onclick='x'>&\"",
        keep_alive: false,
        ..BLOCKED
    };
    let (head, body) = answered(&answer);
    assert!(
        head.contains("\r\nX-Request-Id: x??Set-Cookie:?a=b<script>?\r\nConnection: close\r\n"),
        "{head}"
    );
    assert!(!body.contains("<script>") && !body.contains("<b "), "{body}");
    assert!(body.contains("&lt;b onclick=&#39;x&#39;&gt;&amp;&quot;"));
}

#[test]
fn head_gets_the_head_of_the_same_answer() {
    let (whole, _) = answered(&BLOCKED);
    let (head, _) = answered(&Answer { head_only: true, ..BLOCKED });
    assert_eq!(head, whole);
}

#[test]
fn every_refusal_has_a_phrase_of_its_own() {
    let mut phrases = Vec::new();
    for status in [400, 403, 405, 408, 413, 414, 417, 421, 429, 431, 500, 501, 502, 503, 504, 505] {
        let (head, _) = answered(&Answer { status, ..BLOCKED });
        assert_eq!(head.contains("Allow: "), status == 405);
        phrases.push(head.lines().next().unwrap()["HTTP/1.1 400 ".len()..].to_owned());
    }
    let count = phrases.len();
    phrases.sort();
    phrases.dedup();
    assert_eq!(phrases.len(), count);
}

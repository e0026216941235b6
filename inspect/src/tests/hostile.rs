//! Anything at all as input: no panic, bounded work, the same answer each time.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{EMPTY, engine};
use crate::reading;
use crate::{Inspector, OverLimit, RequestView};

/// Pieces that decoders and patterns react to.
const PIECES: &[&str] = &[
    "%",
    "%25",
    "%3c",
    "%u003c",
    "&",
    "=",
    "+",
    ";",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "\\",
    "\\u00",
    "\\ud83d",
    "<script>",
    "onerror=",
    "union select ",
    "/*",
    "*/",
    "--",
    "../",
    "..\\",
    "${jndi:",
    "$(",
    "`",
    "|",
    "cat /etc/passwd",
    "\0",
    "\n",
    "javascript:",
    "&#x3c;",
    "&lt;",
    "PHNjcmlwdD4",
    "--boundary\r\n",
    "Content-Disposition: form-data; name=\"a\"",
    "\r\n\r\n",
    "<a b=\"",
    "<![CDATA[",
    "sleep(",
    ")",
    "0",
    "1",
    "a",
    " or ",
    "<!ENTITY",
    "\u{e9}",
    "\u{ff1c}",
    "3c7363726970743e",
    "eyJhIjoiYiJ9.",
    "s:3:\"abc\";",
    "{a(b:\"c\")}",
    "{a{...F",
    "fragment F on T {",
    "+ADw-",
    "=3D\r\n",
    "`id`",
    "from \"../../",
];

fn text() -> impl Strategy<Value = Vec<u8>> {
    let pieces = vec(0..PIECES.len(), 0..40)
        .prop_map(|indexes| indexes.iter().map(|index| PIECES[*index]).collect::<String>().into_bytes());
    prop_oneof![pieces, vec(any::<u8>(), 0..400)]
}

fn content_type() -> impl Strategy<Value = &'static [u8]> {
    prop_oneof![
        Just(&b"application/json"[..]),
        Just(&b"application/x-www-form-urlencoded"[..]),
        Just(&b"multipart/form-data; boundary=boundary"[..]),
        Just(&b"text/plain"[..]),
        Just(&b""[..]),
    ]
}

/// What a report says, for comparison.
fn outcome(inspector: &mut Inspector, request: &RequestView<'_>) -> String {
    let report = inspector.inspect(engine(), request);
    format!("{report:?}")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_request_has_one_outcome(
        path in text(), query in text(), name in text(), value in text(), cookie in text(), referer in text(),
        content_type in content_type(), body in text(), body_complete in any::<bool>(),
    ) {
        let headers: [(&[u8], &[u8]); 4] =
            [(&name, &value), (b"cookie", &cookie), (b"referer", &referer), (b"content-type", content_type)];
        let request = RequestView {
            method: b"POST", path: &path, query: Some(&query), headers: &headers, body: &body, body_complete,
        };
        let mut used = engine().inspector().unwrap();
        let first = outcome(&mut used, &request);
        outcome(&mut used, &RequestView { query: Some(b"a=%3Cscript%3E"), ..EMPTY });
        prop_assert_eq!(outcome(&mut used, &request), first);
    }
}

/// Work for `count` repetitions of a piece in a query value and in a body: matches, confirmed bytes, decoded bytes.
fn work_of(piece: &str, count: usize) -> (usize, usize, usize) {
    let text = piece.repeat(count);
    let query = format!("q={text}");
    let mut inspector = engine().inspector().unwrap();
    inspector
        .inspect(engine(), &RequestView { query: Some(query.as_bytes()), body: text.as_bytes(), ..EMPTY });
    let (work, decoded_bytes) = inspector.work();
    (work.matches, work.confirmed_bytes, decoded_bytes)
}

#[test]
fn work_grows_with_the_input_and_not_faster() {
    for piece in PIECES {
        let (matches, confirmed, decoded) = work_of(piece, 200);
        let (matches_8, confirmed_8, decoded_8) = work_of(piece, 1600);
        // Twice linear growth leaves room for what a short input does not reach.
        assert!(matches_8 <= 16 * matches.max(100), "{piece:?}: {matches} matches, then {matches_8}");
        assert!(
            confirmed_8 <= 16 * confirmed.max(10_000),
            "{piece:?}: {confirmed} bytes confirmed, then {confirmed_8}"
        );
        assert!(decoded_8 <= 16 * decoded.max(1_000), "{piece:?}: {decoded} bytes decoded, then {decoded_8}");
    }
}

#[test]
fn a_caller_whose_time_is_up_gets_what_was_found_so_far_and_is_told() {
    let engine = engine();
    let mut inspector = engine.inspector().unwrap();
    let query = b"a=1%27%20UNION%20SELECT%20password%20FROM%20users--&b=%3Cscript%3Ealert(1)%3C/script%3E";
    let request = RequestView { query: Some(query), ..EMPTY };
    let whole = inspector.inspect_within(engine, &request, &mut || false);
    assert_eq!(whole.over_limit, None);
    let all = whole.findings.len();
    assert!(all >= 2);

    let at_once = inspector.inspect_within(engine, &request, &mut || true);
    assert_eq!((at_once.findings.len(), at_once.over_limit), (0, Some(OverLimit::Time)));

    // Asked once before the scan and once before each closer look: time for exactly one of these.
    let mut asked = 0;
    let part = inspector.inspect_within(engine, &request, &mut || {
        asked += 1;
        asked > 2
    });
    assert_eq!(part.over_limit, Some(OverLimit::Time));
    assert!(part.findings.len() < all);
    // Nothing of the cut request sticks to the next one.
    let again = inspector.inspect(engine, &request);
    assert_eq!((again.findings.len(), again.over_limit), (all, None));
}

#[test]
fn the_time_is_asked_for_within_long_stages() {
    let times_asked = |query: &str| {
        let mut asked = 0;
        let request = RequestView { query: Some(query.as_bytes()), ..EMPTY };
        let mut inspector = engine().inspector().unwrap();
        inspector.inspect_within(engine(), &request, &mut || {
            asked += 1;
            false
        });
        let (work, _) = inspector.work();
        (asked, work.matches, work.confirmations)
    };
    assert_eq!(times_asked("a=1").0, 1);
    let (asked, ..) = times_asked(&"a=1&".repeat(5_000));
    assert!(asked > 8, "{asked}: while values are decoded");
    let (asked, matches, confirmations) = times_asked(&format!("a={}", "<script>".repeat(5_000)));
    assert!(asked >= 1 + confirmations + matches / 1024 && matches > 4_000, "{asked}, {matches}");
}

/// What bodies may begin with, so that what follows is read by another reader.
const BEGINNINGS: &[&str] = &["[", "{\"a\":", "a=", "<a>"];

/// What readers of JSON, forms and XML part things by, alone and with something between.
const SEPARATORS: &[&str] = &[
    "1;", "1#", "1//", "1/*", "1 ", "a;", "a=;", "a:", "x,", "[", "{", "{\"a\":", "\"\\\"", "'", "a=&",
    "a=1;b=2&", "%", "%25", "&a;", "&#x3c;", "<", "</a>", "<a ", "<!--", "(", "../", " or ", "'or", "`id`",
    ";id",
];

/// The bytes that are read of a body, and those that are kept.
fn bytes_read(body: &str) -> (usize, usize) {
    let mut inspector = engine().inspector().unwrap();
    reading::take();
    inspector.inspect(engine(), &RequestView { body: body.as_bytes(), ..EMPTY });
    let (_, kept_bytes) = inspector.work();
    (reading::take(), kept_bytes)
}

#[test]
fn boundaries_are_read_only_so_far() {
    let read = |count: usize| {
        let content_type = format!("multipart/form-data; {}", "boundary=".repeat(count));
        let headers: [(&[u8], &[u8]); 1] = [(b"content-type", content_type.as_bytes())];
        reading::take();
        let request = RequestView { headers: &headers, body: b"--a\r\n", ..EMPTY };
        engine().inspector().unwrap().inspect(engine(), &request);
        reading::take()
    };
    let (few, many) = (read(400), read(3200));
    assert!(many <= 16 * few, "{few} bytes read, then {many}");
}

#[test]
fn what_is_read_grows_with_the_input_and_not_faster() {
    for beginning in BEGINNINGS {
        for separator in SEPARATORS {
            let body = |bytes: usize| format!("{beginning}{}", separator.repeat(bytes / separator.len()));
            let ((read, kept), (read_8, kept_8)) = (bytes_read(&body(1 << 10)), bytes_read(&body(8 << 10)));
            let what = format!("{beginning:?} and many of {separator:?}");
            assert!(read_8 <= 16 * read.max(4 << 10), "{what}: {read} bytes read, then {read_8}");
            assert!(kept_8 <= 16 * kept.max(1 << 10), "{what}: {kept} bytes kept, then {kept_8}");
        }
    }
}

#[test]
fn names_of_character_sets_are_read_only_so_far() {
    for piece in ["encoding=utf", "charset=utf", "encoding= ", "charset*=utf'"] {
        let read = |count: usize| {
            let body = format!("<?xml {}", piece.repeat(count));
            let headers: [(&[u8], &[u8]); 1] = [(b"content-type", body.as_bytes())];
            reading::take();
            let request = RequestView { headers: &headers, body: body.as_bytes(), ..EMPTY };
            engine().inspector().unwrap().inspect(engine(), &request);
            reading::take()
        };
        let (few, many) = (read(400), read(3200));
        assert!(many <= 16 * few, "{piece:?}: {few} bytes read, then {many}");
    }
}

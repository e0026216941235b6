//! Query, cookies and other header fields as inspection takes them apart: no panic, and the same answer twice.

use weir_inspect::{Engine, Inspector, RequestView};

use super::bodies;
use crate::{Random, Target};

pub(super) const VALUES: Target = Target {
    name: "request_values",
    // A line each: path, query, cookies, another field.
    seeds: &[
        b"/a/b\nq=1' or 1=1--&x[]=%3cscript%3e&a.b=c\nsid=abc; theme=\"dark\"; $Path=/\nMozilla/5.0 (X11; Linux)",
        b"/a;b=c/%2e%2e/x.php\nq=eyJhIjoiYiJ9&q=%2527\na=%22b%22;c;=d\n() { :; }; /bin/id",
        b"/\n?&&==&a\n\nBearer eyJhbGciOiJub25lIn0.eyJzdWIiOiInIG9yIDE9MSJ9.",
    ],
    dictionary: &[
        b"&", b"=", b";", b"; ", b"%", b"%25", b"%u0027", b"+", b"[", b"]", b"\"", b"\\", b"\n", b"' or 1=1--", b"<script>", b"../", b"$",
        b",", b"PHNjcmlwdD4=", b"{\"a\":\"b\"}",
    ],
    quick_cases: 1500,
    prepare: || {
        let engine = bodies::engine();
        let mut inspector = engine.inspector().expect("memory for an inspector");
        Box::new(move |input, random| check(&engine, &mut inspector, input, random))
    },
};

fn check(engine: &Engine, inspector: &mut Inspector, input: &[u8], random: &mut Random) {
    let mut lines = input.splitn(4, |byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (path, query, cookies, field) = (line(), line(), line(), line());
    let headers: [(&[u8], &[u8]); 4] =
        [(b"Host", b"a"), (b"Cookie", cookies), (b"User-Agent", field), (b"Authorization", field)];
    let query = (random.below(8) > 0).then_some(query);
    let request =
        RequestView { method: b"GET", path, query, headers: &headers, body: b"", body_complete: true };
    let first = format!("{:?}", inspector.inspect(engine, &request));
    inspector.inspect(engine, &RequestView { query: None, headers: &headers[..2], ..request });
    assert_eq!(format!("{:?}", inspector.inspect(engine, &request)), first, "something is left over");
}

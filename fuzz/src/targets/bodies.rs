//! Bodies as inspection takes them apart: no panic, and the same answer twice.

use weir_inspect::{Engine, EngineOptions, GraphqlLimits, Inspector, Pack, RequestView};

use crate::{Check, Random, Target};

/// Cases of a quick run; a body takes much longer than a head.
const QUICK_CASES: u64 = 1500;

pub(super) const FORM: Target = Target {
    name: "form_body",
    seeds: &[b"a=b&c=%27+or+1%3d1&d[]=e&f=%25%32%37", b"q=eyJhIjoiYiJ9&x=PHNjcmlwdD4=", b"a=1;b=2&=&&&"],
    dictionary: &[b"&", b"=", b"%", b"%25", b"+", b"[", b"]", b"' or 1=1--", b"<script>", b"../", b"%u0027"],
    quick_cases: QUICK_CASES,
    prepare: || checker(&[(b"Content-Type", b"application/x-www-form-urlencoded")]),
};

pub(super) const MULTIPART: Target = Target {
    name: "multipart_body",
    seeds: &[
        b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n' union select 1--\r\n--b\r\nContent-Disposition: form-data; \
          name=\"f\"; filename=\"x.php\"\r\nContent-Type: text/xml\r\n\r\n<a>b</a>\r\n--b--\r\n",
        b"--b\nContent-Disposition: form-data; name=a; filename*=utf-8''x\n\n1\n--b--",
    ],
    dictionary: &[
        b"--b", b"--b--", b"\r\n", b"\r\n\r\n", b"Content-Disposition: form-data; name=\"", b"filename=\"", b"\"", b";",
        b"Content-Type: application/json\r\n", b"Content-Transfer-Encoding: base64\r\n", b"\\",
    ],
    quick_cases: QUICK_CASES,
    prepare: || checker(&[(b"Content-Type", b"multipart/form-data; boundary=b")]),
};

pub(super) const JSON: Target = Target {
    name: "json_body",
    seeds: &[
        b"{\"a\":{\"b\":[1,2,\"<script>alert(1)</script>\",null,true,-1.5e3]},\"c\":\"\\u0027 or 1=1\"}",
        b"[[[[[[\"a\"]]]]]]",
        b"{\"q\":\"{\\\"nested\\\":\\\"eyJhIjoxfQ==\\\"}\"}",
    ],
    dictionary: &[
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b":",
        b",",
        b"\\u0000",
        b"\\ud83d",
        b"\\",
        b"null",
        b"1e999",
        b"[[[[[[[[",
    ],
    quick_cases: QUICK_CASES,
    prepare: || checker(&[(b"Content-Type", b"application/json")]),
};

pub(super) const XML: Target = Target {
    name: "xml_body",
    seeds: &[
        b"<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a b=\"c\">&x;<![CDATA[d]]></a>",
        b"<a><b>' union select 1--</b><c d='e'/></a>",
    ],
    dictionary: &[
        b"<", b">", b"</", b"/>", b"<![CDATA[", b"]]>", b"<!--", b"-->", b"<!ENTITY a \"b\">", b"&a;", b"&#x41;", b"<?", b"?>",
        b"<!DOCTYPE a [",
    ],
    quick_cases: QUICK_CASES,
    prepare: || checker(&[(b"Content-Type", b"text/xml")]),
};

pub(super) const GRAPHQL: Target = Target {
    name: "graphql_body",
    seeds: &[
        b"{\"query\":\"query Q($a:ID!){user(id:$a){...F posts(first:10){title}}} fragment F on User{name}\",\"variables\":{\"a\":\"' or 1=1--\"}}",
        b"[{\"query\":\"{a:__typename b:__schema{types{name}}}\"},{\"query\":\"mutation{set(v:\\\"<script>\\\"){ok}}\"}]",
        b"{\"query\":\"{f(a:[1,-2.5e3,true,null,E,{b:$c}],d:\\\"\\\"\\\"block\\\"\\\"\\\")@include(if:true)}\",\"debug\":1}",
    ],
    dictionary: &[
        b"{", b"}", b"(", b")", b"[", b"]", b"\\\"", b"\\\"\\\"\\\"", b"...", b"fragment A on B{...A}", b"__schema", b"a:b ", b"$", b"@skip(if:1)",
        b"#", b",", b"query ", b"subscription{", b"\\u007b",
    ],
    quick_cases: QUICK_CASES,
    prepare: || checker(&[(b"Content-Type", b"application/json")]),
};

pub(super) const COMPRESSED: Target = Target {
    name: "compressed_body",
    // A form, compressed with gzip: whole, cut off, and twice.
    seeds: &[
        FORM_GZIP,
        b"\x1f\x8b\x08\x04\0\0\0\0\0\x03\x02\0ab\x4b\x04\0",
        b"\x1f\x8b\x08\x00\0\0\0\0\0\xff\x01\x03\0\xfc\xffa=b",
    ],
    dictionary: &[
        FORM_GZIP,
        b"\x1f\x8b\x08",
        b"\x01\x03\0\xfc\xff",
        b"\x78\x9c",
        b"\0\0\xff\xff",
        b"\xff\xff\xff\xff",
    ],
    quick_cases: QUICK_CASES,
    prepare: || {
        checker(&[(b"Content-Type", b"application/x-www-form-urlencoded"), (b"Content-Encoding", b"gzip")])
    },
};

/// `a=%27+or+1%3d1--&b=c`.
const FORM_GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\x4b\xb4\x55\x35\x32\xd7\xce\x2f\xd2\x36\x54\x35\x4e\x31\xd4\xd5\x55\x4b\xb2\x4d\x06\x00\x25\x0d\x18\xdf\x14\x00\x00\x00";

pub(super) const UTF_7: Target = Target {
    name: "utf_7_body",
    seeds: &[
        b"a=+ADw-script+AD4-alert(1)+ADw-/script+AD4-&b=1+-1",
        b"q=+ACc- or 1=1+AC0ALQ",
        b"a=+2D3eAA-&b=+AGE",
    ],
    dictionary: &[
        b"+", b"-", b"+-", b"+ADw-", b"+AC", b"AAAA", b"+2D3", b"&", b"=", b"%2B", b"/", b"+AAAAAA",
    ],
    quick_cases: QUICK_CASES,
    prepare: || checker(&[(b"Content-Type", b"application/x-www-form-urlencoded; charset=utf-7")]),
};

/// An engine with few signatures: how requests are taken apart doesn't depend on them, and few compile fast. GraphQL has limits.
pub(super) fn engine() -> Engine {
    let mut number = 0;
    let pack = Pack::embedded().retain(|_| {
        number += 1;
        number % 16 == 0
    });
    let options = EngineOptions { graphql: Some(GraphqlLimits::default()), ..EngineOptions::default() };
    Engine::compile(pack, options).expect("some of the embedded signatures")
}

type Field = (&'static [u8], &'static [u8]);

/// A check of bodies with these fields.
fn checker(fields: &'static [Field]) -> Check {
    let engine = engine();
    let mut inspector = engine.inspector().expect("memory for an inspector");
    let headers = [&[(&b"Host"[..], &b"a"[..])], fields].concat();
    Box::new(move |body, random| check(&engine, &mut inspector, &headers, body, random))
}

fn check(engine: &Engine, inspector: &mut Inspector, headers: &[Field], body: &[u8], random: &mut Random) {
    let request = RequestView {
        method: b"POST",
        path: b"/",
        query: None,
        headers,
        body,
        body_complete: random.below(4) > 0,
    };
    let first = format!("{:?}", inspector.inspect(engine, &request));
    let other = RequestView { body: &body[..random.below(body.len() + 1)], body_complete: false, ..request };
    inspector.inspect(engine, &other);
    assert_eq!(format!("{:?}", inspector.inspect(engine, &request)), first, "something is left over");
}

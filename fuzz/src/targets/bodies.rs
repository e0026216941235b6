//! Bodies as inspection takes them apart: no panic, and the same answer twice.

use weir_inspect::{Engine, EngineOptions, Inspector, Pack, RequestView};

use crate::{Check, Random, Target};

/// Cases of a quick run; a body takes much longer than a head.
const QUICK_CASES: u64 = 1500;

pub(super) const FORM: Target = Target {
    name: "form_body",
    seeds: &[b"a=b&c=%27+or+1%3d1&d[]=e&f=%25%32%37", b"q=eyJhIjoiYiJ9&x=PHNjcmlwdD4=", b"a=1;b=2&=&&&"],
    dictionary: &[b"&", b"=", b"%", b"%25", b"+", b"[", b"]", b"' or 1=1--", b"<script>", b"../", b"%u0027"],
    quick_cases: QUICK_CASES,
    prepare: || checker(b"application/x-www-form-urlencoded"),
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
    prepare: || checker(b"multipart/form-data; boundary=b"),
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
    prepare: || checker(b"application/json"),
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
    prepare: || checker(b"text/xml"),
};

fn checker(content_type: &'static [u8]) -> Check {
    // How bodies are taken apart doesn't depend on the signatures, and few compile fast.
    let mut number = 0;
    let pack = Pack::embedded().retain(|_| {
        number += 1;
        number % 16 == 0
    });
    let engine = Engine::compile(pack, EngineOptions::default()).expect("some of the embedded signatures");
    let mut inspector = engine.inspector().expect("memory for an inspector");
    Box::new(move |body, random| check(&engine, &mut inspector, content_type, body, random))
}

fn check(engine: &Engine, inspector: &mut Inspector, content_type: &[u8], body: &[u8], random: &mut Random) {
    let headers: [(&[u8], &[u8]); 2] = [(b"Host", b"a"), (b"Content-Type", content_type)];
    let request = RequestView {
        method: b"POST",
        path: b"/",
        query: None,
        headers: &headers,
        body,
        body_complete: random.below(4) > 0,
    };
    let first = format!("{:?}", inspector.inspect(engine, &request));
    let other = RequestView { body: &body[..random.below(body.len() + 1)], body_complete: false, ..request };
    inspector.inspect(engine, &other);
    assert_eq!(format!("{:?}", inspector.inspect(engine, &request)), first, "something is left over");
}

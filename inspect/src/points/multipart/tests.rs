//! What is read from multipart bodies of all shapes.

use super::*;
use crate::arena::ROOT;
use crate::limits::Limits;

fn read(content_type: &str, body: &str) -> (Found, Vec<(String, String, Place)>) {
    let mut arena = Arena::new(Limits::default());
    let node = arena.node(ROOT, Step::Part("body"));
    let found = add(body.as_bytes(), [content_type.as_bytes()].into_iter(), node, &mut arena);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let values = arena.values().iter();
    let values = values
        .map(|value| (arena.label(value.node, &[]), text(arena.slice(value.span)), value.place))
        .collect();
    (found, values)
}

const TYPE: &str = "multipart/form-data; boundary=x";

fn expected(rows: &[(&str, &str, Place)]) -> Vec<(String, String, Place)> {
    rows.iter().map(|(label, text, place)| ((*label).to_owned(), (*text).to_owned(), *place)).collect()
}

/// The values that are looked at as text.
fn texts(content_type: &str, body: &str) -> Vec<String> {
    let (_, values) = read(content_type, body);
    values.into_iter().filter(|(.., place)| *place == Place::Body).map(|(_, text, _)| text).collect()
}

#[test]
fn parts_are_fields_and_files() {
    let body = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n--x\r\n\
                content-type: text/plain\r\nContent-Disposition: form-data; filename=\"f;.txt\"; name=\"b\"\r\n\r\n\
                data\r\n--x--\r\n";
    let rows = [
        ("body.a", "a", Place::Name),
        ("body.a", "1\r\n2", Place::Body),
        ("body.b", "b", Place::Name),
        ("body.b.filename", "f;.txt", Place::FileName),
        ("body.b", "data", Place::File),
    ];
    for content_type in [TYPE, "multipart/form-data; a=b; Boundary=\"x\"", ""] {
        assert_eq!(read(content_type, body), (Found::Parts, expected(&rows)), "{content_type}");
    }
}

#[test]
fn unfinished_and_odd_bodies() {
    let rows = [
        ("body.a", "a", Place::Name),
        ("body.a.head.content-disposition", "form-data; name=a", Place::Header),
    ];
    let body = "--x\r\nContent-Disposition: form-data; name=a\r\n\r\nunfin";
    for content_type in [TYPE, ""] {
        let (found, values) = read(content_type, body);
        assert_eq!(found, Found::Parts);
        assert_eq!(values[..2], expected(&rows));
        assert_eq!(values[2..], expected(&[("body.a", "unfin", Place::Body)]));
    }
    assert_eq!(read("multipart/form-data; boundary=y", "--x\r\ntext"), (Found::Nothing, vec![]));
    assert_eq!(read("multipart/form-data", "text"), (Found::Nothing, vec![]));
    assert_eq!(read(TYPE, "--x\r\nnothing here").1, expected(&[("body", "nothing here", Place::Body)]));
}

#[test]
fn what_lies_before_and_behind_the_parts_is_text() {
    let part = "Content-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x";
    let (found, _) = read(TYPE, &format!("before\r\n--x\r\n{part}--\r\nbehind"));
    assert_eq!(found, Found::PartsAndMore);
    assert_eq!(texts(TYPE, &format!("before\r\n--x\r\n{part}--\r\n")), ["before\r\n", "1"]);
    assert_eq!(texts(TYPE, &format!("--x\r\n{part}--\r\nbehind")), ["1", "--\r\nbehind"]);
    let again = format!("--x--\r\n--x\r\n{part}--\r\n");
    assert_eq!(texts(TYPE, &again), ["1"]);
}

#[test]
fn a_boundary_in_the_middle_of_a_line_is_read_both_ways() {
    let head = "Content-Disposition: form-data; name=\"a\"\r\n\r\n";
    let both = texts(TYPE, &format!("--x\r\n{head}one --x-- two\r\n--x--\r\n"));
    assert_eq!(both, ["one ", "-- two\r\n", "one --x-- two"]);
    // A line that starts with it, but has more or ends otherwise: a delimiter to some only.
    let both = texts(TYPE, &format!("--x\r\n{head}one\r\n--xy\r\ntwo\r\n--x--\r\n"));
    assert_eq!(both, ["one", "y\r\ntwo\r\n", "one\r\n--xy\r\ntwo"]);
    let both = texts(TYPE, &format!("--x\r\n{head}one\n--x\n two\r\n--x--\r\n"));
    assert_eq!(both, ["one", " two\r\n", "one\n--x\n two"]);
}

#[test]
fn only_what_all_servers_take_for_a_file_is_one() {
    let place = |disposition: &str| {
        let body = format!("--x\r\n{disposition}\r\n\r\ncontent\r\n--x--");
        read(TYPE, &body).1.into_iter().find(|(_, text, _)| text == "content").unwrap().2
    };
    assert_eq!(place("Content-Disposition: form-data; name=\"a\"; filename=\"b\""), Place::File);
    assert_eq!(place("Content-Disposition: form-data; name=\"a\"; filename=\"it's.txt\""), Place::File);
    for disposition in [
        "Content-Disposition: form-data; name=\"a\"; y='; filename=z; '",
        "Content-Disposition: form-data; name=\"a\"; filename=\"\"",
        "Content-Disposition: form-data; name=\"a\"; filename*=utf-8''b",
        "Content-Disposition: form-data; name=\"a\"; filename=\"b\"; filename=\"\"",
        "Content-Disposition: form-data; name=\"a\"; z=\"\\\"; y=\"; filename=\"b\"",
        "Content-Disposition: form-data; name=\"a\"; filename=\"b\"\r\nContent-Disposition: form-data; name=\"a\"",
    ] {
        assert_eq!(place(disposition), Place::Body, "{disposition}");
    }
}

#[test]
fn all_of_a_head_is_looked_at() {
    let body = "--x\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"; z=\"c\"\r\nX-Any: <d>\r\n \r\n<e>\r\n\r\n1\r\n--x--";
    let rows = [
        ("body.a", "a", Place::Name),
        ("body.a", "b", Place::Name),
        ("body.a.head.content-disposition", "form-data; name=\"a\"; name=\"b\"; z=\"c\"", Place::Header),
        ("body.a.head.x-any", "<d>", Place::Header),
        ("body.a.head", "<e>", Place::Header),
        ("body.a", "1", Place::Body),
    ];
    assert_eq!(read(TYPE, body).1, expected(&rows));
}

#[test]
fn encoded_contents_are_decoded() {
    let body = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
                =31=\r\n2\r\n--x--";
    let rows = [("body.a", "=31=\r\n2", Place::Body), ("body.a|quoted-printable", "12", Place::Body)];
    assert_eq!(read(TYPE, body).1[1..], expected(&rows));
}

#[test]
fn each_of_two_boundaries_is_read() {
    let body = "--q--\r\n--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x--\r\n";
    for content_type in [
        "multipart/form-data; boundary=q; boundary=x",
        "multipart/form-data; boundary=x; boundary=q",
        "multipart/form-data; boundary=q; boundary*=utf-8''%78",
    ] {
        let (found, values) = read(content_type, body);
        assert_eq!(found, Found::PartsAndMore);
        assert!(values.contains(&("body.a".to_owned(), "1".to_owned(), Place::Body)), "{content_type}");
    }
}

/// A body that is read in each of four ways, each of which leads to parts inside of a part.
fn read_in_many_ways(inner_boundaries: &str) -> Arena {
    let field = format!("Content-Type: multipart/mixed; {inner_boundaries}");
    let head = "X: --az: --bz: --cz: --d\r\nContent-Disposition: form-data; name=\"f\"\r\n";
    let body = format!("{head}{field}\r\n\r\n{}", "text ".repeat(1000));
    let field = b"multipart/form-data; boundary=a; boundary=b; boundary=c; boundary=d";
    let mut arena = Arena::new(Limits::default());
    let node = arena.node(ROOT, Step::Part("body"));
    let found = add(body.as_bytes(), [&field[..]].into_iter(), node, &mut arena);
    assert_eq!(found, Found::PartsAndMore);
    arena
}

#[test]
fn readings_inside_of_readings_end_at_a_limit_that_is_told() {
    assert_eq!(read_in_many_ways("boundary=e").over_limit(), None);
    let four = "boundary=e; boundary=f; boundary=g; boundary=h";
    assert_eq!(read_in_many_ways(four).over_limit(), Some(OverLimit::Depth));
    let endless = "boundary=".repeat(1000);
    assert_eq!(read_in_many_ways(&endless).over_limit(), Some(OverLimit::Depth));
}

#[test]
fn names_of_files_may_be_folded_and_in_pieces() {
    for parameters in [
        "name=\"a\";\r\n filename=\"x.exe\"",
        "name=\"a\"; filename*0=\"x.e\"; filename*1=\"xe\"",
        "name=\"a\"; filename*0*=\"%78.e\";\r\n\tFileName*1=\"xe\"",
        "name=\"a\"; filename*1=\"xe\"; filename*0=\"x.e\"",
        "name=\"a\"; filename*1*=%78e; filename*0*=UTF-8''x.e",
        "name=\"a\"; filename*=UTF-8'en'x.exe",
    ] {
        let body = format!("--x\r\nContent-Disposition: form-data; {parameters}\r\n\r\n1\r\n--x--");
        let (_, values) = read(TYPE, &body);
        let expected = ("body.a.filename".to_owned(), "x.exe".to_owned(), Place::FileName);
        assert!(values.contains(&expected), "{parameters}: {values:?}");
    }
    let body = "--x\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding:\r\n base64\r\n\r\n\
                PHNjcmlwdD4=\r\n--x--";
    assert!(texts(TYPE, body).contains(&"<script>".to_owned()));
}

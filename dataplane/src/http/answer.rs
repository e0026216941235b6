//! Answers of our own: refused heads, blocked requests, origins that can't be reached.

use super::forward::{append, append_content_length, append_decimal};
use super::page::{BlockPage, Page, PageValues};

/// An answer of our own, with a small page that says what happened and which id to quote.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Status, 400 to 599; an operator's page for blocked requests may have another.
    pub status: u16,
    /// Why, as a stable word: `attack`, `deny_list`, `bad_request`, `origin_unreachable` and so on.
    pub reason_code: &'a str,
    /// The request's id.
    pub request_id: &'a [u8],
    /// The request's `Accept`, which chooses between HTML and JSON.
    pub accept: Option<&'a [u8]>,
    /// Whether the connection stays open afterwards.
    pub keep_alive: bool,
    /// The request was HEAD: the same head, no body.
    pub head_only: bool,
}

/// The forms that an answer's body has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Html,
    Json,
}

/// Appends the whole answer, head and body.
///
/// JSON where the client prefers it to HTML, else HTML. Dynamic values are escaped for where they stand.
pub fn write_answer(answer: &Answer<'_>, out: &mut Vec<u8>) {
    write_with(answer, None, out);
}

/// The same with the page of an operator, whose status replaces that of `answer`. Where it has no page in the form that
/// the client prefers, the built-in one of that form is written.
pub fn write_block_answer(answer: &Answer<'_>, page: &BlockPage, values: &PageValues<'_>, out: &mut Vec<u8>) {
    write_with(&Answer { status: page.status, ..*answer }, Some((page, values)), out);
}

fn write_with(answer: &Answer<'_>, own: Option<(&BlockPage, &PageValues<'_>)>, out: &mut Vec<u8>) {
    let form = preferred_form(answer.accept);
    let start = out.len();
    let own_page = own.and_then(|(page, values)| {
        let page = match form {
            Form::Html => page.html.as_ref(),
            Form::Json => page.json.as_ref(),
        };
        page.map(|page| (page, values))
    });
    match (own_page, form) {
        (Some((page, values)), _) => page.write(values, out),
        (None, Form::Html) => append_html(answer, out),
        (None, Form::Json) => append_json(answer, out),
    }
    let body_bytes = out.len() - start;
    let redirect = own.and_then(|(page, values)| page.redirect.as_ref().map(|url| (url, values)));
    append_head(answer, form, redirect, body_bytes as u64, out);
    // The head states the body's length, so the body was written first; now it moves behind the head.
    out[start..].rotate_left(body_bytes);
    if answer.head_only {
        out.truncate(out.len() - body_bytes);
    }
}

fn append_head(
    answer: &Answer<'_>,
    form: Form,
    redirect: Option<(&Page, &PageValues<'_>)>,
    body_bytes: u64,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    append_decimal(out, u64::from(answer.status));
    let content_type: &[u8] = match form {
        Form::Html => b"text/html; charset=utf-8",
        Form::Json => b"application/json",
    };
    append(
        out,
        &[b" ", reason_phrase(answer.status).as_bytes(), b"\r\nContent-Type: ", content_type, b"\r\n"],
    );
    append_content_length(out, body_bytes);
    out.extend_from_slice(b"Cache-Control: no-store\r\nVary: Accept\r\nX-Content-Type-Options: nosniff\r\n");
    if answer.status == 405 {
        out.extend_from_slice(b"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n");
    }
    if let Some((url, values)) = redirect {
        out.extend_from_slice(b"Location: ");
        url.write(values, out);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"X-Request-Id: ");
    // An id comes from us or from a trusted peer; whatever it holds, it stays in its line.
    out.extend(answer.request_id.iter().map(|byte| if byte.is_ascii_graphic() { *byte } else { b'?' }));
    out.extend_from_slice(b"\r\n");
    if !answer.keep_alive {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

fn append_html(answer: &Answer<'_>, out: &mut Vec<u8>) {
    let phrase = reason_phrase(answer.status).as_bytes();
    out.extend_from_slice(b"<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    append_decimal(out, u64::from(answer.status));
    append(out, &[b" ", phrase, b"</title></head>\n<body><h1>", phrase, b"</h1>\n<p>"]);
    append(out, &[explanation(answer.status).as_bytes(), b"</p>\n<p>Reason: <code>"]);
    append_html_escaped(out, answer.reason_code.as_bytes());
    out.extend_from_slice(b"</code><br>Request: <code>");
    append_html_escaped(out, answer.request_id);
    out.extend_from_slice(b"</code></p></body></html>\n");
}

fn append_json(answer: &Answer<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"status\":");
    append_decimal(out, u64::from(answer.status));
    append(out, &[b",\"error\":\"", reason_phrase(answer.status).as_bytes(), b"\",\"reason\":\""]);
    append_json_escaped(out, answer.reason_code.as_bytes());
    out.extend_from_slice(b"\",\"request_id\":\"");
    append_json_escaped(out, answer.request_id);
    out.extend_from_slice(b"\"}\n");
}

/// Escapes for text and attributes of HTML; bytes that are not printable ASCII become `?`.
fn append_html_escaped(out: &mut Vec<u8>, value: &[u8]) {
    for byte in value {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b' ' => out.push(b' '),
            byte if byte.is_ascii_graphic() => out.push(*byte),
            _ => out.push(b'?'),
        }
    }
}

/// Escapes for a JSON string; bytes that are not printable ASCII become `?`.
fn append_json_escaped(out: &mut Vec<u8>, value: &[u8]) {
    for byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b' ' => out.push(b' '),
            byte if byte.is_ascii_graphic() => out.push(*byte),
            _ => out.push(b'?'),
        }
    }
}

/// How much a client wants a form: the weight in thousandths, then how precisely the range names it.
type Preference = (u16, u8);

/// HTML, unless JSON is wanted more: by weight, then by the more precise range.
fn preferred_form(accept: Option<&[u8]>) -> Form {
    let Some(accept) = accept else { return Form::Html };
    let mut html: Preference = (0, 0);
    let mut json: Preference = (0, 0);
    for range in accept.split(|byte| *byte == b',') {
        let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let media = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix(b"q=").or(part.strip_prefix(b"Q=")));
        let weight = weight.map_or(1000, thousandths);
        let is = |name: &[u8]| media.eq_ignore_ascii_case(name);
        let ends_with_json = media.len() > 5 && media[media.len() - 5..].eq_ignore_ascii_case(b"+json");
        if is(b"*/*") {
            html = more_precise(html, (weight, 1));
            json = more_precise(json, (weight, 1));
        } else if is(b"text/html") || is(b"application/xhtml+xml") {
            html = more_precise(html, (weight, 3));
        } else if is(b"text/*") {
            html = more_precise(html, (weight, 2));
        } else if is(b"application/json") || ends_with_json {
            json = more_precise(json, (weight, 3));
        } else if is(b"application/*") {
            json = more_precise(json, (weight, 2));
        }
    }
    if json.0 > 0 && json > html { Form::Json } else { Form::Html }
}

/// The more precise range decides (RFC 9110 section 12.5.1); of equally precise ones, the heavier.
fn more_precise(current: Preference, candidate: Preference) -> Preference {
    if (candidate.1, candidate.0) > (current.1, current.0) { candidate } else { current }
}

/// A weight such as `0.8` in thousandths; what is no weight counts as 0.
fn thousandths(weight: &[u8]) -> u16 {
    let text = str::from_utf8(weight).unwrap_or_default();
    match text.parse::<f32>() {
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1000.0) as u16,
        _ => 0,
    }
}

fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ if status < 500 => "Request Refused",
        _ => "Error",
    }
}

fn explanation(status: u16) -> &'static str {
    match status {
        // What an operator's status stands for is that the request was blocked, whatever it is.
        200..=399 | 403 => {
            "This request was blocked. If you think that is wrong, tell the operator of this site the id below."
        }
        429 => "There were too many requests. Wait a moment and try again.",
        502..=504 => "The site can't be reached just now. Try again later.",
        _ if status >= 500 => "The request could not be served.",
        _ => "The request could not be understood or is not allowed.",
    }
}

//! A request described on the command line, in a batch line or over the admin API, as the bytes of a request.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::text::is_token_byte;

/// A request as bytes, and who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The whole request: head and body.
    pub bytes: Vec<u8>,
    /// The address that the connection comes from.
    pub client: IpAddr,
    /// The listener that it comes in by, if that is named.
    pub listener: Option<String>,
    /// Whether the URL says `https`, if it has a scheme.
    pub secure: Option<bool>,
}

/// Everything that is wrong with the description of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptionErrors(pub Vec<DescriptionError>);

impl fmt::Display for DescriptionErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for DescriptionErrors {}

/// One thing that is wrong with the description of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptionError {
    /// The field, as `headers[0]`; empty where it is none.
    pub field: String,
    /// What was found, and what is allowed.
    pub message: String,
}

impl DescriptionError {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for DescriptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// The parts of a request, as a person or a program names them.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Default `GET`, or `POST` if there is a body.
    pub method: Option<String>,
    /// `http://host/path?query`, or a path alone.
    pub url: Option<String>,
    /// Default 127.0.0.1.
    pub client: Option<IpAddr>,
    /// The name of the listener that the request comes in by. Default: the first one that speaks the URL's scheme, or else
    /// the first one.
    pub listener: Option<String>,
    /// In order; a `Host` here replaces the URL's.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: Option<String>,
    /// The body as base64.
    pub body_base64: Option<String>,
    /// A whole request as base64, instead of all parts but `client` and `listener`.
    pub raw_base64: Option<String>,
}

impl Described {
    /// Reads one batch line, or the body of `POST /v1/explain`.
    ///
    /// # Errors
    /// All that is wrong with the description. A description of a request that isn't sound HTTP is fine.
    pub fn from_json(value: &Value) -> Result<Self, DescriptionErrors> {
        let mut errors = Vec::new();
        let parts = Parts::from_json(value, &mut errors);
        Self::read(parts, errors)
    }

    /// Puts the parts together.
    ///
    /// # Errors
    /// If parts contradict each other or the base64 is broken: all of it.
    pub fn from_parts(parts: Parts) -> Result<Self, DescriptionErrors> {
        Self::read(parts, Vec::new())
    }

    /// The same for parts of which some were wrong already.
    fn read(parts: Parts, mut errors: Vec<DescriptionError>) -> Result<Self, DescriptionErrors> {
        let client = parts.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_canonical();
        let known: Vec<String> = errors.iter().map(|error| error.field.clone()).collect();
        let mut wrong = |field: &str, message: String| {
            if !known.iter().any(|known| known == field) {
                errors.push(DescriptionError::new(field, message));
            }
        };
        let mut decoded = |field: &str, text: Option<String>| {
            let decoded = STANDARD.decode(text?);
            decoded.map_err(|error| wrong(field, format!("this is no base64: {error}"))).ok()
        };
        let (is_raw, has_coded) = (parts.raw_base64.is_some(), parts.body_base64.is_some());
        let raw = decoded("raw_base64", parts.raw_base64);
        let coded = decoded("body_base64", parts.body_base64);
        if is_raw && (parts.url.is_some() || parts.body.is_some() || has_coded) {
            wrong(
                "raw_base64",
                "it is a whole request: url, body and body_base64 don't go with it".to_owned(),
            );
        }
        if parts.body.is_some() && has_coded {
            wrong("body_base64", "give body or body_base64, not both".to_owned());
        }
        match &parts.url {
            Some(url) => judge_url(url).unwrap_or_else(|message| wrong("url", message)),
            None if is_raw => {}
            None => wrong("url", "it is missing (or raw_base64, a whole request)".to_owned()),
        }
        if let Some(method) = &parts.method {
            judge_method(method).unwrap_or_else(|message| wrong("method", message));
        }
        for (index, (name, value)) in parts.headers.iter().enumerate() {
            let field = || format!("headers[{index}]");
            judge_header(name, value).unwrap_or_else(|message| wrong(&field(), message));
        }
        if !errors.is_empty() {
            return Err(DescriptionErrors(errors));
        }
        let listener = parts.listener;
        if let Some(bytes) = raw {
            return Ok(Self { bytes, client, listener, secure: None });
        }
        let body = coded.or_else(|| parts.body.map(String::into_bytes));
        let url = parts.url.unwrap_or_default();
        let secure = scheme_of(&url).map(|(scheme, _)| scheme.eq_ignore_ascii_case("https"));
        let bytes = write_request(parts.method, &url, &parts.headers, body);
        Ok(Self { bytes, client, listener, secure })
    }
}

impl Parts {
    /// The parts that can be read; what is wrong with the others goes to `errors`.
    fn from_json(value: &Value, errors: &mut Vec<DescriptionError>) -> Self {
        let mut parts = Self::default();
        let Value::Object(fields) = value else {
            let message = "allowed is an object with url, method, client, listener, headers, body, body_base64, or with \
                           raw_base64";
            errors.push(DescriptionError::new("", message));
            return parts;
        };
        for (name, value) in fields {
            if let Err(mut wrong) = parts.take(name, value) {
                errors.append(&mut wrong);
            }
        }
        parts
    }

    fn take(&mut self, name: &str, value: &Value) -> Result<(), Vec<DescriptionError>> {
        let wrong =
            |allowed: &str| vec![DescriptionError::new(name, format!("found {value}, allowed is {allowed}"))];
        let text = || match value {
            Value::Null => Ok(None),
            value => value.as_str().map(|text| Some(text.to_owned())).ok_or_else(|| wrong("a text")),
        };
        match name {
            "method" => self.method = text()?,
            "url" => self.url = text()?,
            "body" => self.body = text()?,
            "body_base64" => self.body_base64 = text()?,
            "raw_base64" => self.raw_base64 = text()?,
            "client" => {
                let parsed = text()?.map(|text| text.parse().map_err(|_| wrong("an IP address")));
                self.client = parsed.transpose()?;
            }
            "listener" => self.listener = text()?,
            "headers" => self.headers = headers(value)?,
            _ => {
                let message = "unknown field; there are method, url, client, listener, headers, body, body_base64, raw_base64";
                return Err(vec![DescriptionError::new(name, message)]);
            }
        }
        Ok(())
    }
}

/// Names and values of headers, `[["n", "v"]]`.
fn headers(value: &Value) -> Result<Vec<(String, String)>, Vec<DescriptionError>> {
    if value.is_null() {
        return Ok(Vec::new());
    }
    let wrong = |field: String, value: &Value, allowed: &str| {
        DescriptionError::new(field, format!("found {value}, allowed is {allowed}"))
    };
    let Some(list) = value.as_array() else {
        return Err(vec![wrong(
            "headers".to_owned(),
            value,
            "a list of pairs, as [[\"Accept\", \"text/html\"]]",
        )]);
    };
    let (mut pairs, mut errors) = (Vec::new(), Vec::new());
    for (index, pair) in list.iter().enumerate() {
        match pair.as_array().map(Vec::as_slice) {
            Some([Value::String(name), Value::String(value)]) => match judge_header(name, value) {
                Ok(()) => pairs.push((name.clone(), value.clone())),
                Err(message) => errors.push(DescriptionError::new(format!("headers[{index}]"), message)),
            },
            _ => errors.push(wrong(
                format!("headers[{index}]"),
                pair,
                "a pair, as [\"Accept\", \"text/html\"]",
            )),
        }
    }
    if errors.is_empty() { Ok(pairs) } else { Err(errors) }
}

/// Whether a client could send this URL as it is; what to write if not.
fn judge_url(url: &str) -> Result<(), String> {
    if url.is_empty() {
        return Err("the URL is empty; write a path such as \"/\", or http://HOST/PATH".to_owned());
    }
    if url.contains(' ') {
        return Err(format!("the URL {url:?} holds a space; write %20"));
    }
    if let Some(control) = url.bytes().find(u8::is_ascii_control) {
        return Err(format!("the URL {url:?} holds a control character; write %{control:02X}"));
    }
    match scheme_of(url) {
        Some((scheme, _)) if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
            Err(format!("the URL has the scheme {scheme:?}; write http://HOST/PATH, or a path alone"))
        }
        _ => Ok(()),
    }
}

fn judge_method(method: &str) -> Result<(), String> {
    if method.is_empty() || !method.bytes().all(is_token_byte) {
        return Err(format!("{method:?} is no method; write one word such as GET or POST"));
    }
    Ok(())
}

/// Whether a header of this name and value can be written at all; one that no server accepts can.
fn judge_header(name: &str, value: &str) -> Result<(), String> {
    let is_line_end = |character: char| matches!(character, '\r' | '\n');
    let refuse = |what: &str| {
        Err(format!(
            "{what}, so no header of a request can be that; raw_base64 takes any bytes for a request"
        ))
    };
    if name.contains(is_line_end) {
        return refuse(&format!("the name {name:?} holds a line end"));
    }
    if name.contains(':') {
        return refuse(&format!("the name {name:?} holds a colon, which ends a name"));
    }
    if value.contains(is_line_end) {
        return refuse(&format!("the value {value:?} holds a line end"));
    }
    Ok(())
}

/// Writes the request as a client would.
fn write_request(
    method: Option<String>,
    url: &str,
    headers: &[(String, String)],
    body: Option<Vec<u8>>,
) -> Vec<u8> {
    let (authority, target) = split_url(url);
    let method = method.unwrap_or_else(|| if body.is_some() { "POST" } else { "GET" }.to_owned());
    let has = |name: &str| headers.iter().any(|(field, _)| field.eq_ignore_ascii_case(name));
    let mut out = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    if !has("host") {
        out.extend_from_slice(format!("Host: {authority}\r\n").as_bytes());
    }
    for (name, value) in headers {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if let Some(body) = &body
        && !has("content-length")
        && !has("transfer-encoding")
    {
        out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&body.unwrap_or_default());
    out
}

/// The scheme of a URL and what follows its `://`.
fn scheme_of(url: &str) -> Option<(&str, &str)> {
    url.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '?', '#']))
}

/// Authority and target of a URL. The fragment stays with the client, as everywhere.
fn split_url(url: &str) -> (&str, String) {
    let rest = match scheme_of(url) {
        Some((_, rest)) => rest,
        _ if url.starts_with('/') || url == "*" => return ("localhost", without_fragment(url)),
        _ => url,
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let target = without_fragment(target);
    let target = if target.starts_with('/') { target } else { format!("/{target}") };
    (authority, target)
}

fn without_fragment(target: &str) -> String {
    target.split('#').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(json: &str) -> String {
        let value = serde_json::from_str(json).unwrap();
        String::from_utf8(Described::from_json(&value).unwrap().bytes).unwrap()
    }

    #[test]
    fn urls_become_requests() {
        assert_eq!(
            bytes(r#"{"url":"http://a.example:81/x?y=1#z"}"#),
            "GET /x?y=1 HTTP/1.1\r\nHost: a.example:81\r\n\r\n"
        );
        assert_eq!(bytes(r#"{"url":"a.example"}"#), "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        assert_eq!(bytes(r#"{"url":"http://a?q"}"#), "GET /?q HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(
            bytes(r#"{"url":"/p?u=http://b/"}"#),
            "GET /p?u=http://b/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
        );
    }

    #[test]
    fn bodies_get_their_length_and_hosts_can_be_replaced() {
        assert_eq!(
            bytes(r#"{"url":"http://a/","headers":[["HOST","b"]],"body":"x=1"}"#),
            "POST / HTTP/1.1\r\nHOST: b\r\nContent-Length: 3\r\n\r\nx=1"
        );
        assert_eq!(
            bytes(r#"{"method":"PUT","url":"/","headers":[["content-length","9"]],"body_base64":"eA=="}"#),
            "PUT / HTTP/1.1\r\nHost: localhost\r\ncontent-length: 9\r\n\r\nx"
        );
    }

    #[test]
    fn contradictions_are_refused() {
        for (json, expected) in [
            (r#"{}"#, "url: it is missing"),
            (r#"[]"#, "allowed is an object"),
            (r#"{"url":5}"#, "url: found 5, allowed is a text"),
            (
                r#"{"url":"/","headers":{"a":"b"}}"#,
                "headers: found {\"a\":\"b\"}, allowed is a list of pairs",
            ),
            (r#"{"url":"/","headers":[["a","b"],["c"]]}"#, "headers[1]: found [\"c\"], allowed is a pair"),
            (r#"{"url":"/","body":"","body_base64":""}"#, "not both"),
            (r#"{"raw_base64":"eA==","url":"/"}"#, "don't go with it"),
            (r#"{"raw_base64":"%"}"#, "raw_base64: "),
            (r#"{"url":"/","clint":"::1"}"#, "clint: unknown field"),
            (r#"{"url":"/","client":"nobody"}"#, "client: found \"nobody\", allowed is an IP address"),
            (r#"{"url":""}"#, "is empty"),
            (r#"{"url":"/a b"}"#, "holds a space; write %20"),
            (r#"{"url":"/a\nb"}"#, "write %0A"),
            (r#"{"url":"ftp://a/"}"#, "scheme \"ftp\""),
            (r#"{"url":"/","method":"foo bar"}"#, "\"foo bar\" is no method"),
            (r#"{"url":"/","method":""}"#, "is no method"),
            (
                r#"{"url":5,"clint":"x","client":"nobody","headers":[["a"],["b",1]],"method":"G T"}"#,
                "client: found \"nobody\", allowed is an IP address; clint: unknown field",
            ),
            (r#"{"url":5,"headers":[["a"],["b",1]],"method":"G T"}"#, "headers[1]: found [\"b\",1]"),
            (
                r#"{"url":"/","method":"G T","headers":[["A\r\n","x"],["B","b\nc"],["C:d","x"],["","x"]]}"#,
                "headers[0]: the name \"A\\r\\n\" holds a line end",
            ),
            (r#"{"url":"/","headers":[["A","b"],["B","b\rc"]],"method":"G T"}"#, "headers[1]: the value"),
            (r#"{"url":"/","headers":[["C:d","b"]],"method":"G T"}"#, "; method: "),
            (
                r#"{"headers":[["a"]],"method":"G T"}"#,
                "url: it is missing (or raw_base64, a whole request); method:",
            ),
        ] {
            let error = Described::from_json(&serde_json::from_str(json).unwrap()).unwrap_err();
            assert!(error.to_string().contains(expected), "{json}: {error}");
        }
    }
}

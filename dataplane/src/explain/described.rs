//! A request described on the command line, in a batch line or over the admin API, as the bytes of a request.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// A request as bytes, and who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The whole request: head and body.
    pub bytes: Vec<u8>,
    /// The address that the connection comes from.
    pub client: IpAddr,
}

/// The parts of a request, as a person or a program names them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// Default `GET`, or `POST` if there is a body.
    pub method: Option<String>,
    /// `http://host/path?query`, or a path alone.
    pub url: Option<String>,
    /// Default 127.0.0.1.
    pub client: Option<IpAddr>,
    /// In order; a `Host` here replaces the URL's.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: Option<String>,
    /// The body as base64.
    pub body_base64: Option<String>,
    /// A whole request as base64, instead of all parts but `client`.
    pub raw_base64: Option<String>,
}

impl Described {
    /// Reads one batch line, or the body of `POST /v1/explain`.
    ///
    /// # Errors
    /// What is wrong with the description. A description of a request that isn't sound HTTP is fine.
    pub fn from_json(value: &serde_json::Value) -> Result<Self, String> {
        let parts = Parts::deserialize(value).map_err(|error| error.to_string())?;
        Self::from_parts(parts)
    }

    /// Puts the parts together.
    ///
    /// # Errors
    /// If parts contradict each other or the base64 is broken.
    pub fn from_parts(parts: Parts) -> Result<Self, String> {
        let client = parts.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_canonical();
        if let Some(raw) = parts.raw_base64 {
            if parts.url.is_some() || parts.body.is_some() || parts.body_base64.is_some() {
                return Err(
                    "raw_base64 is a whole request: url, body and body_base64 don't go with it".to_owned()
                );
            }
            let bytes = STANDARD.decode(raw).map_err(|error| format!("raw_base64: {error}"))?;
            return Ok(Self { bytes, client });
        }
        let body = match (parts.body, parts.body_base64) {
            (Some(_), Some(_)) => return Err("give body or body_base64, not both".to_owned()),
            (Some(text), None) => Some(text.into_bytes()),
            (None, Some(coded)) => {
                Some(STANDARD.decode(coded).map_err(|error| format!("body_base64: {error}"))?)
            }
            (None, None) => None,
        };
        let url = parts.url.ok_or("url is missing (or raw_base64)")?;
        judge_url(&url)?;
        if let Some(method) = &parts.method {
            judge_method(method)?;
        }
        Ok(Self { bytes: write_request(parts.method, &url, &parts.headers, body), client })
    }
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
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err(format!("{method:?} is no method; write one word such as GET or POST"));
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
            (r#"{}"#, "url is missing"),
            (r#"{"url":"/","body":"","body_base64":""}"#, "not both"),
            (r#"{"raw_base64":"eA==","url":"/"}"#, "don't go with it"),
            (r#"{"raw_base64":"%"}"#, "raw_base64"),
            (r#"{"url":"/","clint":"::1"}"#, "unknown field `clint`"),
            (r#"{"url":"/","client":"nobody"}"#, "IP address"),
            (r#"{"url":""}"#, "is empty"),
            (r#"{"url":"/a b"}"#, "holds a space; write %20"),
            (r#"{"url":"/a\nb"}"#, "write %0A"),
            (r#"{"url":"ftp://a/"}"#, "scheme \"ftp\""),
            (r#"{"url":"/","method":"foo bar"}"#, "\"foo bar\" is no method"),
            (r#"{"url":"/","method":""}"#, "is no method"),
        ] {
            let error = Described::from_json(&serde_json::from_str(json).unwrap()).unwrap_err();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }
}

//! Pages that operators write for blocked requests: text with `{{variables}}`, escaped for where they stand.

use super::forward::append_decimal;

/// What a page is, and so how its variables are escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// HTML: whatever isn't a letter, a digit or one of `-_.:/,` becomes a character reference, so that a value stays text
    /// wherever it stands, in an attribute without quotes too.
    Html,
    /// JSON: for use inside a string.
    Json,
    /// A URL: percent-encoded as a component.
    Url,
}

/// Values are cut to so many bytes, so that a page stays as large as its author made it.
const VALUE_BYTES_MAX: usize = 256;

/// Something that a page may tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    RequestId,
    ClientIp,
    Time,
    Host,
    Method,
    Path,
    Reason,
    Status,
}

impl Variable {
    const ALL: [(&'static str, Self); 8] = [
        ("request_id", Self::RequestId),
        ("client_ip", Self::ClientIp),
        ("time", Self::Time),
        ("host", Self::Host),
        ("method", Self::Method),
        ("path", Self::Path),
        ("reason", Self::Reason),
        ("status", Self::Status),
    ];
}

/// Names of all variables, for error texts and the reference.
pub fn page_variables() -> impl Iterator<Item = &'static str> {
    Variable::ALL.iter().map(|(name, _)| *name)
}

/// What the variables of a page stand for.
#[derive(Clone, Copy, Debug)]
pub struct PageValues<'a> {
    /// The request's id.
    pub request_id: &'a [u8],
    /// The client's address, as text.
    pub client_ip: &'a [u8],
    /// Now, as RFC 3339 has it.
    pub time: &'a [u8],
    /// The host that was asked for.
    pub host: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// The path as received, without the query.
    pub path: &'a [u8],
    /// Why the request was blocked, as in events.
    pub reason: &'a [u8],
    /// The status of the answer.
    pub status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Variable),
}

/// A page, read once and written for every blocked request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    kind: PageKind,
    pieces: Vec<Piece>,
}

/// A `{{name}}` in a page that is no variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownVariable {
    /// Where it begins, in bytes.
    pub offset: usize,
    /// What was written.
    pub name: String,
}

impl Page {
    /// Reads a page. `{{name}}` is a variable; other braces are text.
    ///
    /// # Errors
    /// If a name is not one of [`page_variables`].
    pub fn parse(kind: PageKind, text: &str) -> Result<Self, UnknownVariable> {
        let mut pieces = Vec::new();
        let mut rest = text;
        let mut plain = String::new();
        while let Some(start) = rest.find("{{") {
            let (before, marked) = rest.split_at(start);
            plain.push_str(before);
            let inside = &marked[2..];
            let name = inside.split_once("}}").map(|(name, _)| name).filter(|name| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            });
            let Some(name) = name else {
                plain.push('{');
                rest = &marked[1..];
                continue;
            };
            let Some((_, variable)) = Variable::ALL.iter().find(|(known, _)| *known == name) else {
                let offset = text.len() - marked.len();
                return Err(UnknownVariable { offset, name: name.to_owned() });
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Value(*variable));
            rest = &inside[name.len() + 2..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { kind, pieces })
    }

    /// Appends the page with its values.
    pub fn write(&self, values: &PageValues<'_>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Value(Variable::Status) => append_decimal(out, u64::from(values.status)),
                Piece::Value(variable) => {
                    let value = match variable {
                        Variable::RequestId => values.request_id,
                        Variable::ClientIp => values.client_ip,
                        Variable::Time => values.time,
                        Variable::Host => values.host,
                        Variable::Method => values.method,
                        Variable::Path => values.path,
                        Variable::Reason => values.reason,
                        Variable::Status => b"",
                    };
                    append_escaped(self.kind, &value[..value.len().min(VALUE_BYTES_MAX)], out);
                }
            }
        }
    }
}

fn append_escaped(kind: PageKind, value: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value {
        let is_plain = byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        match kind {
            _ if is_plain => out.push(*byte),
            PageKind::Url => {
                out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            // One byte of a longer character, or none of any.
            _ if !(b' '..=b'~').contains(byte) => out.push(b'?'),
            PageKind::Html if b":/,".contains(byte) => out.push(*byte),
            PageKind::Html => {
                out.extend_from_slice(b"&#");
                append_decimal(out, u64::from(*byte));
                out.push(b';');
            }
            // `<` and `/` too, so that the JSON may stand in a script.
            PageKind::Json if b"\"\\<>&'".contains(byte) => {
                out.extend_from_slice(&[
                    b'\\',
                    b'u',
                    b'0',
                    b'0',
                    HEX[usize::from(byte >> 4)],
                    HEX[usize::from(byte & 15)],
                ]);
            }
            PageKind::Json => out.push(*byte),
        }
    }
}

/// What a blocked request is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockPage {
    /// The status: 200 or 400 to 599; one of a redirect where there is one.
    pub status: u16,
    /// For clients that prefer HTML; absent = the built-in page.
    pub html: Option<Page>,
    /// For clients that prefer JSON; absent = the built-in object.
    pub json: Option<Page>,
    /// Where the client is sent instead.
    pub redirect: Option<Page>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: PageValues<'static> = PageValues {
        request_id: b"00ff",
        client_ip: b"2001:db8::1",
        time: b"2026-01-01T00:00:00.000Z",
        host: b"a.example:80",
        method: b"GET",
        path: b"/<script>\"'&\\ \xff`${x}=1",
        reason: b"attack",
        status: 403,
    };

    fn written(kind: PageKind, text: &str) -> String {
        let mut out = Vec::new();
        Page::parse(kind, text).unwrap().write(&HOSTILE, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_escaped_for_where_they_stand() {
        assert_eq!(
            written(PageKind::Html, "<p title={{path}}>{{client_ip}} {{time}}"),
            "<p title=/&#60;script&#62;&#34;&#39;&#38;&#92;&#32;?&#96;&#36;&#123;x&#125;&#61;1>2001:db8::1 \
             2026-01-01T00:00:00.000Z"
        );
        let json = written(PageKind::Json, r#"{"path": "{{path}}", "status": {{status}}}"#);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (value["path"].as_str(), value["status"].as_u64()),
            (Some("/<script>\"'&\\ ?`${x}=1"), Some(403))
        );
        assert!(!json.contains('<'));
        assert_eq!(
            written(PageKind::Url, "https://a.example/?h={{host}}&p={{path}}"),
            "https://a.example/?h=a.example%3A80&p=%2F%3Cscript%3E%22%27%26%5C%20%FF%60%24%7Bx%7D%3D1"
        );
    }

    #[test]
    fn braces_that_mean_nothing_are_text() {
        for text in
            ["", "{", "{{", "{{}}", "a{{ host }}", "{{Host}}", "{{{a}}", "function(){{return 1}}", "{{x"]
        {
            if text == "{{{a}}" {
                continue; // an unknown variable behind a brace
            }
            assert_eq!(written(PageKind::Html, text), text, "{text}");
        }
        assert_eq!(written(PageKind::Html, "{{{method}}}"), "{GET}");
    }

    #[test]
    fn unknown_variables_are_named() {
        let error = Page::parse(PageKind::Html, "a{{status}}b{{remote_addr}}").unwrap_err();
        assert_eq!(error, UnknownVariable { offset: 12, name: "remote_addr".to_owned() });
    }

    #[test]
    fn long_values_are_cut() {
        let path = [b'x'; 20_000];
        let mut out = Vec::new();
        let page = Page::parse(PageKind::Html, "{{path}}").unwrap();
        page.write(&PageValues { path: &path, ..HOSTILE }, &mut out);
        assert_eq!(out.len(), VALUE_BYTES_MAX);
    }
}

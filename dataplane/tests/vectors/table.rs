//! The files of cases.

use std::path::PathBuf;

use serde::Deserialize;

/// What the suite that a case comes from wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Says {
    Accept,
    Reject,
    Either,
}

impl Says {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Either => "either",
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Parts {
    One(String),
    Several(Vec<String>),
}

/// One case as its file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: String,
    says: Says,
    send: Parts,
    answers: String,
    #[serde(default)]
    origin: Vec<String>,
    why: Option<String>,
}

#[derive(Deserialize)]
struct File {
    case: Vec<Written>,
}

/// One case.
pub(super) struct Case {
    pub(super) id: String,
    pub(super) says: Says,
    pub(super) parts: Vec<Vec<u8>>,
    /// What the client gets: a status and where there is one the reason, comma between answers.
    pub(super) answers: String,
    /// Requests that reach the origin whole.
    pub(super) origin: Vec<String>,
    pub(super) why: Option<String>,
}

/// The suites of requests: file and title.
pub(super) const REQUESTS: [(&str, &str); 3] =
    [("http11probe", "Http11Probe"), ("gunicorn", "gunicorn"), ("llhttp", "llhttp, requests")];
/// The suite of responses.
pub(super) const RESPONSES: (&str, &str) = ("llhttp-responses", "llhttp, responses");

/// The folder of the tables.
pub(super) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// Reads a suite's file.
pub(super) fn read(suite: &str) -> Vec<Case> {
    let path = folder().join(format!("{suite}.toml"));
    let text = std::fs::read_to_string(&path).unwrap();
    let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.case.into_iter().map(Case::from).collect()
}

impl From<Written> for Case {
    fn from(written: Written) -> Self {
        let parts = match written.send {
            Parts::One(part) => vec![part],
            Parts::Several(parts) => parts,
        };
        Self {
            parts: parts.iter().map(|part| unescape(part)).collect(),
            id: written.id,
            says: written.says,
            answers: written.answers,
            origin: written.origin,
            why: written.why,
        }
    }
}

/// Reads `\r`, `\n`, `\t`, `\\`, `\xHH` and `\{N*text}`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let kind = rest.chars().next().expect("something behind a backslash");
        rest = &rest[1..];
        match kind {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            '\\' => bytes.push(b'\\'),
            'x' => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).expect("two hex digits"));
                rest = &rest[2..];
            }
            '{' => {
                let (inside, behind) = rest.split_once('}').expect("a closing brace");
                let (count, repeated) = inside.split_once('*').expect("a count and a star");
                bytes.extend(unescape(repeated).repeat(count.parse().expect("a count")));
                rest = behind;
            }
            other => panic!("unknown escape \\{other}"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

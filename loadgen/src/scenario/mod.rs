//! Scenario files: a mix of requests with labels, what to expect of each, and who sends them.

pub(crate) mod template;

use std::{
    fmt,
    net::IpAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::Engine;
use serde::Deserialize;
use toml::Spanned;

use self::template::Template;
use crate::{
    Identity,
    files::{self, MOST_BODY_BYTES, MOST_SCENARIO_BYTES},
    replay,
    verdict::Verdict,
};

/// The most request kinds, groups and source addresses of a scenario. Each kind has a label with histograms of its own.
const MOST_REQUESTS: usize = 500;
const MOST_GROUPS: usize = 1_000;
const MOST_SOURCES: usize = 65_536;
const MOST_WEIGHT: u32 = 1_000_000;
/// A key is taken for a misspelt one that is up to this many changes away.
const MOST_CHANGES: usize = 2;

/// Statuses that end a request; those below come before an answer.
const ANSWER_STATUSES: RangeInclusive<u16> = 200..=599;

/// A mix of requests.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Tells one scenario file from another; files that it names are not in it.
    pub(crate) digest: u64,
    pub(crate) seed: u64,
    pub(crate) server_name: Option<String>,
    pub(crate) block_statuses: Vec<u16>,
    pub(crate) labels: Vec<String>,
    pub(crate) requests: Vec<RequestKind>,
    pub(crate) groups: Vec<Group>,
    /// The files that it names.
    pub(crate) files: Vec<PathBuf>,
}

/// One kind of request.
#[derive(Clone, Debug)]
pub(crate) struct RequestKind {
    /// Index into the labels.
    pub(crate) label: usize,
    pub(crate) weight: u32,
    /// The client closes the connection behind the answer.
    pub(crate) close: bool,
    pub(crate) expect: Option<Expectation>,
    pub(crate) message: Message,
}

/// What a request is made of.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// These bytes.
    Fixed(Raw),
    /// One of these, by chance.
    OneOf(Arc<[Raw]>),
    /// The request line and fields, and the body. `Host` and `Content-Length` are written in between.
    Parts { head: Template, is_head: bool, has_host: bool, body: Template, has_body: bool },
}

/// A request that is sent byte for byte.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) bytes: Vec<u8>,
    /// Its answer has no body.
    pub(crate) is_head: bool,
}

/// What a label's requests should lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    Verdict(Verdict),
    Statuses(Vec<u16>),
}

/// Some of the clients.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Its share of the connections.
    pub(crate) share: usize,
    /// Addresses that its connections come from, in turn; the system's choice without.
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) keep_alive: bool,
    pub(crate) server_name: Option<String>,
    pub(crate) identity: Option<Identity>,
    pub(crate) resume: Option<bool>,
    /// Indexes of its requests, each with the sum of weights up to it.
    pub(crate) requests: Vec<(usize, u64)>,
}

/// Why a scenario file can't be used: where, what, and what was expected.
#[derive(Debug)]
pub struct ScenarioError(String);

impl fmt::Display for ScenarioError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ScenarioError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    seed: u64,
    server_name: Option<String>,
    #[serde(default = "default_block_statuses")]
    block_statuses: Vec<u16>,
    request: Vec<Spanned<FileRequest>>,
    #[serde(default)]
    group: Vec<Spanned<FileGroup>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRequest {
    label: String,
    #[serde(default = "one")]
    weight: u32,
    method: Option<String>,
    target: Option<String>,
    #[serde(default)]
    headers: Vec<String>,
    body: Option<String>,
    body_file: Option<PathBuf>,
    raw: Option<String>,
    raw_base64: Option<String>,
    corpus: Option<PathBuf>,
    corpus_label: Option<String>,
    #[serde(default)]
    template: bool,
    close: Option<bool>,
    expect: Option<FileExpectation>,
    groups: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FileExpectation {
    Status(u16),
    Statuses(Vec<u16>),
    Word(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileGroup {
    name: String,
    #[serde(default = "one")]
    share: u32,
    #[serde(default)]
    sources: Vec<String>,
    #[serde(default = "yes")]
    keep_alive: bool,
    server_name: Option<String>,
    certificate: Option<PathBuf>,
    private_key: Option<PathBuf>,
    resume: Option<bool>,
}

fn default_block_statuses() -> Vec<u16> {
    vec![403]
}

const fn one() -> u32 {
    1
}

const fn yes() -> bool {
    true
}

impl Scenario {
    /// What reports call it.
    pub(crate) fn description(&self) -> String {
        format!("scenario {:016x} with {} requests", self.digest, self.requests.len())
    }

    /// The keys in it that say something about TLS alone.
    #[must_use]
    pub fn tls_keys(&self) -> Vec<&'static str> {
        let any = |has: fn(&Group) -> bool| self.groups.iter().any(has);
        let keys = [
            ("server_name", self.server_name.is_some() || any(|group| group.server_name.is_some())),
            ("certificate", any(|group| group.identity.is_some())),
            ("resume", any(|group| group.resume.is_some())),
        ];
        keys.into_iter().filter_map(|(key, is_there)| is_there.then_some(key)).collect()
    }

    /// The files that it names: bodies, corpora, certificates and keys.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Reads a scenario file. Files that it names are relative to its folder.
    ///
    /// # Errors
    ///
    /// It, or a file that it names, can't be read, or it makes no scenario.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let place = |why: &dyn fmt::Display| ScenarioError(format!("{}: {why}", path.display()));
        let bytes = files::read(path, MOST_SCENARIO_BYTES).map_err(ScenarioError)?;
        let text = String::from_utf8(bytes).map_err(|_| place(&"it is not text (UTF-8)"))?;
        Self::parse(&text, path.parent().unwrap_or(Path::new("."))).map_err(|error| place(&error))
    }

    /// Reads a scenario from its text; `folder` is what the files in it are relative to.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ScenarioError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let advice = suggestion(error.message());
            ScenarioError(format!("{}{advice}", error.to_string().trim_end()))
        })?;
        file.build(text, folder).map_err(ScenarioError)
    }
}

/// What an unknown key may have been meant to be, from a message that names it and all that there are.
fn suggestion(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let Some(unknown) = names.next().filter(|_| message.starts_with("unknown field")) else {
        return String::new();
    };
    let closest = names
        .map(|name| (strsim::damerau_levenshtein(unknown, name), name))
        .filter(|(changes, _)| *changes <= MOST_CHANGES)
        .min();
    closest.map_or_else(String::new, |(_, name)| format!("\ndid you mean `{name}`?"))
}

/// FNV-1a of a text.
fn digest(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The number of the line in which a byte of the text is.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

impl File {
    fn build(self, text: &str, folder: &Path) -> Result<Scenario, String> {
        self.check(text)?;
        let names: Vec<String> = self.group.iter().map(|group| group.get_ref().name.clone()).collect();
        let files = self.files(folder);
        let build = |group: Spanned<FileGroup>| {
            let line = line_of(text, group.span().start);
            group.into_inner().build(folder).map_err(|why| format!("line {line}: {why}"))
        };
        let mut groups = self.group.into_iter().map(build).collect::<Result<Vec<_>, _>>()?;
        if groups.is_empty() {
            groups.push(Group::default());
        }
        let mut requests = Vec::new();
        for (index, request) in self.request.iter().enumerate() {
            let place = |why: String| request_place(text, index, request, &why);
            let request = request.get_ref();
            let kind = request.build(folder, index).map_err(place)?;
            for (group, name) in groups.iter_mut().zip(names.iter().map(Some).chain([None])) {
                if request.is_sent_by(name) && kind.weight > 0 {
                    let before = group.requests.last().map_or(0, |(_, sum)| *sum);
                    group.requests.push((index, before + u64::from(kind.weight)));
                }
            }
            requests.push(kind);
        }
        if let Some(index) = groups.iter().position(|group| group.requests.is_empty()) {
            let name = names.get(index).map_or("", String::as_str);
            return Err(format!("group `{name}` has no requests with a weight over 0"));
        }
        Ok(Scenario {
            digest: digest(text),
            seed: self.seed,
            server_name: self.server_name,
            block_statuses: self.block_statuses,
            labels: self.request.into_iter().map(|request| request.into_inner().label).collect(),
            requests,
            groups,
            files,
        })
    }

    /// What can be seen without the files that it names.
    fn check(&self, text: &str) -> Result<(), String> {
        if self.request.is_empty() || self.request.len() > MOST_REQUESTS {
            return Err(format!("a scenario has 1 to {MOST_REQUESTS} [[request]] tables"));
        }
        if self.group.len() > MOST_GROUPS {
            return Err(format!("a scenario has at most {MOST_GROUPS} [[group]] tables"));
        }
        if let Some(status) = self.block_statuses.iter().find(|status| !ANSWER_STATUSES.contains(status)) {
            return Err(format!("`block_statuses` has {status}: an answer's status is 200 to 599"));
        }
        let names: Vec<&str> = self.group.iter().map(|group| group.get_ref().name.as_str()).collect();
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                let line = line_of(text, self.group[index].span().start);
                return Err(format!("line {line}: there is a [[group]] with the name `{name}` already"));
            }
        }
        for (index, request) in self.request.iter().enumerate() {
            let wrong = |why: String| Err(request_place(text, index, request, &why));
            let FileRequest { label, groups, .. } = request.get_ref();
            if let Some(other) =
                self.request[..index].iter().position(|other| other.get_ref().label == *label)
            {
                return wrong(format!(
                    "request {} has this label already: each [[request]] needs one of its own",
                    other + 1
                ));
            }
            if groups.as_ref().is_some_and(Vec::is_empty) {
                return wrong("`groups` is empty, so that nobody sends it".to_owned());
            }
            if let Some(name) = groups.iter().flatten().find(|name| !names.contains(&name.as_str())) {
                return wrong(format!("there is no [[group]] with the name `{name}`"));
            }
        }
        Ok(())
    }

    fn files(&self, folder: &Path) -> Vec<PathBuf> {
        let of_requests =
            self.request.iter().map(Spanned::get_ref).flat_map(|one| [&one.body_file, &one.corpus]);
        let of_groups =
            self.group.iter().map(Spanned::get_ref).flat_map(|one| [&one.certificate, &one.private_key]);
        of_requests.chain(of_groups).flatten().map(|file| folder.join(file)).collect()
    }
}

/// An error with the request that it is about.
fn request_place(text: &str, index: usize, request: &Spanned<FileRequest>, why: &str) -> String {
    let line = line_of(text, request.span().start);
    format!("line {line}: request {} (`{}`): {why}", index + 1, request.get_ref().label)
}

impl FileRequest {
    /// Whether the group of this name sends it; without groups there is one without a name.
    fn is_sent_by(&self, group: Option<&String>) -> bool {
        let wanted = self.groups.as_ref();
        wanted.is_none_or(|wanted| group.is_some_and(|name| wanted.contains(name)))
    }

    fn build(&self, folder: &Path, label: usize) -> Result<RequestKind, String> {
        if self.weight > MOST_WEIGHT {
            return Err(format!("its weight is over {MOST_WEIGHT}"));
        }
        let expect = self.expect.as_ref().map(FileExpectation::build).transpose()?;
        let (message, is_raw) = match self.raw(folder)? {
            None => (self.message(folder)?, false),
            Some(message) => {
                let parts = self.method.is_some() || self.target.is_some() || !self.headers.is_empty();
                if parts || self.body.is_some() || self.body_file.is_some() || self.template {
                    return Err("a raw request has no method, target, headers, body or template".to_owned());
                }
                (message, true)
            }
        };
        Ok(RequestKind { label, weight: self.weight, close: self.close.unwrap_or(is_raw), expect, message })
    }

    /// What is sent byte for byte, if it says that.
    fn raw(&self, folder: &Path) -> Result<Option<Message>, String> {
        if self.corpus_label.is_some() && self.corpus.is_none() {
            return Err("`corpus_label` goes with `corpus`".to_owned());
        }
        let bytes = match (&self.raw, &self.raw_base64, &self.corpus) {
            (None, None, None) => return Ok(None),
            (Some(text), None, None) => text.clone().into_bytes(),
            (None, Some(text), None) => base64::engine::general_purpose::STANDARD
                .decode(text.trim())
                .map_err(|error| format!("`raw_base64` is not base64: {error}"))?,
            (None, None, Some(file)) => return self.corpus(&folder.join(file)).map(Some),
            _ => return Err("`raw`, `raw_base64` and `corpus` exclude each other".to_owned()),
        };
        if bytes.is_empty() {
            return Err("a raw request must not be empty".to_owned());
        }
        Ok(Some(Message::Fixed(Raw::new(bytes))))
    }

    /// All requests of a corpus, or those with a label.
    fn corpus(&self, path: &Path) -> Result<Message, String> {
        let records = replay::read(path).map_err(|error| error.to_string())?;
        let wanted = |record: &replay::Record| {
            !record.raw.is_empty() && self.corpus_label.as_ref().is_none_or(|label| *label == record.label)
        };
        let all: Arc<[Raw]> = records.into_iter().filter(wanted).map(|record| Raw::new(record.raw)).collect();
        if all.is_empty() {
            let label = self
                .corpus_label
                .as_ref()
                .map_or_else(String::new, |label| format!(" with the label `{label}`"));
            return Err(format!("{} has no request{label}", path.display()));
        }
        Ok(Message::OneOf(all))
    }

    fn method(&self) -> &str {
        let has_body = self.body.is_some() || self.body_file.is_some();
        self.method.as_deref().unwrap_or(if has_body { "POST" } else { "GET" })
    }

    fn message(&self, folder: &Path) -> Result<Message, String> {
        let template = |text: &str| {
            if self.template { Template::parse(text) } else { Ok(Template::fixed(text.as_bytes())) }
        };
        let target = self.target.as_deref().ok_or("it has neither a target nor raw bytes")?;
        if !target.starts_with(['/', '*']) || target.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(format!(
                "`{target}` is not a target: it starts with / and has no spaces; for others use `raw`"
            ));
        }
        let method = self.method();
        if method.is_empty()
            || !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        {
            return Err(format!("`{method}` is not a method; for others use `raw`"));
        }
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        let mut has_host = false;
        for line in &self.headers {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| format!("`{line}` is not a header field: write `Name: value`"))?;
            let (name, value) = (name.trim(), value.trim());
            crate::check_header(name, value)?;
            if ["content-length", "transfer-encoding"]
                .iter()
                .any(|framing| name.eq_ignore_ascii_case(framing))
            {
                return Err(format!("`{name}` is written from the body; for others use `raw`"));
            }
            has_host |= name.eq_ignore_ascii_case("host");
            head += &format!("{name}: {value}\r\n");
        }
        let body = match (&self.body, &self.body_file) {
            (Some(_), Some(_)) => return Err("`body` and `body_file` exclude each other".to_owned()),
            (Some(text), None) => template(text)?,
            (None, None) => Template::fixed(&[]),
            (None, Some(name)) => {
                let path = folder.join(name);
                let bytes = files::read(&path, MOST_BODY_BYTES)?;
                match std::str::from_utf8(&bytes) {
                    Ok(text) => template(text)?,
                    Err(_) if self.template => {
                        return Err(format!("{} is not text, so it can't be a template", path.display()));
                    }
                    Err(_) => Template::fixed(&bytes),
                }
            }
        };
        let has_body = body.as_fixed() != Some(&[]) || matches!(method, "POST" | "PUT" | "PATCH");
        Ok(Message::Parts { head: template(&head)?, is_head: method == "HEAD", has_host, body, has_body })
    }
}

impl Raw {
    fn new(bytes: Vec<u8>) -> Self {
        let is_head = bytes.starts_with(b"HEAD ");
        Self { bytes, is_head }
    }
}

impl FileExpectation {
    fn build(&self) -> Result<Expectation, String> {
        let statuses = match self {
            Self::Status(status) => vec![*status],
            Self::Statuses(statuses) => statuses.clone(),
            Self::Word(word) => {
                return Ok(Expectation::Verdict(match word.as_str() {
                    "pass" => Verdict::Passed,
                    "block" => Verdict::Blocked,
                    "refuse" => Verdict::Unresolved,
                    "close" => Verdict::Closed,
                    _ => {
                        return Err(format!(
                            "it can't expect `{word}`: expected pass, block, refuse, close, a status or a list of statuses"
                        ));
                    }
                }));
            }
        };
        if statuses.is_empty() || statuses.iter().any(|status| !ANSWER_STATUSES.contains(status)) {
            return Err("it expects a status below 200 or above 599, or none".to_owned());
        }
        Ok(Expectation::Statuses(statuses))
    }
}

impl Expectation {
    /// Whether this is what was expected.
    pub(crate) fn is_met(&self, verdict: Verdict, status: Option<u16>) -> bool {
        match self {
            Self::Verdict(expected) => *expected == verdict,
            Self::Statuses(statuses) => status.is_some_and(|status| statuses.contains(&status)),
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict(Verdict::Passed) => formatter.write_str("pass"),
            Self::Verdict(Verdict::Blocked) => formatter.write_str("block"),
            Self::Verdict(Verdict::Unresolved) => formatter.write_str("refuse"),
            Self::Verdict(Verdict::Closed | Verdict::Error) => formatter.write_str("close"),
            Self::Statuses(statuses) => {
                let texts: Vec<String> = statuses.iter().map(u16::to_string).collect();
                formatter.write_str(&texts.join(" or "))
            }
        }
    }
}

impl Default for Group {
    fn default() -> Self {
        Self {
            share: 1,
            sources: Vec::new(),
            keep_alive: true,
            server_name: None,
            identity: None,
            resume: None,
            requests: Vec::new(),
        }
    }
}

impl FileGroup {
    fn build(self, folder: &Path) -> Result<Group, String> {
        let place = |why: String| format!("group `{}`: {why}", self.name);
        let mut sources = Vec::new();
        for text in &self.sources {
            sources.extend(address_range(text).map_err(place)?);
        }
        if sources.len() > MOST_SOURCES {
            return Err(place(format!("it has over {MOST_SOURCES} source addresses")));
        }
        let identity = match (&self.certificate, &self.private_key) {
            (Some(certificate), Some(private_key)) => Some(Identity {
                certificate: folder.join(certificate),
                private_key: folder.join(private_key),
            }),
            (None, None) => None,
            _ => return Err(place("`certificate` and `private_key` go together".to_owned())),
        };
        if self.share == 0 || self.share > MOST_WEIGHT {
            return Err(place(format!("its share must be 1 to {MOST_WEIGHT}")));
        }
        Ok(Group {
            share: self.share as usize,
            sources,
            keep_alive: self.keep_alive,
            server_name: self.server_name,
            identity,
            resume: self.resume,
            requests: Vec::new(),
        })
    }
}

/// `127.0.0.2` or `127.0.0.2-127.0.0.9`.
fn address_range(text: &str) -> Result<Vec<IpAddr>, String> {
    let wrong = || {
        format!(
            "`{text}` is no address and no range of at most {MOST_SOURCES}: write `127.0.0.2` or `127.0.0.2-127.0.0.9`"
        )
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (IpAddr, IpAddr) =
        (first.trim().parse().map_err(|_| wrong())?, last.trim().parse().map_err(|_| wrong())?);
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            let (first, last) = (u32::from(first), u32::from(last));
            let in_range = first <= last && (last - first) < MOST_SOURCES as u32;
            in_range.then(|| (first..=last).map(|bits| IpAddr::V4(bits.into())).collect()).ok_or_else(wrong)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) if one == other => Ok(vec![first]),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests;

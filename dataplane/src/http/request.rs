//! The head of a request.

use std::mem::MaybeUninit;

use super::fields::{self, FieldId, HeaderField, Span};
use super::framing::{BodyFraming, Direction, FramingFacts};
use super::head::{HeadError, HeadLimits, MAX_HEADER_COUNT, Progress, UnderscoreNames, Version};
use super::host::{are_same_host, is_valid_host};
use super::strict::{self, Extent, HeadKind, StrictPass};
use super::target::{self, Implied, Target};
use crate::text::is_token_byte;

/// The head of one request, as offsets into the buffer that it was parsed from.
///
/// Reused from request to request: the list of fields keeps its capacity, so that a parse allocates nothing once the
/// longest list has been seen. All accessors that take `bytes` want the buffer of the last [`parse`](Self::parse),
/// unchanged; what they return is meaningful only after that said [`Progress::Complete`].
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    strict: StrictPass,
    finished: bool,
    method: Span,
    target: Target,
    /// The whole target where its bytes don't lie side by side ([`Implied::RootBeforeQuery`]); else empty.
    joined_target: Vec<u8>,
    host: Span,
    version: Version,
    framing: BodyFraming,
    keep_alive: bool,
    expects_continue: bool,
    upgrade: bool,
    is_head: bool,
    fields: Vec<HeaderField>,
}

pub(super) const BARE_CR: HeadError = HeadError::bad(
    "bare_cr",
    "the head holds a CR that no LF follows; lines end with CRLF and CR stands nowhere else",
);
const BAD_REQUEST_LINE: HeadError = HeadError::bad(
    "bad_request_line",
    "the request line is not `METHOD TARGET HTTP/1.1` with single spaces between and none around",
);
const BAD_VERSION: HeadError =
    HeadError::bad("bad_version", "the request line does not end with a version such as `HTTP/1.1`");
const VERSION_NOT_SUPPORTED: HeadError = HeadError::with(
    505,
    "unsupported_version",
    "the request names an HTTP version other than 1.0 and 1.1 on a connection that speaks HTTP/1",
);
const BAD_HEADER_NAME: HeadError = HeadError::bad(
    "bad_header_name",
    "a header line does not start with a token and a colon right behind it (RFC 9110 section 5.1)",
);
const BAD_HEADER_VALUE: HeadError =
    HeadError::bad("bad_header_value", "a header value holds a control byte; only tabs are allowed");
const TOO_MANY_HEADERS: HeadError =
    HeadError::with(431, "too_many_headers", "the head has more header fields than the limit allows");
const UNKNOWN_METHOD: HeadError = HeadError::with(
    501,
    "unknown_method",
    "the method holds bytes other than upper-case letters, digits, `-` and `_`; methods are case-sensitive",
);
const METHOD_NOT_ALLOWED: HeadError =
    HeadError::with(405, "method_not_allowed", "CONNECT and TRACE are not served by a reverse proxy");
const NO_HOST: HeadError = HeadError::bad("missing_host", "an HTTP/1.1 request has no Host field");
const DUPLICATE_HOST: HeadError =
    HeadError::bad("duplicate_host", "the request has more than one Host field");
const BAD_HOST: HeadError =
    HeadError::bad("bad_host", "the Host field is not a host name or address with an optional port");
const HOST_MISMATCH: HeadError =
    HeadError::bad("host_mismatch", "the Host field differs from the authority of the request target");
const UNDERSCORE_NAME: HeadError = HeadError::bad(
    "underscore_in_header_name",
    "a header name holds `_`, which some origins read as `-`; underscore_headers says that such requests are refused",
);
const BAD_EXPECT: HeadError = HeadError::with(
    417,
    "unsupported_expectation",
    "the request expects something other than `100-continue`, which is all that can be met",
);

impl RequestHead {
    /// Forgets the request and keeps the memory.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        let mut joined_target = std::mem::take(&mut self.joined_target);
        joined_target.clear();
        *self = Self { fields, joined_target, ..Self::default() };
    }

    /// Parses a head at the start of `bytes`.
    ///
    /// After [`Progress::Incomplete`] call again with the same bytes and more behind them: the search for the end goes
    /// on where it stopped. After a complete head or an error the next call starts anew.
    ///
    /// # Errors
    /// The request must be answered with [`HeadError::status`] and the connection closed. The answer does not depend
    /// on how the bytes were split into reads.
    pub fn parse(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Progress, HeadError> {
        if self.finished || self.strict.is_stale(bytes) {
            self.clear();
        }
        let outcome = self.parse_or_refuse(bytes, limits);
        self.finished = !matches!(outcome, Ok(Progress::Incomplete));
        outcome
    }

    fn parse_or_refuse(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Progress, HeadError> {
        let (consumed, target) = match self.read_at_once(bytes, limits) {
            Some(found) => found,
            None => match self.strict.advance(bytes, HeadKind::Request, limits)? {
                Some(extent) => (extent.end, self.read_tokens(bytes, extent)?),
                None => return Ok(Progress::Incomplete),
            },
        };
        let head = &bytes[..consumed];
        self.read_request_line(head, target, limits)?;
        self.read_fields(head)?;
        self.check_names(head, limits.underscore_names)?;
        Ok(Progress::Complete { consumed })
    }

    /// The usual case, a sound head that came in one piece: the tokenizer finds the end, and what the strict pass would
    /// have searched for is checked where the tokens meet. All else takes the strict pass, which names the reason.
    fn read_at_once(&mut self, bytes: &[u8], limits: &HeadLimits) -> Option<(usize, Span)> {
        if !self.strict.is_fresh() || !bytes.first()?.is_ascii_alphanumeric() {
            return None;
        }
        let window = bytes.get(..limits.head_bytes as usize).unwrap_or(bytes);
        let Ok((httparse::Status::Complete(consumed), target)) = self.tokenize(window, 0) else {
            return None;
        };
        let end_of_fields = (consumed - 2) as u32;
        let ends_with_crlf = |end: u32| window.get(end as usize - 2) == Some(&b'\r');
        let fits = self.method.len() <= usize::from(limits.method_bytes)
            && target.len() <= limits.target_bytes as usize
            && self.fields.len() <= usize::from(limits.header_count);
        // A line ends where the next name starts: its last byte is an LF, says the tokenizer.
        let first_line_end = self.fields.first().map_or(end_of_fields, |field| field.name.start);
        let line_ends =
            self.fields.iter().skip(1).map(|field| field.name.start).chain(std::iter::once(end_of_fields));
        let sound = fits
            && ends_with_crlf(consumed as u32)
            && ends_with_crlf(first_line_end)
            && self
                .fields
                .iter()
                .zip(line_ends)
                .all(|(field, end)| ends_with_crlf(end) && end - field.name.start <= limits.header_bytes);
        sound.then_some((consumed, target))
    }

    /// Runs the tokenizer over a head whose lines are known to be sound; returns where the target lies.
    fn read_tokens(&mut self, bytes: &[u8], extent: Extent) -> Result<Span, HeadError> {
        let head = &bytes[..extent.end];
        match self.tokenize(head, extent.start) {
            // Both passes must agree on where the head ends, else one of them was fooled.
            Ok((httparse::Status::Complete(consumed), target)) if extent.start + consumed == extent.end => {
                Ok(target)
            }
            Ok(_) => Err(BAD_REQUEST_LINE),
            Err(error) => Err(refusal(error, &head[extent.start..])),
        }
    }

    /// Keeps the tokens of the head that starts at `start` as offsets into `bytes`, if the head is whole; returns where
    /// the target lies.
    fn tokenize(
        &mut self,
        bytes: &[u8],
        start: usize,
    ) -> Result<(httparse::Status<usize>, Span), httparse::Error> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADER_COUNT as usize];
        let mut request = httparse::Request::new(&mut []);
        let status = request.parse_with_uninit_headers(&bytes[start..], &mut headers)?;
        if status.is_partial() {
            return Ok((status, Span::default()));
        }
        self.method = Span::locate(bytes, request.method.unwrap_or_default().as_bytes());
        self.version = if request.version == Some(0) { Version::Http10 } else { Version::Http11 };
        fields::fill(&mut self.fields, bytes, request.headers);
        Ok((status, Span::locate(bytes, request.path.unwrap_or_default().as_bytes())))
    }

    fn read_request_line(&mut self, head: &[u8], target: Span, limits: &HeadLimits) -> Result<(), HeadError> {
        if target.len() > limits.target_bytes as usize {
            return Err(strict::TARGET_TOO_LONG);
        }
        let method = self.method.of(head);
        if !method.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_')) {
            return Err(UNKNOWN_METHOD);
        }
        if matches!(method, b"CONNECT" | b"TRACE") {
            return Err(METHOD_NOT_ALLOWED);
        }
        self.is_head = method == b"HEAD";
        self.target = Target::parse(head, target, method)?;
        if self.target.implied == Implied::RootBeforeQuery {
            self.joined_target.push(b'/');
            self.joined_target.extend_from_slice(self.target.origin_form.of(head));
        }
        Ok(())
    }

    fn read_fields(&mut self, head: &[u8]) -> Result<(), HeadError> {
        let mut host = None;
        let mut has_upgrade = false;
        let mut expects_continue = false;
        for field in &self.fields {
            match field.id {
                FieldId::Host if host.is_some() => return Err(DUPLICATE_HOST),
                FieldId::Host => host = Some(field.value),
                FieldId::Upgrade => has_upgrade = true,
                FieldId::Expect if field.value.of(head).eq_ignore_ascii_case(b"100-continue") => {
                    expects_continue = true;
                }
                FieldId::Expect => return Err(BAD_EXPECT),
                _ => {}
            }
        }
        self.host = self.effective_host(head, host)?;
        let facts = FramingFacts::read(&mut self.fields, head, self.version, Direction::Request)?;
        self.framing = match facts.content_length {
            _ if facts.chunked => BodyFraming::Chunked,
            Some(length) => BodyFraming::Length(length),
            None => BodyFraming::None,
        };
        let is_11 = self.version == Version::Http11;
        self.keep_alive = is_11 && !facts.close;
        self.upgrade = is_11 && has_upgrade && facts.upgrade;
        let has_body = !matches!(self.framing, BodyFraming::None | BodyFraming::Length(0));
        self.expects_continue = is_11 && expects_continue && has_body;
        Ok(())
    }

    /// Looks for names that an origin may read as others.
    fn check_names(&mut self, head: &[u8], underscores: UnderscoreNames) -> Result<(), HeadError> {
        if underscores == UnderscoreNames::Pass {
            return Ok(());
        }
        for field in &mut self.fields {
            if memchr::memchr(b'_', field.name.of(head)).is_some() {
                if underscores == UnderscoreNames::Reject {
                    return Err(UNDERSCORE_NAME);
                }
                field.hop_by_hop = true;
            }
        }
        Ok(())
    }

    /// The authority of an absolute target replaces Host (RFC 9112 section 3.2.2), but only where both agree: other
    /// parties on the way may have looked at the other one.
    fn effective_host(&self, head: &[u8], field: Option<Span>) -> Result<Span, HeadError> {
        if field.is_none() && self.version == Version::Http11 {
            return Err(NO_HOST);
        }
        if field.is_some_and(|host| !is_valid_host(host.of(head))) {
            return Err(BAD_HOST);
        }
        match (self.target.authority, field) {
            (Some(authority), Some(host))
                if !are_same_host(authority.of(head), host.of(head), self.target.is_https) =>
            {
                Err(HOST_MISMATCH)
            }
            (Some(authority), _) => Ok(authority),
            (None, host) => Ok(host.unwrap_or_default()),
        }
    }

    /// The method, as received.
    pub fn method<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.method.of(bytes)
    }

    /// Whether the method is HEAD, so that the answer has no body.
    pub fn is_head(&self) -> bool {
        self.is_head
    }

    /// The version that the client speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Path and query as received; of an absolute target without scheme and authority. `*` for `OPTIONS *`.
    pub fn target<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        match self.target.implied {
            Implied::RootBeforeQuery => &self.joined_target,
            _ => self.with_implied(self.target.origin_form, bytes),
        }
    }

    /// The target up to the `?`, as received.
    pub fn path<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.with_implied(self.target.path, bytes)
    }

    /// What stands behind the first `?`, as received; `None` where there is no `?`.
    pub fn query<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        self.target.query.map(|query| query.of(bytes))
    }

    /// The host that the request is for, with `:port` where given. Valid by [`is_valid_host`]; empty only for an
    /// HTTP/1.0 request that names none.
    pub fn host<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.host.of(bytes)
    }

    /// The fields in their order.
    pub fn fields(&self) -> &[HeaderField] {
        &self.fields
    }

    /// The fields in their order: name as received, value without the spaces around it.
    pub fn headers<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        fields::pairs(&self.fields, bytes)
    }

    /// The value of the first field of that name, in any case.
    pub fn header<'a>(&self, bytes: &'a [u8], name_lower: &[u8]) -> Option<&'a [u8]> {
        fields::first(&self.fields, bytes, name_lower)
    }

    /// How the client frames the body.
    pub fn framing(&self) -> BodyFraming {
        self.framing
    }

    /// Whether the client wants to send another request: HTTP/1.1 without `Connection: close`. 1.0 clients never.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Whether the client waits for [`CONTINUE`](super::CONTINUE) before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// Whether the client asks for another protocol, with `Upgrade` and `Connection: upgrade`.
    pub fn upgrade(&self) -> bool {
        self.upgrade
    }

    fn with_implied<'a>(&self, span: Span, bytes: &'a [u8]) -> &'a [u8] {
        match self.target.implied {
            Implied::Nothing => span.of(bytes),
            Implied::Root | Implied::RootBeforeQuery => b"/",
            Implied::Asterisk => b"*",
        }
    }
}

/// Why the tokenizer stopped. Its array of headers is stale after an error and is not looked at.
fn refusal(error: httparse::Error, lines: &[u8]) -> HeadError {
    let has_bare_cr =
        || memchr::memchr_iter(b'\r', lines).any(|position| lines.get(position + 1) != Some(&b'\n'));
    match error {
        _ if has_bare_cr() => BARE_CR,
        httparse::Error::HeaderName => BAD_HEADER_NAME,
        httparse::Error::HeaderValue => BAD_HEADER_VALUE,
        httparse::Error::TooManyHeaders => TOO_MANY_HEADERS,
        httparse::Error::Version | httparse::Error::Token => request_line_refusal(error, lines),
        httparse::Error::NewLine | httparse::Error::Status => BAD_REQUEST_LINE,
    }
}

/// Looks closer at a request line that the tokenizer refused: a version of HTTP that we don't speak is told from one
/// that is none, and a target with forbidden bytes from a line of another form.
fn request_line_refusal(error: httparse::Error, lines: &[u8]) -> HeadError {
    let line_end = memchr::memchr(b'\r', lines).unwrap_or(lines.len());
    let mut words = lines[..line_end].split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return if error == httparse::Error::Version { BAD_VERSION } else { BAD_REQUEST_LINE };
    };
    if method.is_empty() || target.is_empty() || !method.iter().all(|byte| is_token_byte(*byte)) {
        return BAD_REQUEST_LINE;
    }
    if !target.iter().all(u8::is_ascii_graphic) {
        return target::BAD_BYTE;
    }
    match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            VERSION_NOT_SUPPORTED
        }
        _ => BAD_VERSION,
    }
}

/// The tokenizer's reasons, for heads of responses.
pub(super) fn response_refusal(error: httparse::Error, lines: &[u8]) -> HeadError {
    match refusal(error, lines) {
        BAD_REQUEST_LINE | BAD_VERSION | VERSION_NOT_SUPPORTED | target::BAD_BYTE => strict::BAD_STATUS_LINE,
        other => other,
    }
}

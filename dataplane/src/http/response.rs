//! The head of an origin's response.

use std::mem::MaybeUninit;

use super::fields::{self, HeaderField, Span};
use super::framing::{Direction, FramingFacts, ResponseFraming};
use super::head::{HeadError, HeadLimits, MAX_HEADER_COUNT, Progress, Version};
use super::request::response_refusal;
use super::strict::{HeadKind, StrictPass};

/// The head of one response, as offsets into the buffer that it was parsed from. Reused like
/// [`RequestHead`](super::RequestHead).
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    strict: StrictPass,
    finished: bool,
    status: u16,
    version: Version,
    reason: Span,
    framing: ResponseFraming,
    content_length: Option<u64>,
    keep_alive: bool,
    upgrade: bool,
    fields: Vec<HeaderField>,
}

const BAD_STATUS: HeadError =
    HeadError::with(502, "bad_status", "the origin's status is not a number from 100 to 999");
const UNEXPECTED_SWITCH: HeadError = HeadError::with(
    502,
    "unexpected_upgrade",
    "the origin switched protocols (101), which no forwarded request asks for",
);

impl ResponseHead {
    /// Forgets the response and keeps the memory.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    /// Parses a head at the start of `bytes`, as [`RequestHead::parse`](super::RequestHead::parse) does.
    /// `request_was_head` tells that the response can't have a body.
    ///
    /// After an interim response ([`is_interim`](Self::is_interim)) call again with the bytes behind it.
    ///
    /// # Errors
    /// The status is always 502; the connection to the origin must be closed.
    pub fn parse(
        &mut self,
        bytes: &[u8],
        request_was_head: bool,
        limits: &HeadLimits,
    ) -> Result<Progress, HeadError> {
        self.parse_answer(bytes, request_was_head, false, limits)
    }

    /// The same; `upgrade_was_asked` tells that the request asked for another protocol, so that 101 is a possible
    /// answer to it. Whether that 101 is the right one is for the caller to see.
    ///
    /// # Errors
    /// As [`ResponseHead::parse`].
    pub fn parse_answer(
        &mut self,
        bytes: &[u8],
        request_was_head: bool,
        upgrade_was_asked: bool,
        limits: &HeadLimits,
    ) -> Result<Progress, HeadError> {
        if self.finished || self.strict.is_stale(bytes) {
            self.clear();
        }
        let outcome =
            self.parse_or_refuse(bytes, request_was_head, limits).map_err(HeadError::into_bad_gateway);
        let outcome = match outcome {
            Ok(Progress::Complete { .. }) if self.status == 101 && !upgrade_was_asked => {
                Err(UNEXPECTED_SWITCH)
            }
            outcome => outcome,
        };
        self.finished = !matches!(outcome, Ok(Progress::Incomplete));
        outcome
    }

    fn parse_or_refuse(
        &mut self,
        bytes: &[u8],
        request_was_head: bool,
        limits: &HeadLimits,
    ) -> Result<Progress, HeadError> {
        let Some(extent) = self.strict.advance(bytes, HeadKind::Response, limits)? else {
            return Ok(Progress::Incomplete);
        };
        let head = &bytes[..extent.end];
        self.read_tokens(head)?;
        let facts = FramingFacts::read(&mut self.fields, head, self.version, Direction::Response)?;
        self.content_length = facts.content_length;
        self.upgrade = facts.upgrade;
        self.framing = if request_was_head || matches!(self.status, 100..=199 | 204 | 304) {
            ResponseFraming::None
        } else if facts.chunked {
            ResponseFraming::Chunked
        } else {
            facts.content_length.map_or(ResponseFraming::UntilClose, ResponseFraming::Length)
        };
        let origin_keeps = match self.version {
            Version::Http11 => !facts.close,
            Version::Http10 => facts.keep_alive && !facts.close,
        };
        self.keep_alive = origin_keeps && self.framing != ResponseFraming::UntilClose;
        Ok(Progress::Complete { consumed: extent.end })
    }

    fn read_tokens(&mut self, head: &[u8]) -> Result<(), HeadError> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADER_COUNT as usize];
        let mut response = httparse::Response::new(&mut []);
        match httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            head,
            &mut headers,
        ) {
            Ok(httparse::Status::Complete(consumed)) if consumed == head.len() => {}
            Ok(_) => return Err(BAD_STATUS),
            Err(error) => return Err(response_refusal(error, head)),
        }
        self.status = response.code.unwrap_or_default();
        if !(100..=999).contains(&self.status) {
            return Err(BAD_STATUS);
        }
        self.version = if response.version == Some(0) { Version::Http10 } else { Version::Http11 };
        // A missing reason is an empty string that lies elsewhere.
        self.reason = match response.reason {
            None | Some("") => Span::default(),
            Some(reason) => Span::locate(head, reason.as_bytes()),
        };
        fields::fill(&mut self.fields, head, response.headers);
        Ok(())
    }

    /// The status, 100 to 999.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The version that the origin speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The reason phrase as received; empty if it is missing or holds bytes above 127.
    pub fn reason<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.reason.of(bytes)
    }

    /// Whether another response follows this one: 1xx, but for 101, behind which the other protocol begins.
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100..=199) && self.status != 101
    }

    /// Whether `Connection` says that the protocol changes.
    pub fn upgrade(&self) -> bool {
        self.upgrade
    }

    /// How the origin frames the body.
    pub fn framing(&self) -> ResponseFraming {
        self.framing
    }

    /// How the body is to be framed towards a client of that version: what ends with the origin's connection becomes
    /// chunked for an HTTP/1.1 client, and an HTTP/1.0 client gets no chunks.
    pub fn framing_for(&self, client_version: Version) -> ResponseFraming {
        match (self.framing, client_version) {
            (ResponseFraming::UntilClose, Version::Http11) => ResponseFraming::Chunked,
            (ResponseFraming::Chunked, Version::Http10) => ResponseFraming::UntilClose,
            (framing, _) => framing,
        }
    }

    /// What the origin says about the length, also where there is no body (HEAD, 304).
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Whether the origin's connection can serve another request once the body has been read.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
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
}

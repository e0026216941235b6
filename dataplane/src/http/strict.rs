//! The strict pass over a head's raw bytes: finds where the head ends, and refuses what a tokenizer lets through.
//!
//! The pass remembers how far it came, so a head that arrives byte by byte costs linear time. Every refusal is decided
//! by a prefix of the bytes, and refusals are found in the order of those prefixes: however the bytes are split into
//! reads, the same head gets the same answer.

use super::head::{HeadError, HeadLimits, MAX_HEADER_COUNT};

/// Which first line the head has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadKind {
    /// One empty line may stand before the request line (RFC 9112 section 2.2).
    Request,
    /// Nothing may stand before the status line.
    Response,
}

/// A head's extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Where the first line starts: 0, or 2 behind an empty line.
    pub(super) start: usize,
    /// Behind the final empty line.
    pub(super) end: usize,
}

/// How far the pass came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StrictPass {
    /// Start of the first line, once known.
    start: usize,
    /// Start of the line that has not ended yet.
    line_start: usize,
    /// Bytes already searched for a line end.
    scanned: usize,
    /// Lines that ended, the first line counted, leading empty ones not.
    lines: u32,
}

const BARE_LF: HeadError =
    HeadError::bad("bare_lf", "a line of the head ends with LF alone; every line must end with CRLF");
const HEAD_TOO_LARGE: HeadError =
    HeadError::with(431, "head_too_large", "the head is larger than the limit of bytes for one head");
const HEADER_TOO_LARGE: HeadError =
    HeadError::with(431, "header_too_large", "a header line is larger than the limit of bytes for one field");
const TOO_MANY_HEADERS: HeadError =
    HeadError::with(431, "too_many_headers", "the head has more header fields than the limit allows");
pub(super) const TARGET_TOO_LONG: HeadError = HeadError::with(
    414,
    "target_too_long",
    "the request target is longer than the limit of bytes for targets",
);
pub(super) const BAD_STATUS_LINE: HeadError = HeadError::bad(
    "bad_status_line",
    "the status line of the origin is not `HTTP/1.1 CODE REASON` with single spaces between",
);
const METHOD_TOO_LONG: HeadError =
    HeadError::with(501, "method_too_long", "the method is longer than the limit of bytes for methods");
const OBS_FOLD: HeadError = HeadError::bad(
    "leading_space",
    "a header line starts with a space or tab; folded values are not accepted, put the value on one line",
);

/// What every answer starts with. Told by its first bytes, another protocol isn't taken for an answer that was cut.
const ANSWER_START: &[u8] = b"HTTP/1.";

/// Bytes of a request line behind the target: a space, the version, CRLF.
const AFTER_TARGET_BYTES: usize = " HTTP/1.1\r\n".len();

impl StrictPass {
    /// Whether nothing of the head was looked at yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.scanned == 0 && self.start == 0 && self.lines == 0
    }

    /// Whether bytes were seen that are no longer there: the caller started another head.
    pub(super) fn is_stale(&self, bytes: &[u8]) -> bool {
        bytes.len() < self.scanned
    }

    /// Goes on from where the last call stopped; `None` while the head has no end yet.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        kind: HeadKind,
        limits: &HeadLimits,
    ) -> Result<Option<Extent>, HeadError> {
        // What lies behind the limit must not decide anything, or the outcome would depend on the sizes of reads.
        let head_limit = limits.head_bytes as usize;
        let window = bytes.get(..head_limit).unwrap_or(bytes);
        if self.lines == 0 && !self.find_first_line(window, kind)? {
            return self.not_yet(bytes, head_limit);
        }
        let searched_from = self.scanned.max(self.line_start);
        for offset in memchr::memchr_iter(b'\n', window.get(searched_from..).unwrap_or_default()) {
            let line_feed = searched_from + offset;
            let line = &window[self.line_start..=line_feed];
            if self.lines > 0 && matches!(line, b"\r\n") {
                return Ok(Some(Extent { start: self.start, end: line_feed + 1 }));
            }
            self.check_limits_of_line(line, kind, limits)?;
            if self.lines > 0 && matches!(line[0], b' ' | b'\t') {
                return Err(OBS_FOLD);
            }
            if !line.ends_with(b"\r\n") {
                return Err(BARE_LF);
            }
            let header_limit = u32::from(limits.header_count.min(MAX_HEADER_COUNT));
            if self.lines > header_limit {
                return Err(TOO_MANY_HEADERS);
            }
            self.lines += 1;
            self.line_start = line_feed + 1;
        }
        self.scanned = window.len();
        self.check_limits_of_line(window.get(self.line_start..).unwrap_or_default(), kind, limits)?;
        self.not_yet(bytes, head_limit)
    }

    /// No end within the bytes: fine, unless the limit is reached.
    fn not_yet(&self, bytes: &[u8], head_limit: usize) -> Result<Option<Extent>, HeadError> {
        if bytes.len() >= head_limit { Err(HEAD_TOO_LARGE) } else { Ok(None) }
    }

    /// Skips an empty line before a request line and looks at the first byte behind it, so that other protocols
    /// (a TLS handshake, say) are told at once. `false` while the bytes don't suffice.
    fn find_first_line(&mut self, window: &[u8], kind: HeadKind) -> Result<bool, HeadError> {
        if kind == HeadKind::Request && self.start == 0 {
            match window {
                [b'\r', b'\n', ..] => {
                    self.start = 2;
                    self.line_start = 2;
                }
                [b'\r', _, ..] => return Err(super::request::BARE_CR),
                [b'\n', ..] => return Err(BARE_LF),
                [] | [b'\r'] => return Ok(false),
                _ => {}
            }
        }
        match window.get(self.start) {
            None => Ok(false),
            Some(b'\r' | b'\n') => Err(HeadError::bad(
                "leading_empty_lines",
                "the head starts with an empty line; at most one may stand before a request line",
            )),
            Some(byte) if !byte.is_ascii_graphic() => Err(HeadError::bad(
                "not_http",
                "the first byte can't start an HTTP message; another protocol is spoken, such as TLS on a plain port",
            )),
            Some(_) if kind == HeadKind::Response && !begins_like(window, ANSWER_START) => {
                Err(BAD_STATUS_LINE)
            }
            Some(_) => Ok(true),
        }
    }

    /// Limits that hold for a line from its start, so that they can be checked before it ends. `line` is what there
    /// is of it, with its LF if that has come.
    fn check_limits_of_line(
        &self,
        line: &[u8],
        kind: HeadKind,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        if self.lines > 0 && kind == HeadKind::Request {
            let limit = limits.header_bytes as usize;
            let too_large = exceeds(line, limit);
            return if too_large { Err(HEADER_TOO_LARGE) } else { Ok(()) };
        }
        if kind == HeadKind::Response {
            return Ok(());
        }
        let method_limit = usize::from(limits.method_bytes);
        match memchr::memchr(b' ', line.get(..=method_limit).unwrap_or(line)) {
            Some(method_bytes) => {
                let limit = method_bytes + 1 + limits.target_bytes as usize + AFTER_TARGET_BYTES;
                if exceeds(line, limit) { Err(TARGET_TOO_LONG) } else { Ok(()) }
            }
            None if line.len() > method_limit => Err(METHOD_TOO_LONG),
            None => Ok(()),
        }
    }
}

/// Whether `bytes` are `start`, as far as either goes.
fn begins_like(bytes: &[u8], start: &[u8]) -> bool {
    let common = bytes.len().min(start.len());
    bytes[..common] == start[..common]
}

/// Whether a line, perhaps without its end yet, can't fit into `limit` bytes with its LF.
fn exceeds(line: &[u8], limit: usize) -> bool {
    line.len() > limit || (line.len() == limit && !line.ends_with(b"\n"))
}

//! What request and response heads share: limits, progress, versions and the reasons for a refusal.

use std::fmt;
use std::sync::LazyLock;

use memchr::memmem::Finder;

/// The most header fields that any head may have, whatever the config says: it sizes an array on the stack.
pub const MAX_HEADER_COUNT: u16 = 256;

/// What happens to header fields of requests whose names hold `_`. Origins of the CGI kind can't tell them from those
/// with `-`, so that a client could send a field past what was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnderscoreNames {
    /// They are forwarded like all others.
    #[default]
    Pass,
    /// They are inspected and not forwarded.
    Drop,
    /// The request is refused (400).
    Reject,
}

/// Limits of one head. Every one is checked as soon as the bytes seen so far make its breach certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head, final empty line included (431).
    pub head_bytes: u32,
    /// Bytes of the request target as received (414).
    pub target_bytes: u32,
    /// Header fields of one head (431); values above [`MAX_HEADER_COUNT`] count as that.
    pub header_count: u16,
    /// Bytes of one header line of a request, its CRLF included (431).
    pub header_bytes: u32,
    /// Bytes of the method (501).
    pub method_bytes: u16,
    /// Names with `_` in a request.
    pub underscore_names: UnderscoreNames,
}

impl Default for HeadLimits {
    /// 32 KiB a head, 24 KiB a target, 100 fields of 8 KiB, 32 bytes a method; names with `_` pass.
    fn default() -> Self {
        Self {
            head_bytes: 32 * 1024,
            target_bytes: 24 * 1024,
            header_count: 100,
            header_bytes: 8 * 1024,
            method_bytes: 32,
            underscore_names: UnderscoreNames::Pass,
        }
    }
}

/// The version that a head names. Others are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// How far a parse came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The head has not ended yet: call again with the same bytes and more behind them.
    Incomplete,
    /// The head is parsed.
    Complete {
        /// Bytes of the head: the final empty line, and an empty line before the request line, included.
        consumed: usize,
    },
}

/// Why a head was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadError {
    /// Status of the answer: 4xx, 501 or 505 for requests, 502 for responses of an origin.
    pub status: u16,
    /// Stable name for logs and metrics, such as `bare_lf` or `duplicate_host`.
    pub code: &'static str,
    /// One sentence for operators: what was found and what is expected.
    pub detail: &'static str,
}

impl HeadError {
    /// A refusal with 400.
    pub(super) const fn bad(code: &'static str, detail: &'static str) -> Self {
        Self { status: 400, code, detail }
    }

    /// A refusal with another status.
    pub(super) const fn with(status: u16, code: &'static str, detail: &'static str) -> Self {
        Self { status, code, detail }
    }

    /// The same reason, for a head that an origin sent: the client is told 502.
    pub(super) const fn into_bad_gateway(self) -> Self {
        Self { status: 502, ..self }
    }
}

/// Where the first empty line that follows another line ends: in sound HTTP, the end of the head.
pub fn find_head_end(bytes: &[u8]) -> Option<usize> {
    // Made once: preparing the search costs more than searching a small head.
    static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));
    END.find(bytes).map(|at| at + 4)
}

impl fmt::Display for HeadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}, status {})", self.detail, self.code, self.status)
    }
}

impl std::error::Error for HeadError {}

//! The limits of one request's inspection, and what happened when one was hit.

use std::fmt;

/// Bounds on the work and memory of one request's inspection. Hitting one is reported, never silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most values that a request is taken apart into. Default 131,072.
    pub values: usize,
    /// The deepest nesting inside one JSON document. Default 64.
    pub json_depth: usize,
    /// The most decoders that are applied one after the other to one value. Default 5, at most 100.
    pub decoder_depth: u8,
    /// The most bytes of all decoded values together. Default 8 MiB, at most 1 GiB.
    pub decoded_bytes: usize,
    /// The most pairs of a value and a signature that are looked at closely. Default 4,096.
    pub confirmations: usize,
    /// The most bytes that all close looks together may read, for each 256 KiB of values that a request begins. Default
    /// 2 MiB.
    pub confirmed_bytes: usize,
    /// The most findings that are reported; more are dropped, as they cannot change the verdict's class much.
    /// Default 32.
    pub findings: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            values: 131_072,
            json_depth: 64,
            decoder_depth: 5,
            decoded_bytes: 8 << 20,
            confirmations: 4_096,
            confirmed_bytes: 2 << 20,
            findings: 32,
        }
    }
}

impl Limits {
    /// These limits with all values inside their ranges.
    pub(crate) fn clamped(self) -> Self {
        Self {
            values: self.values.clamp(1, 1 << 24),
            decoder_depth: self.decoder_depth.min(100),
            decoded_bytes: self.decoded_bytes.clamp(1, 1 << 30),
            ..self
        }
    }
}

/// The limit that cut an inspection short. What was found before counts; the rest was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OverLimit {
    /// More values than [`Limits::values`].
    Values,
    /// JSON nested deeper than [`Limits::json_depth`], or decoders beyond [`Limits::decoder_depth`].
    Depth,
    /// More decoded bytes than [`Limits::decoded_bytes`].
    DecodedBytes,
    /// More nominations than [`Limits::confirmations`] or [`Limits::confirmed_bytes`] allow.
    Confirmations,
    /// A Content-Encoding that is not known here or does not fit the body, or a character set that is not read.
    Encoding,
    /// The matcher could not get its working memory.
    Memory,
    /// The caller's time was up, see [`crate::Inspector::inspect_within`].
    Time,
}

/// All limits that were hit in one inspection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OverLimits(u8);

impl OverLimits {
    /// Whether this one was.
    #[must_use]
    pub const fn contains(self, limit: OverLimit) -> bool {
        self.0 & 1 << limit as u8 != 0
    }

    pub(crate) const fn add(&mut self, limit: OverLimit) {
        self.0 |= 1 << limit as u8;
    }
}

impl OverLimit {
    /// The name that logs and metrics use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Depth => "depth",
            Self::DecodedBytes => "decoded_bytes",
            Self::Confirmations => "confirmations",
            Self::Encoding => "encoding",
            Self::Memory => "memory",
            Self::Time => "time",
        }
    }
}

impl fmt::Display for OverLimit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

//! Parsers that can be switched off at a point.

/// A way in which values are read again (spec S4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Parser {
    /// Base64 inside values.
    Base64,
    /// The Cookie header as names and values; off, it is a header as others are.
    Cookie,
    /// Bodies as urlencoded forms.
    FormUrlencoded,
    /// GraphQL documents.
    GraphQl,
    /// Compressed bodies.
    Gzip,
    /// Character references of HTML and escapes of JavaScript.
    HtmlJs,
    /// JSON bodies, and JSON inside values.
    Json,
    /// Web tokens.
    Jwt,
    /// Bodies in parts.
    Multipart,
    /// Percent-encoding beyond the one that is part of a path, a query or a form.
    Percent,
    /// XML bodies.
    Xml,
}

/// A set of parsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ParserSet(u16);

impl ParserSet {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn has(self, parser: Parser) -> bool {
        self.0 & 1 << parser as u16 != 0
    }

    pub(crate) const fn set(&mut self, parser: Parser, is_in: bool) {
        let bit = 1 << parser as u16;
        self.0 = if is_in { self.0 | bit } else { self.0 & !bit };
    }
}

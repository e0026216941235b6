//! The request target in its four forms (RFC 9112 section 3.2).

use super::fields::Span;
use super::head::HeadError;
use super::host::is_valid_host;

/// What a target that stands for less than it means is short for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Implied {
    /// The bytes say it all.
    #[default]
    Nothing,
    /// `http://a` means `/` there.
    Root,
    /// `OPTIONS http://a` means `OPTIONS *` there.
    Asterisk,
    /// `http://a?b` means `/?b` there (RFC 9112 section 3.2.1).
    RootBeforeQuery,
}

/// A target, taken apart.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Target {
    /// Path and query; without scheme and authority where those were given, and without what is implied.
    pub(super) origin_form: Span,
    /// The path alone.
    pub(super) path: Span,
    /// What stands behind the `?`.
    pub(super) query: Option<Span>,
    /// The authority of an absolute target.
    pub(super) authority: Option<Span>,
    /// An absolute target begins with `https:`, so that its port is 443 where none is given, not 80.
    pub(super) is_https: bool,
    pub(super) implied: Implied,
}

pub(super) const BAD_BYTE: HeadError = HeadError::bad(
    "bad_target_byte",
    "the request target holds a control, a space or a byte above 127; percent-encode it",
);
const FRAGMENT: HeadError =
    HeadError::bad("fragment_in_target", "the request target holds a `#`; fragments are never sent");
const BAD_FORM: HeadError = HeadError::bad(
    "bad_target_form",
    "the request target is neither a path that starts with `/`, nor an http or https URI, nor `*` with OPTIONS",
);
const BAD_AUTHORITY: HeadError = HeadError::bad(
    "bad_authority",
    "the authority of the request target is not a host with an optional port",
);

impl Target {
    /// Takes apart the target that lies at `span` of the head's bytes.
    pub(super) fn parse(bytes: &[u8], span: Span, method: &[u8]) -> Result<Self, HeadError> {
        let target = span.of(bytes);
        check_bytes(target)?;
        match target {
            [b'/', ..] => Ok(Self::origin_form(target, span)),
            b"*" if method == b"OPTIONS" => Ok(Self { origin_form: span, path: span, ..Self::default() }),
            _ => Self::absolute_form(target, span, method),
        }
    }

    fn origin_form(target: &[u8], span: Span) -> Self {
        let (path, query) = match memchr::memchr(b'?', target) {
            Some(mark) => {
                let mark = span.start + mark as u32;
                (Span { start: span.start, end: mark }, Some(Span { start: mark + 1, end: span.end }))
            }
            None => (span, None),
        };
        Self { origin_form: span, path, query, ..Self::default() }
    }

    fn absolute_form(target: &[u8], span: Span, method: &[u8]) -> Result<Self, HeadError> {
        let scheme = [&b"http://"[..], b"https://"]
            .into_iter()
            .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
            .ok_or(BAD_FORM)?;
        let is_https = scheme == b"https://";
        let after_scheme = &target[scheme.len()..];
        let authority_bytes = memchr::memchr2(b'/', b'?', after_scheme).unwrap_or(after_scheme.len());
        let (authority, rest) = after_scheme.split_at(authority_bytes);
        if !is_valid_host(authority) {
            return Err(BAD_AUTHORITY);
        }
        let start = span.start + scheme.len() as u32;
        let end = start + authority_bytes as u32;
        let rest_span = Span { start: end, end: span.end };
        let authority = Some(Span { start, end });
        let found = Self::origin_form(rest, rest_span);
        let implied = match rest {
            [b'/', ..] => Implied::Nothing,
            [] if method == b"OPTIONS" => Implied::Asterisk,
            [] => Implied::Root,
            _ => Implied::RootBeforeQuery,
        };
        Ok(Self { authority, is_https, implied, ..found })
    }
}

/// One pass without branches over the usual case, a second one only to name the reason.
fn check_bytes(target: &[u8]) -> Result<(), HeadError> {
    let bad = target.iter().fold(false, |bad, byte| bad | !(0x21..=0x7e).contains(byte) | (*byte == b'#'));
    if !bad {
        Ok(())
    } else if target.iter().all(u8::is_ascii_graphic) {
        Err(FRAGMENT)
    } else {
        Err(BAD_BYTE)
    }
}

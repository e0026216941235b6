//! Header fields as offsets into the head's bytes, with the names that a proxy must know.

/// A part of the head's bytes, as offsets: the bytes live in the caller's buffer, the head beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes of this part; empty if `bytes` is not the buffer that was parsed.
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Whether there is nothing in it.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// Length in bytes.
    #[inline]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Where `part`, a slice of `bytes`, lies in it. Heads are limited to 32 bits of length before this is called.
    #[inline]
    pub(super) fn locate(bytes: &[u8], part: &[u8]) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(bytes.as_ptr().addr());
        debug_assert!(start <= bytes.len() && part.len() <= bytes.len() - start, "not a part of the head");
        Self { start: start as u32, end: (start + part.len()) as u32 }
    }
}

/// Names that the codecs or their callers treat in a special way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldId {
    /// Any other name.
    #[default]
    Other,
    /// `Accept`
    Accept,
    /// `Authorization`
    Authorization,
    /// `Connection`
    Connection,
    /// `Content-Encoding`
    ContentEncoding,
    /// `Content-Length`
    ContentLength,
    /// `Content-Type`
    ContentType,
    /// `Cookie`
    Cookie,
    /// `Expect`
    Expect,
    /// `Forwarded` (RFC 7239)
    Forwarded,
    /// `Host`
    Host,
    /// `HTTP2-Settings` (the h2c upgrade)
    Http2Settings,
    /// `Keep-Alive`
    KeepAlive,
    /// `Proxy` and every name that starts with `Proxy-`
    Proxy,
    /// `TE`
    Te,
    /// `Trailer`
    Trailer,
    /// `Transfer_Encoding`, `Content.Length` and the like, which origins of the CGI kind read as the fields that frame a body
    FramingInCgi,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Upgrade`
    Upgrade,
    /// `User-Agent`
    UserAgent,
    /// Every name that starts with `X-Client-Certificate-`, also with underscores
    XClientCertificate,
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `X-Forwarded-Host`
    XForwardedHost,
    /// `X-Forwarded-Proto`
    XForwardedProto,
    /// Every other name that starts with `X-Forwarded-`, and every spelling of one with underscores
    XForwardedOther,
    /// `X-Real-IP`, also with underscores
    XRealIp,
    /// `X-Request-Id`, also with underscores
    XRequestId,
}

impl FieldId {
    /// Finds the id of a name, in any case. Length and first letter leave at most one candidate, so that a name
    /// which is not in the table costs no comparison.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        let Some(first) = name.first() else { return Self::Other };
        match (name.len(), first | 0x20) {
            (2, b't') if same(name, b"te") => Self::Te,
            (4, b'h') if same(name, b"host") => Self::Host,
            (6, b'a') if same(name, b"accept") => Self::Accept,
            (6, b'c') if same(name, b"cookie") => Self::Cookie,
            (6, b'e') if same(name, b"expect") => Self::Expect,
            (7, b't') if same(name, b"trailer") => Self::Trailer,
            (7, b'u') if same(name, b"upgrade") => Self::Upgrade,
            (9, b'f') if same(name, b"forwarded") => Self::Forwarded,
            (10, b'c') if same(name, b"connection") => Self::Connection,
            (10, b'k') if same(name, b"keep-alive") => Self::KeepAlive,
            (10, b'u') if same(name, b"user-agent") => Self::UserAgent,
            (12, b'c') if same(name, b"content-type") => Self::ContentType,
            (13, b'a') if same(name, b"authorization") => Self::Authorization,
            (14, b'c') if same(name, b"content-length") => Self::ContentLength,
            (14, b'c') if same_as_cgi(name, b"content-length") => Self::FramingInCgi,
            (14, b'h') if same(name, b"http2-settings") => Self::Http2Settings,
            (16, b'c') if same(name, b"content-encoding") => Self::ContentEncoding,
            (17, b't') if same(name, b"transfer-encoding") => Self::TransferEncoding,
            (17, b't') if same_as_cgi(name, b"transfer-encoding") => Self::FramingInCgi,
            (_, b'x') => Self::of_x_name(name),
            (_, b'p') => Self::of_p_name(name),
            _ => Self::Other,
        }
    }

    /// Names with `X-`. Origins of the CGI kind read `_` as `-`, so what claims a client's identity is recognised in
    /// both spellings; only the true spelling counts as the field itself.
    fn of_x_name(name: &[u8]) -> Self {
        if name.eq_ignore_ascii_case(b"x-forwarded-for") {
            Self::XForwardedFor
        } else if name.eq_ignore_ascii_case(b"x-forwarded-proto") {
            Self::XForwardedProto
        } else if name.eq_ignore_ascii_case(b"x-forwarded-host") {
            Self::XForwardedHost
        } else if same_as_cgi(name, b"x-request-id") {
            Self::XRequestId
        } else if same_as_cgi(name, b"x-real-ip") {
            Self::XRealIp
        } else if name.get(..21).is_some_and(|prefix| same_as_cgi(prefix, b"x-client-certificate-")) {
            Self::XClientCertificate
        } else if name.get(..12).is_some_and(|prefix| same_as_cgi(prefix, b"x-forwarded-")) {
            Self::XForwardedOther
        } else {
            Self::Other
        }
    }

    /// Names with `Proxy`: hop-by-hop all of them, and `Proxy` alone poisons the environment of CGI programs.
    fn of_p_name(name: &[u8]) -> Self {
        let is_proxy = name.get(..5).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"proxy"));
        if is_proxy && matches!(name.get(5), None | Some(b'-')) { Self::Proxy } else { Self::Other }
    }

    /// Whether a field of this name ends at this hop, whatever `Connection` says.
    #[inline]
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::ContentLength
                | Self::FramingInCgi
                | Self::Http2Settings
                | Self::KeepAlive
                | Self::Proxy
                | Self::Te
                | Self::Trailer
                | Self::TransferEncoding
                | Self::Upgrade
        )
    }
}

/// Compares a name with a lower-case one in any case. The length is a constant, so this becomes a few wide compares.
#[inline(always)]
fn same<const LENGTH: usize>(name: &[u8], lower: &[u8; LENGTH]) -> bool {
    let Ok(name) = <&[u8; LENGTH]>::try_from(name) else { return false };
    let mut difference = 0;
    for index in 0..LENGTH {
        // Setting this bit makes a letter lower-case, and turns no other byte into one.
        let case_bit = if lower[index].is_ascii_lowercase() { 0x20 } else { 0 };
        difference |= (name[index] | case_bit) ^ lower[index];
    }
    difference == 0
}

/// Compares a name with a lower-case one as a CGI-like origin would: any case, and each byte that is no letter and no digit
/// as `-`. Some origins make `_` of `_` and `-` alone, some of all of these.
fn same_as_cgi(name: &[u8], lower: &[u8]) -> bool {
    name.len() == lower.len()
        && name.iter().zip(lower).all(|(byte, expected)| {
            let folded = if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' };
            folded == *expected
        })
}

/// One header field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderField {
    /// The name as received.
    pub name: Span,
    /// The value without the spaces and tabs around it.
    pub value: Span,
    /// Which well-known name it is.
    pub id: FieldId,
    /// The field ends at this hop: by its name, because we frame the message anew, because `Connection` names it, or
    /// because the config drops names with `_`.
    pub hop_by_hop: bool,
}

/// Keeps what the tokenizer found as offsets into `bytes`.
pub(super) fn fill(fields: &mut Vec<HeaderField>, bytes: &[u8], headers: &[httparse::Header<'_>]) {
    fields.clear();
    fields.extend(headers.iter().map(|header| {
        let name = header.name.as_bytes();
        let id = FieldId::of(name);
        HeaderField {
            name: Span::locate(bytes, name),
            value: Span::locate(bytes, header.value),
            id,
            hop_by_hop: id.is_hop_by_hop(),
        }
    }));
}

/// The fields as pairs of bytes.
pub(super) fn pairs<'a>(
    fields: &'a [HeaderField],
    bytes: &'a [u8],
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    fields.iter().map(|field| (field.name.of(bytes), field.value.of(bytes)))
}

/// The value of the first field with that name.
pub(super) fn first<'a>(fields: &[HeaderField], bytes: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    fields
        .iter()
        .find(|field| field.name.len() == name.len() && field.name.of(bytes).eq_ignore_ascii_case(name))
        .map(|field| field.value.of(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        let cases: [(&[u8], FieldId); 20] = [
            (b"HOST", FieldId::Host),
            (b"Content-Length", FieldId::ContentLength),
            (b"transfer-ENCODING", FieldId::TransferEncoding),
            (b"te", FieldId::Te),
            (b"HTTP2-Settings", FieldId::Http2Settings),
            (b"X-Forwarded-For", FieldId::XForwardedFor),
            (b"X_Forwarded_For", FieldId::XForwardedOther),
            (b"X-Forwarded-Port", FieldId::XForwardedOther),
            (b"x_real-ip", FieldId::XRealIp),
            (b"X-Request-ID", FieldId::XRequestId),
            (b"Proxy", FieldId::Proxy),
            (b"Proxy-Authorization", FieldId::Proxy),
            (b"Proxying", FieldId::Other),
            (b"Content_Length", FieldId::FramingInCgi),
            (b"Content.Length", FieldId::FramingInCgi),
            (b"Transfer.Encoding", FieldId::FramingInCgi),
            (b"X.Forwarded~For", FieldId::XForwardedOther),
            (b"X-Forwarded1For", FieldId::Other),
            (b"hosT1", FieldId::Other),
            (b"", FieldId::Other),
        ];
        for (name, id) in cases {
            assert_eq!(FieldId::of(name), id, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn a_span_of_foreign_bytes_is_empty() {
        let span = Span { start: 3, end: 9 };
        assert_eq!(span.of(b"0123456789"), b"345678");
        assert_eq!(span.of(b"0123"), b"");
        assert_eq!(span.len(), 6);
        assert!(!span.is_empty());
    }
}

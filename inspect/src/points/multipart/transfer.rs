//! Content-Transfer-Encoding inside multipart bodies (RFC 2045 section 6): deprecated, and still undone by some servers.

/// How a part's content is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transfer {
    Base64,
    QuotedPrintable,
}

impl Transfer {
    /// The encoding that a field's value names, if it changes the content.
    pub(super) fn named(value: &[u8]) -> Option<Self> {
        if value.eq_ignore_ascii_case(b"base64") {
            Some(Self::Base64)
        } else if value.eq_ignore_ascii_case(b"quoted-printable") {
            Some(Self::QuotedPrintable)
        } else {
            None
        }
    }

    /// What a point's name shows.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Base64 => "base64",
            Self::QuotedPrintable => "quoted-printable",
        }
    }

    /// Appends what `content` stands for, as leniently as servers read it.
    pub(super) fn decode(self, content: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Base64 => base64(content, out),
            Self::QuotedPrintable => quoted_printable(content, out),
        }
    }
}

/// Other bytes than letters of the alphabet are passed over; padding starts a new group.
fn base64(content: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0_u32, 0);
    for byte in content {
        let sextet = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => {
                (bits, count) = (0, 0);
                continue;
            }
            _ => continue,
        };
        bits = bits << 6 | u32::from(sextet);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
}

/// Soft line breaks vanish, also those with white space before the line's end.
fn quoted_printable(content: &[u8], out: &mut Vec<u8>) {
    let mut rest = content;
    while let Some(position) = memchr::memchr(b'=', rest) {
        out.extend_from_slice(&rest[..position]);
        rest = &rest[position + 1..];
        let digit = |index: usize| rest.get(index).and_then(|byte| char::from(*byte).to_digit(16));
        if let (Some(high), Some(low)) = (digit(0), digit(1)) {
            out.push((high << 4 | low) as u8);
            rest = &rest[2..];
            continue;
        }
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
        match rest[blanks..].strip_prefix(b"\n") {
            Some(next) => rest = next,
            None => out.push(b'='),
        }
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_decoded() {
        let decoded = |transfer: Transfer, content: &str| {
            let mut out = Vec::new();
            transfer.decode(content.as_bytes(), &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        assert_eq!(decoded(Transfer::Base64, "MSBv\r\nciAx\tPTEgLS0=\r\nMQ=="), "1 or 1=1 --1");
        assert_eq!(
            decoded(Transfer::QuotedPrintable, "=31' U=4eION= \r\n SELECT =x="),
            "1' UNION SELECT =x="
        );
    }

    #[test]
    fn only_encodings_have_names() {
        assert_eq!(Transfer::named(b"Base64"), Some(Transfer::Base64));
        assert_eq!(Transfer::named(b"quoted-Printable"), Some(Transfer::QuotedPrintable));
        assert_eq!(Transfer::named(b"8bit"), None);
    }
}

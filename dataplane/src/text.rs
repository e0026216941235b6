//! Small things that are written and recognised in several places.

use std::fmt::Write as _;

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // writing to a String can't fail
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A point in time, in seconds since 1970 UTC, as RFC 3339 writes it; none if it is beyond all calendars.
pub(crate) fn rfc3339(unix_seconds: impl TryInto<i64>) -> Option<String> {
    let time = jiff::Timestamp::from_second(unix_seconds.try_into().ok()?).ok()?;
    Some(time.to_string())
}

/// Whether the byte may be part of a token, as names of methods and fields are (RFC 9110 section 5.6.2).
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        || byte.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_in_hexadecimal() {
        assert_eq!(hex(&[0, 9, 0xab, 0xff]), "0009abff");
    }

    #[test]
    fn times_beyond_all_calendars_have_no_text() {
        assert_eq!(rfc3339(1_800_000_000_u64).as_deref(), Some("2027-01-15T08:00:00Z"));
        assert_eq!(rfc3339(-1_i64).as_deref(), Some("1969-12-31T23:59:59Z"));
        assert_eq!((rfc3339(u64::MAX), rfc3339(i64::MAX)), (None, None));
    }

    #[test]
    fn tokens_have_letters_digits_and_fifteen_signs() {
        let signs: Vec<u8> =
            (0..=u8::MAX).filter(|byte| is_token_byte(*byte) && !byte.is_ascii_alphanumeric()).collect();
        assert_eq!(signs, b"!#$%&'*+-.^_`|~");
    }
}

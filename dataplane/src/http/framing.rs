//! Framing facts of a head, shared by both directions: Content-Length, Transfer-Encoding and Connection are read here,
//! once, and nowhere else (RFC 9112 section 6).

use super::fields::{FieldId, HeaderField};
use super::head::{HeadError, Version};
use crate::text::is_token_byte;

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyFraming {
    /// No framing field, so no body.
    #[default]
    None,
    /// That many bytes; 0 where the client said `Content-Length: 0`. At most 2^63 - 1.
    Length(u64),
    /// The chunked coding.
    Chunked,
}

/// How the body of a response is framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseFraming {
    /// A response that can't have a body: to HEAD, or with status 1xx, 204, 304.
    #[default]
    None,
    /// That many bytes. At most 2^63 - 1.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// Everything until the origin closes; a close that is not clean is a truncation.
    UntilClose,
}

/// The most options that the Connection fields of one head may hold; each is compared with every field.
const MAX_CONNECTION_OPTIONS: usize = 32;

/// What the fields say about framing and the connection, before a direction's rules are applied to it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FramingFacts {
    pub(super) content_length: Option<u64>,
    /// The fields agree that the body is chunked.
    pub(super) chunked: bool,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    /// `Connection` holds `upgrade`.
    pub(super) upgrade: bool,
    connection_options: usize,
}

/// Whose rules hold where both directions differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Response,
}

const BAD_LENGTH: HeadError = HeadError::bad(
    "bad_content_length",
    "Content-Length is not a plain decimal number up to 2^63 - 1; no sign, list, blank or unit may stand in it",
);
const DUPLICATE_LENGTH: HeadError =
    HeadError::bad("duplicate_content_length", "the head has more than one Content-Length; send one");
const UNEQUAL_LENGTHS: HeadError = HeadError::bad(
    "unequal_content_lengths",
    "the head has Content-Length fields that contradict each other",
);
const LENGTH_AND_CODING: HeadError = HeadError::bad(
    "length_and_transfer_encoding",
    "the head has both Content-Length and Transfer-Encoding; only one may frame a body",
);
const CODING_IN_10: HeadError = HeadError::bad(
    "transfer_encoding_in_http10",
    "an HTTP/1.0 message has Transfer-Encoding, which that version does not know",
);
const BAD_CODING: HeadError = HeadError::bad(
    "bad_transfer_encoding",
    "Transfer-Encoding is not exactly `chunked`; any other spelling could be read in two ways",
);
const CODING_NOT_SUPPORTED: HeadError = HeadError::with(
    501,
    "unsupported_transfer_encoding",
    "Transfer-Encoding holds a coding other than `chunked`; compress with Content-Encoding instead",
);
const DUPLICATE_CODING: HeadError =
    HeadError::bad("duplicate_transfer_encoding", "the head has more than one Transfer-Encoding; send one");
const BAD_CONNECTION: HeadError = HeadError::bad(
    "bad_connection",
    "a Connection option is not a token; expected a comma-separated list of tokens",
);
const PROTECTED_OPTION: HeadError = HeadError::bad(
    "connection_names_end_to_end_field",
    "Connection names a field that is meant for the origin, which would strip it on the way",
);
const TOO_MANY_OPTIONS: HeadError =
    HeadError::bad("too_many_connection_options", "Connection holds more than 32 options");

impl FramingFacts {
    /// Reads all framing fields and marks the fields that end at this hop.
    pub(super) fn read(
        fields: &mut [HeaderField],
        bytes: &[u8],
        version: Version,
        direction: Direction,
    ) -> Result<Self, HeadError> {
        let mut facts = Self::default();
        let mut options_name_fields = false;
        for field in fields.iter() {
            match field.id {
                FieldId::ContentLength => facts.read_length(field, bytes, direction)?,
                FieldId::TransferEncoding => facts.read_coding(field, bytes, version)?,
                FieldId::Connection => options_name_fields |= facts.read_options(field, bytes, direction)?,
                _ => {}
            }
        }
        if facts.chunked && facts.content_length.is_some() {
            return Err(LENGTH_AND_CODING);
        }
        if options_name_fields {
            mark_named_fields(fields, bytes);
        }
        Ok(facts)
    }

    fn read_length(
        &mut self,
        field: &HeaderField,
        bytes: &[u8],
        direction: Direction,
    ) -> Result<(), HeadError> {
        if has_tab_around(field, bytes) {
            return Err(BAD_LENGTH);
        }
        let value = field.value.of(bytes);
        match direction {
            Direction::Request if self.content_length.is_some() => return Err(DUPLICATE_LENGTH),
            Direction::Request if has_blank_behind(field, bytes) => return Err(BAD_LENGTH),
            Direction::Request => self.content_length = Some(parse_length(value)?),
            // Origins repeat the field, or the number in a list; equal ones leave nothing to guess.
            Direction::Response => {
                for item in value.split(|byte| *byte == b',') {
                    let length = parse_length(item.trim_ascii())?;
                    if self.content_length.is_some_and(|other| other != length) {
                        return Err(UNEQUAL_LENGTHS);
                    }
                    self.content_length = Some(length);
                }
            }
        }
        Ok(())
    }

    fn read_coding(&mut self, field: &HeaderField, bytes: &[u8], version: Version) -> Result<(), HeadError> {
        if version == Version::Http10 {
            return Err(CODING_IN_10);
        }
        if self.chunked {
            return Err(DUPLICATE_CODING);
        }
        let value = field.value.of(bytes);
        if has_tab_around(field, bytes) || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(if self.content_length.is_none() && ends_a_coding_list(value) {
                CODING_NOT_SUPPORTED
            } else {
                BAD_CODING
            });
        }
        self.chunked = true;
        Ok(())
    }

    /// Reads one Connection field; `true` if an option may be the name of another field.
    fn read_options(
        &mut self,
        field: &HeaderField,
        bytes: &[u8],
        direction: Direction,
    ) -> Result<bool, HeadError> {
        let mut names_fields = false;
        for option in options(field.value.of(bytes)) {
            self.connection_options += 1;
            if self.connection_options > MAX_CONNECTION_OPTIONS {
                return Err(TOO_MANY_OPTIONS);
            }
            if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else {
                if !option.iter().all(|byte| is_token_byte(*byte)) {
                    return Err(BAD_CONNECTION);
                }
                if direction == Direction::Request && is_protected(option) {
                    return Err(PROTECTED_OPTION);
                }
                names_fields = true;
            }
        }
        Ok(names_fields)
    }
}

/// Decimal digits only, up to 2^63 - 1.
fn parse_length(value: &[u8]) -> Result<u64, HeadError> {
    if value.is_empty() {
        return Err(BAD_LENGTH);
    }
    let mut length = 0_u64;
    for byte in value {
        if !byte.is_ascii_digit() {
            return Err(BAD_LENGTH);
        }
        length = length
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(u64::from(byte - b'0')))
            .filter(|length| *length <= i64::MAX as u64)
            .ok_or(BAD_LENGTH)?;
    }
    Ok(length)
}

/// A tab beside a framing value is legal by grammar, but nobody sends one except to find a parser that disagrees.
fn has_tab_around(field: &HeaderField, bytes: &[u8]) -> bool {
    let before = bytes.get(field.name.end as usize..field.value.start as usize).unwrap_or_default();
    let after = bytes.get(field.value.end as usize..).unwrap_or_default();
    before.contains(&b'\t') || after.iter().take_while(|byte| **byte != b'\r').any(|byte| *byte == b'\t')
}

/// A blank behind a length is legal by grammar as well, and read by some parsers as part of the number.
fn has_blank_behind(field: &HeaderField, bytes: &[u8]) -> bool {
    bytes.get(field.value.end as usize).is_some_and(|byte| *byte != b'\r')
}

/// Whether the value is a list of registered codings that ends with `chunked` once, such as `gzip, chunked`: well
/// formed, only not supported.
fn ends_a_coding_list(value: &[u8]) -> bool {
    let mut codings = value.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let ends_chunked = codings.next().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    let mut others = 0;
    ends_chunked
        && codings.all(|coding| {
            others += 1;
            [&b"gzip"[..], b"x-gzip", b"deflate", b"compress", b"x-compress", b"br", b"zstd"]
                .iter()
                .any(|known| coding.eq_ignore_ascii_case(known))
        })
        && others > 0
}

/// The members of a comma-separated list, empty ones left out.
fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
}

/// Fields that a client must not have stripped on their way to the origin.
fn is_protected(option: &[u8]) -> bool {
    matches!(
        FieldId::of(option),
        FieldId::Authorization
            | FieldId::ContentEncoding
            | FieldId::ContentLength
            | FieldId::ContentType
            | FieldId::Cookie
            | FieldId::Forwarded
            | FieldId::Host
            | FieldId::TransferEncoding
            | FieldId::XForwardedFor
            | FieldId::XForwardedHost
            | FieldId::XForwardedProto
            | FieldId::XForwardedOther
            | FieldId::XRealIp
    )
}

/// Marks every field that some Connection field names.
fn mark_named_fields(fields: &mut [HeaderField], bytes: &[u8]) {
    for index in 0..fields.len() {
        if fields[index].id != FieldId::Connection {
            continue;
        }
        for option in options(fields[index].value.of(bytes)) {
            for field in fields.iter_mut() {
                field.hop_by_hop |= field.name.of(bytes).eq_ignore_ascii_case(option);
            }
        }
    }
}

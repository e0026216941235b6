//! Tests of the codecs together. Every head that a test parses is also parsed split at every byte.

mod answers;
mod chunks;
mod forwarding;
mod limits;
mod properties;
mod requests;
mod responses;

use super::*;

/// Parses a request in one piece and split at every byte, in one reused head, and checks that nothing depends on it.
fn parse_request(bytes: &[u8], limits: &HeadLimits) -> Result<(RequestHead, usize), HeadError> {
    let mut head = RequestHead::default();
    let whole = head.parse(bytes, limits);
    let facts = format!("{:?}", facts_of(&head, bytes));
    let mut split = RequestHead::default();
    for length in 0..=bytes.len() {
        match split.parse(&bytes[..length], limits) {
            Ok(Progress::Incomplete) => assert!(length < bytes.len() || whole == Ok(Progress::Incomplete)),
            outcome => {
                assert_eq!(outcome, whole, "after {length} bytes of {}", bytes.escape_ascii());
                if outcome.is_ok() {
                    assert_eq!(format!("{:?}", facts_of(&split, bytes)), facts);
                }
                break;
            }
        }
    }
    match whole? {
        Progress::Complete { consumed } => Ok((head, consumed)),
        Progress::Incomplete => panic!("incomplete: {}", bytes.escape_ascii()),
    }
}

/// Everything that a request head says.
fn facts_of<'a>(head: &'a RequestHead, bytes: &'a [u8]) -> impl std::fmt::Debug + 'a {
    (
        (head.method(bytes), head.version(), head.target(bytes), head.path(bytes), head.query(bytes)),
        (head.host(bytes), head.fields(), head.framing(), head.keep_alive()),
        (head.expects_continue(), head.upgrade(), head.is_head()),
    )
}

/// A request head that must be accepted.
fn accepted(bytes: &[u8]) -> RequestHead {
    match parse_request(bytes, &HeadLimits::default()) {
        Ok((head, _)) => head,
        Err(error) => panic!("{} refused: {error}", bytes.escape_ascii()),
    }
}

/// Why a request head is refused.
fn refused(bytes: &[u8]) -> HeadError {
    match parse_request(bytes, &HeadLimits::default()) {
        Ok(_) => panic!("accepted: {}", bytes.escape_ascii()),
        Err(error) => error,
    }
}

/// Parses a response in one piece and split at every byte, as [`parse_request`] does.
fn parse_response(bytes: &[u8], request_was_head: bool) -> Result<(ResponseHead, usize), HeadError> {
    let limits = HeadLimits::default();
    let mut head = ResponseHead::default();
    let whole = head.parse(bytes, request_was_head, &limits);
    let mut split = ResponseHead::default();
    for length in 0..=bytes.len() {
        match split.parse(&bytes[..length], request_was_head, &limits) {
            Ok(Progress::Incomplete) => assert!(length < bytes.len() || whole == Ok(Progress::Incomplete)),
            outcome => {
                assert_eq!(outcome, whole, "after {length} bytes of {}", bytes.escape_ascii());
                break;
            }
        }
    }
    match whole? {
        Progress::Complete { consumed } => Ok((head, consumed)),
        Progress::Incomplete => panic!("incomplete: {}", bytes.escape_ascii()),
    }
}

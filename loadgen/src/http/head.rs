//! Request and response heads: httparse for the tokens, and one pass over the fields for the framing.
//!
//! The pass is strict where two readers could disagree about where a request ends, line ends included, because this crate is
//! used to find out what a proxy forwards: a stub that repairs broken framing would hide a proxy's mistake.

use std::mem::MaybeUninit;

use httparse::Header;

/// The most fields that a head may have.
pub(crate) const MAX_HEADERS: usize = 256;

/// How long a message's body is (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Exactly this many bytes; 0 for no body.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Everything until the peer closes. Only responses have this.
    UntilClose,
}

/// What is wrong with a head. The text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadError {
    /// The status that a server answers with.
    pub(crate) status: u16,
    /// What was wrong.
    pub(crate) reason: &'static str,
}

const fn bad(reason: &'static str) -> HeadError {
    HeadError { status: 400, reason }
}

/// The head of a request, borrowed from the receive buffer.
pub(crate) struct RequestHead<'h, 'b> {
    pub(crate) method: &'b str,
    pub(crate) target: &'b str,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub(crate) minor_version: u8,
    pub(crate) headers: &'h [Header<'b>],
    pub(crate) framing: Framing,
    /// The client lets the connection live on after the answer.
    pub(crate) keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
    /// Bytes of the head in the buffer.
    pub(crate) length: usize,
}

/// The head of a response. Its fields are read for framing alone.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) length: usize,
}

/// What the fields say about framing and the connection.
struct FieldFacts {
    content_length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    hosts: usize,
    expects_continue: bool,
}

/// Parses a request head at the start of `bytes`; `None` if it isn't complete.
///
/// # Errors
///
/// The head is malformed, or its framing is ambiguous.
pub(crate) fn parse_request<'h, 'b>(
    bytes: &'b [u8],
    headers: &'h mut [MaybeUninit<Header<'b>>],
) -> Result<Option<RequestHead<'h, 'b>>, HeadError> {
    let mut request = httparse::Request::new(&mut []);
    let length = match request.parse_with_uninit_headers(bytes, headers) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(from_httparse(error)),
    };
    let (Some(method), Some(target), Some(minor_version)) = (request.method, request.path, request.version)
    else {
        return Err(bad("the request line is incomplete"));
    };
    let head = &bytes[..length];
    if memchr::memchr_iter(b'\n', head).any(|end| end == 0 || head[end - 1] != b'\r') {
        return Err(bad("a line ends with a bare line feed"));
    }
    let headers: &'h [Header<'b>] = request.headers;
    let facts = read_fields(headers)?;
    if facts.hosts > 1 || (facts.hosts == 0 && minor_version == 1) {
        return Err(bad("HTTP/1.1 needs exactly one Host header"));
    }
    let framing = match (facts.chunked, facts.content_length) {
        (true, _) if minor_version == 0 => return Err(bad("HTTP/1.0 has no Transfer-Encoding")),
        (true, Some(_)) => return Err(bad("Content-Length and Transfer-Encoding together")),
        (true, None) => Framing::Chunked,
        (false, length) => Framing::Length(length.unwrap_or(0)),
    };
    Ok(Some(RequestHead {
        method,
        target,
        minor_version,
        headers,
        framing,
        keep_alive: !facts.close && (minor_version == 1 || facts.keep_alive),
        expects_continue: facts.expects_continue && minor_version == 1,
        length,
    }))
}

/// Parses a response head at the start of `bytes`; `None` if it isn't complete. `to_head` says that the request was
/// a HEAD, whose answer has no body.
///
/// # Errors
///
/// The head is malformed, or its framing is ambiguous.
pub(crate) fn parse_response(bytes: &[u8], to_head: bool) -> Result<Option<ResponseHead>, HeadError> {
    let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut headers,
    );
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(from_httparse(error)),
    };
    let (Some(status), Some(minor_version)) = (response.code, response.version) else {
        return Err(bad("the status line is incomplete"));
    };
    if status < 100 {
        return Err(bad("a status below 100"));
    }
    let facts = read_fields(response.headers)?;
    let framing = match (facts.chunked, facts.content_length) {
        _ if to_head || super::status_has_no_body(status) => Framing::Length(0),
        (true, Some(_)) => return Err(bad("Content-Length and Transfer-Encoding together")),
        (true, None) => Framing::Chunked,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilClose,
    };
    let keep_alive =
        framing != Framing::UntilClose && !facts.close && (minor_version == 1 || facts.keep_alive);
    Ok(Some(ResponseHead { status, framing, keep_alive, length }))
}

fn from_httparse(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError { status: 431, reason: "more than 256 header fields" },
        httparse::Error::Version => HeadError { status: 505, reason: "not HTTP/1.0 or HTTP/1.1" },
        httparse::Error::HeaderName => bad("an invalid header name"),
        httparse::Error::HeaderValue => bad("an invalid header value"),
        httparse::Error::NewLine => bad("an invalid line end"),
        httparse::Error::Status => bad("an invalid status line"),
        httparse::Error::Token => bad("an invalid request line"),
    }
}

fn read_fields(headers: &[Header<'_>]) -> Result<FieldFacts, HeadError> {
    let mut facts = FieldFacts {
        content_length: None,
        chunked: false,
        close: false,
        keep_alive: false,
        hosts: 0,
        expects_continue: false,
    };
    for header in headers {
        // The length tells most names apart without a comparison.
        match header.name.len() {
            4 if header.name.eq_ignore_ascii_case("host") => facts.hosts += 1,
            6 if header.name.eq_ignore_ascii_case("expect") => {
                facts.expects_continue = header.value.eq_ignore_ascii_case(b"100-continue");
            }
            10 if header.name.eq_ignore_ascii_case("connection") => {
                for option in header.value.split(|&byte| byte == b',') {
                    let option = option.trim_ascii();
                    facts.close |= option.eq_ignore_ascii_case(b"close");
                    facts.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if header.name.eq_ignore_ascii_case("content-length") => {
                if facts.content_length.is_some() {
                    return Err(bad("more than one Content-Length"));
                }
                facts.content_length = Some(parse_decimal(header.value)?);
            }
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                if facts.chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError {
                        status: 501,
                        reason: "a Transfer-Encoding other than one `chunked`",
                    });
                }
                facts.chunked = true;
            }
            _ => {}
        }
    }
    Ok(facts)
}

fn parse_decimal(value: &[u8]) -> Result<u64, HeadError> {
    // 19 digits always fit in 64 bits.
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return Err(bad("Content-Length is not a plain number"));
    }
    Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<Option<(Framing, bool, bool)>, HeadError> {
        let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let head = parse_request(text.as_bytes(), &mut headers)?;
        Ok(head.map(|head| (head.framing, head.keep_alive, head.expects_continue)))
    }

    #[test]
    fn framing_and_connection_follow_the_fields() {
        let cases = [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", (Framing::Length(0), true, false)),
            ("GET / HTTP/1.0\r\n\r\n", (Framing::Length(0), false, false)),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", (Framing::Length(0), true, false)),
            (
                "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nConnection: x, close\r\n\r\n",
                (Framing::Length(12), false, false),
            ),
            (
                "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
                (Framing::Chunked, true, true),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(request(text), Ok(Some(expected)), "{text}");
            for cut in 0..text.len() {
                assert_eq!(request(&text[..cut]), Ok(None), "{:?}", &text[..cut]);
            }
        }
    }

    #[test]
    fn ambiguous_framing_is_refused() {
        let cases = [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
            ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
            ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", 400),
            ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
            ("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("GET /\r\n\r\n", 400),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
            ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("\x16\x03\x01\x02\r\n\r\n", 400),
        ];
        for (text, status) in cases {
            assert_eq!(request(text).map_err(|error| error.status), Err(status), "{text:?}");
        }
    }

    #[test]
    fn response_framing_knows_head_and_bodyless_statuses() {
        let parse = |text: &str, to_head| parse_response(text.as_bytes(), to_head).unwrap().unwrap();
        let with_length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(parse(with_length, false).framing, Framing::Length(5));
        assert_eq!(parse(with_length, true).framing, Framing::Length(0));
        assert_eq!(
            parse("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false).framing,
            Framing::Length(0)
        );
        let until_close = parse("HTTP/1.1 200 OK\r\n\r\n", false);
        assert_eq!((until_close.framing, until_close.keep_alive), (Framing::UntilClose, false));
        assert!(
            parse_response(
                b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                false
            )
            .is_err()
        );
        assert!(parse_response(b"nonsense\r\n\r\n", false).is_err());
    }
}
